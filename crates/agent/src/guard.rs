//! The guard of the node: what keeps each pod to its own addresses, held in step with the leases.
//!
//! ```text
//! ADD: lease ──► elements ──► worker: into the sets, then the link is made
//! DEL: link gone ──► elements out of the sets
//! start, edit by somebody, once a minute: leases ── compare ── sets ──► what is missing, what is too much
//! ```
//!
//! The tables ([`sealane_ruleset::guard_tables`]) depend on nothing, so they are
//! loaded once. A table that has to be loaded again, since somebody has edited
//! or flushed it, comes with all elements in one transaction: no packet of a
//! pod meets it half made.
//!
//! Comparing needs no care for ADDs in flight. Leases change in the core's task
//! alone, which also compares, and a lease is there before its elements are.

use std::collections::{BTreeMap, BTreeSet};

use sealane_introspect::Introspect;
use sealane_net::{AntiSpoofing, Attachment, IpNet, names};
use sealane_netlink::{Error as KernelError, Netlink};
use sealane_ruleset::{Change, Element, Loaded, Table, TableFamily, guard_elements, guard_tables};

use crate::{
    drops::Drops,
    leases::Lease,
    wire::{link_name, pod_mac},
};

/// The guard as it should be, and what is known of it.
pub struct Guard {
    kernel: Netlink,
    checks: AntiSpoofing,
    /// How new pods are attached.
    attached: Attachment,
    /// The links of pods that are attached in the other way.
    others: BTreeSet<String>,
    drops: Drops,
    /// It was as it should be once.
    made: bool,
}

/// What a comparison came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Tables that were loaded or removed.
    pub tables: usize,
    /// Elements that were missing in tables that were there, or too much.
    pub elements: usize,
}

impl Guard {
    /// A guard that has not looked yet.
    pub fn new(
        kernel: Netlink,
        checks: AntiSpoofing,
        attached: Attachment,
        introspect: &Introspect,
    ) -> Self {
        Self {
            drops: Drops::show(&kernel, introspect),
            kernel,
            checks,
            attached,
            others: BTreeSet::new(),
            made: false,
        }
    }

    /// Whether pods may be wired.
    pub fn is_made(&self) -> bool {
        self.made
    }

    /// Takes notice of how the links that are there are attached.
    pub fn set_links<'a>(&mut self, links: impl Iterator<Item = (&'a str, Attachment)>) {
        self.others = links
            .filter(|(_, attached)| *attached != self.attached)
            .map(|(link, _)| link.to_owned())
            .collect();
    }

    /// What lets a pod send; nothing where pods are not told apart.
    pub fn elements(&self, lease: &Lease) -> Vec<Element> {
        if self.checks != AntiSpoofing::Pod {
            return Vec::new();
        }
        let link = link_name(&lease.key());
        let addresses = lease.addresses.iter().map(IpNet::addr);
        guard_elements(self.attached_of(&link), &link, pod_mac(lease), addresses)
    }

    fn attached_of(&self, link: &str) -> Attachment {
        match (self.others.contains(link), self.attached) {
            (false, attached) => attached,
            (true, Attachment::Bridge) => Attachment::Routed,
            (true, Attachment::Routed) => Attachment::Bridge,
        }
    }

    /// Takes away what let a pod send that has gone.
    ///
    /// # Errors
    /// When it was not there, or the kernel refuses: a comparison is due.
    pub fn dismiss(&self, lease: &Lease) -> Result<(), KernelError> {
        let elements = self.elements(lease);
        let changes: Vec<Change<'_>> = elements.iter().map(Change::Remove).collect();
        self.kernel.change_tables_now(&changes)
    }

    /// Compares with the kernel and mends, as one transaction. What is in tables that somebody
    /// has edited is not looked at: they are loaded again.
    ///
    /// # Errors
    /// When the kernel does not answer or refuses; nothing has changed then.
    pub fn compare<'a>(
        &mut self,
        leases: impl Iterator<Item = &'a Lease>,
        edited: bool,
    ) -> Result<Compared, KernelError> {
        let tables = self.tables();
        let wanted: Vec<Element> = leases.flat_map(|lease| self.elements(lease)).collect();
        let observed = self.observed(edited)?;
        let table_changes = sealane_ruleset::diff(&observed, names::NFT_GUARD_TABLE, &tables);
        let loaded: BTreeSet<TableFamily> = table_changes
            .iter()
            .filter_map(|change| match change {
                Change::Load(table) => Some(table.family),
                _ => None,
            })
            .collect();
        let surplus = self.surplus(&tables, &loaded, &wanted)?;
        let (missing, too_much) = (surplus.missing, surplus.too_much);
        let anew = wanted.iter().filter(|e| loaded.contains(&e.family));
        let compared = Compared {
            tables: table_changes.len(),
            elements: missing.len() + too_much.len(),
        };
        let changes: Vec<Change<'_>> = table_changes
            .into_iter()
            .chain(anew.map(Change::Add))
            .chain(missing.into_iter().map(Change::Add))
            .chain(too_much.iter().map(Change::Remove))
            .collect();
        if compared.tables > 0 {
            // Its counters go with a table.
            self.drops.read();
        }
        self.kernel.change_tables_now(&changes)?;
        self.made = true;
        Ok(compared)
    }

    fn tables(&self) -> Vec<Table> {
        match self.checks {
            AntiSpoofing::Pod => guard_tables(),
            AntiSpoofing::Node | AntiSpoofing::Off => Vec::new(),
        }
    }

    /// The tables that are there and as they were loaded.
    fn observed(&self, edited: bool) -> Result<Vec<Loaded>, KernelError> {
        let mut observed = self.kernel.tables_now()?;
        let wanted = self.tables();
        let guards = observed
            .iter_mut()
            .filter(|table| table.name == names::NFT_GUARD_TABLE);
        for table in guards {
            let mut wanted = wanted.iter();
            let program = wanted.find(|program| program.family == table.family);
            // Before the first comparison nobody has listened for edits.
            let intact = match program.filter(|_| !self.made) {
                Some(program) => self.kernel.is_intact(program)?,
                None => true,
            };
            if edited || !intact {
                table.comment = None;
            }
        }
        Ok(observed)
    }

    /// Compares the sets of tables that stay.
    fn surplus<'w>(
        &self,
        tables: &[Table],
        loaded: &BTreeSet<TableFamily>,
        wanted: &'w [Element],
    ) -> Result<Surplus<'w>, KernelError> {
        let mut missing: BTreeMap<_, &Element> = wanted
            .iter()
            .filter(|element| !loaded.contains(&element.family))
            .map(|element| ((element.family, element.set, element.key.clone()), element))
            .collect();
        let mut too_much = Vec::new();
        for table in tables.iter().filter(|t| !loaded.contains(&t.family)) {
            for set in &table.keyed {
                for key in self.kernel.keys(table.family, &table.name, set.name)? {
                    if missing
                        .remove(&(table.family, set.name, key.clone()))
                        .is_none()
                    {
                        too_much.push(Element {
                            family: table.family,
                            table: names::NFT_GUARD_TABLE,
                            set: set.name,
                            text: shown(&key),
                            key,
                        });
                    }
                }
            }
        }
        Ok(Surplus {
            missing: missing.into_values().collect(),
            too_much,
        })
    }
}

struct Surplus<'w> {
    missing: Vec<&'w Element>,
    too_much: Vec<Element>,
}

/// A key that nobody wants, by the link that it begins with.
fn shown(key: &[u8]) -> String {
    let end = key.iter().position(|byte| *byte == 0);
    let name = &key[..end.unwrap_or(key.len())];
    format!("of link {}", String::from_utf8_lossy(name))
}

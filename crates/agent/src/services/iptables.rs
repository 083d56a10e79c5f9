//! Services in iptables: a program for each family of the node's pods, loaded by the node's own iptables.
//!
//! Each change compiles all of a family anew and writes the chains that
//! differ. That costs what iptables costs in any case, a few milliseconds for
//! a thousand Services, and leaves nothing to keep in step.

use std::collections::BTreeMap;

use sealane_iptables::{Choices, compile};
use sealane_net::Family;
use sealane_netlink::Netlink;
use sealane_ruleset::Loaded;
use sealane_service::{NodePortAddresses, ServiceTable};
use sealane_xtables::{Applied, Error, Tables, Variant};

use super::LOCALNET;
use super::backend::Refused;
use super::nft::{Done, has_pods};

/// The tables, by family.
pub struct Iptables {
    kernel: Netlink,
    node_ports: NodePortAddresses,
    tables: BTreeMap<Family, Tables>,
}

impl Iptables {
    pub fn new(kernel: Netlink, node_ports: NodePortAddresses) -> Self {
        Self {
            kernel,
            node_ports,
            tables: BTreeMap::new(),
        }
    }

    /// Makes the kernel what the table says; after reading what it holds, if that may be something else than was written.
    pub fn synchronize(&mut self, table: &ServiceTable, doubt: bool) -> Result<Done, Refused> {
        let mut done = Done::default();
        for family in Family::ALL {
            if !has_pods(table, family) {
                self.forget(family)?;
                continue;
            }
            if doubt && let Some(tables) = self.tables.get_mut(&family) {
                tables.doubt();
            }
            let program = compile(table.iter(), &self.choices(table, family));
            let tables = match self.tables.remove(&family) {
                Some(tables) => tables,
                None => self.open(family)?,
            };
            let tables = self.tables.entry(family).or_insert(tables);
            let applied = self.kernel.run(|| tables.sync(&program))??;
            done.transactions += usize::from(applied != Default::default());
            done.elements += applied.written + applied.deleted;
        }
        Ok(done)
    }

    fn open(&self, family: Family) -> Result<Tables, Refused> {
        if family == Family::V4 && self.node_ports.loopback().is_some() {
            self.kernel.set_sysctls(&[LOCALNET])?;
        }
        let tables = self.kernel.run(|| Tables::open(family))??;
        tracing::info!("Services of {family} by iptables ({:?})", tables.variant());
        Ok(tables)
    }

    fn choices(&self, table: &ServiceTable, family: Family) -> Choices {
        let node = table.node();
        let choice = &self.node_ports;
        Choices {
            pods: node.pod_cidrs.clone(),
            node: node.host_addresses.clone(),
            node_port_addresses: (*choice != NodePortAddresses::All)
                .then(|| node.node_port_addresses.clone()),
            localhost_node_ports: family == Family::V4 && choice.loopback().is_some(),
            ..Choices::new(family)
        }
    }

    /// The family has no pods any more.
    fn forget(&mut self, family: Family) -> Result<(), Refused> {
        if let Some(mut tables) = self.tables.remove(&family) {
            self.kernel.run(|| tables.remove())??;
        }
        Ok(())
    }
}

/// Takes away what an earlier agent has made: somebody else serves Services now. What kube-proxy has made stays.
/// Whether there was any.
///
/// The usual node has nothing of the kind, and no program is run to see that.
pub fn remove(kernel: &Netlink) -> Result<bool, Refused> {
    let mut removed = false;
    let observed = kernel.tables_now()?;
    for family in Family::ALL {
        let is_nat = |table: &Loaded| table.name == "nat" && table.family == family.into();
        let in_nft = observed.iter().any(is_nat);
        let work = || -> Result<Applied, Error> {
            let mut applied = Applied::default();
            let in_legacy = sealane_xtables::has_legacy(family);
            if in_nft || in_legacy {
                // Packets that have found nothing at the other's yet find all here.
                kernel.await_packets();
            }
            if in_nft {
                applied.deleted += Tables::with(family, Variant::Nft).remove()?.deleted;
            }
            if in_legacy {
                applied.deleted += Tables::with(family, Variant::Legacy).remove()?.deleted;
            }
            Ok(applied)
        };
        match kernel.run(work)? {
            Ok(applied) => removed |= applied.deleted > 0,
            // Whoever made the table has removed the program since, or never had it.
            Err(Error::Absent { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(removed)
}

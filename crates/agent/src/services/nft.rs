//! Services in nftables: a table for each family of the node's pods.
//!
//! A table with other rules, of another version of this program or edited by somebody, is made anew while a spare one
//! serves:
//!
//! ```text
//! old           ██████████████████┐
//! spare                 ▒▒▒▒▒▒▒▒▒▒██████████████████┐      ▒ filled, with no packet in it
//! new                              ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒████████
//! ```
//!
//! Packets come into a table when it has everything, and it is deleted when none is in it any more; of two tables the
//! younger one is asked first. Rejected: one transaction that deletes and makes. A packet keeps the rules that it has
//! begun with, but finds the old maps empty from the moment of the commit: a connection that comes just then would be
//! reset, as if its cluster IP did not have the port. And all Services at once are a long transaction.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use sealane_net::{Family, IpNet, names};
use sealane_netlink::{Error, Netlink};
use sealane_ruleset::services::{Image, Pickers, ServiceProgram, Sizes, Transaction, static_table};
use sealane_ruleset::{Change, Loaded, Table};
use sealane_service::{PortChange, ServiceTable};

use super::LOCALNET;

/// The programs, and the kernel that follows them.
pub struct Nft {
    kernel: Netlink,
    programs: BTreeMap<Family, ServiceProgram>,
    ahead: Option<Ahead>,
}

/// What the kernel was found to hold before it was known what it should.
struct Ahead {
    /// It does so as long as this has not changed.
    generation: u32,
    images: BTreeMap<Family, Image>,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    pub transactions: usize,
    pub elements: usize,
}

impl Nft {
    pub fn new(kernel: Netlink) -> Self {
        Self {
            kernel,
            programs: BTreeMap::new(),
            ahead: None,
        }
    }

    /// Reads what an earlier agent has loaded, while Services are still listed: both take as long. What fails here is
    /// told when it is read again.
    pub fn look_ahead(&mut self) {
        let Ok(generation) = self.kernel.table_generation() else {
            return;
        };
        let Ok(observed) = self.kernel.tables_now() else {
            return;
        };
        let ours = Family::ALL.into_iter().filter(|family| {
            let fixed = static_table(*family).as_loaded();
            observed.contains(&fixed)
        });
        let images = ours.filter_map(|family| Some((family, self.as_loaded(family)?)));
        let images = images.collect();
        self.ahead = Some(Ahead { generation, images });
    }

    /// What was found then, if it is still so.
    fn still_ahead(&mut self) -> BTreeMap<Family, Image> {
        let ahead = self.ahead.take().filter(|ahead| {
            let now = self.kernel.table_generation();
            now.is_ok_and(|now| now == ahead.generation)
        });
        ahead.map_or_else(BTreeMap::new, |ahead| ahead.images)
    }

    /// Takes over what the kernel holds and makes it what the table says. Families that have no pods have no table.
    pub fn take_over(&mut self, table: &ServiceTable) -> Result<Done, Error> {
        let mut ahead = self.still_ahead();
        let observed = self.kernel.tables_now()?;
        let mut done = Done::default();
        for family in Family::ALL {
            let found = observed.iter().find(|loaded| is_table(loaded, family));
            if !has_pods(table, family) {
                self.programs.remove(&family);
                self.retire(found)?;
                continue;
            }
            let fixed = static_table(family);
            let is_ours = found.is_some_and(|found| *found == fixed.as_loaded());
            let image = match is_ours {
                true => ahead.remove(&family).or_else(|| self.as_loaded(family)),
                false => None,
            };
            let pods = &table.node().pod_cidrs;
            let adopt = |image| ServiceProgram::adopt(family, image, pods, table.iter());
            let program = match image {
                Some(image) => {
                    let program = adopt(&image);
                    done.add(self.bring_along(family, &program, image)?);
                    program
                }
                None => {
                    let program = adopt(&Image::default());
                    done.add(match found {
                        Some(found) => self.replace(found, &program)?,
                        None => self.fill(&fixed, &program)?,
                    });
                    program
                }
            };
            self.programs.insert(family, program);
        }
        self.remove_spares()?;
        self.let_loopback_through(table);
        Ok(done)
    }

    /// The elements that the kernel holds; none if somebody has edited rules, chains or maps, of which nobody
    /// told while no agent ran.
    fn as_loaded(&self, family: Family) -> Option<Image> {
        let listed = self.kernel.services(family).and_then(|image| {
            let pickers = Pickers::between(family, &image.sizes(), &Sizes::default());
            let mut meant = static_table(family);
            meant.chains.extend(pickers.chains);
            Ok((self.kernel.is_intact(&meant)?, image))
        });
        let why = match listed {
            Ok((true, image)) => return Some(image),
            Ok((false, _)) => "somebody has edited them".to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::warn!("rules of Services of {family} are loaded again: {why}");
        None
    }

    /// Node ports at 127.0.0.1 need it. Only once the table is there, whose rules keep others out. Without it the
    /// rest works.
    fn let_loopback_through(&self, table: &ServiceTable) {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let asked = table.node().node_port_addresses.contains(&loopback);
        if asked
            && self.programs.contains_key(&Family::V4)
            && let Err(error) = self.kernel.set_sysctls(&[LOCALNET])
        {
            tracing::warn!("{error}; node ports do not answer at 127.0.0.1");
        }
    }

    /// Loads all of it in the place of what is there. Clients that stayed with their endpoint may get another.
    pub fn reload(&mut self) -> Result<Done, Error> {
        let observed = self.kernel.tables_now()?;
        let mut done = Done::default();
        for (family, program) in &self.programs {
            let found = observed.iter().find(|loaded| is_table(loaded, *family));
            done.add(match found {
                Some(found) => self.replace(found, program)?,
                None => self.fill(&static_table(*family), program)?,
            });
        }
        Ok(done)
    }

    /// Makes the table anew, whatever is there, while a spare one serves.
    fn replace(&self, found: &Loaded, program: &ServiceProgram) -> Result<Done, Error> {
        let table = static_table(program.family());
        let spare = Table {
            name: names::SERVICES_SPARE_TABLE.into(),
            ..table.clone()
        };
        self.fill(&spare, program)?;
        self.retire(Some(found))?;
        let done = self.fill(&table, program)?;
        self.remove_spares()?;
        Ok(done)
    }

    /// Makes a table, and lets packets in when everything is there.
    fn fill(&self, table: &Table, program: &ServiceProgram) -> Result<Done, Error> {
        let mut done = Done::default();
        self.kernel.replace_services(table, &[])?;
        program.bring_along(Image::default(), &mut |transaction| {
            done.count(transaction);
            let family = program.family();
            self.kernel
                .change_services_in(&table.name, family, transaction)
        })?;
        self.kernel.open_services(table)?;
        Ok(done)
    }

    /// Deletes a table, whose work somebody else has begun to do.
    fn retire(&self, found: Option<&Loaded>) -> Result<(), Error> {
        let Some(found) = found else {
            return Ok(());
        };
        // Those that have found nothing at the other's yet find all here.
        self.kernel.await_packets();
        self.kernel.close_services(found)?;
        // Those that are in it find the rest, too.
        self.kernel.await_packets();
        self.kernel.change_tables_now(&[Change::Delete(found)])
    }

    /// Also those that an agent has left that was killed: the other table has everything now.
    fn remove_spares(&self) -> Result<(), Error> {
        let observed = self.kernel.tables_now()?;
        let mut spares = observed.iter().filter(|loaded| is_spare(loaded));
        spares.try_for_each(|spare| self.retire(Some(spare)))
    }

    /// Takes in changes of Services.
    pub fn update(&mut self, changes: &[PortChange]) -> Result<Done, Error> {
        self.each(|program| program.update(changes))
    }

    /// Takes in that pods of this node have other addresses, of the same families.
    pub fn set_pods(&mut self, pods: &[IpNet]) -> Result<Done, Error> {
        self.each(|program| program.set_pods(pods))
    }

    /// Compares with the kernel and repairs.
    pub fn repair(&mut self, table: &ServiceTable) -> Result<Done, Error> {
        let observed = self.kernel.tables_now()?;
        let stands = |family: &Family| {
            let fixed = static_table(*family).as_loaded();
            observed.contains(&fixed)
        };
        if !self.programs.keys().all(stands) || observed.iter().any(is_spare) {
            return self.take_over(table);
        }
        self.let_loopback_through(table);
        let mut done = Done::default();
        for (family, program) in &self.programs {
            if !self.follows(*family, program)? {
                let image = self.kernel.services(*family)?;
                done.add(self.bring_along(*family, program, image)?);
            }
        }
        Ok(done)
    }

    /// Whether the kernel holds just what the program says; `false` too if it changed while it was read.
    fn follows(&self, family: Family, program: &ServiceProgram) -> Result<bool, Error> {
        let mut expected = program.fingerprints();
        let see = |element| expected.see(&element);
        Ok(self.kernel.each_of_services(family, see)? && expected.agree())
    }

    /// One transaction after the other, of which only one is held.
    fn bring_along(
        &self,
        family: Family,
        program: &ServiceProgram,
        observed: Image,
    ) -> Result<Done, Error> {
        let mut done = Done::default();
        program.bring_along(observed, &mut |transaction| {
            done.count(transaction);
            self.kernel.change_services(family, transaction)
        })?;
        Ok(done)
    }

    /// Takes our tables away, for somebody else serves Services now.
    pub fn remove(&mut self) -> Result<(), Error> {
        self.programs.clear();
        let observed = self.kernel.tables_now()?;
        for family in Family::ALL {
            let found = observed.iter().find(|loaded| is_table(loaded, family));
            self.retire(found)?;
        }
        self.remove_spares()
    }

    /// Whether there is a table of ours whose rules keep others from the node's loopback addresses.
    pub fn guards_loopback(kernel: &Netlink) -> Result<bool, Error> {
        let observed = kernel.tables_now()?;
        Ok(observed.iter().any(|loaded| is_table(loaded, Family::V4)))
    }

    fn each(
        &mut self,
        mut change: impl FnMut(&mut ServiceProgram) -> Vec<Transaction>,
    ) -> Result<Done, Error> {
        // All programs first: they must know of the change even if the kernel refuses part of it.
        let programs = self.programs.iter_mut();
        let all: Vec<_> = programs
            .map(|(family, program)| (*family, change(program)))
            .collect();
        let mut done = Done::default();
        for (family, transactions) in all {
            self.apply(family, &transactions)?;
            transactions.iter().for_each(|t| done.count(t));
        }
        Ok(done)
    }

    fn apply(&self, family: Family, transactions: &[Transaction]) -> Result<(), Error> {
        let mut all = transactions.iter();
        all.try_for_each(|transaction| self.kernel.change_services(family, transaction))
    }
}

impl Done {
    fn count(&mut self, transaction: &Transaction) {
        self.transactions += 1;
        self.elements += transaction.len();
    }

    fn add(&mut self, more: Done) {
        self.transactions += more.transactions;
        self.elements += more.elements;
    }
}

fn is_table(loaded: &Loaded, family: Family) -> bool {
    loaded.name == names::SERVICES_TABLE && loaded.family == family.into()
}

fn is_spare(loaded: &Loaded) -> bool {
    loaded.name == names::SERVICES_SPARE_TABLE
}

/// The families that this node's pods have.
pub fn has_pods(table: &ServiceTable, family: Family) -> bool {
    let mut pods = table.node().pod_cidrs.iter();
    pods.any(|pods| Family::from(*pods) == family)
}

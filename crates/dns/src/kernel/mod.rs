//! What this node's kernel has of the DNS server: its addresses, and the rules that leave its packets alone.
//!
//! ```text
//! addresses ── compile ──► tables, addresses of lo ── compare with the kernel ──► what is missing, what is too much
//!                                                          ▲
//!                               bell: somebody has changed addresses or rules
//! ```
//!
//! All of it outlives the process, so that a killed one is missed by nobody; it
//! goes by `sealane agent cleanup`, or with the node's network namespace. Without
//! a runtime, for the keeper's sake.

use std::fmt;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use sealane_net::{Family, IpNet, names};
use sealane_netlink::{Alarm, Batch, Direct, Error, Nft};
use sealane_ruleset::{Table, dns_table};

/// The kernel of the network namespace in which this was made.
pub struct Kernel {
    direct: Direct,
    nft: Nft,
    alarm: Alarm,
    addresses: Vec<IpNet>,
    tables: Vec<Table>,
}

/// What had to be mended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// Addresses that were missing.
    pub added: Vec<IpNet>,
    /// Addresses of ours that are no longer wanted.
    pub removed: Vec<IpNet>,
    /// Rules were missing, or somebody had edited them.
    pub rules: bool,
}

impl fmt::Display for Mended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let added = self.added.iter().map(|address| format!("added {address}"));
        let removed = self.removed.iter().map(|a| format!("removed {a}"));
        let rules = self.rules.then(|| "loaded the rules".to_owned());
        let all: Vec<String> = added.chain(removed).chain(rules).collect();
        write!(f, "{}", all.join(", "))
    }
}

impl Mended {
    /// Whether anything was wrong.
    pub fn anything(&self) -> bool {
        *self != Self::default()
    }
}

impl Kernel {
    /// Changes nothing yet.
    ///
    /// # Errors
    /// When the kernel's sockets cannot be opened: a right is missing.
    pub fn open(addresses: &[IpAddr]) -> Result<Self, Error> {
        let tables = Family::ALL.into_iter();
        Ok(Self {
            direct: Direct::open()?,
            nft: Nft::open()?,
            alarm: Alarm::open()?,
            addresses: addresses.iter().copied().map(IpNet::from).collect(),
            tables: tables
                .filter_map(|family| dns_table(family, addresses))
                .collect(),
        })
    }

    /// Makes the kernel what it should be. The rules first: no question is translated that the address lets come here.
    ///
    /// # Errors
    /// Names what the kernel refused.
    pub fn mend(&mut self) -> Result<Mended, Error> {
        let rules = self.nft.keep(names::DNS_TABLE, &self.tables)?;
        let lo = self.direct.index_of(names::DNS_LINK)?;
        let (here, ours) = self.found(lo)?;
        let wanted = self.addresses.iter().copied();
        let added: Vec<IpNet> = wanted.filter(|address| !here.contains(address)).collect();
        let stays = |address: &IpNet| self.addresses.contains(address);
        let removed: Vec<IpNet> = ours.into_iter().filter(|ours| !stays(ours)).collect();
        let mut batch = Batch::new();
        for address in &added {
            batch.add_numbered_address(lo, *address, names::DNS_PROTOCOL);
        }
        for address in &removed {
            batch.delete_address(lo, *address);
        }
        self.direct.run_all(batch)?;
        Ok(Mended {
            added,
            removed,
            rules,
        })
    }

    /// Whether all addresses are there: an earlier process was the node's DNS server.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn is_set_up(&mut self) -> Result<bool, Error> {
        let lo = self.direct.index_of(names::DNS_LINK)?;
        let (here, _) = self.found(lo)?;
        Ok(self.addresses.iter().all(|address| here.contains(address)))
    }

    /// The addresses of `lo`, and those of them that we have made.
    fn found(&mut self, lo: u32) -> Result<(Vec<IpNet>, Vec<IpNet>), Error> {
        let all = self.direct.addresses()?;
        let here = all.iter().filter(|address| address.link == lo);
        let ours = here.clone().filter(|a| a.protocol == names::DNS_PROTOCOL);
        Ok((
            here.map(|a| a.address).collect(),
            ours.map(|a| a.address).collect(),
        ))
    }

    /// What becomes readable when somebody changes what is ours, or what is near it.
    pub fn bell(&self) -> [BorrowedFd<'_>; 2] {
        self.alarm.descriptors()
    }

    /// Silences the bell; whether it has rung.
    pub fn rang(&self) -> bool {
        self.alarm.rang()
    }
}

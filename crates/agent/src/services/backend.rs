//! Where Services are programmed: in nftables or in iptables.
//!
//! Whichever it is takes over when it has its own in place, and only then is
//! the other's taken away: a connection always meets one of them, and those
//! that are there already are the connection tracking's.

use sealane_netlink::Netlink;
use sealane_service::{NodePortAddresses, PortChange, ServiceTable};

use super::iptables::{self, Iptables};
use super::nft::{Done, Nft};
use crate::ProxyMode;

/// The program that the kernel follows.
pub enum Backend {
    Nft(Nft, Netlink),
    Iptables(Iptables, Netlink),
}

/// Why the kernel does not follow.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Kernel(#[from] sealane_netlink::Error),
    #[error(transparent)]
    Iptables(#[from] sealane_xtables::Error),
}

impl Backend {
    pub fn new(mode: ProxyMode, kernel: Netlink, node_ports: NodePortAddresses) -> Self {
        match mode {
            ProxyMode::Iptables => {
                Self::Iptables(Iptables::new(kernel.clone(), node_ports), kernel)
            }
            ProxyMode::Nftables | ProxyMode::None => Self::Nft(Nft::new(kernel.clone()), kernel),
        }
    }

    /// Reads what takes long to read, and may be so still when it is taken over.
    pub fn look_ahead(&mut self) {
        match self {
            Self::Nft(nft, _) => nft.look_ahead(),
            // Its tools are asked once it is known for what.
            Self::Iptables(..) => {}
        }
    }

    /// Takes over what the kernel holds, makes it what the table says, and takes the other backend's away.
    pub fn take_over(&mut self, table: &ServiceTable) -> Result<Done, Refused> {
        match self {
            Self::Nft(nft, kernel) => {
                let done = nft.take_over(table)?;
                iptables::remove(kernel)?;
                Ok(done)
            }
            Self::Iptables(iptables, kernel) => {
                let done = iptables.synchronize(table, true)?;
                Nft::new(kernel.clone()).remove()?;
                Ok(done)
            }
        }
    }

    /// Takes in changes of Services.
    pub fn update(
        &mut self,
        table: &ServiceTable,
        changes: &[PortChange],
    ) -> Result<Done, Refused> {
        match self {
            Self::Nft(nft, _) => Ok(nft.update(changes)?),
            Self::Iptables(_, _) if changes.is_empty() => Ok(Done::default()),
            Self::Iptables(iptables, _) => iptables.synchronize(table, false),
        }
    }

    /// Takes in that pods of this node have other addresses.
    pub fn set_pods(&mut self, table: &ServiceTable) -> Result<Done, Refused> {
        match self {
            Self::Nft(nft, _) => {
                nft.set_pods(&table.node().pod_cidrs)?;
                Ok(nft.take_over(table)?)
            }
            Self::Iptables(iptables, _) => iptables.synchronize(table, false),
        }
    }

    /// Loads all of it again: somebody has edited rules, and only their elements can be compared.
    pub fn reload(&mut self, table: &ServiceTable) -> Result<Done, Refused> {
        match self {
            Self::Nft(nft, _) => Ok(nft.reload()?),
            Self::Iptables(iptables, _) => iptables.synchronize(table, true),
        }
    }

    /// Compares with the kernel and repairs.
    pub fn repair(&mut self, table: &ServiceTable) -> Result<Done, Refused> {
        match self {
            Self::Nft(nft, _) => Ok(nft.repair(table)?),
            Self::Iptables(iptables, _) => iptables.synchronize(table, true),
        }
    }
}

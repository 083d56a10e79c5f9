//! What the node's kernel holds of what is ours.

use std::net::IpAddr;

use sealane_net::{IpNet, Mac, Mtu, Route, names};
use sealane_netlink::{Link, Netlink};
use sealane_objects::NodeNet;
use sealane_ruleset::Loaded;
use serde::Serialize;

use super::NodeError;

/// The link that holds the node's address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Uplink {
    pub name: String,
    pub mtu: Mtu,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// `None` where this kernel has no such setting.
    pub sysctls: Vec<(&'static str, Option<String>)>,
    pub bridge: Option<ObservedBridge>,
    pub tables: Vec<Loaded>,
    pub routes: Vec<Route>,
}

/// The bridge as found.
#[derive(Clone, Debug)]
pub struct ObservedBridge {
    pub index: u32,
    pub mac: Option<Mac>,
    pub mtu: u32,
    pub up: bool,
    pub addresses: Vec<IpNet>,
}

impl Uplink {
    /// Finds the link that has the node's first internal address.
    ///
    /// # Errors
    /// [`NodeError::NoUplink`] when none has: the agent is in the wrong namespace.
    pub async fn of(node: &NodeNet, kernel: &Netlink) -> Result<Option<Self>, NodeError> {
        let Some(address) = node.internal_ips.first().copied() else {
            return Ok(None);
        };
        let missing = || NodeError::NoUplink {
            node: node.name.clone(),
            address,
        };
        let addresses = kernel.addresses().await?;
        let found = addresses.iter().find(|a| a.address.addr() == address);
        let index = found.ok_or_else(missing)?.link;
        let link = kernel.link(index).await?.ok_or_else(missing)?;
        Ok(Some(Self {
            mtu: usable_mtu(&link),
            name: link.name,
        }))
    }
}

/// A loopback link, where the node's address may be with BGP, has a larger MTU than an Ethernet link can.
fn usable_mtu(link: &Link) -> Mtu {
    let bytes = link.mtu.clamp(Mtu::MIN.bytes(), Mtu::MAX.bytes());
    Mtu::new(bytes).unwrap_or_default()
}

impl Observed {
    /// Reads the kernel.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn read(
        kernel: &Netlink,
        settings: &[(&'static str, &'static str)],
    ) -> Result<Self, NodeError> {
        Ok(Self {
            sysctls: settings
                .iter()
                .map(|(key, _)| Ok((*key, read_sysctl(kernel, key)?)))
                .collect::<Result<_, NodeError>>()?,
            bridge: ObservedBridge::read(kernel).await?,
            tables: kernel.tables().await?,
            routes: kernel.routes_of(names::ROUTE_PROTOCOL).await?,
        })
    }
}

fn read_sysctl(kernel: &Netlink, key: &str) -> Result<Option<String>, NodeError> {
    match kernel.sysctl(key) {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl ObservedBridge {
    async fn read(kernel: &Netlink) -> Result<Option<Self>, NodeError> {
        let Some(link) = kernel.link(names::POD_BRIDGE).await? else {
            return Ok(None);
        };
        // A link of another kind under our name is reported when the bridge is made.
        if link.kind != "bridge" {
            return Ok(None);
        }
        Ok(Some(Self {
            index: link.index,
            mac: link.mac,
            mtu: link.mtu,
            up: link.up,
            addresses: kernel.addresses_of(link.index).await?,
        }))
    }

    /// Whether one of its addresses is this one.
    pub fn has(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|net| net.addr() == address)
    }
}

//! What the node's kernel holds: its own network, and what of it is ours.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use sealane_net::{Attachment, IpNet, Mac, Mtu, Route, names};
use sealane_netlink::{Address, Link, Netlink, Rule};
use sealane_objects::NodeNet;
use sealane_ruleset::{Loaded, TableFamily};
use serde::Serialize;

use super::{
    NodeError, ObservedOverlay, ObservedRouted, Sysctl, cloud::EthernetLink, routed::HOLDER,
};
use crate::wire::{attachment, labelled};

/// Links, addresses and routes at one moment, whoever made them.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub links: Vec<Link>,
    pub addresses: Vec<Address>,
    /// Of the main table and of ours.
    pub routes: Vec<Route>,
}

/// The link that holds the node's address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Uplink {
    pub name: String,
    pub mtu: Mtu,
    /// The node's address.
    pub address: IpAddr,
}

/// The network in which the node finds itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    pub uplink: Uplink,
    /// The networks on the node's links.
    pub on_link: Vec<IpNet>,
    /// Parts of them that a router leads to.
    pub behind: Vec<IpNet>,
    /// The smallest MTU of the pods on the bridge, if there are any.
    pub bridged_mtu: Option<Mtu>,
    /// The addresses of the pods that are routed.
    pub routed: Vec<IpAddr>,
    /// By which a network interface of the machine is found.
    pub ethernet: Vec<EthernetLink>,
}

/// What was found of what is ours.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Those that this kernel has, by key.
    pub sysctls: BTreeMap<String, String>,
    pub bridge: Option<ObservedBridge>,
    pub routed: ObservedRouted,
    pub overlay: Option<ObservedOverlay>,
    pub tables: Vec<Loaded>,
    /// But those to pods of this node, which are their links' ([`crate::wire`]).
    pub routes: Vec<Route>,
    pub rules: Vec<Rule>,
    /// Links that are not ours to make.
    pub ethernet: Vec<EthernetLink>,
}

/// The bridge as found.
#[derive(Clone, Debug)]
pub struct ObservedBridge {
    pub index: u32,
    /// Whoever made them.
    pub ports: usize,
    pub mac: Option<Mac>,
    pub mtu: u32,
    pub up: bool,
    pub addresses: Vec<IpNet>,
}

impl Snapshot {
    /// Reads the kernel.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn read(kernel: &Netlink) -> Result<Self, NodeError> {
        Ok(Self {
            links: kernel.links().await?,
            addresses: kernel.addresses().await?,
            routes: kernel.routes().await?,
        })
    }

    /// Finds out where the node is; `None` while it has no address.
    ///
    /// # Errors
    /// [`NodeError::NoUplink`] when no link has the node's first address: the agent is in the wrong namespace.
    pub fn site(&self, node: &NodeNet) -> Result<Option<Site>, NodeError> {
        let Some(address) = node.internal_ips.first().copied() else {
            return Ok(None);
        };
        let missing = || NodeError::NoUplink {
            node: node.name.clone(),
            address,
        };
        let found = self.addresses.iter().find(|a| a.address.addr() == address);
        let index = found.ok_or_else(missing)?.link;
        let link = self.links.iter().find(|link| link.index == index);
        let link = link.ok_or_else(missing)?;
        let on_link = self.networks(|route| self.is_on_link(route));
        let behind = self.networks(|route| {
            let inside = |network: &IpNet| network.contains(&route.destination);
            route.gateway.is_some() && on_link.iter().any(inside)
        });
        Ok(Some(Site {
            uplink: Uplink {
                name: link.name.clone(),
                mtu: usable_mtu(link.mtu),
                address,
            },
            on_link,
            behind,
            bridged_mtu: self.bridged_mtu(),
            routed: self.routed_pods(),
            ethernet: EthernetLink::all(self),
        }))
    }

    /// The destinations of foreign routes that are as wanted.
    fn networks(&self, wanted: impl Fn(&Route) -> bool) -> Vec<IpNet> {
        let foreign = |route: &&Route| route.protocol != names::ROUTE_PROTOCOL;
        let routes = self.routes.iter().filter(foreign);
        routes
            .filter(|route| wanted(route))
            .map(|route| route.destination)
            .collect()
    }

    /// Without a next hop, on a link with Ethernet addresses that is not one of
    /// ours: what is at the far end of a tunnel is not on a link.
    fn is_on_link(&self, route: &Route) -> bool {
        let is_ethernet = |name: &String| {
            let link = self.links.iter().find(|link| link.name == *name);
            !is_ours(name) && link.is_some_and(|link| link.mac.is_some())
        };
        route.gateway.is_none()
            && !route.unreachable
            && route.destination.prefix_len() > 0
            && route.device.as_ref().is_some_and(is_ethernet)
    }

    /// The near ends of pods' links, with what they say about themselves.
    fn pods_attached(&self, by: Attachment) -> impl Iterator<Item = &Link> {
        let pods = self.links.iter().filter(|l| names::is_pod_link(&l.name));
        pods.filter(move |link| attachment(link.alias.as_deref()) == by)
    }

    /// A link without a label that is no port is still being made: its label
    /// comes a moment after the link.
    fn bridged_mtu(&self) -> Option<Mtu> {
        let pods = self.pods_attached(Attachment::Bridge);
        pods.filter(|link| link.alias.is_some() || link.master.is_some())
            .map(|link| usable_mtu(link.mtu))
            .min()
    }

    fn routed_pods(&self) -> Vec<IpAddr> {
        let pods = self.pods_attached(Attachment::Routed);
        let leases = pods.filter_map(|link| labelled(link.alias.as_deref()?));
        leases
            .flat_map(|lease| lease.addresses)
            .map(|address| address.addr())
            .collect()
    }

    fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    fn bridge(&self) -> Option<ObservedBridge> {
        // A link of another kind under our name is reported when the bridge is made.
        let link = self
            .link(names::POD_BRIDGE)
            .filter(|link| link.kind == "bridge")?;
        let own = self.addresses.iter().filter(|a| a.link == link.index);
        let is_port = |other: &&Link| other.master == Some(link.index);
        Some(ObservedBridge {
            index: link.index,
            ports: self.links.iter().filter(is_port).count(),
            mac: link.mac,
            mtu: link.mtu,
            up: link.up,
            addresses: own.map(|a| a.address).collect(),
        })
    }
}

impl Snapshot {
    /// What [`HOLDER`] has of the pods that are routed.
    fn holder(&self) -> ObservedRouted {
        let index = self.link(HOLDER).map(|link| link.index);
        let here = self.addresses.iter().filter(|a| Some(a.link) == index);
        let ours = here.clone().filter(|a| a.protocol == names::ROUTE_PROTOCOL);
        ObservedRouted {
            ours: ours.map(|a| a.address).collect(),
            addresses: here.map(|a| a.address).collect(),
            proxied: BTreeSet::new(),
        }
    }
}

/// Whether a link is one that the agent makes.
fn is_ours(name: &str) -> bool {
    name == names::POD_BRIDGE || name == names::VXLAN || names::is_pod_link(name)
}

/// A loopback link, where the node's address may be with BGP, has a larger MTU than an Ethernet link can.
fn usable_mtu(bytes: u32) -> Mtu {
    let bytes = bytes.clamp(Mtu::MIN.bytes(), Mtu::MAX.bytes());
    Mtu::new(bytes).unwrap_or_default()
}

impl Observed {
    /// Reads the rest from the kernel.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn read(
        kernel: &Netlink,
        snapshot: Snapshot,
        settings: &[Sysctl],
    ) -> Result<Self, NodeError> {
        let overlay = match snapshot.link(names::VXLAN) {
            Some(link) => Some(ObservedOverlay::read(kernel, link.clone()).await?),
            None => None,
        };
        let bridge = snapshot.bridge();
        let ethernet = EthernetLink::all(&snapshot);
        let mut routed = snapshot.holder();
        if let Some(bridge) = &bridge {
            routed.proxied = kernel.proxies_of(bridge.index).await?.into_iter().collect();
        }
        let to_pod = |route: &Route| route.device.as_deref().is_some_and(names::is_pod_link);
        let ours = |route: &Route| route.protocol == names::ROUTE_PROTOCOL && !to_pod(route);
        Ok(Self {
            sysctls: read_sysctls(kernel, settings)?,
            bridge,
            routed,
            overlay,
            tables: kernel.tables().await?,
            routes: snapshot.routes.into_iter().filter(ours).collect(),
            rules: kernel.rules().await?,
            ethernet,
        })
    }
}

impl Observed {
    /// What is in our tables, or in that of one family, may not be what their stamps say.
    pub fn distrust_tables(&mut self, family: Option<TableFamily>) {
        for table in &mut self.tables {
            let meant = family.is_none_or(|family| family == table.family);
            if meant && table.name == names::NFT_TABLE {
                table.comment = None;
            }
        }
    }
}

fn read_sysctls(
    kernel: &Netlink,
    settings: &[Sysctl],
) -> Result<BTreeMap<String, String>, NodeError> {
    let mut found = BTreeMap::new();
    for setting in settings {
        match kernel.sysctl(&setting.key) {
            Ok(value) => drop(found.insert(setting.key.clone(), value)),
            Err(error) if error.is_absent() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, mac: Option<Mac>, mtu: u32) -> Link {
        Link {
            index,
            name: name.into(),
            kind: String::new(),
            mac,
            mtu,
            up: true,
            master: None,
            peer: None,
            alias: None,
            tunnel: None,
        }
    }

    fn route(text: &str, device: &str, gateway: Option<&str>) -> Route {
        Route {
            protocol: 2,
            gateway: gateway.map(|g| g.parse().unwrap()),
            ..Route::on_link(text.parse().unwrap(), device)
        }
    }

    fn snapshot() -> Snapshot {
        let mac = Some(Mac([2; 6]));
        Snapshot {
            links: vec![
                link(1, "lo", mac, 65536),
                link(2, "eth0", mac, 1450),
                link(3, "wg0", None, 1420),
                link(4, names::POD_BRIDGE, mac, 1500),
                Link {
                    master: Some(4),
                    ..link(5, "sl0123456789ab", mac, 1450)
                },
            ],
            addresses: vec![Address {
                link: 2,
                address: "172.29.0.2/24".parse().unwrap(),
                global: true,
                protocol: 0,
            }],
            routes: vec![
                route("0.0.0.0/0", "eth0", Some("172.29.0.1")),
                route("172.29.0.0/24", "eth0", None),
                route("172.29.0.128/25", "eth0", Some("172.29.0.1")),
                route("192.168.0.0/16", "eth0", Some("172.29.0.1")),
                route("10.9.0.0/16", "wg0", None),
                route("10.244.1.0/24", names::POD_BRIDGE, None),
            ],
        }
    }

    fn node() -> NodeNet {
        NodeNet {
            name: "node-1".into(),
            internal_ips: vec!["172.29.0.2".parse().unwrap()],
            pod_cidrs: vec![],
            ..Default::default()
        }
    }

    #[test]
    fn what_is_on_a_link_is_neither_in_a_tunnel_nor_behind_a_router_nor_ours() {
        let site = snapshot().site(&node()).unwrap().unwrap();
        assert_eq!(
            (site.uplink.name.as_str(), site.uplink.mtu.bytes()),
            ("eth0", 1450)
        );
        assert_eq!(site.on_link, ["172.29.0.0/24".parse().unwrap()]);
        assert_eq!(site.behind, ["172.29.0.128/25".parse().unwrap()]);
        assert_eq!(site.bridged_mtu.map(Mtu::bytes), Some(1450));
    }

    #[test]
    fn a_link_that_is_being_made_is_not_taken_for_a_port() {
        let mut snapshot = snapshot();
        let pod = snapshot.links.last_mut().unwrap();
        (pod.alias, pod.master) = (None, None);
        let site = snapshot.site(&node()).unwrap().unwrap();
        assert_eq!((site.bridged_mtu, site.routed), (None, vec![]));

        let pod = snapshot.links.last_mut().unwrap();
        pod.alias = Some("sealane/1 if=eth0 ip=10.244.1.2/24 net=sealane id=a".into());
        let site = snapshot.site(&node()).unwrap().unwrap();
        assert!(site.bridged_mtu.is_some(), "a port that was taken off");
    }

    #[test]
    fn a_node_waits_for_an_address_and_refuses_a_foreign_one() {
        let mut node = node();
        node.internal_ips = vec!["172.29.0.9".parse().unwrap()];
        assert!(matches!(
            snapshot().site(&node),
            Err(NodeError::NoUplink { .. })
        ));
        node.internal_ips.clear();
        assert!(snapshot().site(&node).unwrap().is_none());
    }
}

use std::collections::BTreeMap;
use std::net::IpAddr;

use sealane_net::{Family, IpNet, Mac, Mtu, Route, fingerprint, names};
use sealane_objects::NodeNet;
use serde::{Deserialize, Serialize};

use crate::{Routing, Underlay};

/// The routes that a node should have, and why some are missing.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteTable {
    /// Ascending by destination, one for each.
    pub routes: Vec<Route>,
    /// The nodes that some of the routes reach through the overlay, ascending by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tunnels: Vec<Tunnel>,
    /// What the nodes' objects do not allow to serve, in the order of the nodes' names.
    pub problems: Vec<Problem>,
}

/// The far end of the overlay on one other node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tunnel {
    /// The node.
    pub node: String,
    /// The Ethernet address of its VXLAN link, [`tunnel_mac`].
    pub mac: Mac,
    /// Where datagrams for it go.
    pub address: IpAddr,
    /// The next hops of its routes, all of which have that Ethernet address.
    pub gateways: Vec<IpAddr>,
}

/// Why a pod subnet of another node has no route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Problem {
    /// The node has no address of the family that its pods, or the overlay, need.
    #[error(
        "route {subnet} to node {node}: it has no {family} address; expected one of type InternalIP in its status"
    )]
    NoAddress {
        /// The other node.
        node: String,
        /// Its pod subnet.
        subnet: IpNet,
        /// The family that is missing.
        family: Family,
    },
    /// Routers are between, which do not know the pods.
    #[error(
        "route {subnet} to node {node}: its address {address} is on no link of this node; \
         let the agents run with --routing auto or vxlan"
    )]
    NotOnLink {
        /// The other node.
        node: String,
        /// Its pod subnet.
        subnet: IpNet,
        /// Its address.
        address: IpAddr,
    },
    /// Two nodes have the subnet, or one has a part of the other's.
    #[error("route {subnet} to node {node}: it overlaps pod subnet {other_subnet} of node {other}")]
    Overlap {
        /// The node whose subnet is left out.
        node: String,
        /// Its pod subnet.
        subnet: IpNet,
        /// The node that keeps its subnet: this one, or the one whose name comes first.
        other: String,
        /// The subnet that it keeps.
        other_subnet: IpNet,
    },
}

/// The routes from node `this` to the pods of all others.
///
/// A node without pod subnets yet is no problem: a controller has not come to
/// it. The order of `nodes` does not matter.
pub fn compile(this: &str, nodes: &[NodeNet], underlay: &Underlay) -> RouteTable {
    let mut sorted: Vec<&NodeNet> = nodes.iter().collect();
    // This node first: its own subnets win over anybody's claim.
    sorted.sort_by_key(|node| (node.name != this, &node.name));
    let mut taken = Taken::default();
    let mut table = RouteTable::default();
    for node in sorted {
        for subnet in node.pod_networks().map(|network| network.trunc()) {
            if let Err(problem) = taken.claim(&node.name, subnet) {
                table.problems.push(problem);
            } else if node.name != this {
                match way(node, subnet, underlay) {
                    Ok(way) => table.take(node, subnet, way, underlay),
                    Err(problem) => table.problems.push(problem),
                }
            }
        }
    }
    table.ways_from_pods_to_nodes(nodes, underlay);
    table.routes.sort_unstable();
    table
}

/// How packets for a subnet leave this node.
enum Way {
    /// To the node's own address, as they are.
    Direct(IpAddr),
    /// In datagrams to this address of the node.
    Tunnel(IpAddr),
}

fn way(node: &NodeNet, subnet: IpNet, underlay: &Underlay) -> Result<Way, Problem> {
    let no_address = |family| Problem::NoAddress {
        node: node.name.clone(),
        subnet,
        family,
    };
    let direct = node.internal_ip_like(subnet.addr());
    let direct_on_link = direct.filter(|address| underlay.is_on_link(*address));
    match (underlay.routing, direct, direct_on_link) {
        (Routing::Auto | Routing::Direct, _, Some(address)) => Ok(Way::Direct(address)),
        (Routing::Direct, Some(address), None) => Err(Problem::NotOnLink {
            node: node.name.clone(),
            subnet,
            address,
        }),
        (Routing::Direct, None, None) => Err(no_address(Family::from(subnet))),
        (Routing::Auto | Routing::Vxlan, ..) => node
            .internal_ip_like(underlay.address)
            .map(Way::Tunnel)
            .ok_or_else(|| no_address(Family::from(underlay.address))),
    }
}

impl RouteTable {
    fn take(&mut self, node: &NodeNet, subnet: IpNet, way: Way, underlay: &Underlay) {
        match way {
            Way::Direct(address) => self.routes.push(Route::via(subnet, address)),
            Way::Tunnel(address) => {
                let mac = tunnel_mac(&node.name);
                let gateway = tunnel_gateway(subnet, mac);
                self.routes.push(tunnel_route(
                    subnet,
                    gateway,
                    underlay.source_like(subnet.addr()),
                    underlay.tunnel_mtu,
                ));
                self.tunnel_to(node, mac, address).gateways.push(gateway);
            }
        }
    }

    /// Routers on the way to a node need not let pods' addresses pass, so what
    /// pods send to the node itself takes the overlay too. The datagrams to it
    /// must not, so these routes are in a table that only pods' packets are
    /// looked up in.
    fn ways_from_pods_to_nodes(&mut self, nodes: &[NodeNet], underlay: &Underlay) {
        for tunnel in &self.tunnels {
            let node = nodes.iter().find(|node| node.name == tunnel.node);
            let addresses = node.into_iter().flat_map(|node| &node.internal_ips);
            for address in addresses {
                let like = |gateway: &&IpAddr| gateway.is_ipv4() == address.is_ipv4();
                let gateway = tunnel.gateways.iter().find(like);
                if let (Some(gateway), Some(_)) = (gateway, underlay.source_like(*address)) {
                    let host = IpNet::from(*address);
                    self.routes.push(Route {
                        table: names::ROUTE_TABLE,
                        ..tunnel_route(host, *gateway, None, underlay.tunnel_mtu)
                    });
                }
            }
        }
    }

    /// Nodes come in order, so one that is known already is the last.
    fn tunnel_to(&mut self, node: &NodeNet, mac: Mac, address: IpAddr) -> &mut Tunnel {
        if self
            .tunnels
            .last()
            .is_none_or(|last| last.node != node.name)
        {
            self.tunnels.push(Tunnel {
                node: node.name.clone(),
                mac,
                address,
                gateways: Vec::new(),
            });
        }
        self.tunnels
            .last_mut()
            .expect("one was pushed if there was none")
    }
}

/// The Ethernet address of a node's VXLAN link.
///
/// It follows from the node's name, so nodes need not tell each other. 46 bits
/// of a hash: among 5,000 nodes two are alike with a probability of 2 in ten
/// million; one of them then has to be renamed.
pub fn tunnel_mac(node: &str) -> Mac {
    let [.., a, b, c, d, e, f] = fingerprint(node.as_bytes()).to_be_bytes();
    // Locally administered, unicast.
    Mac([a & 0xfc | 2, b, c, d, e, f])
}

/// The next hop of a route through the overlay.
///
/// For IPv4 the subnet's first address, which the other node has. IPv6 refuses
/// a next hop that another link leads to, as the route before may have done;
/// a link-local one leads nowhere else.
fn tunnel_gateway(subnet: IpNet, mac: Mac) -> IpAddr {
    match subnet {
        IpNet::V4(v4) => IpAddr::V4((u32::from(v4.network()).wrapping_add(1)).into()),
        IpNet::V6(_) => IpAddr::V6(mac.link_local()),
    }
}

/// `source` is an address of this node that the other nodes know a way to
/// through the overlay; with its own, answers would come by another way.
fn tunnel_route(subnet: IpNet, gateway: IpAddr, source: Option<IpAddr>, mtu: Mtu) -> Route {
    Route {
        onlink: gateway.is_ipv4(),
        source,
        mtu: Some(mtu),
        ..Route::via(subnet, gateway).dev(names::VXLAN)
    }
}

/// The subnets seen so far, by their first address. None overlaps another, so
/// only the two neighbours of a new one have to be asked.
#[derive(Default)]
struct Taken<'a>(BTreeMap<IpAddr, (IpNet, &'a str)>);

impl<'a> Taken<'a> {
    fn claim(&mut self, node: &'a str, subnet: IpNet) -> Result<(), Problem> {
        let before = self.0.range(..=subnet.network()).next_back();
        let after = self.0.range(subnet.network()..).next();
        let holder = before
            .into_iter()
            .chain(after)
            .map(|(_, held)| held)
            .find(|(held, _)| held.contains(&subnet) || subnet.contains(held));
        match holder {
            Some((other_subnet, other)) => Err(Problem::Overlap {
                node: node.into(),
                subnet,
                other: (*other).into(),
                other_subnet: *other_subnet,
            }),
            None => {
                self.0.insert(subnet.network(), (subnet, node));
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, ips: &[&str], cidrs: &[&str]) -> NodeNet {
        NodeNet {
            name: name.into(),
            internal_ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
            pod_cidrs: cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect(),
            ..Default::default()
        }
    }

    /// A node with links to both networks of the tests.
    fn underlay() -> Underlay {
        let networks = ["172.29.0.0/24", "fd00:172:29::/64"];
        Underlay {
            on_link: networks.map(|network| network.parse().unwrap()).into(),
            ..Underlay::of("172.29.0.2".parse().unwrap(), Mtu::ETHERNET)
        }
    }

    fn compile(this: &str, nodes: &[NodeNet]) -> RouteTable {
        super::compile(this, nodes, &underlay())
    }

    fn text(table: &RouteTable) -> Vec<String> {
        let routes = table.routes.iter().map(ToString::to_string);
        routes
            .chain(table.problems.iter().map(ToString::to_string))
            .collect()
    }

    #[test]
    fn leads_to_every_other_node_in_both_families() {
        let nodes = [
            node("node-3", &["172.29.0.4"], &["10.244.2.0/24"]),
            node(
                "node-2",
                &["172.29.0.3", "fd00:172:29::3"],
                &["10.244.1.0/24", "fd00:10:244:1::/64"],
            ),
            node(
                "node-1",
                &["172.29.0.2", "fd00:172:29::2"],
                &["10.244.0.0/24", "fd00:10:244::/64"],
            ),
        ];
        assert_eq!(
            text(&compile("node-1", &nodes)),
            [
                "10.244.1.0/24 via 172.29.0.3 proto 94",
                "10.244.2.0/24 via 172.29.0.4 proto 94",
                "fd00:10:244:1::/64 via fd00:172:29::3 proto 94",
            ]
        );
        assert_eq!(
            text(&compile("node-3", &nodes)),
            [
                "10.244.0.0/24 via 172.29.0.2 proto 94",
                "10.244.1.0/24 via 172.29.0.3 proto 94",
                "fd00:10:244::/64 via fd00:172:29::2 proto 94",
                "fd00:10:244:1::/64 via fd00:172:29::3 proto 94",
            ]
        );
    }

    #[test]
    fn serves_the_others_when_one_node_cannot_be_served() {
        let nodes = [
            node("node-1", &["172.29.0.2"], &["10.244.0.0/24"]),
            node("node-2", &["172.29.0.3"], &[]),
            node("node-3", &[], &["10.244.2.0/24"]),
            node("node-4", &["172.29.0.5"], &["10.244.3.0/24", "fd00::/64"]),
        ];
        let far = tunnel_mac("node-4").link_local();
        assert_eq!(
            text(&compile("node-1", &nodes)),
            [
                "10.244.3.0/24 via 172.29.0.5 proto 94",
                &format!("fd00::/64 via {far} dev sl.vxlan proto 94 mtu 1450"),
                "route 10.244.2.0/24 to node node-3: it has no IPv4 address; expected one of type InternalIP in its status",
            ]
        );
    }

    #[test]
    fn gives_a_contested_subnet_to_this_node_else_to_the_first_by_name() {
        let nodes = [
            node("node-3", &["172.29.0.4"], &["10.244.0.0/24"]),
            node("node-2", &["172.29.0.3"], &["10.244.1.0/24"]),
            node("node-4", &["172.29.0.5"], &["10.244.0.0/16"]),
            node("node-1", &["172.29.0.2"], &["10.244.1.0/24"]),
        ];
        assert_eq!(
            text(&compile("node-3", &nodes)),
            [
                "10.244.1.0/24 via 172.29.0.2 proto 94",
                "route 10.244.1.0/24 to node node-2: it overlaps pod subnet 10.244.1.0/24 of node node-1",
                "route 10.244.0.0/16 to node node-4: it overlaps pod subnet 10.244.0.0/24 of node node-3",
            ]
        );
    }

    #[test]
    fn a_node_that_is_not_in_the_list_gets_the_routes_to_all() {
        let nodes = [node("node-2", &["172.29.0.3"], &["10.244.1.0/24"])];
        assert_eq!(
            text(&compile("node-1", &nodes)),
            ["10.244.1.0/24 via 172.29.0.3 proto 94"]
        );
    }

    /// node-2 is on a link of node-1's, node-3 behind a router.
    fn two_subnets() -> [NodeNet; 3] {
        [
            node("node-1", &["172.29.0.2"], &["10.244.1.0/24"]),
            node("node-2", &["172.29.0.3"], &["10.244.2.0/24"]),
            node(
                "node-3",
                &["172.30.0.4"],
                &["10.244.3.0/24", "fd00:10:244:3::/64"],
            ),
        ]
    }

    fn routed(routing: Routing) -> RouteTable {
        let underlay = Underlay {
            routing,
            sources: vec!["10.244.1.1".parse().unwrap()],
            ..underlay()
        };
        super::compile("node-1", &two_subnets(), &underlay)
    }

    #[test]
    fn auto_decides_for_each_node_and_family() {
        let table = routed(Routing::Auto);
        let mac = tunnel_mac("node-3");
        let far = mac.link_local();
        assert_eq!(
            text(&table),
            [
                "10.244.2.0/24 via 172.29.0.3 proto 94",
                "10.244.3.0/24 via 10.244.3.1 dev sl.vxlan proto 94 src 10.244.1.1 onlink mtu 1450",
                "172.30.0.4 via 10.244.3.1 dev sl.vxlan table 94 proto 94 onlink mtu 1450",
                &format!("fd00:10:244:3::/64 via {far} dev sl.vxlan proto 94 mtu 1450"),
            ]
        );
        let tunnel = Tunnel {
            node: "node-3".into(),
            mac,
            address: "172.30.0.4".parse().unwrap(),
            gateways: vec!["10.244.3.1".parse().unwrap(), far.into()],
        };
        assert_eq!(table.tunnels, [tunnel]);
    }

    #[test]
    fn vxlan_takes_the_overlay_to_neighbours_too() {
        let table = routed(Routing::Vxlan);
        let nodes: Vec<&str> = table.tunnels.iter().map(|t| t.node.as_str()).collect();
        assert_eq!(nodes, ["node-2", "node-3"]);
        assert!(
            table
                .routes
                .iter()
                .all(|r| r.device.as_deref() == Some("sl.vxlan"))
        );
    }

    #[test]
    fn direct_says_which_nodes_it_cannot_serve() {
        assert_eq!(
            text(&routed(Routing::Direct)),
            [
                "10.244.2.0/24 via 172.29.0.3 proto 94",
                "route 10.244.3.0/24 to node node-3: its address 172.30.0.4 is on no link of this node; let the agents run with --routing auto or vxlan",
                "route fd00:10:244:3::/64 to node node-3: it has no IPv6 address; expected one of type InternalIP in its status",
            ]
        );
    }

    #[test]
    fn ethernet_addresses_follow_names() {
        assert_eq!(tunnel_mac("node-1"), tunnel_mac("node-1"));
        assert_ne!(tunnel_mac("node-1"), tunnel_mac("node-2"));
        assert_eq!(tunnel_mac("node-1").0[0] & 3, 2);
    }
}

use std::collections::BTreeMap;
use std::net::IpAddr;

use sealane_net::{Family, IpNet, Route};
use sealane_objects::NodeNet;
use serde::{Deserialize, Serialize};

/// The routes that a node should have, and why some are missing.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteTable {
    /// Ascending by destination, one for each.
    pub routes: Vec<Route>,
    /// What the nodes' objects do not allow to serve, in the order of the nodes' names.
    pub problems: Vec<Problem>,
}

/// Why a pod subnet of another node has no route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Problem {
    /// The node has pods of a family in which it has no address.
    #[error(
        "route {subnet} to node {node}: it has no {family} address; expected one of type InternalIP in its status"
    )]
    NoAddress {
        /// The other node.
        node: String,
        /// Its pod subnet.
        subnet: IpNet,
        /// The subnet's family.
        family: Family,
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
pub fn compile(this: &str, nodes: &[NodeNet]) -> RouteTable {
    let mut sorted: Vec<&NodeNet> = nodes.iter().collect();
    // This node first: its own subnets win over anybody's claim.
    sorted.sort_by_key(|node| (node.name != this, &node.name));
    let mut taken = Taken::default();
    let mut table = RouteTable::default();
    for node in sorted {
        for subnet in node.pod_cidrs.iter().map(IpNet::trunc) {
            if let Err(problem) = taken.claim(&node.name, subnet) {
                table.problems.push(problem);
            } else if node.name != this {
                match gateway(node, subnet) {
                    Ok(gateway) => table.routes.push(Route::via(subnet, gateway)),
                    Err(problem) => table.problems.push(problem),
                }
            }
        }
    }
    table.routes.sort_unstable();
    table
}

fn gateway(node: &NodeNet, subnet: IpNet) -> Result<IpAddr, Problem> {
    node.internal_ip_like(subnet.addr())
        .ok_or_else(|| Problem::NoAddress {
            node: node.name.clone(),
            subnet,
            family: Family::from(subnet),
        })
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
        }
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
        assert_eq!(
            text(&compile("node-1", &nodes)),
            [
                "10.244.3.0/24 via 172.29.0.5 proto 94",
                "route 10.244.2.0/24 to node node-3: it has no IPv4 address; expected one of type InternalIP in its status",
                "route fd00::/64 to node node-4: it has no IPv6 address; expected one of type InternalIP in its status",
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
}

//! What pods with addresses of the machine's own network interfaces share (`--ipam ec2`).
//!
//! ```text
//! pod 10.0.1.20 (of eni-b) ── sl… ──┐                       ┌─ eth0  10.0.1.5   eni-a   what leaves the VPC,
//!                                   ├─ routing of the node ─┤                           with the node's address
//! pod 10.0.1.9  (of eni-a) ── sl… ──┘                       └─ eth1  10.0.1.17  eni-b   to the VPC, from eni-b's
//!
//! 9398: from all lookup main suppress_prefixlength 31      ways to pods of this node
//! 9399: from 10.0.1.20 lookup 141                          10.0.0.0/16 via 10.0.1.1 dev eth1
//! ```
//!
//! The VPC routes every address of an interface to this machine and lets a
//! machine send with the addresses of the interface alone by which it sends. So
//! what comes from an address of a second interface takes that one, by a rule
//! for each range and a table for each interface, as long as it stays in the
//! VPC or in a range that is not masqueraded; what leaves both finds nothing there and
//! goes on to the main table, where it gets the node's own address. Before all that come the ways to the pods of
//! this node, the only routes to single addresses of the main table.
//!
//! Nothing leads to the pods of other nodes: the VPC knows them.
//!
//! A second interface comes without any configuration: it is set up and gets
//! the address that EC2 has given it, alone, so that no route to the subnet
//! competes with the first one's. Its ranges are used when it is so.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use sealane_net::ec2::Observed as Ec2;
use sealane_net::{IpNet, Ipv4Net, Mac, Route, names};
use sealane_netlink::Rule;
use serde::Serialize;

use super::{Observed, Snapshot, Step};

/// What EC2 has given this machine for its pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CloudNet {
    pub interfaces: Vec<CloudInterface>,
    /// All ranges of the VPC: there pods are known by their own address.
    pub vpc: Vec<Ipv4Net>,
}

/// An interface that serves pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CloudInterface {
    pub id: String,
    pub mac: Mac,
    /// Its place at the machine; 0 is the one that the machine has begun with.
    pub device: u8,
    pub primary: Ipv4Addr,
    /// The VPC's router in its subnet: the first address, always.
    pub gateway: Ipv4Addr,
    pub ranges: Vec<Ipv4Net>,
}

/// What the node holds for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CloudProgram {
    /// The second and further interfaces that are here.
    pub links: Vec<CloudLink>,
    /// What pods may have: of interfaces that are here.
    pub ready: Vec<IpNet>,
    /// Interfaces that EC2 has attached and that are not here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    #[serde(skip)]
    pub routes: Vec<Route>,
    #[serde(skip)]
    pub rules: Vec<Rule>,
}

/// A link of a second interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CloudLink {
    pub name: String,
    pub address: IpNet,
}

/// The links with Ethernet addresses that are nobody's of ours, as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EthernetLink {
    pub name: String,
    pub mac: Mac,
    pub up: bool,
    pub addresses: Vec<IpNet>,
}

impl CloudNet {
    /// What pods may have of all that EC2 tells.
    pub fn of(observed: &Ec2) -> Self {
        let interface = |interface: &&sealane_net::ec2::NetworkInterface| {
            let subnet = observed.subnets.get(&interface.subnet)?;
            Some(CloudInterface {
                id: interface.id.clone(),
                mac: interface.mac,
                device: interface.device()?,
                primary: interface.primary,
                gateway: Ipv4Addr::from(u32::from(subnet.range.network()) + 1),
                ranges: interface.ranges.iter().copied().collect(),
            })
        };
        let serving = observed.serving();
        Self {
            interfaces: serving.iter().filter_map(interface).collect(),
            vpc: observed.vpc.clone(),
        }
    }

    /// Every range, of interfaces that are here or not.
    pub fn ranges(&self) -> impl Iterator<Item = IpNet> {
        let ranges = self.interfaces.iter().flat_map(|i| &i.ranges);
        ranges.map(|range| IpNet::V4(*range))
    }
}

impl CloudProgram {
    /// `besides` the VPC, pods' own addresses are known in these ranges.
    pub(super) fn of(net: &CloudNet, besides: &[IpNet], links: &[EthernetLink]) -> Self {
        let mut program = Self::default();
        let vpc = net.vpc.iter().map(|range| IpNet::V4(*range));
        let besides = besides.iter().filter(|range| range.addr().is_ipv4());
        let inside: BTreeSet<IpNet> = vpc.chain(besides.copied()).collect();
        for interface in &net.interfaces {
            let ranges = || interface.ranges.iter().map(|range| IpNet::V4(*range));
            if interface.device == 0 {
                program.ready.extend(ranges());
                continue;
            }
            let Some(link) = links.iter().find(|link| link.mac == interface.mac) else {
                let missing = format!("{} ({})", interface.id, interface.mac);
                program.missing.push(missing);
                continue;
            };
            program.ready.extend(ranges());
            program.links.push(CloudLink {
                name: link.name.clone(),
                address: IpNet::from(std::net::IpAddr::V4(interface.primary)),
            });
            let table = names::cloud_table(interface.device);
            program
                .routes
                .extend(ways(&inside, interface, &link.name, table));
            program.rules.extend(ranges().map(|from| Rule {
                from,
                table,
                priority: names::CLOUD_PRIORITY,
                suppress_shorter_than: None,
            }));
        }
        if !program.rules.is_empty() {
            program.rules.insert(0, to_pods());
        }
        program
    }
}

/// The ways into the VPC, and to wherever else pods are known by their own address.
fn ways(
    inside: &BTreeSet<IpNet>,
    interface: &CloudInterface,
    link: &str,
    table: u8,
) -> impl Iterator<Item = Route> {
    inside.iter().map(move |range| Route {
        onlink: true,
        table,
        ..Route::via(*range, interface.gateway.into()).dev(link)
    })
}

/// The main table's ways to single addresses come first.
fn to_pods() -> Rule {
    Rule {
        from: IpNet::V4(Ipv4Net::default()),
        table: Route::MAIN,
        priority: names::CLOUD_PRIORITY - 1,
        suppress_shorter_than: Some(32),
    }
}

impl EthernetLink {
    pub(super) fn all(snapshot: &Snapshot) -> Vec<Self> {
        let link = |link: &sealane_netlink::Link| {
            let own = snapshot.addresses.iter().filter(|a| a.link == link.index);
            Some(Self {
                name: link.name.clone(),
                mac: link.mac?,
                up: link.up,
                addresses: own.map(|address| address.address).collect(),
            })
        };
        let links = snapshot
            .links
            .iter()
            .filter(|link| !names::is_pod_link(&link.name));
        links.filter_map(link).collect()
    }
}

/// Setting up the links; their routes and rules go with all others.
pub(super) fn cloud_steps(observed: &Observed, wanted: Option<&CloudProgram>) -> Vec<Step> {
    let mut steps = Vec::new();
    for link in wanted.iter().flat_map(|wanted| &wanted.links) {
        let found = observed
            .ethernet
            .iter()
            .find(|found| found.name == link.name);
        if !found.is_some_and(|found| found.up) {
            steps.push(Step::SetUp(link.name.clone()));
        }
        if !found.is_some_and(|found| found.addresses.contains(&link.address)) {
            steps.push(Step::AddCloudAddress(link.name.clone(), link.address));
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net() -> CloudNet {
        let interface = |device: u8, ranges: &[&str]| CloudInterface {
            id: format!("eni-{device}"),
            mac: Mac([2, 0, 0, 0, 0, device]),
            device,
            primary: Ipv4Addr::new(10, 0, 1, 5 + device),
            gateway: Ipv4Addr::new(10, 0, 1, 1),
            ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(),
        };
        CloudNet {
            interfaces: vec![
                interface(0, &["10.0.1.9/32"]),
                interface(1, &["10.0.1.20/32", "10.0.1.32/28"]),
                interface(2, &["10.0.1.30/32"]),
            ],
            vpc: vec![
                "10.0.0.0/16".parse().unwrap(),
                "100.64.0.0/16".parse().unwrap(),
            ],
        }
    }

    fn links() -> Vec<EthernetLink> {
        let link = |n: u8| EthernetLink {
            name: format!("eth{n}"),
            mac: Mac([2, 0, 0, 0, 0, n]),
            up: n == 0,
            addresses: vec![],
        };
        vec![link(0), link(1)]
    }

    #[test]
    fn an_interface_that_is_here_gets_its_table_and_one_that_is_not_serves_nobody() {
        let program = CloudProgram::of(&net(), &[], &links());
        let shown = |list: Vec<String>| list.join("\n");
        assert_eq!(
            shown(program.rules.iter().map(ToString::to_string).collect()),
            "from 0.0.0.0/0 lookup 254 suppress_prefixlength 31 priority 9398\n\
             from 10.0.1.20/32 lookup 141 priority 9399\n\
             from 10.0.1.32/28 lookup 141 priority 9399"
        );
        assert_eq!(
            shown(program.routes.iter().map(ToString::to_string).collect()),
            "10.0.0.0/16 via 10.0.1.1 dev eth1 table 141 proto 94 onlink\n\
             100.64.0.0/16 via 10.0.1.1 dev eth1 table 141 proto 94 onlink"
        );
        let ready: Vec<String> = program.ready.iter().map(ToString::to_string).collect();
        assert_eq!(ready, ["10.0.1.9/32", "10.0.1.20/32", "10.0.1.32/28"]);
        assert_eq!(program.missing, ["eni-2 (02:00:00:00:00:02)"]);
    }

    #[test]
    fn what_is_not_masqueraded_goes_by_the_interface_of_its_address() {
        let peered: [IpNet; 2] = ["172.31.0.0/16", "fd00::/8"].map(|r| r.parse().unwrap());
        let program = CloudProgram::of(&net(), &peered, &links());
        let to = program
            .routes
            .iter()
            .map(|route| route.destination.to_string());
        let to: Vec<String> = to.collect();
        assert_eq!(to, ["10.0.0.0/16", "100.64.0.0/16", "172.31.0.0/16"]);
    }

    #[test]
    fn links_are_set_up_once() {
        let program = CloudProgram::of(&net(), &[], &links());
        let mut observed = Observed {
            ethernet: links(),
            ..Observed::default()
        };
        let shown = |observed: &Observed| -> Vec<String> {
            let steps = cloud_steps(observed, Some(&program));
            steps.iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            shown(&observed),
            ["set link eth1 up", "add address 10.0.1.6/32 to eth1"]
        );
        observed.ethernet[1].up = true;
        observed.ethernet[1].addresses = vec!["10.0.1.6/32".parse().unwrap()];
        assert_eq!(shown(&observed), [""; 0]);
    }

    #[test]
    fn alone_on_the_first_interface_nothing_of_it_is_needed() {
        let mut net = net();
        net.interfaces.truncate(1);
        let program = CloudProgram::of(&net, &[], &links());
        assert_eq!((program.rules.len(), program.routes.len()), (0, 0));
        assert_eq!(program.ready.len(), 1);
    }
}

use std::net::IpAddr;

use sealane_ipam::{Pool, TooSmall};
use sealane_net::{Family, IpNet, Mac, Mtu, Ranges, Route, fingerprint, names};
use sealane_objects::NodeNet;
use sealane_route::Problem;
use sealane_ruleset::{NodeEgress, Table, node_egress};
use serde::Serialize;

use super::Uplink;

/// What the node's kernel should hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// Keys and values; those that this kernel does not have are left out when it is applied.
    pub sysctls: Vec<(&'static str, &'static str)>,
    pub bridge: BridgeProgram,
    /// One nft table for each family.
    pub tables: Vec<Table>,
    /// Ascending by destination.
    pub routes: Vec<Route>,
    /// What other nodes' objects do not allow to serve.
    pub problems: Vec<Problem>,
}

/// The bridge that pods are ports of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BridgeProgram {
    pub name: &'static str,
    /// Fixed, since a bridge otherwise takes the lowest address among its
    /// ports, and pods would send to a gateway that has just changed its own.
    pub mac: Mac,
    pub mtu: Mtu,
    /// The gateway of each pod subnet, with the subnet's prefix length.
    pub gateways: Vec<IpNet>,
}

/// What the node with object `this` should hold, among `nodes`, which may contain it.
///
/// `cluster` is the range of all pods where it is known; else the pod subnets
/// of all nodes stand for it.
///
/// # Errors
/// A pod subnet of this node without room for a pod.
pub fn compile(
    this: &NodeNet,
    nodes: &[NodeNet],
    cluster: Option<&Ranges>,
    uplink: &Uplink,
) -> Result<Program, TooSmall> {
    let routes = sealane_route::compile(&this.name, nodes);
    Ok(Program {
        sysctls: sysctls(&this.pod_cidrs),
        bridge: bridge(&this.pod_cidrs, uplink.mtu)?,
        tables: tables(this, nodes, cluster),
        routes: routes.routes,
        problems: routes.problems,
    })
}

fn bridge(subnets: &[IpNet], mtu: Mtu) -> Result<BridgeProgram, TooSmall> {
    let gateways: Vec<IpNet> = subnets
        .iter()
        .map(|subnet| {
            let gateway = Pool::new(*subnet, [])?.gateway();
            Ok(IpNet::new(gateway, subnet.prefix_len())
                .expect("a gateway is of its subnet's family"))
        })
        .collect::<Result<_, TooSmall>>()?;
    Ok(BridgeProgram {
        name: names::POD_BRIDGE,
        mac: mac_of(gateways.iter().map(IpNet::addr)),
        mtu,
        gateways,
    })
}

/// The Ethernet address that goes with an IP address: `02:00`, then the IPv4 address.
///
/// An address that passes from one pod to the next keeps its Ethernet
/// address, so nobody's neighbour table is ever wrong about it.
pub fn mac_of(addresses: impl Iterator<Item = IpAddr> + Clone) -> Mac {
    let v4 = addresses.clone().find_map(|address| match address {
        IpAddr::V4(v4) => Some(v4.octets()),
        IpAddr::V6(_) => None,
    });
    let bytes = v4.unwrap_or_else(|| {
        let text: Vec<u8> = addresses.flat_map(|a| a.to_string().into_bytes()).collect();
        (fingerprint(&text) as u32).to_be_bytes()
    });
    let [a, b, c, d] = bytes;
    Mac([2, u8::from(v4.is_none()), a, b, c, d])
}

/// Forwarding for the families of the pods, and the bridge's packets through
/// nft, without which a Service's backend on the same bridge is not reached.
fn sysctls(subnets: &[IpNet]) -> Vec<(&'static str, &'static str)> {
    let mut settings = Vec::new();
    let has = |family| subnets.iter().any(|subnet| Family::from(*subnet) == family);
    if has(Family::V4) {
        settings.push(("net.ipv4.ip_forward", "1"));
        settings.push(("net.bridge.bridge-nf-call-iptables", "1"));
    }
    if has(Family::V6) {
        settings.push(("net.ipv6.conf.all.forwarding", "1"));
        settings.push(("net.bridge.bridge-nf-call-ip6tables", "1"));
    }
    settings
}

fn tables(this: &NodeNet, nodes: &[NodeNet], cluster: Option<&Ranges>) -> Vec<Table> {
    let all = || {
        nodes
            .iter()
            .filter(|node| node.name != this.name)
            .chain([this])
    };
    let egress = NodeEgress {
        local_pods: this.pod_cidrs.clone(),
        cluster_pods: all()
            .flat_map(|node| node.pod_cidrs.iter().copied())
            .chain(cluster.into_iter().flat_map(Ranges::iter))
            .collect(),
        nodes: all()
            .flat_map(|node| node.internal_ips.iter().copied())
            .collect(),
    };
    Family::ALL
        .into_iter()
        .filter_map(|family| node_egress(family, &egress))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u8) -> NodeNet {
        NodeNet {
            name: format!("node-{n}"),
            internal_ips: vec![format!("172.29.0.{}", n + 1).parse().unwrap()],
            pod_cidrs: vec![format!("10.244.{n}.0/24").parse().unwrap()],
        }
    }

    fn uplink() -> Uplink {
        Uplink {
            name: "eth0".into(),
            mtu: Mtu::new(1450).unwrap(),
        }
    }

    #[test]
    fn gives_the_bridge_the_first_address_and_the_uplinks_mtu() {
        let program = compile(&node(1), &[node(1), node(2)], None, &uplink()).unwrap();
        assert_eq!(
            program.bridge.gateways,
            ["10.244.1.1/24".parse::<IpNet>().unwrap()]
        );
        assert_eq!(program.bridge.mac.to_string(), "02:00:0a:f4:01:01");
        assert_eq!(program.bridge.mtu.bytes(), 1450);
        let routes: Vec<String> = program.routes.iter().map(ToString::to_string).collect();
        assert_eq!(routes, ["10.244.2.0/24 via 172.29.0.3 proto 94"]);
    }

    #[test]
    fn masquerades_neither_towards_pods_nor_towards_nodes() {
        let cluster = "10.244.0.0/16".parse().unwrap();
        let program = compile(&node(1), &[node(1), node(2)], Some(&cluster), &uplink()).unwrap();
        let text = program.tables[0].to_string();
        for inside in ["10.244.0.0/16", "172.29.0.2", "172.29.0.3"] {
            assert!(text.contains(inside), "{inside} is missing in {text}");
        }
        assert_eq!(
            program.tables.len(),
            1,
            "no table for a family without pods"
        );
    }

    #[test]
    fn two_families_forward_in_both() {
        let mut this = node(1);
        this.pod_cidrs.push("fd00:10:244:1::/64".parse().unwrap());
        let program = compile(&this, &[], None, &uplink()).unwrap();
        assert_eq!(program.sysctls.len(), 4);
        assert_eq!(program.tables.len(), 2);
        assert_eq!(
            program.bridge.gateways[1].to_string(),
            "fd00:10:244:1::1/64"
        );
    }

    #[test]
    fn refuses_a_subnet_without_room() {
        let mut this = node(1);
        this.pod_cidrs = vec!["10.244.1.0/31".parse().unwrap()];
        assert!(compile(&this, &[], None, &uplink()).is_err());
    }

    #[test]
    fn ethernet_addresses_follow_ip_addresses() {
        let v6 = |text: &str| mac_of([text.parse().unwrap()].into_iter());
        assert_eq!(v6("fd00::1"), v6("fd00::1"));
        assert_ne!(v6("fd00::1"), v6("fd00::2"));
        assert_eq!(v6("fd00::1").0[0] & 3, 2, "locally administered, unicast");
        assert_eq!(v6("10.0.0.5").to_string(), "02:00:0a:00:00:05");
    }
}

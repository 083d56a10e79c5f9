//! Ways out: which packets leave with the address of the node, or of this machine.
//!
//! Inside the cluster nobody's address is ever changed: a pod sees the address
//! that others see. What leaves the cluster must carry an address that the
//! outside can answer to. And a pod sends with its node's pods' addresses
//! alone.

use std::net::IpAddr;

use sealane_net::{Family, IpNet, names};

use crate::{
    Chain, ChainType, CmpOp, Expr, Hook, PayloadField, Rule, Set, Table, Verdict, priority,
};

const LOCAL_PODS: &str = "local-pods";
const NO_MASQUERADE: &str = "no-masquerade";
const POD_SOURCES: &str = "pod-sources";

/// What decides which packets of pods a node masquerades. Both families mixed, in any order.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct NodeEgress {
    /// The pod subnets of this node.
    pub local_pods: Vec<IpNet>,
    /// Where pods are, on whatever node: the cluster's range where it is known, else every node's pod subnets.
    pub cluster_pods: Vec<IpNet>,
    /// The addresses of all nodes.
    pub nodes: Vec<IpAddr>,
    /// Whether pods are held to the addresses of their node's pods; not needed where each is held to its own.
    pub check_sources: bool,
}

/// The table of a node for one family; `None` when the node has no pods of that family.
///
/// ```text
/// pod 10.244.1.5 ── cbr0 ── routing ── postrouting ── eth0 ── 10.244.2.7    unchanged
///                                          │                  172.29.0.3    unchanged
///                                          └───────────────── 203.0.113.9   from 172.29.0.2
/// ```
///
/// Multicast is left alone as well: its receivers are on the link, and a group
/// member must see who speaks.
pub fn node_egress(family: Family, egress: &NodeEgress) -> Option<Table> {
    let local_pods = Set::of_networks(
        LOCAL_PODS,
        "pods of this node",
        family,
        egress.local_pods.iter().copied(),
    );
    if local_pods.elements.is_empty() {
        return None;
    }
    let nodes = egress.nodes.iter().map(|address| IpNet::from(*address));
    let inside = (egress.cluster_pods.iter().copied())
        .chain(egress.local_pods.iter().copied())
        .chain(nodes)
        .chain([multicast(family)]);
    let no_masquerade = Set::of_networks(
        NO_MASQUERADE,
        "pods, nodes and multicast: reached with the pod's own address",
        family,
        inside,
    );
    let rule = Rule::new()
        .address_in(PayloadField::SourceAddress, LOCAL_PODS)
        .address_not_in(PayloadField::DestinationAddress, NO_MASQUERADE)
        .counter()
        .masquerade()
        .comment("pods leave the cluster with this node's address");
    let mut sets = vec![local_pods, no_masquerade];
    let mut chains = vec![postrouting(rule)];
    if egress.check_sources {
        sets.push(pod_sources(family, &egress.local_pods));
        chains.push(sources());
    }
    Some(Table {
        sets,
        chains,
        ..Table::new(family, names::NFT_TABLE)
    })
}

/// Pods send with addresses of this node's pods, or none that leads anywhere:
/// nobody outside can be made to believe that a packet came from elsewhere.
///
/// Before everything else, connection tracking included, so that a flood with
/// made-up addresses fills no table.
fn sources() -> Chain {
    let rule = Rule::new()
        .input_link(CmpOp::Eq, names::POD_BRIDGE)
        .address_not_in(PayloadField::SourceAddress, POD_SOURCES)
        .counter()
        .verdict(Verdict::Drop)
        .comment("pods send with addresses of this node's pods alone");
    Chain::base(
        "sources",
        ChainType::Filter,
        Hook::Prerouting,
        priority::RAW,
        vec![rule],
    )
}

fn pod_sources(family: Family, local_pods: &[IpNet]) -> Set {
    // Neighbour discovery speaks from the link, or from nowhere yet (RFC 4861 §4).
    let unrouted = [
        IpNet::new_assert(IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 0]), 10),
        IpNet::new_assert(IpAddr::from([0; 16]), 128),
    ];
    let own = local_pods.iter().copied().chain(unrouted);
    let comment = "what pods of this node may send with";
    Set::of_networks(POD_SOURCES, comment, family, own)
}

/// The table of the machine that hosts cluster `cluster`, for the family of `nodes`: the node network goes out with the machine's address.
///
/// Whatever leaves by another link than the one to the nodes is masqueraded.
/// It only translates: forwarding is allowed or not by the rules that this
/// machine has, and an accept of ours would not override a drop of theirs.
pub fn machine_egress(cluster: &str, nodes: IpNet) -> Table {
    let rule = Rule::new()
        .address(PayloadField::SourceAddress, CmpOp::Eq, nodes)
        .output_link(CmpOp::Ne, &names::machine_link(cluster))
        .counter()
        .masquerade()
        .comment("nodes leave with this machine's address");
    Table {
        chains: vec![postrouting(rule)],
        ..Table::new(Family::from(nodes), names::machine_table(cluster))
    }
}

/// The table of the machine that hosts cluster `cluster`, for a family that leaves it not: what would be forwarded for nodes is refused.
pub fn machine_confinement(cluster: &str, family: Family) -> Table {
    let rule = Rule::new()
        .input_link(CmpOp::Eq, &names::machine_link(cluster))
        .counter()
        .with(Expr::Reject)
        .comment("nodes reach this machine and nothing beyond it");
    let forward = Chain::base(
        "forward",
        ChainType::Filter,
        Hook::Forward,
        priority::FILTER,
        vec![rule],
    );
    Table {
        chains: vec![forward],
        ..Table::new(family, names::machine_table(cluster))
    }
}

/// The table of a stand-alone bridge for the family of `subnet`: what leaves by another link goes out with the host's address.
pub fn bridge_egress(bridge: &str, subnet: IpNet) -> Table {
    let family = Family::from(subnet);
    let rule = Rule::new()
        .address(PayloadField::SourceAddress, CmpOp::Eq, subnet)
        .address(
            PayloadField::DestinationAddress,
            CmpOp::Ne,
            multicast(family),
        )
        .output_link(CmpOp::Ne, bridge)
        .counter()
        .masquerade()
        .comment("containers leave with this host's address");
    Table {
        chains: vec![postrouting(rule)],
        ..Table::new(family, names::bridge_table(bridge))
    }
}

fn postrouting(rule: Rule) -> Chain {
    Chain::base(
        "postrouting",
        ChainType::Nat,
        Hook::Postrouting,
        priority::SRCNAT,
        vec![rule],
    )
}

fn multicast(family: Family) -> IpNet {
    let (address, length) = match family {
        Family::V4 => (IpAddr::from([224, 0, 0, 0]), 4),
        Family::V6 => (IpAddr::from([0xff00, 0, 0, 0, 0, 0, 0, 0]), 8),
    };
    IpNet::new_assert(address, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn egress() -> NodeEgress {
        let networks = |list: &[&str]| list.iter().map(|n| n.parse().unwrap()).collect();
        NodeEgress {
            local_pods: networks(&["10.244.1.0/24", "fd00:10:244:1::/64"]),
            cluster_pods: networks(&["10.244.0.0/16", "fd00:10:244::/56"]),
            nodes: ["172.29.0.2", "172.29.0.3", "fd00:172:29::2"]
                .map(|address| address.parse().unwrap())
                .to_vec(),
            check_sources: true,
        }
    }

    #[test]
    fn of_a_node_reads_as_nft_lists_it() {
        let table = node_egress(Family::V4, &egress()).unwrap();
        let expected = format!(
            "table ip sealane {{
	comment \"{}\"
	set local-pods {{
		type ipv4_addr
		flags interval
		comment \"pods of this node\"
		elements = {{ 10.244.1.0/24 }}
	}}

	set no-masquerade {{
		type ipv4_addr
		flags interval
		comment \"pods, nodes and multicast: reached with the pod's own address\"
		elements = {{ 10.244.0.0/16, 172.29.0.2, 172.29.0.3, 224.0.0.0/4 }}
	}}

	set pod-sources {{
		type ipv4_addr
		flags interval
		comment \"what pods of this node may send with\"
		elements = {{ 10.244.1.0/24 }}
	}}

	chain postrouting {{
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr @local-pods ip daddr != @no-masquerade counter masquerade fully-random comment \"pods leave the cluster with this node's address\"
	}}

	chain sources {{
		type filter hook prerouting priority raw; policy accept;
		iifname \"cbr0\" ip saddr != @pod-sources counter drop comment \"pods send with addresses of this node's pods alone\"
	}}
}}",
            table.stamp()
        );
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn exists_for_each_family_that_has_pods() {
        let v6 = node_egress(Family::V6, &egress()).unwrap().to_string();
        assert!(v6.starts_with("table ip6 sealane {"));
        assert!(
            v6.contains("elements = { ::, fd00:10:244:1::/64, fe80::/10 }"),
            "{v6}"
        );
        assert!(v6.contains("elements = { fd00:10:244::/56, fd00:172:29::2, ff00::/8 }"));
        let v4_only = NodeEgress {
            local_pods: vec!["10.244.1.0/24".parse().unwrap()],
            ..egress()
        };
        assert_eq!(node_egress(Family::V6, &v4_only), None);
    }

    #[test]
    fn never_masquerades_towards_its_own_pods_even_if_the_cluster_range_is_unknown() {
        let lonely = NodeEgress {
            cluster_pods: vec![],
            nodes: vec![],
            ..egress()
        };
        let text = node_egress(Family::V4, &lonely).unwrap().to_string();
        assert!(
            text.contains("elements = { 10.244.1.0/24, 224.0.0.0/4 }"),
            "{text}"
        );
    }

    #[test]
    fn of_the_machine_leaves_the_link_to_the_nodes_alone() {
        let table = machine_egress("sealane", "172.29.0.0/24".parse().unwrap());
        assert_eq!(table.name, "sealane-up-sealane");
        assert!(table.to_string().contains(
            "\t\tip saddr 172.29.0.0/24 oifname != \"sealane0\" counter masquerade fully-random comment"
        ));
    }

    #[test]
    fn of_a_machine_that_lets_nobody_out_refuses_what_comes_from_the_nodes() {
        let text = machine_confinement("a", Family::V6).to_string();
        for part in [
            "table ip6 sealane-up-a {",
            "type filter hook forward priority filter; policy accept;",
            "\t\tiifname \"sl-a\" counter reject comment \"nodes reach",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }

    #[test]
    fn the_stamp_follows_the_program_and_nothing_else() {
        let table = node_egress(Family::V4, &egress()).unwrap();
        let mut reordered = egress();
        reordered.nodes.reverse();
        assert_eq!(
            node_egress(Family::V4, &reordered).unwrap().stamp(),
            table.stamp()
        );
        reordered.nodes.pop();
        assert_ne!(
            node_egress(Family::V4, &reordered).unwrap().stamp(),
            table.stamp()
        );
    }
}

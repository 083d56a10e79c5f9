//! Ways out: which packets leave with the address of the node, or of this machine.
//!
//! Inside the cluster nobody's address is ever changed: a pod sees the address
//! that others see. What leaves the cluster must carry an address that the
//! outside can answer to. And a pod sends with its node's pods' addresses
//! alone. What is inside a datagram of the overlay has passed no such check
//! here, so only nodes are believed there.

use std::net::IpAddr;

use sealane_net::{Family, IpNet, names};

use crate::{Chain, ChainType, CmpOp, Hook, PayloadField, Rule, Set, Table, Verdict, priority};

const LOCAL_PODS: &str = "local-pods";
const NO_MASQUERADE: &str = "no-masquerade";
const POD_SOURCES: &str = "pod-sources";
const NODES: &str = "nodes";

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
    /// Where the overlay's datagrams come, if there is an overlay.
    pub tunnel: Option<TunnelEnd>,
}

/// A node's end of the overlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelEnd {
    /// Of the datagrams, whatever is inside.
    pub family: Family,
    /// Of UDP.
    pub port: u16,
}

/// The table of a node for one family; `None` when the node has neither pods nor datagrams of the overlay of that family.
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
    let mut table = Table::new(family, names::NFT_TABLE);
    masquerade(&mut table, family, egress);
    if let Some(tunnel) = egress.tunnel.filter(|tunnel| tunnel.family == family) {
        let nodes = egress.nodes.iter().map(|address| IpNet::from(*address));
        let comment = "whose datagrams of the overlay are believed";
        table
            .sets
            .push(Set::of_networks(NODES, comment, family, nodes));
        table.chains.push(overlay(tunnel.port));
    }
    (!table.chains.is_empty()).then_some(table)
}

/// Nothing for a family without pods.
fn masquerade(table: &mut Table, family: Family, egress: &NodeEgress) {
    let local_pods = Set::of_networks(
        LOCAL_PODS,
        "pods of this node",
        family,
        egress.local_pods.iter().copied(),
    );
    if local_pods.elements.is_empty() {
        return;
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
    table.sets.extend([local_pods, no_masquerade]);
    table.chains.push(postrouting(rule));
    if egress.check_sources {
        table.sets.push(pod_sources(family, &egress.local_pods));
        table.chains.push(sources());
    }
}

/// Datagrams of the overlay come from nodes: a pod could put any packet into one.
///
/// A pod reaches nodes with its own address, so asking who is a node is asking
/// whether it is no pod; and others who can send here without pretending are
/// refused as well.
fn overlay(port: u16) -> Chain {
    let rule = Rule::new()
        .field(PayloadField::UdpDestination, &port.to_be_bytes())
        .address_not_in(PayloadField::SourceAddress, NODES)
        .counter()
        .verdict(Verdict::Drop)
        .comment("nodes alone send through the overlay");
    Chain::base(
        "overlay",
        ChainType::Filter,
        Hook::Input,
        priority::RAW,
        vec![rule],
    )
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
            tunnel: None,
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
    fn the_overlay_believes_nodes_alone_also_where_pods_have_another_family() {
        let tunnel = |family| NodeEgress {
            tunnel: Some(TunnelEnd { family, port: 4789 }),
            local_pods: vec!["10.244.1.0/24".parse().unwrap()],
            ..egress()
        };
        let text = |family, egress: &NodeEgress| node_egress(family, egress).unwrap().to_string();
        let v4 = text(Family::V4, &tunnel(Family::V4));
        for expected in [
            "\ttype filter hook input priority raw; policy accept;\n\t\tudp dport 4789 ip saddr != @nodes counter drop",
            "elements = { 172.29.0.2, 172.29.0.3 }",
            "masquerade",
        ] {
            assert!(v4.contains(expected), "{expected} is missing in {v4}");
        }
        assert_eq!(node_egress(Family::V6, &tunnel(Family::V4)), None);
        let v6 = text(Family::V6, &tunnel(Family::V6));
        assert!(v6.contains("udp dport 4789 ip6 saddr != @nodes counter drop"));
        assert!(!v6.contains("masquerade"), "{v6}");
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

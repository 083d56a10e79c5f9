//! Every name and number under which Sealane puts something into a kernel, in one place.
//!
//! Whatever we make carries one of these, so that it can be found, shown and
//! removed, and so that nothing foreign is ever touched. Link names are at
//! most 15 bytes long (`IFNAMSIZ`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{Family, fingerprint};

/// The cluster that a command means when no `--name` is given.
pub const DEFAULT_CLUSTER: &str = "sealane";

/// The `proto` of our routes. Unused by the daemons listed in `/etc/iproute2/rt_protos`.
pub const ROUTE_PROTOCOL: u8 = 94;

/// The routing table with the ways from pods to nodes that the overlay reaches, the same number as [`ROUTE_PROTOCOL`].
pub const ROUTE_TABLE: u8 = 94;

/// The priority of the rule that sends pods' packets to [`ROUTE_TABLE`]: before the main table's 32766.
pub const RULE_PRIORITY: u32 = 9400;

/// The metric of the routes that say that a node's subnets hold nothing but its pods: behind whatever a link brings along.
pub const UNREACHABLE_METRIC: u32 = 9400;

/// The next hop of pods that are routed; no link has it, so that it is the same on every node.
pub const ROUTED_GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// The same for IPv6.
pub const ROUTED_GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// The priority of the rules that send what comes from addresses of a second network interface by that interface; one
/// less for the rule that comes before them. Before [`RULE_PRIORITY`].
pub const CLOUD_PRIORITY: u32 = 9399;

/// The routing tables of second and further network interfaces: 141 for device 1 and so on; none of them is
/// one that Linux has itself.
const CLOUD_TABLES: std::ops::Range<u8> = 140..253;

/// The bit of the packet mark that asks for masquerading, the one that kube-proxy uses. All other bits are foreign and kept.
pub const MASQUERADE_MARK: u32 = 0x4000;

/// The nft table of a node, in the families `ip` and `ip6`. All our tables begin with this word.
pub const NFT_TABLE: &str = "sealane";

/// The nft table of a node that keeps pods from sending what is not theirs, in several families.
pub const NFT_GUARD_TABLE: &str = "sealane-guard";

/// The group of the near ends of pods' links (`ip link show group 94`), by which rules tell them from foreign links
/// at the price of one comparison. The same number as [`ROUTE_PROTOCOL`].
pub const POD_LINK_GROUP: u32 = 94;

/// The nft table of a node for Services, in the families `ip` and `ip6`.
///
/// Not [`NFT_TABLE`], which is replaced as a whole when what is in it changes.
pub const SERVICES_TABLE: &str = "sealane-services";

/// The nft table of a node that stands in for [`SERVICES_TABLE`] while that is made anew.
pub const SERVICES_SPARE_TABLE: &str = "sealane-services-spare";

/// The nft table of a node that keeps questions to its own DNS server from being tracked and translated, in the
/// families `ip` and `ip6`.
pub const DNS_TABLE: &str = "sealane-dns";

/// The set of [`DNS_TABLE`] with the addresses that the node answers at.
pub const DNS_ADDRESSES: &str = "addresses";

/// The port of DNS (RFC 1035 §4.2).
pub const DNS_PORT: u16 = 53;

/// The `proto` of the addresses on `lo` at which a node's DNS server answers (`ip address show dev lo`).
///
/// Not [`ROUTE_PROTOCOL`]: addresses with that one are the agent's, which takes away those that it does not want.
pub const DNS_PROTOCOL: u8 = 53;

/// The link-local address at which each node's DNS server answers besides the cluster's: the one that
/// NodeLocal DNSCache has made usual.
pub const DNS_LOCAL_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 20, 10);

/// The same for IPv6. Unique-local (RFC 4193), since a link-local one would need its link named in each question.
pub const DNS_LOCAL_V6: Ipv6Addr = Ipv6Addr::new(0xfd94, 0, 0, 0, 0, 0, 0, 0x53);

/// The link of a node that holds the addresses of its DNS server.
pub const DNS_LINK: &str = "lo";

/// Lets packets with addresses of 127.0.0.0/8 leave and come by other links than lo, for node ports there.
///
/// Only together with rules that keep others from them.
pub const LOCALNET_SYSCTL: &str = "net.ipv4.conf.all.route_localnet";

/// The bridge of a node that its pods are attached to; the name that the documents of Kubernetes draw.
pub const POD_BRIDGE: &str = "cbr0";

/// What the name of a pod's link on its node begins with.
pub const POD_LINK_PREFIX: &str = "sl";

/// The link to the nodes of the cluster, inside a node, and to the node, inside a pod.
pub const UPLINK: &str = "eth0";

/// The VXLAN link of a node, where nodes do not share a link.
pub const VXLAN: &str = "sl.vxlan";

/// The UDP port of VXLAN (RFC 7348 §8), by which capture programs and network cards know it.
///
/// 8472, which Linux takes by default and other overlays use, shows in
/// `tcpdump` as something else.
pub const VXLAN_PORT: u16 = 4789;

/// The VXLAN network identifier of pods, the same number as [`ROUTE_PROTOCOL`].
pub const VXLAN_VNI: u32 = 94;

/// The bridge of the node network, inside the namespace [`network_netns`].
pub const NODE_BRIDGE: &str = "nodes";

/// The port of [`NODE_BRIDGE`] at which this machine is attached.
pub const MACHINE_PORT: &str = "machine";

const LINK_NAME_MAX: usize = 15;

/// The routing table of a network interface, by its place at the machine (1, 2, …).
pub fn cloud_table(device: u8) -> u8 {
    CLOUD_TABLES.start + device % (CLOUD_TABLES.end - CLOUD_TABLES.start)
}

/// Whether routes of a table may be ours, beside those of the main one.
pub fn is_own_table(table: u8) -> bool {
    table == ROUTE_TABLE || CLOUD_TABLES.contains(&table)
}

/// The Kubernetes name and host name of node `number` (1, 2, …): `node-1`.
pub fn node(number: u32) -> String {
    format!("node-{number}")
}

/// The network namespace of a node, below `/run/netns`: `sealane-node-1`.
pub fn node_netns(cluster: &str, number: u32) -> String {
    format!("{cluster}-{}", node(number))
}

/// The network namespace that holds the bridge of the node network: `sealane-net`.
pub fn network_netns(cluster: &str) -> String {
    format!("{cluster}-net")
}

/// The port of [`NODE_BRIDGE`] at which a node is attached: `node-1`.
pub fn node_port(number: u32) -> String {
    node(number)
}

/// This machine's end of its link to the node network: `sealane0`, or a name made from the cluster's.
///
/// `sl-NAME` where that fits, else `sl-` and a hash, so that a cluster called
/// `eth` does not take `eth0`.
pub fn machine_link(cluster: &str) -> String {
    if cluster == DEFAULT_CLUSTER {
        return "sealane0".into();
    }
    let readable = format!("{POD_LINK_PREFIX}-{cluster}");
    if readable.len() <= LINK_NAME_MAX {
        readable
    } else {
        format!(
            "{POD_LINK_PREFIX}-{:012x}",
            fingerprint(cluster.as_bytes()) >> 16
        )
    }
}

/// The nft table on this machine through which a single-machine cluster reaches the outside: `sealane-up-NAME`.
///
/// Not [`NFT_TABLE`], which belongs to an agent that may run on this machine itself.
pub fn machine_table(cluster: &str) -> String {
    format!("{NFT_TABLE}-up-{cluster}")
}

/// The nft table of a stand-alone bridge: `sealane-br-docker0`.
pub fn bridge_table(bridge: &str) -> String {
    format!("{NFT_TABLE}-br-{bridge}")
}

/// The link on the node of a pod's interface: `sl` and 12 hex digits made from the container's id and the interface's name.
///
/// The same input always gives the same name, so a repeated CNI ADD or a DEL
/// after a restart finds the link without any record.
pub fn pod_link(container_id: &str, interface: &str) -> String {
    let key = [container_id.as_bytes(), b"\0", interface.as_bytes()].concat();
    format!("{POD_LINK_PREFIX}{:012x}", fingerprint(&key) >> 16)
}

/// The next hop of a pod that is routed.
pub fn routed_gateway(family: Family) -> IpAddr {
    match family {
        Family::V4 => ROUTED_GATEWAY_V4.into(),
        Family::V6 => ROUTED_GATEWAY_V6.into(),
    }
}

/// The address of a node's DNS server that is the same in all clusters.
pub fn dns_local(family: Family) -> IpAddr {
    match family {
        Family::V4 => DNS_LOCAL_V4.into(),
        Family::V6 => DNS_LOCAL_V6.into(),
    }
}

/// Whether a link's name is one that [`pod_link`] makes.
pub fn is_pod_link(name: &str) -> bool {
    name.strip_prefix(POD_LINK_PREFIX)
        .is_some_and(|digits| digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_as_the_documents_draw_them() {
        assert_eq!(node_netns("sealane", 1), "sealane-node-1");
        assert_eq!(network_netns("sealane"), "sealane-net");
        assert_eq!(machine_table("sealane"), "sealane-up-sealane");
        assert_eq!(node_port(2), "node-2");
    }

    #[test]
    fn of_the_machines_link_fit_the_kernel_and_take_no_foreign_name() {
        for (cluster, link) in [
            ("sealane", "sealane0"),
            ("eth", "sl-eth"),
            ("twelve-bytes", "sl-twelve-bytes"),
        ] {
            assert_eq!(machine_link(cluster), link);
        }
        let long = machine_link("a-rather-long-name");
        assert_eq!(long.len(), LINK_NAME_MAX);
        assert_ne!(long, machine_link("a-rather-long-name-2"));
    }

    #[test]
    fn of_pod_links_are_stable_distinct_and_short() {
        let name = pod_link("3f2a", "eth0");
        assert_eq!(name, pod_link("3f2a", "eth0"));
        assert_ne!(name, pod_link("3f2a", "eth1"));
        assert_ne!(pod_link("ab", "c"), pod_link("a", "bc"));
        assert!(name.len() <= LINK_NAME_MAX);
        assert!(is_pod_link(&name));
        for other in ["sl-test", "sl.vxlan", "sl0", "eth0", "sl0123456789ag"] {
            assert!(!is_pod_link(other), "{other}");
        }
    }
}

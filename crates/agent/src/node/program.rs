use std::net::IpAddr;

use super::{
    BridgeProgram, Choices, CloudProgram, OverlayProgram, RoutedProgram, Site, bridge::new_pods_mtu,
};
use sealane_ipam::{Pool, TooSmall};
use sealane_net::{
    AntiSpoofing, Attachment, Family, IpNet, Mac, Mtu, Ranges, Route, fingerprint, names,
};
use sealane_netlink::{Rule, Tunnel};
use sealane_objects::NodeNet;
use sealane_route::{Problem, Underlay};
use sealane_ruleset::{NodeEgress, Table, node_egress};

/// What the node's kernel should hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// In the order in which they must be set; those that this kernel does not have are left out.
    pub sysctls: Vec<Sysctl>,
    /// How new pods are attached.
    pub attachment: Attachment,
    /// Of new pods.
    pub mtu: Mtu,
    /// The gateway of each pod subnet, with the subnet's prefix length.
    pub gateways: Vec<IpNet>,
    /// While pods are its ports, or new ones are to be.
    pub bridge: Option<BridgeProgram>,
    /// While pods are routed, or new ones are to be.
    pub routed: Option<RoutedProgram>,
    /// `None` while no other node is reached through it.
    pub overlay: Option<OverlayProgram>,
    /// One nft table for each family.
    pub tables: Vec<Table>,
    /// Ascending by destination.
    pub routes: Vec<Route>,
    /// Where addresses come from the machine's network interfaces.
    pub cloud: Option<CloudProgram>,
    /// What leads this node's pods to the routes of our own tables.
    pub rules: Vec<Rule>,
    /// The node's blocks of named pools, which all of this leads to.
    pub blocks: Vec<IpNet>,
    /// What other nodes' objects do not allow to serve.
    pub problems: Vec<Problem>,
}

/// A setting of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    pub key: String,
    pub value: &'static str,
    /// Only this value is replaced; another one is an operator's.
    pub instead_of: Option<&'static str>,
}

/// What the node with object `this` should hold, among `nodes`, which may contain it.
///
/// # Errors
/// A pod subnet of this node without room for a pod.
pub fn compile(
    this: &NodeNet,
    nodes: &[NodeNet],
    choices: &Choices,
    site: &Site,
) -> Result<Program, TooSmall> {
    let mut underlay = Underlay {
        routing: choices.routing,
        on_link: site.on_link.clone(),
        behind: site.behind.clone(),
        ..Underlay::of(site.uplink.address, site.uplink.mtu)
    };
    let pod_networks: Vec<IpNet> = this.pod_networks().collect();
    let cloud = choices.cloud.as_ref();
    // Addresses of the machine's interfaces are in no subnet of ours, so nobody is its first.
    let gateways = match cloud {
        Some(_) => Vec::new(),
        None => gateways(&this.pod_cidrs)?,
    };
    let cloud = cloud.map(|net| CloudProgram::of(net, &choices.non_masquerade, &site.ethernet));
    underlay.sources = gateways.iter().map(IpNet::addr).collect();
    // Pods that are there keep their attachment.
    let bridged = choices.attachment == Attachment::Bridge || site.bridged_mtu.is_some();
    let routed = choices.attachment == Attachment::Routed || !site.routed.is_empty();
    let bridge = bridged.then(|| BridgeProgram::of(&gateways, site, &underlay));
    let routed = routed.then(|| RoutedProgram::of(&gateways, &this.pod_ranges, site, bridged));
    let mtu = match (choices.attachment, &bridge) {
        (Attachment::Bridge, Some(bridge)) => bridge.mtu,
        _ => new_pods_mtu(site, &underlay),
    };
    let mut routes = sealane_route::compile(&this.name, nodes, &underlay);
    let mut rules = rules(&pod_networks, &routes.routes);
    if let Some(cloud) = &cloud {
        routes.routes.extend(cloud.routes.iter().cloned());
        routes.routes.sort();
        rules.extend(cloud.rules.iter().copied());
    }
    if bridge.is_some() {
        let ways = this.pod_ranges.iter();
        // The bridge's ports have addresses outside of its subnets too.
        routes.routes.extend(ways.map(|block| Route {
            source: gateway_like(&gateways, block),
            ..Route::on_link(*block, names::POD_BRIDGE)
        }));
        routes.routes.sort_unstable();
    }
    let tunnel = Tunnel {
        vni: choices.vxlan_vni,
        port: choices.vxlan_port,
        local: underlay.address,
    };
    Ok(Program {
        sysctls: sysctls(
            &this.pod_cidrs,
            &site.uplink.name,
            bridged,
            routed.is_some(),
        ),
        attachment: choices.attachment,
        mtu,
        gateways,
        bridge,
        routed,
        overlay: OverlayProgram::of(&this.name, tunnel, underlay.tunnel_mtu, &routes),
        tables: tables(this, nodes, choices),
        rules,
        cloud,
        routes: routes.routes,
        blocks: this.pod_ranges.clone(),
        problems: routes.problems,
    })
}

fn gateway_like(gateways: &[IpNet], network: &IpNet) -> Option<IpAddr> {
    let mut addresses = gateways.iter().map(IpNet::addr);
    addresses.find(|gateway| Family::from(*gateway) == Family::from(*network))
}

/// One for each pod subnet of a family that has routes in our table.
fn rules(subnets: &[IpNet], routes: &[Route]) -> Vec<Rule> {
    let has_way = |subnet: &&IpNet| {
        let fits = |route: &Route| {
            route.table == names::ROUTE_TABLE
                && Family::from(route.destination) == Family::from(**subnet)
        };
        routes.iter().any(fits)
    };
    let rule = |subnet: &IpNet| Rule {
        from: subnet.trunc(),
        table: names::ROUTE_TABLE,
        priority: names::RULE_PRIORITY,
        suppress_shorter_than: None,
    };
    subnets.iter().filter(has_way).map(rule).collect()
}

/// The first address of each pod subnet, with the subnet's prefix length.
fn gateways(subnets: &[IpNet]) -> Result<Vec<IpNet>, TooSmall> {
    let gateway = |subnet: &IpNet| {
        let gateway = Pool::new(*subnet, [])?.gateway();
        Ok(IpNet::new(gateway, subnet.prefix_len()).expect("a gateway is of its subnet's family"))
    };
    subnets.iter().map(gateway).collect()
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

/// Forwarding for the families of the pods; with a bridge, its packets through
/// nft, without which a Service's backend on the same bridge is not reached.
/// With pods of both kinds, the node answers on the bridge for those that are
/// routed, without the pause that Linux makes for it (proxy_delay, 0.8 s).
///
/// A router does not listen to other routers by itself: a node that has its
/// IPv6 default route from one would lose it with forwarding, so it is told to
/// go on listening, before that.
fn sysctls(subnets: &[IpNet], uplink: &str, bridged: bool, routed: bool) -> Vec<Sysctl> {
    let mut settings = Vec::new();
    let mut set = |key: String, value, instead_of| {
        settings.push(Sysctl {
            key,
            value,
            instead_of,
        });
    };
    let has = |family| subnets.iter().any(|subnet| Family::from(*subnet) == family);
    if has(Family::V4) {
        set("net.ipv4.ip_forward".into(), "1", None);
        if bridged {
            set("net.bridge.bridge-nf-call-iptables".into(), "1", None);
        }
        if bridged && routed {
            set("net.ipv4.neigh.cbr0.proxy_delay".into(), "0", None);
        }
    }
    if has(Family::V6) {
        set(format!("net/ipv6/conf/{uplink}/accept_ra"), "2", Some("1"));
        set("net.ipv6.conf.all.forwarding".into(), "1", None);
        if bridged {
            set("net.bridge.bridge-nf-call-ip6tables".into(), "1", None);
        }
        if bridged && routed {
            set("net.ipv6.conf.cbr0.proxy_ndp".into(), "1", None);
            set("net.ipv6.neigh.cbr0.proxy_delay".into(), "0", None);
        }
    }
    settings
}

fn tables(this: &NodeNet, nodes: &[NodeNet], choices: &Choices) -> Vec<Table> {
    let cluster = choices.cluster_cidr.as_ref();
    // In all of a VPC pods are known by their own address.
    let vpc = choices.cloud.iter().flat_map(|net| net.vpc.iter().copied());
    let all = || {
        nodes
            .iter()
            .filter(|node| node.name != this.name)
            .chain([this])
    };
    let egress = NodeEgress {
        local_pods: this.pod_networks().collect(),
        cluster_pods: all()
            .flat_map(NodeNet::pod_networks)
            .chain(cluster.into_iter().flat_map(Ranges::iter))
            .chain(choices.non_masquerade.iter().copied())
            .chain(vpc.map(IpNet::V4))
            .collect(),
        nodes: all()
            .flat_map(|node| node.internal_ips.iter().copied())
            .collect(),
        check_sources: choices.anti_spoofing == AntiSpoofing::Node,
    };
    Family::ALL
        .into_iter()
        .filter_map(|family| node_egress(family, &egress))
        .collect()
}

#[cfg(test)]
mod tests {
    use sealane_route::Routing;

    use super::*;
    use crate::node::Uplink;

    fn node(n: u8) -> NodeNet {
        NodeNet {
            name: format!("node-{n}"),
            internal_ips: vec![format!("172.29.0.{}", n + 1).parse().unwrap()],
            pod_cidrs: vec![format!("10.244.{n}.0/24").parse().unwrap()],
            ..Default::default()
        }
    }

    fn site() -> Site {
        Site {
            uplink: Uplink {
                name: "eth0".into(),
                mtu: Mtu::new(1450).unwrap(),
                address: "172.29.0.2".parse().unwrap(),
            },
            on_link: vec!["172.29.0.0/24".parse().unwrap()],
            behind: vec![],
            bridged_mtu: None,
            routed: vec![],
            ethernet: vec![],
        }
    }

    fn compile(this: &NodeNet, nodes: &[NodeNet]) -> Result<Program, TooSmall> {
        super::compile(this, nodes, &Choices::default(), &site())
    }

    #[test]
    fn gives_the_bridge_the_first_address_and_the_uplinks_mtu() {
        let program = compile(&node(1), &[node(1), node(2)]).unwrap();
        assert_eq!(
            program.gateways,
            ["10.244.1.1/24".parse::<IpNet>().unwrap()]
        );
        assert_eq!(
            program.bridge.as_ref().unwrap().mac.to_string(),
            "02:00:0a:f4:01:01"
        );
        assert_eq!(program.mtu.bytes(), 1450);
        let routes: Vec<String> = program.routes.iter().map(ToString::to_string).collect();
        assert_eq!(routes, ["10.244.2.0/24 via 172.29.0.3 proto 94"]);
    }

    #[test]
    fn masquerades_neither_towards_pods_nor_towards_nodes() {
        let choices = Choices {
            cluster_cidr: "10.244.0.0/16".parse().ok(),
            ..Choices::default()
        };
        let program = super::compile(&node(1), &[node(1), node(2)], &choices, &site()).unwrap();
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
        let program = compile(&this, &[]).unwrap();
        assert_eq!(program.sysctls.len(), 5);
        assert_eq!(program.tables.len(), 2);
        assert_eq!(program.gateways[1].to_string(), "fd00:10:244:1::1/64");
    }

    #[test]
    fn the_overlay_is_there_when_a_route_takes_it_and_leaves_pods_their_mtu() {
        let mut far = node(3);
        far.internal_ips = vec!["172.30.0.4".parse().unwrap()];
        let near = compile(&node(1), &[node(1), node(2)]).unwrap();
        assert_eq!(near.overlay, None);
        let program = compile(&node(1), &[node(1), node(2), far]).unwrap();
        let overlay = program.overlay.unwrap();
        assert_eq!(overlay.mtu.bytes(), 1400);
        assert_eq!(
            overlay.tunnel.to_string(),
            "id 94 dstport 4789 local 172.29.0.2"
        );
        assert_eq!(program.mtu.bytes(), 1450);
        let routes: Vec<String> = program.routes.iter().map(ToString::to_string).collect();
        assert_eq!(
            routes[1],
            "10.244.3.0/24 via 10.244.3.1 dev sl.vxlan proto 94 src 10.244.1.1 onlink mtu 1400"
        );
        let rules: Vec<String> = program.rules.iter().map(ToString::to_string).collect();
        assert_eq!(rules, ["from 10.244.1.0/24 lookup 94 priority 9400"]);
        assert_eq!(near.rules, []);
    }

    #[test]
    fn pods_keep_the_mtu_of_those_that_are_there() {
        let mtu = |routing, pod_mtu: Option<u32>| {
            let choices = Choices {
                routing,
                ..Choices::default()
            };
            let site = Site {
                bridged_mtu: pod_mtu.and_then(|bytes| Mtu::new(bytes).ok()),
                ..site()
            };
            let program = super::compile(&node(1), &[], &choices, &site).unwrap();
            program.mtu.bytes()
        };
        assert_eq!(mtu(Routing::Auto, None), 1450);
        assert_eq!(mtu(Routing::Vxlan, None), 1400);
        assert_eq!(mtu(Routing::Auto, Some(9000)), 9000);
    }

    fn attached(attachment: Attachment, site: &Site) -> Program {
        let mut this = node(1);
        this.pod_cidrs.push("fd00:10:244:1::/64".parse().unwrap());
        let choices = Choices {
            attachment,
            ..Choices::default()
        };
        super::compile(&this, &[], &choices, site).unwrap()
    }

    #[test]
    fn pods_that_are_routed_need_no_bridge_and_leave_nothing_to_the_default_route() {
        let program = attached(Attachment::Routed, &site());
        assert_eq!(program.bridge, None);
        let routed = program.routed.unwrap();
        let addresses: Vec<String> = routed.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["10.244.1.1/32", "fd00:10:244:1::1/128"]);
        let unreachable: Vec<String> = routed.unreachable.iter().map(ToString::to_string).collect();
        assert_eq!(
            unreachable,
            [
                "unreachable 10.244.1.0/24 proto 94 metric 9400",
                "unreachable fd00:10:244:1::/64 proto 94 metric 9400",
            ]
        );
        let bridge_settings = program.sysctls.iter().any(|s| s.key.contains("bridge"));
        assert!(!bridge_settings, "{:?}", program.sysctls);
        assert_eq!(attached(Attachment::Bridge, &site()).routed, None);
    }

    #[test]
    fn both_kinds_are_served_while_pods_of_both_are_there() {
        let pods_of_both = Site {
            bridged_mtu: Mtu::new(1400).ok(),
            routed: vec!["10.244.1.7".parse().unwrap()],
            ..site()
        };
        for (attachment, mtu) in [(Attachment::Bridge, 1400), (Attachment::Routed, 1450)] {
            let program = attached(attachment, &pods_of_both);
            assert_eq!(program.mtu.bytes(), mtu, "of new pods: {attachment}");
            assert_eq!(program.bridge.unwrap().mtu.bytes(), 1400);
            let proxied = program.routed.unwrap().proxied;
            assert_eq!(proxied, ["10.244.1.7".parse().unwrap()].into());
        }
    }

    #[test]
    fn refuses_a_subnet_without_room() {
        let mut this = node(1);
        this.pod_cidrs = vec!["10.244.1.0/31".parse().unwrap()];
        assert!(compile(&this, &[]).is_err());
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

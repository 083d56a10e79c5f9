use std::{fmt, net::IpAddr};

use sealane_net::{IpNet, Mac, Route, names};
use sealane_netlink::{Rule, Vxlan};
use sealane_route::Change as RouteChange;
use sealane_ruleset::{Change as TableChange, Loaded, Table};

use super::{
    BridgeProgram, Observed, Program,
    bridge::{bridge_steps, farewell},
    cloud::cloud_steps,
    overlay::overlay_steps,
    routed::{HOLDER, routed_steps},
};

/// One change of the kernel.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    SetSysctl(String, &'static str),
    /// Makes the bridge, or changes the one that is there.
    SetBridge(BridgeProgram),
    /// Removes the bridge, which has no ports any more.
    DeleteBridge,
    /// To the link of this name.
    AddAddress(&'static str, IpNet),
    DeleteAddress(&'static str, IpNet),
    /// Sets a network interface of the machine up.
    SetUp(String),
    /// To a network interface of the machine.
    AddCloudAddress(String, IpNet),
    /// Lets the node answer on the bridge when this pod is asked for.
    AddProxy(IpAddr),
    DeleteProxy(IpAddr),
    /// Makes the overlay's link, or changes the one that is there.
    SetOverlay(Vxlan<'static>),
    /// Removes the overlay's link, and what goes with it: its entries and routes.
    DeleteOverlay,
    /// Frames for this Ethernet address go to this node.
    SetForwarding(Mac, IpAddr),
    DeleteForwarding(Mac),
    /// This next hop on the overlay has this Ethernet address.
    SetNeighbour(IpAddr, Mac),
    DeleteNeighbour(IpAddr),
    LoadTable(Table),
    DeleteTable(Loaded),
    SetRoute(Route),
    DeleteRoute(Route),
    AddRule(Rule),
    DeleteRule(Rule),
}

/// What turns `observed` into `program`, in the order in which it must be done.
pub fn diff(observed: &Observed, program: &Program) -> Vec<Step> {
    let mut steps = Vec::new();
    for setting in &program.sysctls {
        // A setting that this kernel does not have cannot be wrong either.
        if let Some(found) = observed.sysctls.get(&setting.key)
            && found != setting.value
            && setting.instead_of.is_none_or(|only| only == found)
        {
            steps.push(Step::SetSysctl(setting.key.clone(), setting.value));
        }
    }
    if let Some(bridge) = &program.bridge {
        steps.extend(bridge_steps(observed, bridge));
    }
    let routed = routed_steps(observed, program.routed.as_ref());
    steps.extend(routed.before);
    steps.extend(cloud_steps(observed, program.cloud.as_ref()));
    let tables = sealane_ruleset::diff(&observed.tables, names::NFT_TABLE, &program.tables);
    steps.extend(tables.into_iter().filter_map(|change| match change {
        TableChange::Load(table) => Some(Step::LoadTable(table.clone())),
        TableChange::Delete(loaded) => Some(Step::DeleteTable(loaded.clone())),
        // Elements come and go apart from their tables.
        TableChange::Add(_) | TableChange::Remove(_) => None,
    }));
    let overlay = overlay_steps(observed.overlay.as_ref(), program.overlay.as_ref());
    steps.extend(overlay.before);
    let through_overlay = |route: &&Route| route.device.as_deref() == Some(names::VXLAN);
    let routes = observed.routes.iter();
    let left: Vec<Route> = routes
        .filter(|route| !(overlay.anew && through_overlay(route)))
        .cloned()
        .collect();
    let unreachable = program.routed.iter().flat_map(|r| &r.unreachable);
    let wanted: Vec<Route> = program.routes.iter().chain(unreachable).cloned().collect();
    let routes = sealane_route::diff(&left, &wanted);
    steps.extend(routes.into_iter().map(|change| match change {
        RouteChange::Set(route) => Step::SetRoute(route),
        RouteChange::Delete(route) => Step::DeleteRoute(route),
    }));
    steps.extend(overlay.after);
    let missing = program
        .rules
        .iter()
        .filter(|rule| !observed.rules.contains(rule));
    steps.extend(missing.copied().map(Step::AddRule));
    let unwanted = observed
        .rules
        .iter()
        .filter(|rule| !program.rules.contains(rule));
    steps.extend(unwanted.copied().map(Step::DeleteRule));
    steps.extend(routed.after);
    if program.bridge.is_none() {
        steps.extend(farewell(observed, &program.gateways));
    }
    steps
}

impl Step {
    /// Adds an address with which the node speaks to pods that are routed.
    pub fn brings_gateway(&self) -> bool {
        matches!(self, Self::AddAddress(HOLDER, _))
    }

    /// A failure concerns the way to other nodes, and the rest must be done all the same.
    pub fn is_for_peers(&self) -> bool {
        matches!(
            self,
            Self::SetUp(_)
                | Self::AddCloudAddress(..)
                | Self::SetOverlay(_)
                | Self::DeleteOverlay
                | Self::SetForwarding(..)
                | Self::DeleteForwarding(_)
                | Self::SetNeighbour(..)
                | Self::DeleteNeighbour(_)
                | Self::SetRoute(_)
                | Self::DeleteRoute(_)
                | Self::AddRule(_)
                | Self::DeleteRule(_)
        )
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::SetSysctl(key, value) => write!(f, "set sysctl {key}={value}"),
            Step::SetBridge(bridge) => write!(
                f,
                "set bridge {} address {} mtu {} up",
                bridge.name, bridge.mac, bridge.mtu
            ),
            Step::DeleteBridge => write!(f, "delete bridge {}", names::POD_BRIDGE),
            Step::AddAddress(link, address) => write!(f, "add address {address} to {link}"),
            Step::DeleteAddress(link, address) => {
                write!(f, "delete address {address} from {link}")
            }
            Step::SetUp(link) => write!(f, "set link {link} up"),
            Step::AddCloudAddress(link, address) => write!(f, "add address {address} to {link}"),
            Step::AddProxy(address) => {
                write!(f, "answer for {address} on {}", names::POD_BRIDGE)
            }
            Step::DeleteProxy(address) => {
                write!(f, "stop answering for {address} on {}", names::POD_BRIDGE)
            }
            Step::SetOverlay(vxlan) => write!(
                f,
                "set vxlan {} {} address {} mtu {} up",
                vxlan.name, vxlan.tunnel, vxlan.mac, vxlan.mtu
            ),
            Step::DeleteOverlay => write!(f, "delete vxlan {}", names::VXLAN),
            Step::SetForwarding(mac, to) => {
                write!(f, "set forwarding of {mac} on {} to {to}", names::VXLAN)
            }
            Step::DeleteForwarding(mac) => {
                write!(f, "delete forwarding of {mac} on {}", names::VXLAN)
            }
            Step::SetNeighbour(address, mac) => {
                write!(f, "set neighbour {address} to {mac} on {}", names::VXLAN)
            }
            Step::DeleteNeighbour(address) => {
                write!(f, "delete neighbour {address} on {}", names::VXLAN)
            }
            Step::LoadTable(table) => TableChange::Load(table).fmt(f),
            Step::DeleteTable(loaded) => TableChange::Delete(loaded).fmt(f),
            Step::SetRoute(route) => write!(f, "set route {route}"),
            Step::DeleteRoute(route) => write!(f, "delete route {route}"),
            Step::AddRule(rule) => write!(f, "add rule {rule}"),
            Step::DeleteRule(rule) => write!(f, "delete rule {rule}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use sealane_net::{Attachment, Mtu};
    use sealane_objects::NodeNet;

    use super::*;
    use crate::node::{Choices, ObservedBridge, ObservedRouted, Site, Uplink, compile};

    fn program() -> Program {
        attached(Attachment::Bridge)
    }

    fn attached(attachment: Attachment) -> Program {
        let node = |n: u8| NodeNet {
            name: format!("node-{n}"),
            internal_ips: vec![format!("172.29.0.{}", n + 1).parse().unwrap()],
            pod_cidrs: vec![format!("10.244.{n}.0/24").parse().unwrap()],
            ..Default::default()
        };
        let site = Site {
            uplink: Uplink {
                name: "eth0".into(),
                mtu: Mtu::ETHERNET,
                address: "172.29.0.2".parse().unwrap(),
            },
            on_link: vec!["172.29.0.0/24".parse().unwrap()],
            behind: vec![],
            bridged_mtu: None,
            routed: vec![],
            ethernet: vec![],
        };
        let choices = Choices {
            attachment,
            ..Choices::default()
        };
        compile(&node(1), &[node(1), node(2)], &choices, &site).unwrap()
    }

    /// A kernel in which the program has been applied.
    fn applied(program: &Program) -> Observed {
        Observed {
            sysctls: program
                .sysctls
                .iter()
                .map(|setting| (setting.key.clone(), setting.value.to_owned()))
                .collect(),
            bridge: program.bridge.as_ref().map(|bridge| ObservedBridge {
                index: 3,
                ports: 0,
                mac: Some(bridge.mac),
                mtu: bridge.mtu.bytes(),
                up: true,
                addresses: bridge.addresses(),
            }),
            routed: program
                .routed
                .as_ref()
                .map_or_else(ObservedRouted::default, |routed| ObservedRouted {
                    addresses: routed.addresses.clone(),
                    ours: routed.addresses.clone(),
                    proxied: routed.proxied.clone(),
                }),
            overlay: None,
            tables: program.tables.iter().map(Table::as_loaded).collect(),
            routes: (program.routes.iter())
                .chain(program.routed.iter().flat_map(|r| &r.unreachable))
                .cloned()
                .collect(),
            rules: program.rules.clone(),
            ethernet: vec![],
        }
    }

    fn shown(observed: &Observed) -> Vec<String> {
        steps(observed, &program())
    }

    fn steps(observed: &Observed, program: &Program) -> Vec<String> {
        diff(observed, program)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn an_empty_kernel_gets_everything_in_order() {
        let empty = Observed {
            sysctls: [("net.ipv4.ip_forward".into(), "0".into())].into(),
            ..Observed::default()
        };
        assert_eq!(
            shown(&empty),
            [
                "set sysctl net.ipv4.ip_forward=1",
                "set bridge cbr0 address 02:00:0a:f4:01:01 mtu 1500 up",
                "add address 10.244.1.1/24 to cbr0",
                "load table ip sealane",
                "set route 10.244.2.0/24 via 172.29.0.3 proto 94",
            ]
        );
    }

    #[test]
    fn what_is_right_is_not_touched() {
        assert_eq!(shown(&applied(&program())), [""; 0]);
        let routed = attached(Attachment::Routed);
        assert_eq!(steps(&applied(&routed), &routed), [""; 0]);
    }

    #[test]
    fn another_attachment_takes_the_place_of_the_one_before() {
        let (bridge, routed) = (program(), attached(Attachment::Routed));
        assert_eq!(
            steps(&applied(&bridge), &routed),
            [
                "add address 10.244.1.1/32 to lo",
                "set route unreachable 10.244.1.0/24 proto 94 metric 9400",
                "delete bridge cbr0",
            ]
        );
        assert_eq!(
            steps(&applied(&routed), &bridge),
            [
                "set bridge cbr0 address 02:00:0a:f4:01:01 mtu 1500 up",
                "add address 10.244.1.1/24 to cbr0",
                "delete route unreachable 10.244.1.0/24 proto 94 metric 9400",
                "delete address 10.244.1.1/32 from lo",
            ]
        );
    }

    #[test]
    fn a_bridge_with_ports_or_of_somebody_else_stays() {
        let routed = attached(Attachment::Routed);
        let stays = |change: fn(&mut ObservedBridge)| {
            let mut observed = applied(&program());
            change(observed.bridge.as_mut().unwrap());
            let steps = steps(&observed, &routed);
            !steps.contains(&"delete bridge cbr0".to_owned())
        };
        assert!(stays(|bridge| bridge.ports = 1));
        assert!(stays(|bridge| bridge.mac = None));
        assert!(!stays(|_| {}));
    }

    #[test]
    fn a_setting_that_an_operator_has_chosen_stays() {
        let setting = crate::node::Sysctl {
            key: "net/ipv6/conf/eth0/accept_ra".into(),
            value: "2",
            instead_of: Some("1"),
        };
        for (found, steps) in [("0", 0), ("1", 1), ("2", 0)] {
            let mut wanted = program();
            let mut observed = applied(&wanted);
            observed.sysctls.insert(setting.key.clone(), found.into());
            wanted.sysctls.push(setting.clone());
            assert_eq!(diff(&observed, &wanted).len(), steps, "{found}");
        }
    }

    #[test]
    fn each_fault_is_repaired_alone() {
        let break_one = |fault: fn(&mut Observed)| {
            let mut observed = applied(&program());
            fault(&mut observed);
            shown(&observed)
        };
        assert_eq!(
            break_one(|o| o.bridge.as_mut().unwrap().up = false),
            ["set bridge cbr0 address 02:00:0a:f4:01:01 mtu 1500 up"]
        );
        assert_eq!(
            break_one(|o| o.bridge.as_mut().unwrap().addresses.clear()),
            ["add address 10.244.1.1/24 to cbr0"]
        );
        assert_eq!(break_one(|o| o.tables.clear()), ["load table ip sealane"]);
        assert_eq!(
            break_one(|o| {
                let gone = Route::via(
                    "10.244.9.0/24".parse().unwrap(),
                    "172.29.0.9".parse().unwrap(),
                );
                o.routes.push(gone);
            }),
            ["delete route 10.244.9.0/24 via 172.29.0.9 proto 94"]
        );
    }
}

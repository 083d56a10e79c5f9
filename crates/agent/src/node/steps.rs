use std::fmt;

use sealane_net::{IpNet, Route, names};
use sealane_route::Change as RouteChange;
use sealane_ruleset::{Change as TableChange, Loaded, Table};

use super::{BridgeProgram, Observed, Program};

/// One change of the kernel.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    SetSysctl(&'static str, &'static str),
    /// Makes the bridge, or changes the one that is there.
    SetBridge(BridgeProgram),
    AddGateway(IpNet),
    LoadTable(Table),
    DeleteTable(Loaded),
    SetRoute(Route),
    DeleteRoute(Route),
}

/// What turns `observed` into `program`, in the order in which it must be done.
pub fn diff(observed: &Observed, program: &Program) -> Vec<Step> {
    let mut steps = Vec::new();
    for (key, value) in &program.sysctls {
        let found = observed.sysctls.iter().find(|(k, _)| k == key);
        // A setting that this kernel does not have cannot be wrong either.
        if let Some((_, Some(found))) = found
            && found != value
        {
            steps.push(Step::SetSysctl(key, value));
        }
    }
    steps.extend(bridge_steps(observed, &program.bridge));
    let tables = sealane_ruleset::diff(&observed.tables, names::NFT_TABLE, &program.tables);
    steps.extend(tables.into_iter().map(|change| match change {
        TableChange::Load(table) => Step::LoadTable(table.clone()),
        TableChange::Delete(loaded) => Step::DeleteTable(loaded.clone()),
    }));
    let routes = sealane_route::diff(&observed.routes, &program.routes);
    steps.extend(routes.into_iter().map(|change| match change {
        RouteChange::Set(route) => Step::SetRoute(route),
        RouteChange::Delete(route) => Step::DeleteRoute(route),
    }));
    steps
}

/// The addresses of a former subnet stay on the bridge: pods that still have
/// one would lose their gateway.
fn bridge_steps(observed: &Observed, wanted: &BridgeProgram) -> Vec<Step> {
    let mut steps = Vec::new();
    let right = observed.bridge.as_ref().is_some_and(|found| {
        found.up && found.mac == Some(wanted.mac) && found.mtu == wanted.mtu.bytes()
    });
    if !right {
        steps.push(Step::SetBridge(wanted.clone()));
    }
    let has = |gateway: &IpNet| {
        observed
            .bridge
            .as_ref()
            .is_some_and(|found| found.addresses.contains(gateway))
    };
    let missing = wanted.gateways.iter().filter(|gateway| !has(gateway));
    steps.extend(missing.copied().map(Step::AddGateway));
    steps
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
            Step::AddGateway(address) => {
                write!(f, "add address {address} to {}", names::POD_BRIDGE)
            }
            Step::LoadTable(table) => TableChange::Load(table).fmt(f),
            Step::DeleteTable(loaded) => TableChange::Delete(loaded).fmt(f),
            Step::SetRoute(route) => write!(f, "set route {route}"),
            Step::DeleteRoute(route) => write!(f, "delete route {route}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use sealane_net::Mtu;
    use sealane_objects::NodeNet;

    use super::*;
    use crate::node::{ObservedBridge, Uplink, compile};

    fn program() -> Program {
        let node = |n: u8| NodeNet {
            name: format!("node-{n}"),
            internal_ips: vec![format!("172.29.0.{}", n + 1).parse().unwrap()],
            pod_cidrs: vec![format!("10.244.{n}.0/24").parse().unwrap()],
        };
        let uplink = Uplink {
            name: "eth0".into(),
            mtu: Mtu::ETHERNET,
        };
        compile(&node(1), &[node(1), node(2)], None, &uplink).unwrap()
    }

    /// A kernel in which the program has been applied.
    fn applied(program: &Program) -> Observed {
        Observed {
            sysctls: program
                .sysctls
                .iter()
                .map(|(key, value)| (*key, Some((*value).to_owned())))
                .collect(),
            bridge: Some(ObservedBridge {
                index: 3,
                mac: Some(program.bridge.mac),
                mtu: program.bridge.mtu.bytes(),
                up: true,
                addresses: program.bridge.gateways.clone(),
            }),
            tables: program.tables.iter().map(Table::as_loaded).collect(),
            routes: program.routes.clone(),
        }
    }

    fn shown(observed: &Observed) -> Vec<String> {
        diff(observed, &program())
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn an_empty_kernel_gets_everything_in_order() {
        let empty = Observed {
            sysctls: vec![
                ("net.ipv4.ip_forward", Some("0".into())),
                ("net.bridge.bridge-nf-call-iptables", None),
            ],
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

//! What is wrong with a node: rules over a [`Snapshot`], without IO, so that each is tested as a table.

mod addresses;
mod agent;
mod dns;
mod filtering;
mod kernel;
mod mtu;
mod networks;
mod peers;
mod settings;

use std::cmp::Reverse;

use crate::finding::Finding;
use crate::snapshot::Snapshot;

type Judge = fn(&Snapshot) -> Vec<Finding>;

/// In the order in which findings of one severity are shown: causes before what they cause.
const JUDGES: &[Judge] = &[
    agent::judge,
    dns::judge,
    networks::judge,
    kernel::judge,
    settings::judge,
    filtering::judge,
    addresses::judge,
    mtu::judge,
    peers::judge,
];

/// All findings, errors first.
pub fn judge(snapshot: &Snapshot) -> Vec<Finding> {
    let mut findings: Vec<Finding> = JUDGES.iter().flat_map(|judge| judge(snapshot)).collect();
    findings.sort_by_key(|finding| match finding.severity {
        crate::finding::Severity::Error => Reverse(1),
        crate::finding::Severity::Warning => Reverse(0),
    });
    findings
}

#[cfg(test)]
pub(crate) mod stage {
    //! A node that is well, for tests to break.

    use std::collections::BTreeMap;

    use sealane_net::{Mac, Mtu, Route, names};
    use sealane_netlink::{Address, Link, Neighbour, Tunnel};
    use sealane_objects::NodeNet;

    use crate::snapshot::{Agent, AgentSettings, ConfDir, Snapshot};

    pub fn link(index: u32, name: &str, kind: &str, mtu: u32) -> Link {
        Link {
            index,
            name: name.into(),
            kind: kind.into(),
            mac: Some(Mac([2, 0, 0, 0, 0, index as u8])),
            mtu,
            up: true,
            master: None,
            peer: None,
            alias: None,
            tunnel: None,
        }
    }

    pub fn address(link: u32, address: &str) -> Address {
        Address {
            link,
            address: address.parse().unwrap(),
            global: true,
            protocol: 0,
        }
    }

    pub fn node(n: u8) -> NodeNet {
        serde_json::from_value(serde_json::json!({
            "name": format!("node-{n}"),
            "internalIPs": [format!("172.29.0.{}", n + 1)],
            "podCIDRs": [format!("10.244.{n}.0/24")],
        }))
        .unwrap()
    }

    pub fn foreign(destination: &str, device: &str, gateway: Option<&str>) -> Route {
        Route {
            protocol: 2,
            gateway: gateway.map(|g| g.parse().unwrap()),
            ..Route::on_link(destination.parse().unwrap(), device)
        }
    }

    pub fn ours(destination: &str, gateway: &str, device: &str) -> Route {
        Route::via(destination.parse().unwrap(), gateway.parse().unwrap()).dev(device)
    }

    pub fn sysctls(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(key, value): &(&str, &str)| ((*key).into(), (*value).into());
        pairs.iter().map(owned).collect()
    }

    /// node-1 of three; node-3 is behind a router.
    pub fn well() -> Snapshot {
        let mut far = node(3);
        far.internal_ips = vec!["172.30.0.4".parse().unwrap()];
        let mut pod = link(4, "sl0123456789ab", "veth", 1500);
        pod.master = Some(3);
        let mut overlay = link(5, names::VXLAN, "vxlan", 1450);
        overlay.tunnel = Some(Tunnel {
            vni: 94,
            port: 4789,
            local: "172.29.0.2".parse().unwrap(),
        });
        Snapshot {
            settings: AgentSettings {
                node_name: "node-1".into(),
                cluster_cidr: "10.244.0.0/16".parse().ok(),
                routing: "auto".into(),
                vxlan_port: 4789,
                attachment: "bridge".into(),
                cni_conf_dir: "/etc/cni/net.d".into(),
                cni_bin_dir: "/opt/cni/bin".into(),
                state_dir: "/var/lib/sealane/agent".into(),
                run_dir: "/run/sealane".into(),
                health_port: Some(10266),
                proxy_mode: None,
            },
            links: vec![
                link(1, "lo", "", 65536),
                link(2, "eth0", "veth", 1500),
                link(3, names::POD_BRIDGE, "bridge", 1500),
                pod,
                overlay,
            ],
            addresses: vec![address(2, "172.29.0.2/24"), address(3, "10.244.1.1/24")],
            routes: vec![
                foreign("0.0.0.0/0", "eth0", Some("172.29.0.1")),
                foreign("172.29.0.0/24", "eth0", None),
                foreign("10.244.1.0/24", names::POD_BRIDGE, None),
                ours("10.244.2.0/24", "172.29.0.3", "eth0"),
                Route {
                    mtu: Mtu::new(1450).ok(),
                    onlink: true,
                    ..ours("10.244.3.0/24", "10.244.3.1", names::VXLAN)
                },
            ],
            neighbours: vec![Neighbour {
                link: 2,
                address: "172.29.0.3".parse().unwrap(),
                mac: Some(Mac([2; 6])),
                permanent: false,
                failed: false,
            }],
            sysctls: sysctls(&[
                ("net.ipv4.ip_forward", "1"),
                ("net.bridge.bridge-nf-call-iptables", "1"),
                ("net.ipv4.conf.all.rp_filter", "0"),
                ("net/ipv4/conf/eth0/rp_filter", "1"),
                ("net/ipv4/conf/eth0/forwarding", "1"),
            ]),
            networks: ConfDir {
                files: vec!["10-sealane.conflist".into()],
                plugin: true,
                readable: true,
            },
            agent: Agent::Here {
                ready: true,
                troubles: vec![],
                problems: vec![],
                leases: vec![],
                duplicates: vec![],
                same_namespace: Some(true),
            },
            nodes: Some(vec![node(1), node(2), far]),
            services: vec!["10.96.0.0/12".parse().unwrap()],
            ..Snapshot::default()
        }
    }

    /// What is said of a node that is well but for one change: the words of the checks.
    pub fn after(change: impl FnOnce(&mut Snapshot)) -> Vec<&'static str> {
        let mut snapshot = well();
        change(&mut snapshot);
        let found = super::judge(&snapshot);
        for finding in &found {
            assert!(!finding.why.is_empty(), "{finding:?} says why");
            assert!(!finding.next.is_empty(), "{finding:?} says what to do");
        }
        found.iter().map(|finding| finding.check).collect()
    }

    #[test]
    fn of_a_node_that_is_well_nothing_is_said() {
        assert_eq!(super::judge(&well()), []);
    }
}

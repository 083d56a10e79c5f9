//! A node in a namespace, on which each thing is broken for real and must be named.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::Path;

use sealane_net::names;
use sealane_objects::NodeNet;
use sealane_testkit::{Namespace, SOON, Topology, eventually};
use sealane_upkeep::snapshot::AgentSettings;
use sealane_upkeep::{Outside, Target, check};

const POD: &str = "sl0123456789ab";

struct Node {
    here: Namespace,
    _topology: Topology,
    dir: tempfile::TempDir,
    nodes: Vec<NodeNet>,
}

fn node(name: &str, ip: &str, subnet: &str) -> NodeNet {
    let object = serde_json::json!({"name": name, "internalIPs": [ip], "podCIDRs": [subnet]});
    serde_json::from_value(object).unwrap()
}

impl Node {
    /// As an agent would have made it, and with nobody who answers for it.
    fn new() -> Self {
        let (topology, [here, peer]) = Topology::new(["node", "peer"]);
        topology.join(
            (&here, "eth0", "172.29.0.2/24"),
            (&peer, "eth0", "172.29.0.3/24"),
        );
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("10-sealane.conflist"), "{}").unwrap();
        fs::write(dir.path().join("sealane"), "").unwrap();
        let node = Self {
            here,
            _topology: topology,
            dir,
            nodes: vec![
                node("node-1", "172.29.0.2", "10.244.1.0/24"),
                node("node-2", "172.29.0.3", "10.244.2.0/24"),
            ],
        };
        node.run("ip link add cbr0 type bridge");
        node.run("ip address add 10.244.1.1/24 dev cbr0");
        node.run("ip link set cbr0 up");
        node.run(&format!("ip link add {POD} type veth peer name pod"));
        node.run(&format!("ip link set {POD} master cbr0 up"));
        node.run("ip route add default via 172.29.0.3");
        node.run("ip route add 10.244.2.0/24 via 172.29.0.3 proto 94");
        for setting in [
            "net.ipv4.ip_forward=1",
            "net.bridge.bridge-nf-call-iptables=1",
            "net.ipv4.conf.all.rp_filter=0",
        ] {
            node.run(&format!("sysctl -qw {setting}"));
        }
        node
    }

    #[track_caller]
    fn run(&self, line: &str) -> String {
        self.here.run("sh", ["-ec", line]).succeeds()
    }

    /// What is said of it, each as `CHECK: SEEN`.
    fn told(&self) -> Vec<String> {
        let folder = self.dir.path().to_owned();
        let settings = AgentSettings {
            node_name: "node-1".into(),
            routing: "auto".into(),
            attachment: "bridge".into(),
            vxlan_port: names::VXLAN_PORT,
            health_port: Some(10266),
            cni_bin_dir: folder.clone(),
            cni_conf_dir: folder.clone(),
            state_dir: folder.clone(),
            run_dir: folder,
            ..AgentSettings::default()
        };
        let report = check(Target {
            netns: Some(self.here.title().to_owned()),
            settings,
            outside: Outside {
                nodes: Ok(self.nodes.clone()),
                services: vec!["10.96.0.0/12".parse().unwrap()],
            },
        });
        let report = report.unwrap();
        assert_eq!(report.skipped, []);
        let findings = report.findings.iter();
        findings
            .map(|f| format!("{}: {}", f.check, f.seen))
            .collect()
    }

    /// Breaks something, sees it named, and mends it.
    #[track_caller]
    fn broken(&self, breaking: &str, expected: &str, mending: &str) {
        self.run(breaking);
        let told = self.told();
        let found = told.iter().any(|line| line.contains(expected));
        assert!(
            found,
            "after `{breaking}` expected {expected:?} among {told:#?}"
        );
        assert_eq!(told.len(), 2, "{told:#?}");
        self.run(mending);
    }

    /// Everything that a check could change.
    fn dump(&self) -> String {
        self.run(
            "ip -o link | cut -d' ' -f2; ip -o address | cut -d' ' -f2-7; \
             ip route show table all | sed 's/ linkdown//'; ip rule; nft list ruleset; \
             cat /proc/net/ip_tables_names; sysctl -a 2>/dev/null | grep -E 'forward|rp_filter|bridge-nf'",
        )
    }
}

#[test]
fn each_thing_that_is_broken_is_named_and_nothing_is_changed() {
    let node = Node::new();
    let before = node.dump();
    let told = node.told();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(
        told[0].starts_with("agent-away: no agent answers at "),
        "{told:?}"
    );
    assert_eq!(node.dump(), before);

    node.broken(
        "sysctl -qw net.ipv4.ip_forward=0",
        "forwarding: net.ipv4.ip_forward is 0",
        "sysctl -qw net.ipv4.ip_forward=1; sysctl -qw net.ipv4.conf.all.rp_filter=0",
    );
    node.broken(
        "sysctl -qw net.bridge.bridge-nf-call-iptables=0",
        "bridge-netfilter: net.bridge.bridge-nf-call-iptables is 0",
        "sysctl -qw net.bridge.bridge-nf-call-iptables=1",
    );
    node.broken(
        "ip link set eth0 mtu 1400; ip link add sl.vxlan mtu 1450 up type vxlan id 94 dstport 4789 local 172.29.0.2 nolearning",
        "mtu: sl.vxlan has MTU 1450, but eth0 has MTU 1400 and sl.vxlan takes 50 bytes of it",
        "ip link delete sl.vxlan; ip link set eth0 mtu 1500",
    );
    node.broken(
        "ip link set cbr0 down",
        "link-down: link cbr0 is down",
        "ip link set cbr0 up",
    );
    node.broken(
        &format!("ip link set {POD} nomaster"),
        "link-not-on-bridge",
        &format!("ip link set {POD} master cbr0"),
    );
    node.broken(
        "ip link add docker0 type bridge; ip address add 10.244.2.1/25 dev docker0; ip link set docker0 up",
        "address-conflict: route 10.244.2.0/25 dev docker0",
        "ip link delete docker0",
    );
    node.broken(
        "ip route delete 10.244.2.0/24",
        "peer-route: there is no route to 10.244.2.0/24",
        "ip route add 10.244.2.0/24 via 172.29.0.3 proto 94",
    );
}

#[test]
fn rules_of_others_are_named_with_table_chain_and_rule() {
    let node = Node::new();
    node.broken(
        "iptables-nft -P FORWARD DROP",
        "firewall: iptables table filter, chain FORWARD with policy drop drops packets from pods to pods of other nodes",
        "iptables-nft -P FORWARD ACCEPT",
    );
    // What is said to help does.
    node.run("iptables-nft -P FORWARD DROP; iptables-nft -I FORWARD -i cbr0 -j ACCEPT; iptables-nft -I FORWARD -o cbr0 -j ACCEPT");
    let told = node.told();
    assert_eq!(told.len(), 1, "{told:#?}");
    node.run("nft delete table ip filter");
    node.broken(
        "nft add table inet guard; \
         nft add chain inet guard in '{ type filter hook input priority 0; policy accept; }'; \
         nft add rule inet guard in tcp dport { 10000-11000 } counter drop",
        "firewall: nft table inet guard, chain in, rule `tcp dport 10000-11000 counter packets 0 bytes 0 drop` \
         drops what asks for the agent's health",
        "nft delete table inet guard",
    );
    node.broken(
        "iptables-legacy -A FORWARD -o cbr0 -m conntrack --ctstate NEW -j REJECT",
        "firewall: iptables-legacy table filter, chain FORWARD, rule `-A FORWARD -o cbr0 -m conntrack --ctstate NEW -j REJECT",
        "iptables-legacy -F FORWARD",
    );
    node.broken(
        "iptables-nft -t nat -N KUBE-SERVICES; iptables-legacy -t nat -N KUBE-SERVICES",
        "other-service-rules: rules of kube-proxy are in iptables table nat, iptables-legacy table nat",
        "iptables-nft -t nat -X KUBE-SERVICES",
    );
}

#[test]
fn others_in_the_runtimes_folder_and_among_the_nodes_are_named() {
    let mut node = Node::new();
    let file = |name: &str| node.dir.path().join(name);
    fs::write(file("05-other.conf"), "{}").unwrap();
    fs::write(file("99-notes.txt"), "").unwrap();
    assert_eq!(node.told().len(), 2);
    fs::remove_file(file("05-other.conf")).unwrap();
    fs::remove_file(file("sealane")).unwrap();
    assert!(
        node.told()[1].starts_with("cni-plugin"),
        "{:?}",
        node.told()
    );
    fs::write(file("sealane"), "").unwrap();

    node.nodes
        .push(self::node("node-3", "172.29.0.9", "10.244.2.0/24"));
    let told = node.told();
    assert!(
        told.iter()
            .any(|line| line.starts_with("duplicate-pod-subnet")),
        "{told:?}"
    );
    node.nodes.pop();

    // Nobody has this address, which a packet to it finds out.
    node.nodes[1].internal_ips = vec!["172.29.0.77".parse().unwrap()];
    node.run(
        "ip route replace 10.244.2.0/24 via 172.29.0.77 proto 94; ping -c1 -W1 172.29.0.77 || true",
    );
    let told = eventually(SOON, "silence is noticed", || {
        let told = node.told();
        let silent = told
            .iter()
            .any(|line| line.starts_with("node-silent: node-2 at 172.29.0.77"));
        if silent {
            Ok(told)
        } else {
            Err(format!("{told:#?}"))
        }
    });
    assert_eq!(told.len(), 2, "{told:#?}");
}

#[test]
fn a_node_without_agent_and_api_is_judged_by_what_it_has() {
    let node = Node::new();
    node.run("iptables-nft -A FORWARD -i cbr0 -j DROP");
    let report = check(Target {
        netns: Some(node.here.title().to_owned()),
        settings: AgentSettings {
            run_dir: Path::new("/nowhere").into(),
            cni_conf_dir: node.dir.path().into(),
            cni_bin_dir: node.dir.path().into(),
            ..AgentSettings::default()
        },
        outside: Outside::unknown("nobody was asked"),
    });
    let report = report.unwrap();
    assert_eq!(report.skipped.len(), 1);
    let seen: Vec<&str> = report.findings.iter().map(|f| f.check).collect();
    assert_eq!(seen, ["agent-away", "firewall"], "{:#?}", report.findings);
}

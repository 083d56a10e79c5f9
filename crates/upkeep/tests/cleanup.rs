//! What is ours goes, and every rule of others is there afterwards as it was before.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;

use sealane_netlink::Netlink;
use sealane_ruleset::{NodeEgress, node_egress};
use sealane_testkit::{Namespace, Topology};
use sealane_upkeep::cleanup::{Asked, apply, observe, plan};
use sealane_upkeep::snapshot::AgentSettings;

const EVERYTHING: Asked = Asked {
    pods: true,
    kube_proxy: true,
};

fn sh(node: &Namespace, line: &str) -> String {
    node.run("sh", ["-ec", line]).succeeds()
}

/// Rules, links, routes of anybody.
fn dump(node: &Namespace) -> String {
    sh(
        node,
        "nft -s list ruleset; iptables-legacy-save | grep -v '^#' | sed 's/ \\[.*//'; \
         ip -o link | cut -d' ' -f2; ip route show table all; ip rule",
    )
}

/// Plans and applies; what was done.
fn clean(node: &Namespace, settings: &AgentSettings, asked: Asked) -> Vec<String> {
    node.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let kernel = Netlink::in_named(node.title()).unwrap();
            let steps = plan(&observe(&kernel, settings).await.unwrap(), asked);
            for step in &steps {
                apply(&kernel, step).await.unwrap();
            }
            steps.iter().map(ToString::to_string).collect()
        })
    })
}

/// What others have, among it rules in the very tables that kube-proxy uses.
const OTHERS: &str = "\
    iptables-nft -P FORWARD DROP; iptables-nft -N DOCKER-USER; iptables-nft -A FORWARD -j DOCKER-USER; \
    iptables-nft -t nat -A POSTROUTING -s 192.168.0.0/16 -m comment --comment 'not -j KUBE-SERVICES' -j MASQUERADE; \
    iptables-nft -t nat -A PREROUTING -d 192.0.2.9 -j ACCEPT; iptables-nft -t nat -A OUTPUT -d 192.0.2.9 -j ACCEPT; \
    iptables-nft -t mangle -N KUBE-KUBELET-CANARY; \
    iptables-legacy -A INPUT -p tcp --dport 23 -j DROP; iptables-legacy -t nat -A OUTPUT -d 192.0.2.1 -j ACCEPT; \
    nft add table inet firewalld; nft add table ip sealane-up-other; \
    ip link add docker0 type bridge; ip link add sl-other type bridge; \
    ip address add 192.168.7.1/24 dev docker0; ip link set docker0 up; ip route add 192.168.8.0/24 via 192.168.7.2";

const PROXY: &str = "\
    for t in nft legacy; do \
      iptables-$t -t nat -N KUBE-SERVICES; iptables-$t -t nat -N KUBE-SVC-ABCDEFGHIJKLMNOP; \
      iptables-$t -t nat -I PREROUTING 1 -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES; \
      iptables-$t -t nat -I OUTPUT 1 -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES; \
      iptables-$t -t nat -A KUBE-SERVICES -d 10.96.0.1/32 -p tcp --dport 443 -j KUBE-SVC-ABCDEFGHIJKLMNOP; \
      iptables-$t -N KUBE-FORWARD; iptables-$t -I FORWARD 1 -j KUBE-FORWARD; \
    done; \
    nft add table ip kube-proxy; nft add table ip6 kube-proxy";

#[test]
fn what_is_ours_goes_and_what_is_others_stays() {
    let (_topology, [node]) = Topology::new(["node"]);
    let dir = tempfile::tempdir().unwrap();
    let settings = AgentSettings {
        cni_conf_dir: dir.path().into(),
        cni_bin_dir: dir.path().into(),
        run_dir: dir.path().into(),
        ..AgentSettings::default()
    };
    sh(&node, OTHERS);
    // Tables without rules stay where kube-proxy's chains have been, so they are made beforehand.
    sh(
        &node,
        "iptables-nft -t nat -L -n; iptables-legacy -t nat -L -n; iptables-legacy -L -n",
    );
    let before = dump(&node);

    sh(&node, PROXY);
    sh(
        &node,
        "ip link add cbr0 address 02:00:0a:f4:01:01 type bridge; ip address add 10.244.1.1/24 dev cbr0; ip link set cbr0 up; \
         ip link add sl0123456789ab type veth peer name pod; ip link set sl0123456789ab master cbr0; \
         ip link add sl.vxlan up type vxlan id 94 dstport 4789 local 10.244.1.1 nolearning; \
         ip route add 10.244.2.0/24 via 192.168.7.2 proto 94; ip route add 172.30.0.4 via 192.168.7.2 table 94 proto 94; \
         ip rule add from 10.244.1.0/24 lookup 94 priority 9400 protocol 94",
    );
    for (name, content) in [
        ("10-sealane.conflist", "{}"),
        ("sealane", ""),
        ("20-other.conf", "{}"),
    ] {
        fs::write(dir.path().join(name), content).unwrap();
    }
    let egress = NodeEgress {
        local_pods: vec!["10.244.1.0/24".parse().unwrap()],
        ..NodeEgress::default()
    };
    node.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let kernel = Netlink::in_named(node.title()).unwrap();
            let tables: Vec<_> = node_egress(sealane_net::Family::V4, &egress)
                .into_iter()
                .collect();
            kernel.load_tables(&tables).await.unwrap();
        });
    });

    let kept = clean(&node, &settings, Asked::default());
    assert!(
        kept.iter()
            .any(|step| step.starts_with("leave 1 links of pods")),
        "{kept:?}"
    );
    let links = sh(&node, "ip -o link");
    assert!(
        links.contains("sl0123456789ab") && links.contains("cbr0") && !links.contains("sl.vxlan")
    );
    assert!(dir.path().join("sealane").exists());
    assert!(sh(&node, "nft list tables").contains("kube-proxy"));

    let done = clean(&node, &settings, EVERYTHING);
    assert!(
        done.contains(&"delete 3 chains of Services by iptables-legacy-restore".to_owned()),
        "{done:?}"
    );
    similar(&before, &dump(&node));
    let files: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|f| f.unwrap().file_name())
        .collect();
    assert_eq!(files, ["20-other.conf"]);
    assert_eq!(
        clean(&node, &settings, EVERYTHING),
        [""; 0],
        "repeating it does nothing"
    );
}

/// Equal line by line, which shows what is missing or too much.
#[track_caller]
fn similar(before: &str, after: &str) {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(before), lines(after));
}

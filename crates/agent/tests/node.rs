//! The node's network and what an agent finds when it comes back, on the real kernel.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod guard;
mod many;
mod routed;
mod stage;

use std::{
    fs,
    net::{IpAddr, SocketAddr, UdpSocket},
};

use sealane_agent::{AntiSpoofing, Settings, inspect, leases::Key, wire::link_name};
use sealane_testkit::{
    Capture, Namespace, Protocol, SOON, Stream, Topology, topology::add_address,
};
use serde_json::json;
use stage::{Agent, NODE_IP, OUTSIDE_IP, Stage, ip, node, pod, reach, seen_source, this_node};

const SUBNET: &str = "10.244.1.0/24";

fn outside() -> IpAddr {
    OUTSIDE_IP.parse().unwrap()
}

#[test]
fn a_pod_leaves_the_cluster_with_the_nodes_address_and_stays_itself_inside() {
    let stage = Stage::new();
    let agent = stage.start_ready(&[SUBNET]);
    let runtime = stage.runtime();
    let (_pods, [a, b]) = Topology::new(["a", "b"]);
    let a_ip = ip(&runtime.add("a", &a).unwrap());
    let b_ip = ip(&runtime.add("b", &b).unwrap());
    let node_ip: IpAddr = NODE_IP.parse().unwrap();
    assert_eq!(seen_source(&a, &stage.outside, outside()), node_ip);
    assert_eq!(seen_source(&a, &b, b_ip), a_ip);
    assert_eq!(seen_source(&a, &stage.node, node_ip), a_ip);
    assert_eq!(seen_source(&stage.node, &a, a_ip).to_string(), "10.244.1.1");

    // Now outside becomes the second node.
    let second = node("node-2", OUTSIDE_IP, &["10.244.2.0/24"]);
    agent.tell_nodes(vec![this_node(&[SUBNET]), second]);
    agent.wait("the route is there", |s| {
        s["routes"][0] == "10.244.2.0/24 via 172.29.0.1 proto 94"
    });
    let far: IpAddr = "10.244.2.5".parse().unwrap();
    stage
        .outside
        .run("ip", ["address", "add", "10.244.2.5/32", "dev", "lo"])
        .succeeds();
    stage
        .outside
        .run("ip", ["route", "add", SUBNET, "via", NODE_IP])
        .succeeds();
    assert_eq!(
        seen_source(&a, &stage.outside, far),
        a_ip,
        "to a pod of another node"
    );
    assert_eq!(
        seen_source(&a, &stage.outside, outside()),
        a_ip,
        "to another node"
    );
    assert_eq!(
        seen_source(&stage.outside, &a, a_ip),
        outside(),
        "from another node"
    );
}

/// From where a datagram comes to `address` in `to` that `from` sends from `port`.
#[track_caller]
fn seen_from(from: &Namespace, port: u16, to: &Namespace, address: IpAddr) -> SocketAddr {
    let ears = to.enter(|| UdpSocket::bind((address, 0))).unwrap();
    ears.set_read_timeout(Some(SOON)).unwrap();
    let target = ears.local_addr().unwrap();
    let any: IpAddr = match address {
        IpAddr::V4(_) => [0; 4].into(),
        IpAddr::V6(_) => [0_u16; 8].into(),
    };
    let mouth = from.enter(|| UdpSocket::bind((any, port))).unwrap();
    mouth.send_to(b"hello", target).unwrap();
    ears.recv_from(&mut [0; 9]).unwrap().1
}

#[test]
fn pods_leave_from_random_ports_and_keep_their_addresses_where_an_operator_says_so() {
    let stage = Stage::new();
    let settings = Settings {
        non_masquerade_cidrs: vec![
            "198.51.100.0/24".parse().unwrap(),
            "2001:db8:5::/48".parse().unwrap(),
        ],
        ..stage.settings()
    };
    let subnets = [SUBNET, "fd00:10:244:1::/64"];
    for (end, v6) in [
        (&stage.node, "fd00:172:29::2/64"),
        (&stage.outside, "fd00:172:29::1/64"),
    ] {
        add_address(end, "eth0", v6);
    }
    for (subnet, via) in subnets.iter().zip([NODE_IP, "fd00:172:29::2"]) {
        let way = ["route", "add", subnet, "via", via];
        stage.outside.run("ip", way).succeeds();
    }
    for kept in ["198.51.100.9/32", "2001:db8:5::9/128"] {
        add_address(&stage.outside, "lo", kept);
        let way = ["route", "add", kept, "via"];
        let via = if kept.contains(':') {
            "fd00:172:29::1"
        } else {
            OUTSIDE_IP
        };
        stage
            .node
            .run("ip", way.into_iter().chain([via]))
            .succeeds();
    }
    let agent = Agent::start(settings, stage.node.title());
    agent.tell_nodes(vec![this_node(&subnets)]);
    agent.tell_pods(vec![]);
    agent.wait_ready();
    let (_pods, [a]) = Topology::new(["a"]);
    let result = stage.runtime().add("a", &a).unwrap();
    let own: Vec<IpAddr> = result.ips.iter().map(|ip| ip.address.addr()).collect();
    for (own, [node, outside, kept]) in own.into_iter().zip([
        [NODE_IP, OUTSIDE_IP, "198.51.100.9"],
        ["fd00:172:29::2", "fd00:172:29::1", "2001:db8:5::9"],
    ]) {
        let ports = 41001..41009;
        let seen = ports.map(|port| {
            (
                port,
                seen_from(&a, port, &stage.outside, outside.parse().unwrap()),
            )
        });
        let seen: Vec<(u16, SocketAddr)> = seen.collect();
        assert!(
            seen.iter().all(|(_, from)| from.ip().to_string() == node),
            "{seen:?}"
        );
        let same = seen.iter().filter(|(port, from)| from.port() == *port);
        assert!(same.count() <= 1, "{seen:?}");
        let kept = seen_from(&a, 41009, &stage.outside, kept.parse().unwrap());
        assert_eq!(kept, SocketAddr::new(own, 41009));
    }
}

#[test]
fn a_node_lets_no_pod_send_with_addresses_from_elsewhere() {
    let stage = Stage::new();
    let settings = Settings {
        anti_spoofing: AntiSpoofing::Node,
        ..stage.settings()
    };
    let agent = Agent::start(settings, stage.node.title());
    agent.tell_nodes(vec![this_node(&[SUBNET])]);
    agent.tell_pods(vec![]);
    agent.wait_ready();
    let (_pods, [a]) = Topology::new(["a"]);
    stage.runtime().add("a", &a).unwrap();
    let wire = Capture::on(&stage.outside, "eth0");
    for foreign in ["10.244.2.9", OUTSIDE_IP, "203.0.113.9"] {
        let address = format!("{foreign}/32");
        a.run("ip", ["address", "add", &address, "dev", "lo"])
            .succeeds();
        let liar = a.enter(|| UdpSocket::bind((foreign, 0))).unwrap();
        // To an address beyond the node that nobody has.
        let _ = liar.send_to(b"lie", "172.29.0.77:9");
    }
    // What is allowed comes after it.
    let honest = a.enter(|| UdpSocket::bind("0.0.0.0:0")).unwrap();
    honest.send_to(b"truth", "172.29.0.99:9").unwrap();
    let asked = |target: &str| {
        let question = ["neighbour", "get", target, "dev", "eth0"];
        stage.node.run("ip", question).status.success()
    };
    sealane_testkit::eventually(
        sealane_testkit::SOON,
        "the node asks for the target",
        || asked("172.29.0.99"),
    );
    assert!(!asked("172.29.0.77"), "a lie was forwarded");
    wire.refuse("a datagram", |packet| packet.protocol == Protocol::Udp);
    let chain = ["list", "chain", "ip", "sealane", "sources"];
    let rules = stage.node.run("nft", chain).succeeds();
    assert!(rules.contains("counter packets 3 "), "{rules}");
}

#[test]
fn routes_follow_the_nodes_and_foreign_ones_are_left_alone() {
    let stage = Stage::new();
    stage
        .node
        .run("ip", ["route", "add", "10.9.0.0/24", "via", OUTSIDE_IP])
        .succeeds();
    let agent = stage.start_ready(&[SUBNET]);
    let others = |ip: &str| vec![this_node(&[SUBNET]), node("node-2", ip, &["10.244.2.0/24"])];
    agent.tell_nodes(others("172.29.0.3"));
    agent.wait("the route is there", |s| {
        s["routes"][0] == "10.244.2.0/24 via 172.29.0.3 proto 94"
    });
    agent.tell_nodes(others("172.29.0.4"));
    agent.wait("the route has moved", |s| {
        s["routes"][0] == "10.244.2.0/24 via 172.29.0.4 proto 94"
    });
    let routes = stage.node.run("ip", ["route"]).succeeds();
    assert!(
        routes.contains("10.244.2.0/24 via 172.29.0.4 dev eth0 proto 94"),
        "{routes}"
    );
    agent.tell_nodes(vec![this_node(&[SUBNET])]);
    agent.wait("the route is gone", |s| s["routes"] == json!([]));
    let routes = stage.node.run("ip", ["route"]).succeeds();
    assert!(!routes.contains("proto 94"), "{routes}");
    assert!(routes.contains("10.9.0.0/24"), "{routes}");
}

#[test]
fn a_restart_cuts_no_stream_and_changes_nothing() {
    let stage = Stage::new();
    let runtime = stage.runtime();
    let mut agent = stage.start_ready(&[SUBNET]);
    let (_pods, [a, b, c]) = Topology::new(["a", "b", "c"]);
    runtime.add("a", &a).unwrap();
    let b_ip = ip(&runtime.add("b", &b).unwrap());
    let stream = Stream::between(&a, &b, b_ip);
    let outwards = Stream::between(&a, &stage.outside, outside());
    let before = stage.kernel();
    for _ in 0..3 {
        agent.kill();
        agent = stage.start();
        agent.tell_nodes(vec![this_node(&[SUBNET])]);
        agent.tell_pods(vec![pod("a", &[]), pod("b", &[])]);
        agent.wait_ready();
        stream.expect_progress();
        outwards.expect_progress();
    }
    assert_eq!(stage.kernel(), before);
    assert_eq!(agent.leases(), 2);
    runtime.add("c", &c).unwrap();
    reach(&c, b_ip);
    assert_eq!(stream.finish().retransmissions, 0);
    assert_eq!(outwards.finish().retransmissions, 0);
}

#[test]
fn what_is_missing_after_a_restart_is_repaired() {
    let stage = Stage::new();
    let runtime = stage.runtime();
    let agent = stage.start_ready(&[SUBNET]);
    let (_pods, [a]) = Topology::new(["a"]);
    let a_ip = ip(&runtime.add("a", &a).unwrap());
    agent.kill();
    let key = Key {
        container_id: "a".into(),
        ifname: "eth0".into(),
    };
    let link = link_name(&key);
    stage
        .node
        .run("ip", ["link", "set", &link, "nomaster"])
        .succeeds();
    stage
        .node
        .run("ip", ["address", "flush", "dev", "cbr0"])
        .succeeds();
    stage
        .node
        .run("ip", ["link", "set", "cbr0", "down"])
        .succeeds();
    stage.node.run("nft", ["flush", "ruleset"]).succeeds();
    stage
        .node
        .run("sh", ["-c", "echo 0 > /proc/sys/net/ipv4/ip_forward"])
        .succeeds();
    let agent = stage.start_ready(&[SUBNET]);
    sealane_testkit::eventually(sealane_testkit::SOON, "the link is a port again", || {
        stage
            .node
            .run("ip", ["-o", "link", "show", &link])
            .succeeds()
            .contains("master cbr0")
    });
    reach(&stage.node, a_ip);
    assert_eq!(
        seen_source(&a, &stage.outside, outside()).to_string(),
        NODE_IP
    );
    assert_eq!(agent.leases(), 1);
}

/// Nobody has heard of these edits, and each table has the stamp of what it should hold.
#[test]
fn what_was_edited_in_tables_while_no_agent_ran_is_as_it_was() {
    let stage = Stage::new();
    let runtime = stage.runtime();
    let agent = stage.start_ready(&[SUBNET]);
    let (_pods, [a]) = Topology::new(["a"]);
    runtime.add("a", &a).unwrap();
    let listed = || {
        ["ip sealane", "bridge sealane-guard"].map(|table| {
            let list = format!("list table {table}");
            stage.node.run("nft", ["-s", &list]).succeeds()
        })
    };
    let before = listed();
    agent.kill();
    for edit in [
        "flush chain ip sealane postrouting",
        "add element ip sealane no-masquerade { 198.51.100.0/24 }",
        "insert rule bridge sealane-guard ports accept",
    ] {
        stage.node.run("nft", [edit]).succeeds();
    }
    assert_ne!(listed(), before);
    let _agent = stage.start_ready(&[SUBNET]);
    sealane_testkit::eventually(sealane_testkit::SOON, "the tables are as they were", || {
        let now = listed();
        if now == before {
            Ok(())
        } else {
            Err(now.concat())
        }
    });
    assert_eq!(
        seen_source(&a, &stage.outside, outside()).to_string(),
        NODE_IP
    );
}

/// The state on disk after a crash between lease and link: the lease alone.
fn crashed_lease(stage: &Stage, container: &str) {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let leases = json!({
        "format": 1, "bootID": boot_id.trim(), "last": ["10.244.1.7"],
        "leases": [{
            "containerID": container, "ifname": "eth0", "network": "sealane",
            "pod": {"namespace": "default", "name": container, "uid": format!("uid-{container}")},
            "addresses": ["10.244.1.7/24"],
        }],
    });
    fs::create_dir_all(stage.path("state")).unwrap();
    fs::write(stage.path("state/leases.json"), leases.to_string()).unwrap();
}

#[test]
fn a_crash_between_lease_and_link_loses_nothing_while_the_pod_is_there() {
    let stage = Stage::new();
    crashed_lease(&stage, "a");
    let agent = stage.start();
    agent.tell_nodes(vec![this_node(&[SUBNET])]);
    agent.tell_pods(vec![pod("a", &[])]);
    agent.wait_ready();
    let runtime = stage.runtime();
    let (_pods, [a, b]) = Topology::new(["a", "b"]);
    assert_eq!(ip(&runtime.add("b", &b).unwrap()).to_string(), "10.244.1.8");
    // The runtime may call ADD again, or DEL first.
    assert_eq!(ip(&runtime.add("a", &a).unwrap()).to_string(), "10.244.1.7");
    reach(&a, "10.244.1.8".parse().unwrap());
    runtime.del("a", Some(&a)).unwrap();
    assert_eq!(agent.leases(), 1);
}

#[test]
fn a_crash_between_lease_and_link_leaks_nothing_when_the_pod_is_gone() {
    let stage = Stage::new();
    crashed_lease(&stage, "a");
    let agent = stage.start();
    agent.tell_nodes(vec![this_node(&[SUBNET])]);
    agent.tell_pods(vec![]);
    agent.wait("the lease is released", |s| {
        s["ready"] == true && s["leases"] == json!([])
    });
    sealane_testkit::eventually(sealane_testkit::SOON, "the release is on disk", || {
        stage.leases_on_disk()["leases"] == json!([])
    });
}

/// An agent that has pod a on a small subnet, killed; its file is torn.
fn torn(stage: &Stage, a: &Namespace) -> IpAddr {
    let agent = stage.start_ready(&["10.244.1.0/29"]);
    let a_ip = ip(&stage.runtime().add("a", a).unwrap());
    agent.kill();
    fs::write(stage.path("state/leases.json"), "{ torn").unwrap();
    a_ip
}

fn started_with_pod_a(stage: &Stage, a_ip: IpAddr) -> Agent {
    let agent = stage.start();
    agent.tell_nodes(vec![this_node(&["10.244.1.0/29"])]);
    agent.tell_pods(vec![pod("a", &[&a_ip.to_string()])]);
    agent.wait_ready();
    agent
}

#[test]
fn a_lost_file_is_made_anew_from_the_kernel() {
    let stage = Stage::new();
    let runtime = stage.runtime();
    let (_pods, [a, b]) = Topology::new(["a", "b"]);
    let a_ip = torn(&stage, &a);
    let agent = started_with_pod_a(&stage, a_ip);
    let state = agent.state().unwrap();
    assert_eq!(state["held"], json!({}), "{state}");
    assert_eq!(state["leases"][0]["containerID"], "a", "{state}");
    runtime.check("a", &a).unwrap();
    let b_ip = ip(&runtime.add("b", &b).unwrap());
    assert_ne!(a_ip, b_ip);
    reach(&a, b_ip);
    runtime.del("a", Some(&a)).unwrap();
    assert_eq!(agent.leases(), 1);
}

#[test]
fn a_lost_file_gives_no_pods_address_away() {
    let stage = Stage::new();
    let runtime = stage.runtime();
    let (_pods, [a, b]) = Topology::new(["a", "b"]);
    let a_ip = torn(&stage, &a);
    // A link of an earlier version says nothing about itself.
    let link = link_name(&Key {
        container_id: "a".into(),
        ifname: "eth0".into(),
    });
    stage
        .node
        .run("ip", ["link", "set", &link, "alias", ""])
        .succeeds();
    let agent = started_with_pod_a(&stage, a_ip);
    let b_ip = ip(&runtime.add("b", &b).unwrap());
    assert_ne!(a_ip, b_ip);
    reach(&a, b_ip);
    assert_eq!(agent.state().unwrap()["held"], json!({"default/a": [a_ip]}));
    runtime.del("a", Some(&a)).unwrap();
    assert!(
        !a.run("ip", ["link"]).succeeds().contains("eth0"),
        "DEL works without a lease"
    );
    agent.tell_pods(vec![pod("b", &[&b_ip.to_string()])]);
    agent.wait("the address is free again", |s| s["held"] == json!({}));
}

#[test]
fn two_agents_on_one_state_folder_are_refused() {
    let stage = Stage::new();
    let _first = stage.start_ready(&[SUBNET]);
    let second = stage.start();
    let outcome = sealane_testkit::eventually(sealane_testkit::SOON, "the second gives up", || {
        second.outcome()
    });
    assert!(outcome.contains("another agent uses it"), "{outcome}");
    assert!(stage.path("run/agent.sock").exists());
}

#[test]
fn an_agent_in_the_wrong_namespace_says_so() {
    let stage = Stage::new();
    let agent = Agent::start(stage.settings(), stage.outside.title());
    agent.tell_nodes(vec![this_node(&[SUBNET])]);
    agent.tell_pods(vec![]);
    let state = agent.wait("the trouble is known", |s| {
        s["trouble"]
            .as_str()
            .is_some_and(|t| t.contains("no link of this network namespace"))
    });
    assert_eq!(state["ready"], false);
    assert!(
        !stage
            .outside
            .run("ip", ["link"])
            .succeeds()
            .contains("cbr0")
    );
}

#[test]
fn what_is_leased_is_shown_checked_and_given_back() {
    let stage = Stage::new();
    let agent = stage.start_ready(&[SUBNET]);
    let runtime = stage.runtime();
    let (pods, [a]) = Topology::new(["a"]);
    let (_others, [b]) = Topology::new(["b"]);
    runtime.add("a", &a).unwrap();
    let b_ip = ip(&runtime.add("b", &b).unwrap()).to_string();
    let run_dir = stage.path("run");
    let shown = inspect::show(&run_dir).unwrap();
    assert!(
        shown.starts_with("10.244.1.0/24: 2 of 253 addresses leased\n"),
        "{shown}"
    );
    assert!(shown.contains("default/b"), "{shown}");
    let check = || stage.node.enter(|| inspect::check(&run_dir)).unwrap();
    assert_eq!(check(), [""; 0]);

    // The API knows the pod, so nothing but a person can tell that it has gone.
    agent.tell_pods(vec![pod("a", &[]), pod("b", &[])]);
    drop(a);
    drop(pods);
    let faults = sealane_testkit::eventually(sealane_testkit::SOON, "the link is gone", || {
        let faults = check();
        if faults.is_empty() {
            Err("all is well")
        } else {
            Ok(faults)
        }
    });
    assert!(
        faults[0].contains("10.244.1.2 of eth0 of container a has no link"),
        "{faults:?}"
    );
    let release = |what: &str, force| stage.node.enter(|| inspect::release(&run_dir, what, force));
    let used = release(&b_ip, false).unwrap_err().to_string();
    assert!(used.contains("a pod uses it"), "{used}");
    assert!(release("10.9.9.9", false).is_err());
    release("10.244.1.2", false).unwrap();
    assert_eq!(check(), [""; 0]);
    release("b", true).unwrap();
    assert_eq!(agent.leases(), 0);
    assert!(!b.run("ip", ["link"]).succeeds().contains("eth0"));
}

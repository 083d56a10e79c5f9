//! Pods that are routed: no bridge, a route of the node for each.

use std::{
    io::ErrorKind,
    net::{IpAddr, TcpStream},
};

use sealane_agent::{Attachment, Settings, leases::Key, wire::link_name};
use sealane_testkit::{Namespace, SOON, Stream, Topology, eventually};
use serde_json::json;

use crate::stage::{Agent, NODE_IP, Stage, pod, reach, seen_source, this_node};
use crate::{SUBNET, outside};

const SUBNET_V6: &str = "fd00:10:244:1::/64";
const GATEWAYS: [&str; 2] = ["10.244.1.1", "fd00:10:244:1::1"];

fn settings(stage: &Stage, attachment: Attachment) -> Settings {
    Settings {
        attachment,
        ..stage.settings()
    }
}

/// A ready agent that knows of pods a and b.
fn start(stage: &Stage, attachment: Attachment) -> Agent {
    let agent = Agent::start(settings(stage, attachment), stage.node.title());
    agent.tell_nodes(vec![this_node(&[SUBNET, SUBNET_V6])]);
    agent.tell_pods(vec![pod("a", &[]), pod("b", &[])]);
    agent.wait_ready();
    agent
}

/// Both addresses of a new pod.
#[track_caller]
fn add(stage: &Stage, container: &str, netns: &Namespace) -> [IpAddr; 2] {
    let result = stage.runtime().add(container, netns).unwrap();
    let ips: Vec<IpAddr> = result.ips.iter().map(|ip| ip.address.addr()).collect();
    ips.try_into().unwrap()
}

fn link_of(container: &str) -> String {
    link_name(&Key {
        container_id: container.into(),
        ifname: "eth0".into(),
    })
}

fn shown(netns: &Namespace, args: &[&str]) -> String {
    netns.run("ip", args).succeeds()
}

/// With the handles of rules, but without what only looks different.
fn kernel(stage: &Stage) -> String {
    let of = |args: &[&str]| shown(&stage.node, args);
    stage.kernel()
        + &of(&["-6", "route", "show", "proto", "94"])
        + &of(&["neighbour", "show", "nud", "permanent"])
}

#[test]
fn pods_have_addresses_of_their_own_and_everybody_reaches_everybody() {
    let stage = Stage::new();
    let agent = start(&stage, Attachment::Routed);
    let (_pods, [a, b]) = Topology::new(["a", "b"]);
    let result = stage.runtime().add("a", &a).unwrap();
    let result = serde_json::to_value(&result.ips).unwrap();
    assert_eq!(
        result,
        json!([
            {"address": "10.244.1.2/32", "gateway": "169.254.1.1", "interface": 1},
            {"address": "fd00:10:244:1::2/128", "gateway": "fe80::1", "interface": 1},
        ])
    );
    let a_ips: [IpAddr; 2] = ["10.244.1.2", "fd00:10:244:1::2"].map(|ip| ip.parse().unwrap());
    let b_ips = add(&stage, "b", &b);
    for family in 0..2 {
        assert_eq!(seen_source(&a, &b, b_ips[family]), a_ips[family]);
        assert_eq!(seen_source(&b, &a, a_ips[family]), b_ips[family]);
        let gateway = GATEWAYS[family].parse().unwrap();
        assert_eq!(seen_source(&stage.node, &a, a_ips[family]), gateway);
        assert_eq!(seen_source(&a, &stage.node, gateway), a_ips[family]);
    }
    let node_ip: IpAddr = NODE_IP.parse().unwrap();
    assert_eq!(seen_source(&a, &stage.node, node_ip), a_ips[0]);
    assert_eq!(seen_source(&a, &stage.outside, outside()), node_ip);

    assert_eq!(
        shown(&a, &["route", "show"]),
        "default via 169.254.1.1 dev eth0 proto static onlink \n"
    );
    let ways = shown(&stage.node, &["route", "show", "proto", "94"]);
    for line in [
        format!("10.244.1.2 dev {} scope link src 10.244.1.1", link_of("a")),
        "unreachable 10.244.1.0/24 metric 9400".into(),
    ] {
        assert!(ways.contains(&line), "{line} is missing in {ways}");
    }
    let links = shown(&stage.node, &["link"]);
    assert!(!links.contains("cbr0"), "{links}");
    stage.runtime().check("a", &a).unwrap();
    for container in ["a", "b"] {
        stage.runtime().del(container, None).unwrap();
    }
    assert_eq!(agent.leases(), 0);
    let ways = shown(&stage.node, &["route", "show", "proto", "94"]);
    assert!(!ways.contains(" dev sl"), "{ways}");
}

#[test]
fn nothing_is_asked_for_on_the_link() {
    let stage = Stage::new();
    let _agent = start(&stage, Attachment::Routed);
    let (_pods, [a]) = Topology::new(["a"]);
    let ips = add(&stage, "a", &a);
    for ip in ips {
        reach(&stage.node, ip);
    }
    // Every entry there is has been set.
    for netns in [&stage.node, &a] {
        let device = if netns.title() == a.title() {
            "eth0".to_owned()
        } else {
            link_of("a")
        };
        let known = shown(netns, &["neighbour", "show", "dev", &device]);
        assert_eq!(known.lines().count(), 2, "{known}");
        assert!(
            known.lines().all(|line| line.contains("PERMANENT")),
            "{known}"
        );
    }
}

#[test]
fn an_address_that_no_pod_has_is_refused_at_once() {
    let stage = Stage::new();
    shown(
        &stage.node,
        &["route", "add", "default", "via", "172.29.0.1"],
    );
    let _agent = start(&stage, Attachment::Routed);
    let (_pods, [a]) = Topology::new(["a"]);
    add(&stage, "a", &a);
    for nobody in ["10.244.1.77", "fd00:10:244:1::77"] {
        let target = (nobody.parse::<IpAddr>().unwrap(), 9).into();
        let error = a
            .enter(|| TcpStream::connect_timeout(&target, SOON))
            .unwrap_err();
        assert!(
            matches!(
                error.kind(),
                ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable
            ),
            "{nobody}: {error}"
        );
    }
}

#[test]
fn check_finds_what_is_broken_in_a_pod_that_is_routed() {
    let stage = Stage::new();
    let _agent = start(&stage, Attachment::Routed);
    let (_pods, [a]) = Topology::new(["a"]);
    add(&stage, "a", &a);
    shown(&a, &["neighbour", "del", "169.254.1.1", "dev", "eth0"]);
    shown(&a, &["-6", "route", "del", "default"]);
    shown(&a, &["address", "del", "10.244.1.2/32", "dev", "eth0"]);
    let text = stage.runtime().check("a", &a).unwrap_err().to_string();
    for part in [
        "169.254.1.1 does not have Ethernet address 02:80:0a:f4:01:02 in the pod",
        "route default via fe80::1",
        "address 10.244.1.2/32 is missing",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[test]
fn what_somebody_takes_from_a_pod_that_is_routed_comes_back() {
    let stage = Stage::new();
    let _agent = start(&stage, Attachment::Routed);
    let (_pods, [a]) = Topology::new(["a"]);
    let ips = add(&stage, "a", &a);
    let before = kernel(&stage);
    let link = link_of("a");
    let takes: [&[&str]; 7] = [
        &["neighbour", "del", "10.244.1.2", "dev", &link],
        &["neighbour", "del", "fd00:10:244:1::2", "dev", &link],
        &["route", "del", "10.244.1.2"],
        &["-6", "route", "del", "fd00:10:244:1::2"],
        &[
            "route",
            "del",
            "unreachable",
            "10.244.1.0/24",
            "metric",
            "9400",
        ],
        &["address", "del", "10.244.1.1/32", "dev", "lo"],
        &["link", "set", &link, "down"],
    ];
    for take in takes {
        shown(&stage.node, take);
        eventually(
            SOON,
            &format!("it is as it was before: ip {}", take.join(" ")),
            || {
                let now = kernel(&stage);
                let sorted = |text: &str| {
                    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                    lines.sort();
                    lines
                };
                if sorted(&now) == sorted(&before) {
                    Ok(())
                } else {
                    Err(now)
                }
            },
        );
        for ip in ips {
            reach(&stage.node, ip);
        }
    }
}

#[test]
fn a_restart_changes_nothing_for_pods_that_are_routed_even_without_its_file() {
    let stage = Stage::new();
    let agent = start(&stage, Attachment::Routed);
    let (_pods, [a, b]) = Topology::new(["a", "b"]);
    add(&stage, "a", &a);
    let b_ips = add(&stage, "b", &b);
    let streams = b_ips.map(|ip| Stream::between(&a, &b, ip));
    let before = kernel(&stage);
    agent.kill();
    let agent = start(&stage, Attachment::Routed);
    assert_eq!(kernel(&stage), before);
    agent.kill();
    std::fs::write(stage.path("state/leases.json"), "{ torn").unwrap();
    let agent = start(&stage, Attachment::Routed);
    assert_eq!(kernel(&stage), before);
    assert_eq!(agent.leases(), 2);
    stage.runtime().check("a", &a).unwrap();
    for stream in streams {
        stream.expect_progress();
        assert_eq!(stream.finish().retransmissions, 0);
    }
}

/// Old pods keep their attachment, new ones get the other, and all reach each other.
#[test]
fn another_attachment_is_for_new_pods_and_cuts_no_stream() {
    for [before, after] in [
        [Attachment::Bridge, Attachment::Routed],
        [Attachment::Routed, Attachment::Bridge],
    ] {
        let stage = Stage::new();
        let agent = start(&stage, before);
        let (_pods, [a, b, c]) = Topology::new(["a", "b", "c"]);
        let a_ips = add(&stage, "a", &a);
        let b_ips = add(&stage, "b", &b);
        let streams = b_ips.map(|ip| Stream::between(&a, &b, ip));
        agent.kill();
        let agent = start(&stage, after);
        let c_ips = add(&stage, "c", &c);
        let answering = |address: &str| {
            let proxies = shown(&stage.node, &["neighbour", "show", "proxy"]);
            if proxies.contains(address) {
                Ok(())
            } else {
                Err(proxies)
            }
        };
        let routed = if after == Attachment::Routed {
            c_ips
        } else {
            a_ips
        };
        for ip in routed {
            eventually(SOON, "the node answers for pods that are routed", || {
                answering(&ip.to_string())
            });
        }
        for family in 0..2 {
            assert_eq!(
                seen_source(&a, &c, c_ips[family]),
                a_ips[family],
                "{before} to {after}"
            );
            assert_eq!(
                seen_source(&c, &b, b_ips[family]),
                c_ips[family],
                "{after} to {before}"
            );
            for ip in [a_ips[family], c_ips[family]] {
                reach(&stage.node, ip);
            }
        }
        for container in [("a", &a), ("c", &c)] {
            stage.runtime().check(container.0, container.1).unwrap();
        }
        for stream in streams {
            stream.expect_progress();
            assert_eq!(stream.finish().retransmissions, 0, "{before} to {after}");
        }

        // With the last of them goes what was there for them.
        for (container, netns) in [("a", &a), ("b", &b)] {
            stage.runtime().del(container, Some(netns)).unwrap();
        }
        let (gone, command): (_, &[&str]) = match before {
            Attachment::Bridge => ("cbr0", &["link", "show"]),
            Attachment::Routed => ("10.244.1.1/32", &["address", "show"]),
        };
        eventually(SOON, &format!("{gone} is gone"), || {
            let text = shown(&stage.node, command);
            if text.contains(gone) {
                Err(text)
            } else {
                Ok(())
            }
        });
        for ip in c_ips {
            reach(&stage.node, ip);
        }
        agent.wait("one lease is left", |state| {
            state["leases"]
                .as_array()
                .is_some_and(|leases| leases.len() == 1)
        });
    }
}

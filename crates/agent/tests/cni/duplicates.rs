//! Somebody else who uses a pod's address, on the real kernel.

use sealane_cni::types::AddResult;
use sealane_net::Attachment;
use sealane_testkit::{Namespace, Topology, topology::add_address};

use super::stage::{Agent, Stage, this_node};

const SUBNETS: [&str; 2] = ["10.244.1.0/24", "fd00:10:244:1::/64"];

fn start(stage: &Stage, attachment: Attachment) -> Agent {
    let mut settings = stage.settings();
    settings.attachment = attachment;
    let agent = Agent::start(settings, stage.node.title());
    agent.tell_nodes(vec![this_node(&SUBNETS)]);
    agent.tell_pods(vec![]);
    agent.wait_ready();
    agent
}

fn addresses(result: &AddResult) -> Vec<String> {
    let ips = result.ips.iter();
    ips.map(|ip| ip.address.addr().to_string()).collect()
}

fn mac(of: &Namespace, link: &str) -> String {
    let shown = of.run("ip", ["-o", "link", "show", link]).succeeds();
    let (_, rest) = shown.split_once("link/ether ").unwrap();
    rest.split(' ').next().unwrap().to_owned()
}

#[track_caller]
fn wait_told(agent: &Agent, reason: &str, count: usize) -> Vec<String> {
    let mut told = Vec::new();
    let told_so_far = || {
        let all = agent.told().into_iter();
        all.filter(|line| line.starts_with(reason))
            .collect::<Vec<_>>()
    };
    agent.wait(&format!("{count} of {reason} are told"), |_| {
        told_so_far().len() >= count
    });
    told.extend(told_so_far());
    told
}

#[test]
fn an_address_that_somebody_uses_on_the_bridge_is_told_of() {
    let stage = Stage::new();
    let agent = start(&stage, Attachment::Bridge);
    let runtime = stage.runtime();
    let (pods, [a, b, foreign]) = Topology::new(["a", "b", "foreign"]);
    // The next pod's addresses, on a machine that somebody has plugged in.
    let node = &stage.node;
    let pair = [
        "link", "add", "foreign", "type", "veth", "peer", "name", "eth0", "netns",
    ];
    node.run("ip", pair.into_iter().chain([foreign.title()]))
        .succeeds();
    for end in [(node, "foreign"), (&foreign, "eth0")] {
        end.0.run("ip", ["link", "set", end.1, "up"]).succeeds();
    }
    node.run("ip", ["link", "set", "foreign", "master", "cbr0"])
        .succeeds();
    add_address(&foreign, "eth0", "10.244.1.2/24");
    add_address(&foreign, "eth0", "fd00:10:244:1::2/64");
    let first = runtime.add("a", &a).unwrap();
    assert_eq!(addresses(&first), ["10.244.1.2", "fd00:10:244:1::2"]);
    let told = wait_told(&agent, "AddressInUse", 2);
    let theirs = mac(&foreign, "eth0");
    for address in addresses(&first) {
        let begins = format!(
            "AddressInUse default/a: address {address} of pod default/a is also used by {theirs} on cbr0"
        );
        assert!(
            told.iter().any(|line| line.starts_with(&begins)),
            "{begins}: {told:?}"
        );
    }
    assert!(
        agent
            .metrics()
            .contains("sealane_ipam_duplicate_addresses 2")
    );
    let shown = agent.state().unwrap()["duplicates"].clone();
    assert_eq!(shown.as_array().map(Vec::len), Some(2), "{shown}");

    // A pod that is alone with its addresses is left in peace, and one that has gone is forgotten.
    runtime.add("b", &b).unwrap();
    runtime.del("a", Some(&a)).unwrap();
    agent.wait("nothing is known any more", |state| {
        state["duplicates"].is_null()
    });
    // Asked for behind the second pod's, so that one has been judged when this is told.
    add_address(&foreign, "eth0", "10.244.1.4/24");
    runtime.add("c", &a).unwrap();
    let told = wait_told(&agent, "AddressInUse", 3);
    assert!(
        !told.iter().any(|line| line.contains("default/b")),
        "{told:?}"
    );
    assert!(
        told.iter()
            .any(|line| line.contains("10.244.1.4 of pod default/c")),
        "{told:?}"
    );
    drop(pods);
}

#[test]
fn an_address_that_the_uplink_or_the_node_has_is_told_of() {
    let stage = Stage::new();
    let agent = start(&stage, Attachment::Routed);
    let runtime = stage.runtime();
    let (_pods, [a]) = Topology::new(["a"]);
    add_address(&stage.outside, "eth0", "10.244.1.2/24");
    stage
        .node
        .run("ip", ["link", "add", "other", "type", "bridge"])
        .succeeds();
    add_address(&stage.node, "other", "fd00:10:244:1::2/128");
    let added = runtime.add("a", &a).unwrap();
    assert_eq!(addresses(&added), ["10.244.1.2", "fd00:10:244:1::2"]);
    let told = wait_told(&agent, "AddressInUse", 2);
    let theirs = mac(&stage.outside, "eth0");
    for part in [
        format!("10.244.1.2 of pod default/a is also used by {theirs} on eth0"),
        "fd00:10:244:1::2 of pod default/a is also used by this node on other".to_owned(),
    ] {
        assert!(
            told.iter().any(|line| line.contains(&part)),
            "{part}: {told:?}"
        );
    }
}

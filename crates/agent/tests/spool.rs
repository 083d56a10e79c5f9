//! DELs without an agent: acknowledged, kept, and carried out by the next agent.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod stage;

use std::fs;

use sealane_cni::types::code;
use sealane_testkit::{SOON, Topology, eventually};
use serde_json::json;
use stage::{
    Stage,
    calls::{conf, environment, ours, plugin},
    ip, pod, this_node,
};

const SUBNET: &str = "10.244.1.0/29";

fn waiting(stage: &Stage) -> usize {
    fs::read_dir(stage.path("state/spool")).map_or(0, Iterator::count)
}

#[test]
fn a_del_without_an_agent_is_carried_out_by_the_next_one() {
    let stage = Stage::new();
    let agent = stage.start_ready(&[SUBNET]);
    let runtime = stage.runtime();
    let (_pods, [a, b]) = Topology::new(["a", "b"]);
    runtime.add("a", &a).unwrap();
    runtime.add("b", &b).unwrap();
    agent.kill();
    for _ in 0..3 {
        runtime.del("a", None).unwrap();
    }
    assert_eq!(waiting(&stage), 1, "one entry for each attachment");
    // The API still knows the pod, so nothing but the DEL tells that it has gone.
    let agent = stage.start();
    agent.tell_nodes(vec![this_node(&[SUBNET])]);
    agent.tell_pods(vec![pod("a", &[]), pod("b", &[])]);
    agent.wait("the lease is released", |s| {
        s["leases"]
            .as_array()
            .is_some_and(|leases| leases.len() == 1)
    });
    eventually(SOON, "the entry is gone", || waiting(&stage) == 0);
    assert!(!a.run("ip", ["link"]).succeeds().contains("eth0"));
    agent.wait_ready();
    runtime.check("b", &b).unwrap();
}

#[test]
fn an_add_of_the_same_container_comes_after_the_del_that_waits() {
    let stage = Stage::new();
    let agent = stage.start_ready(&[SUBNET]);
    let runtime = stage.runtime();
    let (_pods, [a]) = Topology::new(["a"]);
    let first = ip(&runtime.add("a", &a).unwrap());
    agent.kill();
    runtime.del("a", Some(&a)).unwrap();
    let agent = stage.start_ready(&[SUBNET]);
    let second = ip(&runtime.add("a", &a).unwrap());
    assert_ne!(first, second, "what was just released comes back last");
    eventually(SOON, "the entry is gone", || waiting(&stage) == 0);
    assert_eq!(agent.leases(), 1);
    runtime.check("a", &a).unwrap();
}

#[test]
fn del_succeeds_when_everything_is_gone() {
    let stage = Stage::new();
    let agent = stage.start_ready(&[SUBNET]);
    let (pods, [a]) = Topology::new(["a"]);
    let del = environment(&stage, &a, "DEL");
    plugin(&stage, &a, "DEL", &conf(&stage, "1.1.0")).expect("nothing was there");
    plugin(&stage, &a, "ADD", &conf(&stage, "1.1.0")).unwrap();
    agent.kill();
    drop(pods);
    fs::remove_dir_all(stage.path("state")).unwrap();
    fs::remove_dir_all(stage.path("run")).unwrap();
    for _ in 0..2 {
        ours(&stage, &del, &conf(&stage, "0.3.1")).expect("no namespace, no agent, no folders");
    }
}

#[test]
fn a_spool_that_cannot_be_used_means_try_again_and_says_why() {
    let stage = Stage::new();
    let agent = stage.start_ready(&[SUBNET]);
    let (_pods, [a]) = Topology::new(["a"]);
    agent.kill();
    let mut conf = conf(&stage, "1.1.0");
    conf["spool"] = json!("/proc/nowhere/spool");
    let error = plugin(&stage, &a, "DEL", &conf).unwrap_err();
    assert_eq!(error["code"], code::TRY_AGAIN_LATER, "{error}");
    let text = error["msg"].as_str().unwrap();
    assert!(
        text.contains("agent.sock") && text.contains("/proc/nowhere/spool"),
        "{text}"
    );
    conf["spool"] = json!("spool");
    let error = plugin(&stage, &a, "DEL", &conf).unwrap_err();
    assert_eq!(error["code"], code::INVALID_CONFIG, "{error}");
}

#[test]
fn rubbish_in_the_spool_stops_nothing() {
    let stage = Stage::new();
    let spool = stage.path("state/spool");
    fs::create_dir_all(&spool).unwrap();
    fs::write(spool.join("0123456789abcdef.del"), "{ torn").unwrap();
    let _agent = stage.start_ready(&[SUBNET]);
    eventually(SOON, "the entry is gone", || waiting(&stage) == 0);
}

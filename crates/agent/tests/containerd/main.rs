//! A real runtime: Debian's containerd and runc, driven over CRI as a kubelet
//! drives them, make, list and delete pods with our plugin and agent.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../stage/mod.rs"]
mod stage;

mod cri;
mod daemon;

use std::net::IpAddr;

use cri::Sandbox;
use daemon::Containerd;
use sealane_testkit::{SOON, eventually};
use stage::{Agent, NODE, Stage, node, reach, this_node};

const SUBNET: &str = "10.244.1.0/24";

fn started(stage: &Stage) -> Agent {
    let agent = stage.start();
    agent.tell_nodes(vec![
        this_node(&[SUBNET]),
        node("node-2", "172.29.0.9", &[]),
    ]);
    agent.tell_pods(vec![]);
    agent.wait_ready();
    agent
}

#[test]
fn containerd_makes_lists_and_deletes_pods() {
    let stage = Stage::new();
    let containerd = Containerd::start(&stage);
    let cri = containerd.cri();
    assert_eq!(NODE, "node-1");
    let (ready, why) = cri.network_ready();
    assert!(!ready, "no agent has installed a configuration yet");
    assert!(why.contains("cni"), "{why}");

    let agent = started(&stage);
    eventually(SOON, "containerd has found the configuration", || {
        let (ready, why) = cri.network_ready();
        if ready { Ok(()) } else { Err(why) }
    });
    let a = cri.run(&Sandbox::named("a"));
    let b = cri.run(&Sandbox {
        annotations: &[("sealane.io/ips", "10.244.1.99")],
        ..Sandbox::named("b")
    });
    let a_ip: IpAddr = cri.ip(&a).parse().unwrap();
    assert_eq!(a_ip.to_string(), "10.244.1.2");
    assert_eq!(
        cri.ip(&b),
        "10.244.1.99",
        "containerd hands the annotation on"
    );
    reach(&stage.node, a_ip);
    assert_eq!(cri.list().len(), 2);
    let leases = agent.state().unwrap()["leases"].clone();
    assert_eq!(leases.as_array().unwrap().len(), 2, "{leases}");
    assert!(leases.to_string().contains("\"name\":\"a\""), "{leases}");

    cri.stop(&a);
    cri.remove(&a);
    eventually(SOON, "the lease is gone", || agent.leases() == 1);

    // Without an agent a pod can be taken away all the same.
    agent.kill();
    cri.stop(&b);
    cri.remove(&b);
    assert_eq!(cri.list().len(), 0);
    let agent = started(&stage);
    eventually(SOON, "the next agent has released it", || {
        agent.leases() == 0
    });
    assert!(!stage.node.run("ip", ["link"]).succeeds().contains(": sl"));
}

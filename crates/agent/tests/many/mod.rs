//! A node among a thousand: what the kernel is told when one of them changes.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Stdio},
};

use sealane_objects::NodeNet;
use sealane_testkit::{SOON, eventually};

use crate::{
    SUBNET,
    stage::{Stage, node, this_node},
};

const NODES: usize = 1_000;

#[test]
fn one_of_a_thousand_nodes_that_changes_costs_its_own_route_alone() {
    let stage = Stage::new();
    // All on the link.
    let whole = ["route", "add", "172.30.0.0/16", "dev", "eth0"];
    stage.node.run("ip", whole).succeeds();
    let agent = stage.start_ready(&[SUBNET]);
    let mut nodes: Vec<NodeNet> = vec![this_node(&[SUBNET])];
    nodes.extend((0..NODES).map(|n| peer(n, 30)));
    agent.tell_nodes(nodes.clone());
    let routes = |count: usize| {
        eventually(SOON, "the routes are there", || {
            let shown = agent.metrics();
            let there = shown.contains(&format!("sealane_routes {count}\n"));
            there.then_some(()).ok_or("not yet")
        });
    };
    routes(NODES);
    let mut watch = Watch::start(&stage);

    nodes[500] = peer(499, 31);
    stage
        .node
        .run("ip", ["route", "add", "172.31.0.0/16", "dev", "eth0"])
        .succeeds();
    agent.tell_nodes(nodes.clone());
    let moved = "10.246.243.0/24 via 172.31.1.252";
    eventually(SOON, "the route leads to the new address", || {
        let shown = stage
            .node
            .run("ip", ["route", "show", "10.246.243.0/24"])
            .succeeds();
        shown.starts_with(moved).then_some(()).ok_or(shown)
    });
    let told = watch.told(&stage, "192.0.2.1");
    assert!(told.len() == 1 && told[0].starts_with(moved), "{told:?}");

    nodes.remove(500);
    agent.tell_nodes(nodes);
    routes(NODES - 1);
    let told = watch.told(&stage, "192.0.2.2");
    assert!(
        told.len() == 1 && told[0].starts_with("Deleted 10.246.243.0/24"),
        "{told:?}"
    );
}

fn peer(n: usize, network: u8) -> NodeNet {
    let ip = format!("172.{network}.{}.{}", n / 250, n % 250 + 3);
    let subnet = format!("10.{}.{}.0/24", 245 + n / 256, n % 256);
    node(&format!("peer-{n}"), &ip, &[&subnet])
}

/// `ip monitor route`: each message of the kernel is a line.
struct Watch {
    monitor: Child,
    lines: BufReader<ChildStdout>,
}

impl Watch {
    fn start(stage: &Stage) -> Self {
        let mut command = stage.node.command("ip");
        command
            .args(["-o", "monitor", "route"])
            .stdout(Stdio::piped());
        let mut monitor = command.spawn().unwrap();
        let lines = BufReader::new(monitor.stdout.take().unwrap());
        let mut watch = Self { monitor, lines };
        let socket = format!("/proc/{}/net/netlink", watch.monitor.id());
        let process = watch.monitor.id().to_string();
        eventually(SOON, "the monitor listens", || {
            let sockets = std::fs::read_to_string(&socket).unwrap_or_default();
            let listens = |line: &str| {
                let columns: Vec<&str> = line.split_whitespace().collect();
                columns.get(2) == Some(&&*process)
                    && columns.get(3).is_some_and(|g| *g != "00000000")
            };
            sockets.lines().any(listens).then_some(()).ok_or(sockets)
        });
        watch.told(stage, "192.0.2.0");
        watch
    }

    /// What was told of our routes so far; a route of our own making says where that ends.
    fn told(&mut self, stage: &Stage, end: &str) -> Vec<String> {
        stage
            .node
            .run("ip", ["route", "add", "blackhole", end])
            .succeeds();
        let mut told = Vec::new();
        loop {
            let mut line = String::new();
            assert!(
                self.lines.read_line(&mut line).unwrap() > 0,
                "the monitor has ended"
            );
            if line.contains(&format!("blackhole {end}")) {
                return told;
            }
            if line.contains("proto 94") {
                told.push(line);
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.monitor.kill();
        let _ = self.monitor.wait();
    }
}

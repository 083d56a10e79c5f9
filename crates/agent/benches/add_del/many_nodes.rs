//! An agent among a thousand nodes, on its link or behind a router, in a process of its own,
//! so that its memory is its alone.

use std::{
    env, fs,
    process::Command,
    time::{Duration, Instant},
};

use sealane_objects::NodeNet;

use crate::stage::{Agent, Stage, node, this_node};

const NODES: usize = 1_000;
/// Set in the process that measures, to where the nodes are.
const ALONE: &str = "SEALANE_BENCH_NODES";
const WHERE: [&str; 2] = ["on the link", "behind a router"];

/// Starts itself again for this alone.
pub fn measure() {
    for place in WHERE {
        let mut again = Command::new(env::current_exe().unwrap());
        let ended = again.arg("--bench").env(ALONE, place).status().unwrap();
        assert!(ended.success(), "the process with many nodes: {ended}");
    }
}

/// Whether this process is the one that measures; then it has.
pub fn measured_alone() -> bool {
    let Ok(place) = env::var(ALONE) else {
        return false;
    };
    let on_link = place == WHERE[0];
    let stage = Stage::new();
    if on_link {
        let whole = ["route", "add", "172.30.0.0/16", "dev", "eth0"];
        stage.node.run("ip", whole).succeeds();
    }
    let agent = stage.start_ready(&["10.244.0.0/24"]);
    let show = |what: &str, figure: f64, unit: &str| {
        println!("1,000 nodes {place}: {what:34} {figure:8.1} {unit}");
    };
    show("memory before", resident_mb(), "MB");
    let mut nodes = all();
    show("routes to all", ms(told(&agent, &nodes, NODES)), "ms");
    show("memory", resident_mb(), "MB");
    nodes.truncate(NODES);
    show(
        "one goes, and its route",
        ms(told(&agent, &nodes, NODES - 1)),
        "ms",
    );
    show("memory", resident_mb(), "MB");
    true
}

/// This node and a thousand others.
fn all() -> Vec<NodeNet> {
    let others = (1..=NODES).map(|n| {
        let ip = format!("172.30.{}.{}", n / 250, n % 250 + 3);
        let subnet = format!("10.{}.{}.0/24", 245 + n / 256, n % 256);
        node(&format!("peer-{n}"), &ip, &[&subnet])
    });
    std::iter::once(this_node(&["10.244.0.0/24"]))
        .chain(others)
        .collect()
}

/// How long it takes until the agent has this many routes in the kernel.
fn told(agent: &Agent, nodes: &[NodeNet], routes: usize) -> Duration {
    let started = Instant::now();
    agent.tell_nodes(nodes.to_vec());
    // What is shown is what was found or put into the kernel.
    let there = format!("sealane_routes {routes}\n");
    while !agent.metrics().contains(&there) {}
    started.elapsed()
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn resident_mb() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kb: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kb / 1e3
}

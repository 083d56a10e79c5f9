//! CNI ADD and DEL as a container runtime sees them, each call a process,
//! beside the reference plugins `bridge` and `host-local` in the same run.
//!
//! Needs root and the package containernetworking-plugins. The plugin is the
//! program that users install, built before (`cargo build --release`), or the
//! one that `SEALANE_BIN` names.
//!
//! Then an agent alone, with a thousand other nodes.
#![allow(clippy::unwrap_used, reason = "a panic is how a bench fails")]

mod many_nodes;
#[path = "../../tests/stage/mod.rs"]
mod stage;

use std::{
    fs::File,
    io::{Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};
use sealane_cni::protocol;
use sealane_testkit::{Namespace, Topology};
use serde_json::{Value, json};
use stage::{Agent, Stage, this_node};

const ROUNDS: usize = 100;
const AT_ONCE: usize = 100;
const BURSTS: usize = 5;

fn main() {
    // `cargo test --benches` only wants to know whether it builds.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    if many_nodes::measured_alone() {
        return;
    }
    let stage = Stage::new();
    let program = sealane_testkit::binary::path();
    let agent = Agent::start_installing(program, stage.settings(), stage.node.title());
    agent.tell_nodes(vec![this_node(&["10.244.0.0/22"])]);
    agent.tell_pods(vec![]);
    agent.wait_ready();
    let reference = stage.node.clone();
    let contenders = [ours(&stage), theirs(&stage, reference)];
    alone(&contenders);
    at_once(&contenders);
    without_processes(&stage);
    drop(agent);
    many_nodes::measure();
}

/// The agent's share: the same requests by threads on its socket.
fn without_processes(stage: &Stage) {
    let titles: [String; AT_ONCE] = std::array::from_fn(|n| format!("q{n}"));
    let (_pods, namespaces) = Topology::new(titles.each_ref().map(String::as_str));
    for command in ["ADD", "DEL"] {
        let mut alone: Vec<Duration> = Vec::new();
        if command == "ADD" {
            for _ in 0..ROUNDS {
                alone.push(ask(stage, "ADD", &namespaces[0]));
                ask(stage, "DEL", &namespaces[0]);
            }
            show("ADD alone", "agent without process", &alone);
        }
        let started = Instant::now();
        let times: Vec<Duration> = thread::scope(|scope| {
            let asked: Vec<_> = namespaces
                .iter()
                .map(|netns| scope.spawn(move || ask(stage, command, netns)))
                .collect();
            asked
                .into_iter()
                .map(|asked| asked.join().unwrap())
                .collect()
        });
        show(
            &format!("{command}, {AT_ONCE} at once"),
            "agent without process",
            &times,
        );
        println!("{:?} in all", started.elapsed());
    }
}

fn ask(stage: &Stage, command: &str, netns: &Namespace) -> Duration {
    let request = json!({
        "command": command, "network": "sealane", "container_id": netns.title(),
        "ifname": "eth0", "netns": netns.title(),
    });
    let file = File::open(Path::new("/run/netns").join(netns.title())).unwrap();
    let started = Instant::now();
    let mut stream = UnixStream::connect(stage.path("run/agent.sock")).unwrap();
    protocol::send(
        stream.as_fd(),
        &protocol::line(&request),
        Some(file.as_fd()),
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(!answer.contains("failed"), "{answer}");
    started.elapsed()
}

/// A plugin with its configuration, and where it is to run.
struct Contender {
    name: &'static str,
    program: PathBuf,
    within: Namespace,
    conf: Value,
}

fn ours(stage: &Stage) -> Contender {
    Contender {
        name: "sealane",
        program: stage.path("bin/sealane"),
        within: Namespace::own(),
        conf: json!({
            "cniVersion": "1.0.0", "name": "sealane", "type": "sealane",
            "socket": stage.path("run/agent.sock"), "spool": stage.path("state/spool"),
        }),
    }
}

fn theirs(stage: &Stage, within: Namespace) -> Contender {
    let program = Path::new("/usr/lib/cni/bridge");
    assert!(
        program.exists(),
        "install the package containernetworking-plugins"
    );
    Contender {
        name: "bridge + host-local",
        program: program.to_owned(),
        within,
        conf: json!({
            "cniVersion": "1.0.0", "name": "reference", "type": "bridge", "bridge": "br-ref",
            "isGateway": true,
            "ipam": {"type": "host-local", "subnet": "10.99.0.0/22", "dataDir": stage.path("host-local"),
                     "routes": [{"dst": "0.0.0.0/0"}]},
        }),
    }
}

impl Contender {
    /// As runtimes start processes: without a copy of the parent's memory, which
    /// is what a child with work to do before its program would take.
    fn start(&self, command: &str, netns: &Namespace) -> Child {
        let mut child = Command::new(&self.program)
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", netns.title())
            .env("CNI_NETNS", Path::new("/run/netns").join(netns.title()))
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", "/usr/lib/cni")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let conf = self.conf.to_string();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(conf.as_bytes())
            .unwrap();
        child
    }

    fn call(&self, command: &str, netns: &Namespace) -> Duration {
        let (took, output) = self.within.enter(|| {
            let started = Instant::now();
            let output = self.start(command, netns).wait_with_output().unwrap();
            (started.elapsed(), output)
        });
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{} {command}: {said}", self.name);
        took
    }
}

/// One call after the other, the contenders in turn, so that noise hits both.
fn alone(contenders: &[Contender; 2]) {
    let (_pods, [netns]) = Topology::new(["pod"]);
    let mut times: [[Vec<Duration>; 2]; 2] = Default::default();
    let mut worked: [[Vec<Duration>; 2]; 2] = Default::default();
    for round in 0..ROUNDS {
        for turn in 0..2 {
            let who = (round + turn) % 2;
            for (n, command) in ["ADD", "DEL"].into_iter().enumerate() {
                let before = processor_time();
                times[who][n].push(contenders[who].call(command, &netns));
                worked[who][n].push(processor_time() - before);
            }
        }
    }
    for (n, command) in ["ADD", "DEL"].into_iter().enumerate() {
        let what = format!("{command} alone");
        report(&what, contenders, [&times[0][n], &times[1][n]]);
        let what = format!("{command}, processor");
        report(&what, contenders, [&worked[0][n], &worked[1][n]]);
    }
}

/// Of this process, in which the agent is, and of the plugins that have ended: what a call costs
/// however busy the machine is.
fn processor_time() -> Duration {
    [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN]
        .into_iter()
        .flat_map(|who| {
            let usage = getrusage(who).unwrap();
            [usage.user_time(), usage.system_time()]
        })
        .map(|time| Duration::from_micros(time.num_microseconds().unsigned_abs()))
        .sum()
}

/// All at the same moment, each from a thread of its own; the contenders in turn.
fn at_once(contenders: &[Contender; 2]) {
    let titles: [String; AT_ONCE] = std::array::from_fn(|n| format!("p{n}"));
    let (_pods, namespaces) = Topology::new(titles.each_ref().map(String::as_str));
    let mut times: [[Vec<Duration>; 2]; 2] = Default::default();
    for _ in 0..BURSTS {
        for (who, contender) in contenders.iter().enumerate() {
            times[who][0].extend(all(contender, "ADD", &namespaces));
            times[who][1].extend(all(contender, "DEL", &namespaces));
        }
    }
    for (n, command) in ["ADD", "DEL"].into_iter().enumerate() {
        report(
            &format!("{command}, {AT_ONCE} at once"),
            contenders,
            [&times[0][n], &times[1][n]],
        );
    }
}

/// The time of each call.
fn all(contender: &Contender, command: &str, namespaces: &[Namespace]) -> Vec<Duration> {
    thread::scope(|scope| {
        let calls: Vec<_> = namespaces
            .iter()
            .map(|netns| scope.spawn(move || contender.call(command, netns)))
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    })
}

fn report(what: &str, contenders: &[Contender; 2], times: [&Vec<Duration>; 2]) {
    for (contender, times) in contenders.iter().zip(times) {
        show(what, contender.name, times);
    }
    let ratio = quantile(times[1], 0.5) / quantile(times[0], 0.5);
    println!("{what:20} ratio of p50 {ratio:.2}");
}

fn show(what: &str, who: &str, times: &[Duration]) {
    let (p50, p99) = (quantile(times, 0.5), quantile(times, 0.99));
    println!("{what:20} {who:22} p50 {p50:8.2} ms   p99 {p99:8.2} ms");
}

/// In milliseconds.
fn quantile(times: &[Duration], q: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort();
    let index = ((sorted.len() - 1) as f64 * q).round() as usize;
    sorted[index].as_secs_f64() * 1e3
}

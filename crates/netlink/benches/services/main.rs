//! Services in the kernel: all of them at once, one change, a restart, and what they take of memory, beside rulesets
//! as kube-proxy writes them, loaded with the tools that it loads them with.
//!
//! `cargo bench -p sealane-netlink --bench services`; needs root, nftables and iptables. Ten endpoints for each
//! Service. Each contender has a process, a namespace and a memory cgroup of its own, one after the other.
//! `SEALANE_BENCH_SERVICES=1000,10000` chooses other numbers of Services than 1,000, 10,000 and 50,000, and
//! `SEALANE_BENCH_PEERS=10000` up to how many the tools are measured: at 50,000 they take minutes.
#![allow(
    clippy::unwrap_used,
    reason = "a bench that cannot measure should stop"
)]

mod connect;
mod gauge;
mod ours;
mod peers;
mod world;

use std::env;
use std::process::{Command, Stdio};

use gauge::{Figure, Group};

/// Set in a process that measures: whom, and with how many Services.
const JOB: &str = "SEALANE_BENCH_JOB";
const CONTENDERS: [&str; 4] = ["ours", "nft", "iptables-legacy", "iptables-nft"];
/// This variant of iptables takes more than three minutes for 5,000.
const IPTABLES_NFT: usize = 1_000;

fn main() {
    // `cargo test --benches` only wants to know whether it builds.
    if !env::args().any(|arg| arg == "--bench") {
        return;
    }
    if let Ok(job) = env::var(JOB) {
        let (who, services) = job.split_once(' ').unwrap();
        return measure(who, services.parse().unwrap());
    }
    let largest_of_peers = numbers("SEALANE_BENCH_PEERS", "10000")[0];
    println!("load when begun: {}", gauge::load());
    for services in numbers("SEALANE_BENCH_SERVICES", "1000,10000,50000") {
        let contends = |who: &&str| match *who {
            "ours" => true,
            "iptables-nft" => services <= IPTABLES_NFT.min(largest_of_peers),
            _ => services <= largest_of_peers,
        };
        let contenders: Vec<_> = CONTENDERS.into_iter().filter(contends).collect();
        let figures: Vec<_> = contenders.iter().map(|who| start(who, services)).collect();
        println!("\n{services} Services: {}", contenders.join(", "));
        show(&figures);
    }
    println!("load when ended: {}", gauge::load());
}

fn numbers(variable: &str, otherwise: &str) -> Vec<usize> {
    let chosen = env::var(variable).unwrap_or(otherwise.into());
    chosen.split(',').map(|n| n.parse().unwrap()).collect()
}

fn measure(who: &str, services: usize) {
    gauge::before_others();
    match who {
        "ours" => ours::measure(services),
        "nft" => peers::nft(services),
        variant => peers::iptables(variant, services),
    }
}

/// Measures in another process; in the order in which it tells of them.
fn start(who: &str, services: usize) -> Vec<Figure> {
    let group = Group::new();
    let mut child = Command::new(env::current_exe().unwrap());
    child
        .arg("--bench")
        .env(JOB, format!("{who} {services}"))
        .env(Group::VARIABLE, group.name())
        .stdout(Stdio::piped());
    let output = child.spawn().unwrap().wait_with_output().unwrap();
    assert!(output.status.success(), "{who} with {services} Services");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(Figure::read).collect()
}

/// A row for each figure, with those of all contenders and their ratio to ours.
fn show(all: &[Vec<Figure>]) {
    for ours in &all[0] {
        let mut row = format!("{:44} {:10.3}", ours.what, ours.value);
        for theirs in &all[1..] {
            let found = theirs.iter().find(|figure| figure.what == ours.what);
            row += &found.map_or(format!("{:>22}", "-"), |theirs| {
                let ratio = theirs.value / ours.value;
                format!("{:12.3} {ratio:8.1}x", theirs.value)
            });
        }
        println!("{row}");
    }
}

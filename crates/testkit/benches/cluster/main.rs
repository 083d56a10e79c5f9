//! What a cluster costs, end to end: see docs/benchmarks.md for the figures and how to read them.
//!
//! `make bench`, or `cargo bench --package sealane-testkit --bench cluster -- [PART…]` after a
//! release build of the binary. Parts: up, pods, replicas, memory, cni,
//! datapath, probes, flips, services, names; all of them by default.
//! Prints a table for people, and as the last line JSON for programs.

mod cni;
mod datapath;
mod memory;
mod names;
mod pods;
mod probes;
mod replicas;
mod samples;
mod services;
mod up;

use std::fs;

use samples::Report;

fn main() {
    // Cargo passes --bench to every bench target.
    let parts: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|named| named == part);
    let mut report = Report::new(machine());
    if wanted("up") {
        up::measure(&mut report);
    }
    if wanted("pods") {
        pods::measure(&mut report);
    }
    if wanted("replicas") {
        replicas::measure(&mut report);
    }
    if wanted("memory") {
        memory::measure(&mut report);
    }
    if wanted("cni") {
        cni::measure(&mut report);
    }
    if wanted("datapath") {
        datapath::measure(&mut report);
    }
    if wanted("probes") {
        probes::measure_idle(&mut report);
    }
    if wanted("flips") {
        probes::measure_flips(&mut report);
    }
    if wanted("services") {
        services::measure(&mut report);
    }
    if wanted("names") {
        names::measure(&mut report);
    }
    println!("{report}");
    println!("{}", report.json());
}

/// Processor, kernel and load: what a figure means nothing without.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| {
        line.strip_prefix("model name")?
            .split_once(": ")
            .map(|(_, name)| name.to_owned())
    });
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let load = read("/proc/loadavg");
    format!(
        "{} x {}, Linux {}, load {} when begun",
        cores,
        model.unwrap_or_else(|| "unknown processor".to_owned()),
        read("/proc/sys/kernel/osrelease").trim(),
        load.split(' ').next().unwrap_or("?"),
    )
}

//! Queries for each second of the server's CPU, and how long they take, beside unbound and knot
//! that serve the same names in the same run: `cargo bench -p sealane-dns --bench serve`, or some
//! of it only, as `-- cluster udp`.
//!
//! The client is dnsperf (Debian's `dnsperf`), with EDNS. Each server is a process with one thread
//! for datagrams; unbound has the cluster's names as local data, knot as a zone. Names of others
//! are in the caches of ours and of unbound, and come from knot. What is compared is what a query
//! costs the server, so a busy machine changes it less than it changes queries per second.

#![allow(
    clippy::unwrap_used,
    reason = "a measurement that cannot go on should panic"
)]

mod client;
mod ours;
mod peers;

use std::{
    fmt::Write,
    fs,
    path::Path,
    process::{Child, Command},
};

use client::Load;

/// Services, in [`NAMESPACES`].
const SERVICES: usize = 1000;
const NAMESPACES: usize = 20;
const ROUNDS: usize = 3;

/// A server, as a process of its own.
struct Server {
    name: &'static str,
    process: Child,
    port: u16,
    /// It answers for names of others, too.
    resolves: bool,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, corefile] = &arguments[..]
        && word == "server"
    {
        return ours::serve(Path::new(corefile));
    }
    let wanted = |word: &str| {
        let words = arguments.iter().filter(|word| !word.starts_with('-'));
        let alike: Vec<_> = words.filter(|other| same_sort(other, word)).collect();
        alike.is_empty() || alike.iter().any(|other| *other == word)
    };
    if Command::new("dnsperf").arg("-h").output().is_err() {
        println!(
            "dnsperf is not installed (apt-get install dnsperf knot unbound): nothing to ask with"
        );
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(knot) = peers::knot(folder.path()) else {
        println!(
            "knot is not installed (apt-get install knot unbound dnsperf): nothing to compare with"
        );
        return;
    };
    let ours = ours::start(folder.path(), knot.port);
    let mut servers = vec![ours];
    servers.extend(peers::unbound(folder.path(), knot.port));
    servers.push(knot);
    for (what, names) in names() {
        let file = folder.path().join(what);
        fs::write(&file, names).unwrap();
        for protocol in ["udp", "tcp"] {
            if wanted(what) && wanted(protocol) {
                measure(what, protocol, &file, &servers);
            }
        }
    }
}

/// Whether two words choose among the same things.
fn same_sort(one: &str, other: &str) -> bool {
    let protocol = |word: &str| matches!(word, "udp" | "tcp");
    protocol(one) == protocol(other)
}

/// What is asked, as dnsperf reads it.
fn names() -> [(&'static str, String); 3] {
    let list = |line: &dyn Fn(usize) -> String| {
        (0..SERVICES).fold(String::new(), |mut text, number| {
            writeln!(text, "{} A", line(number)).unwrap();
            text
        })
    };
    [
        ("cluster", list(&service)),
        ("missing", list(&|number| format!("no-{}", service(number)))),
        (
            "cached",
            list(&|number| format!("host-{number}.outside.test")),
        ),
    ]
}

/// The name of a Service.
fn service(number: usize) -> String {
    format!(
        "service-{number}.ns-{}.svc.cluster.local",
        number % NAMESPACES
    )
}

fn measure(what: &str, protocol: &str, names: &Path, servers: &[Server]) {
    let able: Vec<&Server> = servers
        .iter()
        .filter(|server| server.resolves || what != "cached")
        .collect();
    let load = Load { names, protocol };
    // Caches are filled, and every name is answered at all.
    for server in &able {
        load.warm(server);
    }
    let mut results: Vec<Vec<client::Result>> = vec![Vec::new(); able.len()];
    for _ in 0..ROUNDS {
        for (server, results) in able.iter().zip(&mut results) {
            results.push(load.run(server));
        }
    }
    println!("{what} over {protocol}: medians of {ROUNDS} rounds");
    let base = results
        .get(1)
        .map(|peer| median(peer, |one| one.per_cpu_second));
    for (server, results) in able.iter().zip(&results) {
        let per_cpu_second = median(results, |one| one.per_cpu_second);
        println!(
            "  {:8} {:7.0} queries per CPU second ({:.2} of {}), {:7.0} a second; at {} a second: p50 {:4.0} us, p99 {:5.0} us; lost {}",
            server.name,
            per_cpu_second,
            per_cpu_second / base.unwrap_or(per_cpu_second),
            able.get(1).map_or("itself", |peer| peer.name),
            median(results, |one| one.per_second),
            client::CALM_RATE,
            median(results, |one| one.p50_us),
            median(results, |one| one.p99_us),
            results.iter().map(|one| one.lost).sum::<u64>(),
        );
    }
}

fn median(results: &[client::Result], of: impl Fn(&client::Result) -> f64) -> f64 {
    let mut values: Vec<f64> = results.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

//! What tests print: when one of a cluster fails, and times that are told and not judged.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::binary;
use crate::cluster::Cluster;

/// Lines of each log that are printed.
const TAIL: usize = 25;

/// Prints how to look around by hand, the state of the cluster, and the end of each log.
pub fn print(cluster: &Cluster) {
    eprintln!(
        "\n===== cluster {} when the test failed =====",
        cluster.name()
    );
    for number in 1..=cluster.nodes() {
        eprintln!(
            "look around node-{number} with: ip netns exec {} bash",
            cluster.node_netns(number)
        );
    }
    eprintln!(
        "keep it for that with: SEALANE_KEEP=1 (then: sealane down --name {})",
        cluster.name()
    );
    eprintln!("{}", binary::sealane(["status", "--name", cluster.name()]));
    eprintln!(
        "{}",
        cluster.kubectl([
            "get",
            "pods",
            "--all-namespaces",
            "--output=wide",
            "--request-timeout=5s"
        ])
    );
    eprintln!(
        "{}",
        cluster.kubectl(["get", "events", "--all-namespaces", "--request-timeout=5s"])
    );
    for number in 1..=cluster.nodes() {
        print_network(&cluster.node_netns(number));
    }
    print_logs(&cluster.state_dir().join("logs"));
    eprintln!("===== end of cluster {} =====\n", cluster.name());
}

fn print_network(netns: &str) {
    for words in [["address", "show"], ["route", "show"]] {
        eprintln!(
            "{}",
            crate::run("ip", ["-netns", netns, "-brief"].into_iter().chain(words))
        );
    }
    eprintln!(
        "{}",
        crate::run("ip", ["netns", "exec", netns, "nft", "list", "ruleset"])
    );
}

fn print_logs(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        let text = fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        eprintln!("--- the end of {}", path.display());
        eprintln!("{}", lines[lines.len().saturating_sub(TAIL)..].join("\n"));
    }
}

/// How long things took: printed by tests that do not judge it, since machines differ.
#[derive(Debug, Default)]
pub struct Times(Vec<(String, Duration)>);

impl Times {
    /// Enters one.
    pub fn add(&mut self, what: &str, took: Duration) {
        self.0.push((what.to_owned(), took));
    }
}

impl fmt::Display for Times {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|(what, _)| what.len()).max();
        let width = width.unwrap_or_default();
        self.0
            .iter()
            .try_for_each(|(what, took)| writeln!(to, "{what:width$}  {took:>8.2?}"))
    }
}

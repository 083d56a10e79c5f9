//! What is printed when a test of a cluster fails.

use std::fs;
use std::path::Path;

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

//! What each process of a cluster at rest holds in memory.

use sealane_testkit::cluster::Role;
use sealane_testkit::process::{Memory, Process};
use sealane_testkit::{Cluster, Pod, UpOptions};
use serde_json::json;

use crate::samples::Report;

const ROLES: [Role; 5] = [
    Role::Supervisor,
    Role::ApiServer,
    Role::Controllers,
    Role::Node(1),
    Role::Agent(1),
];

/// How long nothing may change before a process counts as at rest.
const REST: std::time::Duration = std::time::Duration::from_secs(5);

/// Measures a two-node cluster with four pods.
pub fn measure(report: &mut Report) {
    let cluster = Cluster::up(UpOptions::default());
    let pods = ["a", "b", "c", "d"].map(Pod::echo);
    cluster.start(&pods);
    // The figure is that of a cluster at rest, and rest is a time, not a condition.
    std::thread::sleep(REST);
    for role in ROLES {
        let process = cluster
            .process(role)
            .unwrap_or_else(|error| panic!("{error}"));
        add(report, &format!("memory of {}", role.file_stem()), &process);
    }
    for pod in &pods[..2] {
        let shim = cluster.shim(pod.name());
        add(
            report,
            &format!("memory of the shim of pod {}", pod.name()),
            &shim,
        );
        for child in Process::all()
            .iter()
            .filter(|process| process.parent() == Some(shim.pid))
        {
            add(
                report,
                &format!("memory of the echo server of pod {}", pod.name()),
                child,
            );
        }
    }
    cluster.down();
}

/// Adds what a process holds.
pub fn add(report: &mut Report, what: &str, process: &Process) {
    let Memory {
        resident_bytes,
        anonymous_bytes,
        proportional_bytes,
    } = process
        .memory()
        .unwrap_or_else(|| panic!("{what}: the process is gone"));
    let mb = |bytes: u64| (bytes as f64 / 1e4).round() / 100.0;
    report.row(what, json!({"rss_mb": mb(resident_bytes), "anonymous_mb": mb(anonymous_bytes), "proportional_mb": mb(proportional_bytes)}));
}

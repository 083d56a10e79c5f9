//! CNI ADD as a container runtime sees it, a process from start to exit: our plugin, which asks the
//! agent, beside the reference plugins `bridge` and `host-local`, in turn in one run.
//!
//! Both get a fresh network namespace each time and make the same: a veth on a bridge, an address,
//! a default route. Neither masquerades for each pod (the reference with `ipMasq` runs iptables and
//! is slower still; our masquerading is one rule for the node).

use std::path::Path;
use std::time::{Duration, Instant};

use sealane_testkit::cni::Plugin;
use sealane_testkit::{Cluster, Folder, Namespace, Topology, UpOptions};
use serde_json::json;

use crate::samples::{Report, Samples};

const ROUNDS: u32 = 50;

/// Where Debian's containernetworking-plugins installs.
const REFERENCE: &str = "/usr/lib/cni";

/// How long a call takes, as a whole process.
fn time(plugin: &Plugin, command: &str, container: &str, netns: &str) -> Duration {
    let begun = Instant::now();
    plugin.call(command, container, netns, None).succeeds();
    begun.elapsed()
}

/// Measures both, interleaved.
pub fn measure(report: &mut Report) {
    assert!(
        Path::new(REFERENCE).join("bridge").exists(),
        "the comparison needs {REFERENCE}/bridge: apt-get install containernetworking-plugins"
    );
    let cluster = Cluster::up(UpOptions {
        nodes: 1,
        ..UpOptions::default()
    });
    let (_topology, [bare]) = Topology::new(["reference"]);
    let leases = Folder::new();
    let ours = ours(&cluster);
    let theirs = reference(bare, &leases);
    let (mut our_add, mut their_add) = (Samples::default(), Samples::default());
    let (mut our_del, mut their_del) = (Samples::default(), Samples::default());
    for round in 0..ROUNDS {
        for (plugin, add, del) in [
            (&ours, &mut our_add, &mut our_del),
            (&theirs, &mut their_add, &mut their_del),
        ] {
            let (_pod_topology, [pod]) = Topology::new(["pod"]);
            let container = format!("bench-{round}");
            add.push(time(plugin, "ADD", &container, pod.title()));
            del.push(time(plugin, "DEL", &container, pod.title()));
        }
    }
    report.times("CNI ADD, sealane", &our_add);
    report.times("CNI ADD, bridge and host-local", &their_add);
    report.times("CNI DEL, sealane", &our_del);
    report.times("CNI DEL, bridge and host-local", &their_del);
    let ratio = |ours: &Samples, theirs: &Samples| {
        (theirs.quantile(0.5).as_secs_f64() / ours.quantile(0.5).as_secs_f64() * 100.0).round()
            / 100.0
    };
    report.row(
        "reference takes this many times as long",
        json!({"add": ratio(&our_add, &their_add), "del": ratio(&our_del, &their_del)}),
    );
    cluster.down();
}

/// Our plugin as the agent of node-1 has installed it.
fn ours(cluster: &Cluster) -> Plugin {
    let cni = cluster.state_dir().join("nodes/node-1/cni");
    let plugin = Plugin::installed(&cni.join("bin"), &cni.join("net.d"));
    Plugin {
        node: Some(cluster.node(1)),
        ..plugin
    }
}

fn reference(node: Namespace, leases: &Folder) -> Plugin {
    let network = json!({
        "cniVersion": "1.0.0",
        "name": "reference",
        "type": "bridge",
        "bridge": "cni0",
        "isDefaultGateway": true,
        "ipam": {"type": "host-local", "subnet": "10.88.0.0/16", "dataDir": leases.path()},
    });
    Plugin {
        program: Path::new(REFERENCE).join("bridge"),
        folder: REFERENCE.into(),
        network,
        node: Some(node),
    }
}

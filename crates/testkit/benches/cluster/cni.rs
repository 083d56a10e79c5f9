//! CNI ADD as a container runtime sees it, a process from start to exit: our plugin, which asks the
//! agent, beside the reference plugins `bridge` and `host-local`, in turn in one run.
//!
//! Both get a fresh network namespace each time and make the same: a veth on a bridge, an address,
//! a default route. Neither masquerades for each pod (the reference with `ipMasq` runs iptables and
//! is slower still; our masquerading is one rule for the node).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sealane_testkit::command::finish_with_input;
use sealane_testkit::{Cluster, Namespace, SOON, Topology, UpOptions, eventually};
use serde_json::{Value, json};

use crate::samples::{Report, Samples};

const ROUNDS: u32 = 50;

/// Where Debian's containernetworking-plugins installs.
const REFERENCE: &str = "/usr/lib/cni";

/// A plugin, its configuration, and the namespace in which it runs.
struct Plugin {
    program: PathBuf,
    folder: PathBuf,
    config: Value,
    node: Namespace,
}

impl Plugin {
    fn call(&self, command: &str, container: &str, netns: &str) -> Duration {
        let mut plugin: Command = self.node.command(self.program.to_str().unwrap_or_default());
        plugin
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", container)
            .env("CNI_NETNS", Path::new("/run/netns").join(netns))
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", &self.folder)
            .env("CNI_ARGS", format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={container};K8S_POD_INFRA_CONTAINER_ID={container}"));
        let begun = Instant::now();
        finish_with_input(plugin, &self.config.to_string()).succeeds();
        begun.elapsed()
    }
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
    let leases = std::env::temp_dir().join(format!("{}-leases", cluster.name()));
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
            add.push(plugin.call("ADD", &container, pod.title()));
            del.push(plugin.call("DEL", &container, pod.title()));
        }
    }
    drop(std::fs::remove_dir_all(leases));
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
    let text = eventually(SOON, "the agent has installed its conflist", || {
        std::fs::read_to_string(cni.join("net.d/10-sealane.conflist"))
    });
    let list: Value = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("read conflist: {error}\n{text}"));
    let mut config = list["plugins"][0].clone();
    config["name"] = list["name"].clone();
    config["cniVersion"] = list["cniVersion"].clone();
    let folder = cni.join("bin");
    Plugin {
        program: folder.join("sealane"),
        folder,
        config,
        node: cluster.node(1),
    }
}

fn reference(node: Namespace, leases: &Path) -> Plugin {
    let config = json!({
        "cniVersion": "1.0.0",
        "name": "reference",
        "type": "bridge",
        "bridge": "cni0",
        "isDefaultGateway": true,
        "ipam": {"type": "host-local", "subnet": "10.88.0.0/16", "dataDir": leases},
    });
    Plugin {
        program: Path::new(REFERENCE).join("bridge"),
        folder: REFERENCE.into(),
        config,
        node,
    }
}

//! What the steps of `sealane up` and of a CNI ADD cost in the kernel, and the same steps by `ip` and `nft`.
//!
//! `cargo bench -p sealane-netlink`; needs root, iproute2 and nftables. Prints
//! medians in microseconds, ours and theirs in turn, and their ratio.
#![allow(
    clippy::unwrap_used,
    reason = "a bench that cannot measure should stop"
)]

use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sealane_net::{Family, IpNet, Route};
use sealane_netlink::{Bridge, Netlink, Veth, VethPeer, netns};
use sealane_ruleset::{NodeEgress, Table, node_egress};

const ROUNDS: usize = 40;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    println!(
        "{:34} {:>9} {:>9} {:>7}",
        "", "ours us", "theirs us", "ratio"
    );
    namespaces();
    let node = Named::new("node");
    let kernel = Netlink::in_netns(&node.netns).unwrap();
    kernel
        .add_bridge(&Bridge {
            name: "cbr0",
            up: true,
            ..Bridge::default()
        })
        .await
        .unwrap();
    wiring(&node, &kernel).await;
    programs(&node, &kernel).await;
}

fn namespaces() {
    let name = name("made");
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        ours.take(|| netns::create_named(&name).unwrap());
        netns::delete_named(&name).unwrap();
        theirs.take(|| run("ip", &["netns", "add", &name]));
        netns::delete_named(&name).unwrap();
    }
    report("create a namespace", &ours, &theirs);
}

/// A pod's namespace exists; the rest of what a CNI ADD does in the kernel.
async fn wiring(node: &Named, kernel: &Netlink) {
    let master = kernel.index_of("cbr0").await.unwrap();
    let address: IpNet = "10.244.1.5/24".parse().unwrap();
    let route = Route::via("0.0.0.0/0".parse().unwrap(), "10.244.1.1".parse().unwrap());
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        let pod = Named::new("pod");
        let begin = Instant::now();
        let veth = Veth {
            name: "sl-bench",
            master: Some(master),
            up: true,
            peer: VethPeer {
                name: "eth0",
                netns: Some(pod.netns.as_fd()),
                ..VethPeer::default()
            },
            ..Veth::default()
        };
        kernel.add_veth(&veth).await.unwrap();
        let inside = Netlink::in_netns(&pod.netns).unwrap();
        inside.set_up("lo").await.unwrap();
        inside.set_up("eth0").await.unwrap();
        inside.add_address("eth0", address).await.unwrap();
        inside.set_route(&route).await.unwrap();
        ours.0.push(begin.elapsed());
        kernel.delete_link("sl-bench").await.unwrap();
        theirs.take(|| wire_with_ip(node, &pod));
        kernel.delete_link("sl-bench").await.unwrap();
    }
    report("wire a pod to a bridge", &ours, &theirs);
}

fn wire_with_ip(node: &Named, pod: &Named) {
    let (node, pod) = (&node.name, &pod.name);
    let lines = [
        format!("-n {node} link add sl-bench master cbr0 up type veth peer name eth0 netns {pod}"),
        format!("-n {pod} link set lo up"),
        format!("-n {pod} link set eth0 up"),
        format!("-n {pod} address add 10.244.1.5/24 dev eth0"),
        format!("-n {pod} route add default via 10.244.1.1"),
    ];
    for line in lines {
        run("ip", &line.split(' ').collect::<Vec<_>>());
    }
}

async fn programs(node: &Named, kernel: &Netlink) {
    let tables = [egress(2), egress(3)];
    let files = tables.clone().map(|table| {
        let path = std::env::temp_dir().join(format!("{}-{}", node.name, table.stamp()));
        let clean = format!("table ip sealane\ndelete table ip sealane\n{table}");
        std::fs::write(&path, clean).unwrap();
        path
    });
    let [mut load, mut nft, mut skip, mut nothing] = [const { Samples(vec![]) }; 4];
    for round in 0..ROUNDS {
        let begin = Instant::now();
        kernel.load_table(&tables[round % 2]).await.unwrap();
        load.0.push(begin.elapsed());
        nft.take(|| {
            let file = files[round % 2].to_str().unwrap();
            run("ip", &["netns", "exec", &node.name, "nft", "-f", file]);
        });
        kernel.load_table(&tables[0]).await.unwrap();
        let begin = Instant::now();
        kernel.sync_tables("sealane", &tables[..1]).await.unwrap();
        skip.0.push(begin.elapsed());
        nothing.take(|| {
            run(
                "ip",
                &["netns", "exec", &node.name, "nft", "list", "tables"],
            )
        });
    }
    report("replace the table of a node", &load, &nft);
    report("see that it is loaded already", &skip, &nothing);
    for file in files {
        let _ = std::fs::remove_file(file);
    }
}

fn egress(nodes: u8) -> Table {
    let egress = NodeEgress {
        local_pods: vec!["10.244.1.0/24".parse().unwrap()],
        cluster_pods: vec!["10.244.0.0/16".parse().unwrap()],
        nodes: (0..nodes).map(|n| [172, 29, 0, n + 2].into()).collect(),
        ..NodeEgress::default()
    };
    node_egress(Family::V4, &egress).unwrap()
}

#[derive(Default)]
struct Samples(Vec<Duration>);

impl Samples {
    fn take<T>(&mut self, work: impl FnOnce() -> T) {
        let begin = Instant::now();
        let kept = work();
        self.0.push(begin.elapsed());
        drop(kept);
    }

    fn median_us(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted[sorted.len() / 2].as_secs_f64() * 1e6
    }
}

fn report(what: &str, ours: &Samples, theirs: &Samples) {
    let (ours, theirs) = (ours.median_us(), theirs.median_us());
    println!("{what:34} {ours:9.0} {theirs:9.0} {:7.3}", ours / theirs);
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success(), "{program} {arguments:?}");
}

fn name(purpose: &str) -> String {
    format!("sl-bench-{}-{purpose}", std::process::id())
}

struct Named {
    name: String,
    netns: OwnedFd,
}

impl Named {
    fn new(purpose: &str) -> Self {
        let name = name(purpose);
        let netns = netns::create_named(&name).unwrap();
        Self { name, netns }
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = netns::delete_named(&self.name);
    }
}

//! `sealane agent` started by hand: the contract for real clusters.
//!
//! The test joins a namespace of its own to the network of a cluster and is there what a kubelet and a container
//! runtime are on a real node: it creates the Node object, starts the agent with nothing but a
//! kubeconfig and a node name, waits for the conflist, and calls the plugin as the CNI
//! specification says. Pods wired that way reach the cluster's, and are reached.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use sealane_testkit::cni::{Plugin, address};
use sealane_testkit::{
    Capture, Cluster, Folder, Namespace, Pod, SOON, Topology, UpOptions, binary, eventually,
};

const NODE: &str = "by-hand";

/// The agent, killed on drop, its log printed when the test fails.
struct Agent {
    process: Child,
    log: String,
}

impl Agent {
    fn start(node: &Namespace, cluster: &Cluster, folder: &Folder) -> Self {
        let log = folder.join("agent.log");
        let process = node
            .command(binary::path().to_str().unwrap())
            .args([
                "agent",
                "--kubeconfig",
                cluster.kubeconfig().to_str().unwrap(),
                "--node-name",
                NODE,
            ])
            // The administrator's kubeconfig names this machine's loopback.
            .args([
                "--api-server",
                &format!("https://{}:6443", cluster.gateway()),
            ])
            .args([
                "--cni-bin-dir",
                &folder.join("bin"),
                "--cni-conf-dir",
                &folder.join("net.d"),
            ])
            .args([
                "--state-dir",
                &folder.join("state"),
                "--run-dir",
                &folder.join("run"),
            ])
            .stdin(Stdio::null())
            .stderr(
                std::fs::File::options()
                    .create(true)
                    .append(true)
                    .open(&log)
                    .unwrap(),
            )
            .spawn()
            .unwrap();
        Self { process, log }
    }

    fn kill9(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        if std::thread::panicking() {
            eprintln!(
                "--- the agent's log\n{}",
                std::fs::read_to_string(&self.log).unwrap_or_default()
            );
        }
    }
}

/// An address of the cluster's node network that no node has, with its prefix length.
fn free_node_address(cluster: &Cluster) -> String {
    let links = cluster
        .node(1)
        .run("ip", ["-json", "-4", "address", "show", "dev", "eth0"])
        .json();
    let own: std::net::Ipv4Addr = links[0]["addr_info"][0]["local"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let [a, b, c, _] = own.octets();
    format!("{a}.{b}.{c}.99/{}", links[0]["addr_info"][0]["prefixlen"])
}

/// Joins a namespace to the bridge that all nodes are on.
fn join_node_network(topology: &Topology, cluster: &Cluster, node: &Namespace, address: &str) {
    let network = Namespace::named(&format!("{}-net", cluster.name()));
    let bridges = network
        .run("ip", ["-json", "link", "show", "type", "bridge"])
        .json();
    let bridge = bridges[0]["ifname"].as_str().unwrap().to_owned();
    topology.join((node, "eth0", address), (&network, "by-hand", "0.0.0.0/32"));
    network
        .run("ip", ["link", "set", "by-hand", "master", &bridge])
        .succeeds();
    let gateway = cluster.gateway().to_string();
    node.run("ip", ["route", "add", "default", "via", &gateway])
        .succeeds();
}

fn node_object(ip: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE}},
        "status": {"addresses": [{"type": "InternalIP", "address": ip}]},
    })
}

#[test]
fn an_agent_started_by_hand_makes_a_namespace_a_node_of_the_cluster() {
    let cluster = Cluster::up(UpOptions {
        nodes: 1,
        ..UpOptions::default()
    });
    cluster.start(&[Pod::echo("resident").on_node(1)]);
    let (topology, [node, pod, other]) = Topology::new(["node", "pod", "other"]);
    let node_address = free_node_address(&cluster);
    join_node_network(&topology, &cluster, &node, &node_address);
    let node_ip = node_address.split('/').next().unwrap();
    cluster
        .api()
        .create("/api/v1/nodes", &node_object(node_ip))
        .unwrap();
    let folder = Folder::new();
    let mut agent = Agent::start(&node, &cluster, &folder);
    let plugin = Plugin::installed(
        Path::new(&folder.join("bin")),
        Path::new(&folder.join("net.d")),
    );

    // The runtime asks for a network, and gets one in the node's subnet.
    let result = plugin.call("ADD", "container-1", pod.title(), None).json();
    let ip = address(&result).unwrap();
    let created = cluster.api().get(&format!("/api/v1/nodes/{NODE}")).unwrap();
    let subnet = created["spec"]["podCIDR"].as_str().unwrap();
    let (prefix, _) = subnet.rsplit_once('.').unwrap();
    assert!(
        ip.to_string().starts_with(&format!("{prefix}.")),
        "{ip} is in {subnet}"
    );
    // Pods are routed unless something else is asked for.
    assert_eq!(result["ips"][0]["gateway"], "169.254.1.1");
    let addresses = pod
        .run("ip", ["-4", "-oneline", "address", "show", "dev", "eth0"])
        .succeeds();
    assert!(addresses.contains(&ip.to_string()), "{addresses}");
    plugin
        .call("CHECK", "container-1", pod.title(), Some(&result))
        .succeeds();

    // Both ways with a pod of the cluster, without NAT.
    let resident = cluster.pod_netns("resident");
    let resident_ip = cluster.pod_ip("resident");
    let seen = Capture::on(&resident, "eth0");
    let out = eventually(SOON, "the new pod reaches a resident", || {
        connect(&pod, resident_ip, 8080)
    });
    let from = out.local_addr().unwrap();
    assert_eq!(from.ip(), ip);
    seen.expect(SOON, "the new pod's own address", |packet| {
        packet.from() == from
    });
    let listener = pod.enter(|| TcpListener::bind((ip, 9000))).unwrap();
    eventually(SOON, "a resident reaches the new pod", || {
        connect(&resident, ip, 9000)
    });
    assert_eq!(listener.accept().unwrap().1.ip(), resident_ip);

    // A restart forgets nothing: the first pod keeps its address, the next one gets another.
    agent.kill9();
    let mut agent = Agent::start(&node, &cluster, &folder);
    let other_ip = eventually(SOON, "the restarted agent serves the plugin", || {
        let done = plugin.call("ADD", "container-2", other.title(), None);
        let result: Value =
            serde_json::from_str(&done.stdout).map_err(|error| error.to_string())?;
        address(&result)
    });
    assert_ne!(other_ip, ip);
    eventually(SOON, "two pods of the node reach each other", || {
        connect(&other, ip, 9000)
    });

    // DEL gives everything back, and twice is as good as once.
    for _ in 0..2 {
        plugin
            .call("DEL", "container-1", pod.title(), Some(&result))
            .succeeds();
    }
    assert!(
        !pod.run("ip", ["link", "show", "dev", "eth0"])
            .status
            .success(),
        "eth0 is gone"
    );
    plugin
        .call("DEL", "container-2", other.title(), None)
        .succeeds();
    let ways = node
        .run("ip", ["-4", "route", "show", "proto", "94"])
        .succeeds();
    assert!(!ways.contains(" dev sl"), "no way to a pod is left: {ways}");
    agent.kill9();
    drop(topology);
    cluster.down();
}

fn connect(from: &Namespace, ip: IpAddr, port: u16) -> std::io::Result<TcpStream> {
    from.enter(|| TcpStream::connect_timeout(&SocketAddr::new(ip, port), SOON))
}

#[test]
fn an_agent_that_cannot_start_says_why() {
    let folder = Folder::new();
    let fixed = |kubeconfig: &str| {
        let run = [
            "--run-dir",
            &folder.join("run"),
            "--state-dir",
            &folder.join("state"),
        ]
        .map(str::to_owned);
        let conf = [
            "--cni-bin-dir",
            &folder.join("bin"),
            "--cni-conf-dir",
            &folder.join("net.d"),
        ]
        .map(str::to_owned);
        let start = ["agent", "--node-name", NODE, "--kubeconfig", kubeconfig].map(str::to_owned);
        start.into_iter().chain(run).chain(conf)
    };
    let text = binary::sealane(fixed("/nowhere/kubeconfig")).fails();
    assert!(text.contains("/nowhere/kubeconfig"), "{text}");
    std::fs::write(folder.join("broken"), "clusters: 7").unwrap();
    let text = binary::sealane(fixed(&folder.join("broken"))).fails();
    assert!(text.contains("broken"), "{text}");
}

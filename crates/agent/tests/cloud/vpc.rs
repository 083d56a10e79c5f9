//! A namespace that plays the VPC: it knows every address of every interface, and where the interface is.
//!
//! ```text
//! node-1  eth0 ── eni-a ─┐
//!         eth1 ── eni-b ─┤ vpc: answers for every address (proxy_arp), leads each to its interface alone,
//! node-2  eth0 ── eni-c ─┘      drops what comes from another's (rp_filter), as the real one does
//!                                203.0.113.9 is the world outside
//! ```

use std::{collections::BTreeSet, net::IpAddr};

use sealane_agent::{Settings, cloud::CloudSettings};
use sealane_cloud::Targets;
use sealane_ec2::Place;
use sealane_objects::NodeNet;
use sealane_testkit::{Namespace, SOON, Topology, eventually};
use serde_json::Value;

use super::{
    ec2::{Region, server},
    stage::{Agent, ContainerRuntime, runtime_in, settings_in},
};

pub const GATEWAY: &str = "10.0.1.1";
pub const OUTSIDE: &str = "203.0.113.9";

pub struct Vpc {
    // Before the namespaces, so that agents end first.
    pub nodes: Vec<Node>,
    pub region: Region,
    pub router: Namespace,
    pods: Vec<Namespace>,
    _topology: Topology,
    _pods: Topology,
    plugged: BTreeSet<String>,
    led: BTreeSet<(String, String)>,
}

pub struct Node {
    pub agent: Option<Agent>,
    pub netns: Namespace,
    pub ip: IpAddr,
    instance: String,
    settings: Settings,
    dir: tempfile::TempDir,
}

impl Vpc {
    /// Two nodes of the region's instances, with eth0 as EC2 gives it and no agent yet.
    pub fn new(region: Region, targets: Targets) -> Self {
        let (topology, [router, one, two]) = Topology::new(["vpc", "node-1", "node-2"]);
        let (pods_topology, pods) = Topology::new(["a", "b", "c", "d", "e", "f"]);
        for setting in ["net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0"] {
            router.run("sysctl", ["-q", "-w", setting]).succeeds();
        }
        let outside = format!("{OUTSIDE}/32");
        router
            .run("ip", ["address", "add", &outside, "dev", "lo"])
            .succeeds();
        let count = region.world["instances"].as_array().unwrap().len();
        let nodes = [one, two].into_iter().zip(1..=count);
        let nodes = nodes.map(|(netns, number)| Node::new(&region, netns, number, targets));
        let mut vpc = Self {
            nodes: nodes.collect(),
            region,
            router,
            pods: pods.into(),
            _topology: topology,
            _pods: pods_topology,
            plugged: BTreeSet::new(),
            led: BTreeSet::new(),
        };
        vpc.follow();
        vpc
    }

    /// Agents on all nodes, which are ready.
    pub fn start(&mut self) {
        for number in 1..=self.nodes.len() {
            self.start_agent(number);
        }
    }

    pub fn start_agent(&mut self, number: usize) {
        let objects: Vec<NodeNet> = self.nodes.iter().map(Node::object).collect();
        let node = &mut self.nodes[number - 1];
        node.agent = Some(Agent::start(node.settings.clone(), node.netns.title()));
        node.agent().tell_nodes(objects);
        node.agent().tell_pods(vec![]);
        node.agent().wait_ready();
    }

    pub fn node(&self, number: usize) -> &Node {
        &self.nodes[number - 1]
    }

    pub fn pod(&self, number: usize) -> &Namespace {
        &self.pods[number]
    }

    /// Waits for something, doing meanwhile what EC2 does by itself.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut wanted: impl FnMut(&Self) -> Result<(), String>) {
        eventually(SOON, what, || {
            self.follow();
            wanted(self)
        });
    }

    /// Plugs interfaces in where EC2 has attached them, out where not, and leads every address to where it is.
    pub fn follow(&mut self) {
        let all = self.region.interfaces();
        let mut led = BTreeSet::new();
        let mut plugged = BTreeSet::new();
        for interface in &all {
            let owner = interface["instance"].as_str();
            let node = self.nodes.iter().find(|n| Some(&*n.instance) == owner);
            let Some(node) = node else { continue };
            let port = port_of(interface);
            if !self.plugged.contains(&port) {
                plug(&self.router, &node.netns, interface);
            }
            for address in addresses(interface) {
                led.insert((address, port.clone()));
            }
            plugged.insert(port);
        }
        for port in self.plugged.difference(&plugged) {
            self.router.run("ip", ["link", "delete", port]).succeeds();
        }
        for (address, port) in self.led.difference(&led) {
            // Gone already where its port is.
            self.router
                .run("ip", ["route", "delete", address, "dev", port]);
        }
        for (address, port) in led.difference(&self.led) {
            lead(&self.router, address, port, &all);
        }
        (self.led, self.plugged) = (led, plugged);
    }
}

/// The router's end of an interface: its id is too long for a link.
fn port_of(interface: &Value) -> String {
    let id = interface["id"].as_str().unwrap();
    format!("v{}", &id[4..16])
}

fn addresses(interface: &Value) -> Vec<String> {
    let list = |key: &str| {
        let list = interface[key].as_array().unwrap().iter();
        list.map(|item| item.as_str().unwrap().to_owned())
    };
    let primary = interface["primary"].as_str().unwrap().to_owned();
    let all = list("addresses").chain([primary]);
    all.map(|address| format!("{address}/32"))
        .chain(list("prefixes"))
        .collect()
}

fn plug(router: &Namespace, node: &Namespace, interface: &Value) {
    let port = port_of(interface);
    let device = interface["device"].as_u64().unwrap();
    let name = format!("eth{device}");
    let mac = interface["mac"].as_str().unwrap();
    let pair = [
        "link",
        "add",
        &port,
        "type",
        "veth",
        "peer",
        "name",
        &name,
        "address",
        mac,
        "netns",
        node.title(),
    ];
    router.run("ip", pair).succeeds();
    let gateway = format!("{GATEWAY}/32");
    router
        .run("ip", ["address", "add", &gateway, "dev", &port])
        .succeeds();
    for setting in [
        format!("net.ipv4.conf.{port}.proxy_arp=1"),
        format!("net.ipv4.conf.{port}.rp_filter=1"),
        format!("net.ipv4.neigh.{port}.proxy_delay=0"),
    ] {
        router.run("sysctl", ["-q", "-w", &setting]).succeeds();
    }
    router.run("ip", ["link", "set", &port, "up"]).succeeds();
    if device == 0 {
        // As DHCP does; a second interface comes with nothing.
        let own = format!("{}/24", interface["primary"].as_str().unwrap());
        node.run("ip", ["address", "add", &own, "dev", &name])
            .succeeds();
        node.run("ip", ["link", "set", &name, "up"]).succeeds();
        node.run("ip", ["route", "add", "default", "via", GATEWAY])
            .succeeds();
    }
}

/// The VPC asks nobody where an address is.
fn lead(router: &Namespace, address: &str, port: &str, all: &[Value]) {
    router
        .run("ip", ["route", "replace", address, "dev", port])
        .succeeds();
    let network: sealane_net::Ipv4Net = address.parse().unwrap();
    let interface = all.iter().find(|i| port_of(i) == port).unwrap();
    let mac = interface["mac"].as_str().unwrap();
    // All addresses of a prefix, its first and last included.
    for number in u32::from(network.network())..=u32::from(network.broadcast()) {
        let host = std::net::Ipv4Addr::from(number).to_string();
        let entry = [
            "neighbour",
            "replace",
            &host,
            "lladdr",
            mac,
            "dev",
            port,
            "nud",
            "permanent",
        ];
        router.run("ip", entry).succeeds();
    }
}

impl Node {
    fn new(region: &Region, netns: Namespace, number: usize, targets: Targets) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let interface = &region.world["instances"][number - 1]["interface"];
        let instance = region.instance(number);
        let place = Place {
            region: Some(region.name.into()),
            instance: Some(instance.clone()),
            endpoint: Some(server().url()),
            metadata: Some(server().url()),
        };
        let settings = Settings {
            node_name: format!("node-{number}"),
            attachment: sealane_net::Attachment::Routed,
            address_reuse_delay: 0,
            ec2: Some(CloudSettings {
                targets,
                place,
                look_every: std::time::Duration::from_secs(1),
            }),
            ..settings_in(dir.path())
        };
        Self {
            agent: None,
            netns,
            ip: interface["primary"].as_str().unwrap().parse().unwrap(),
            instance,
            settings,
            dir,
        }
    }

    /// Lets the machine's metadata say where it is.
    pub fn knows_nothing(&mut self) {
        if let Some(ec2) = &mut self.settings.ec2 {
            ec2.place.region = None;
            ec2.place.instance = None;
        }
    }

    pub fn settings_mut(&mut self) -> Option<&mut CloudSettings> {
        self.settings.ec2.as_mut()
    }

    pub fn object(&self) -> NodeNet {
        NodeNet {
            name: self.settings.node_name.clone(),
            internal_ips: vec![self.ip],
            ..NodeNet::default()
        }
    }

    pub fn agent(&self) -> &Agent {
        self.agent.as_ref().unwrap()
    }

    pub fn runtime(&self) -> ContainerRuntime {
        runtime_in(self.dir.path())
    }

    /// The machine's interfaces at EC2, by their place.
    pub fn interfaces(&self, region: &Region) -> Vec<Value> {
        let mut own = region.interfaces();
        own.retain(|interface| interface["instance"] == *self.instance);
        own.sort_by_key(|interface| interface["device"].as_u64());
        own
    }
}

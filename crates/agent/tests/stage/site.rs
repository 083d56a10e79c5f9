//! Nodes in two subnets with a router between, an agent on each.
//!
//! ```text
//!  node-1      node-2                      node-3
//!    └── switch ──┴──── router ───────────────┘
//!     172.29.0.0/24              172.30.0.0/24
//! ```
//!
//! The router knows the nodes and no pod.

use std::net::IpAddr;

use sealane_agent::{Attachment, Routing, Settings};
use sealane_objects::NodeNet;
use sealane_testkit::{Namespace, SOON, Topology, eventually, topology::add_address};

use super::{Agent, ContainerRuntime, runtime_in, settings_in};

/// How the nodes of a site are made.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    pub attachment: Attachment,
    pub routing: Routing,
    /// The families of the nodes' addresses, the first being the underlay's.
    pub nodes: Families,
    pub pods: Families,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    V4,
    V6,
    Dual,
}

pub struct Site {
    // Before the namespaces, so that agents end first.
    pub nodes: Vec<Node>,
    pub router: Namespace,
    pub topology: Topology,
}

pub struct Node {
    pub agent: Option<Agent>,
    pub object: NodeNet,
    pub netns: Namespace,
    form: Form,
    dir: tempfile::TempDir,
}

impl Families {
    fn pick(self, v4: String, v6: String) -> Vec<String> {
        match self {
            Families::V4 => vec![v4],
            Families::V6 => vec![v6],
            Families::Dual => vec![v4, v6],
        }
    }
}

impl Site {
    pub fn new(form: Form) -> Self {
        let titles = ["switch", "router", "node-1", "node-2", "node-3"];
        let (topology, [switch, router, one, two, three]) = Topology::new(titles);
        for setting in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
            router.run("sysctl", ["-q", "-w", setting]).succeeds();
        }
        topology.plug(&switch, &router, "eth0", "172.29.0.1/24");
        add_address(&router, "eth0", "fd00:172:29::1/64");
        let nodes = [one, two, three].into_iter().zip([29, 29, 30]);
        let nodes: Vec<Node> = nodes
            .zip(1..)
            .map(|((netns, segment), number)| Node::new(form, netns, segment, number))
            .collect();
        for node in &nodes[..2] {
            topology.plug(&switch, &node.netns, "eth0", &node.addresses()[0]);
        }
        let far = &nodes[2];
        topology.join(
            (&router, "eth1", "172.30.0.1/24"),
            (&far.netns, "eth0", &far.addresses()[0]),
        );
        add_address(&router, "eth1", "fd00:172:30::1/64");
        for node in &nodes {
            for address in &node.addresses()[1..] {
                add_address(&node.netns, "eth0", address);
            }
        }
        for node in &nodes {
            node.add_default_routes();
        }
        for netns in nodes.iter().map(|node| &node.netns).chain([&router]) {
            wait_for_addresses(netns);
        }
        Self {
            nodes,
            router,
            topology,
        }
    }

    /// Agents on all nodes, which know each other and have their routes.
    pub fn start(form: Form) -> Self {
        let mut site = Self::new(form);
        for node in &mut site.nodes {
            node.start();
        }
        site.tell();
        for node in &site.nodes {
            node.agent().wait_ready();
            let others = (site.nodes.len() - 1) * node.object.pod_cidrs.len();
            node.wait_routes(others);
        }
        site
    }

    pub fn objects(&self) -> Vec<NodeNet> {
        self.nodes.iter().map(|node| node.object.clone()).collect()
    }

    /// Tells every agent of the nodes as they are.
    pub fn tell(&self) {
        for node in self.nodes.iter().filter(|node| node.agent.is_some()) {
            node.agent().tell_nodes(self.objects());
            node.agent().tell_pods(vec![]);
        }
    }

    pub fn node(&self, number: usize) -> &Node {
        &self.nodes[number - 1]
    }
}

/// A link that is new has no link-local address for a second, and cannot ask for its neighbours'.
#[track_caller]
fn wait_for_addresses(netns: &Namespace) {
    eventually(SOON, "link-local addresses may be used", || {
        let tentative = netns.run("ip", ["-6", "address", "show", "tentative"]);
        let text = tentative.succeeds();
        if text.is_empty() { Ok(()) } else { Err(text) }
    });
}

impl Node {
    fn new(form: Form, netns: Namespace, segment: u8, number: usize) -> Self {
        let host = number + 1;
        let ips = form.nodes.pick(
            format!("172.{segment}.0.{host}"),
            format!("fd00:172:{segment}::{host}"),
        );
        let subnets = form.pods.pick(
            format!("10.244.{number}.0/24"),
            format!("fd00:10:244:{number}::/64"),
        );
        Self {
            agent: None,
            object: NodeNet {
                name: format!("node-{number}"),
                internal_ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
                pod_cidrs: subnets.iter().map(|s| s.parse().unwrap()).collect(),
                ..Default::default()
            },
            netns,
            form,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// The node's addresses, each with the length of its link's prefix.
    pub fn addresses(&self) -> Vec<String> {
        let with_prefix = |ip: &IpAddr| {
            let prefix_len = if ip.is_ipv4() { 24 } else { 64 };
            format!("{ip}/{prefix_len}")
        };
        self.object.internal_ips.iter().map(with_prefix).collect()
    }

    pub fn add_default_routes(&self) {
        for ip in &self.object.internal_ips {
            let gateway = match ip {
                IpAddr::V4(v4) => format!("172.{}.0.1", v4.octets()[1]),
                IpAddr::V6(v6) => format!("fd00:172:{:x}::1", v6.segments()[2]),
            };
            let args = ["route", "replace", "default", "via", &gateway];
            self.netns.run("ip", args).succeeds();
        }
    }

    pub fn settings(&self) -> Settings {
        Settings {
            node_name: self.object.name.clone(),
            routing: self.form.routing,
            attachment: self.form.attachment,
            ..settings_in(self.dir.path())
        }
    }

    pub fn start(&mut self) {
        self.agent = Some(Agent::start(self.settings(), self.netns.title()));
    }

    pub fn agent(&self) -> &Agent {
        self.agent.as_ref().unwrap()
    }

    pub fn runtime(&self) -> ContainerRuntime {
        runtime_in(self.dir.path())
    }

    /// The node's first address.
    pub fn ip(&self) -> IpAddr {
        self.object.internal_ips[0]
    }

    #[track_caller]
    pub fn wait_routes(&self, count: usize) {
        self.agent().wait(&format!("{count} routes"), |state| {
            state["routes"].as_array().is_some_and(|r| r.len() == count)
                && state["trouble"].is_null()
        });
    }

    /// Waits for a text in what a command prints in the node.
    #[track_caller]
    pub fn shows(&self, program: &str, args: &[&str], wanted: impl Fn(&str) -> bool) -> String {
        let what = format!("{program} {} as wanted", args.join(" "));
        eventually(SOON, &what, || {
            let text = self.netns.run(program, args).stdout;
            if wanted(&text) { Ok(text) } else { Err(text) }
        })
    }

    /// Everything of ours in the node's kernel, for a comparison before and after.
    pub fn kernel(&self) -> String {
        let show = |program: &str, args: &[&str]| self.netns.run(program, args).stdout;
        [
            show("ip", &["-o", "-d", "link", "show", "sl.vxlan"]),
            show("bridge", &["fdb", "show", "dev", "sl.vxlan"]),
            show("ip", &["neighbour", "show", "dev", "sl.vxlan"]),
            show("ip", &["-6", "neighbour", "show", "dev", "sl.vxlan"]),
            show("ip", &["route", "show"]),
            show("ip", &["route", "show", "table", "94"]),
            show("ip", &["rule", "show"]),
            show("ip", &["-6", "route", "show", "proto", "94"]),
            show("ip", &["-o", "address", "show", "scope", "global"]),
            show("nft", &["-s", "-a", "list", "ruleset"]),
        ]
        .concat()
    }
}

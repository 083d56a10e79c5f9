//! A node with its pods, and those around it.
//!
//! ```text
//!  a ─┐
//!  b ─┤ node-1 ─── switch ─┬─ peer: another node, and its pod x
//!  c ─┘                    │  └─ x
//!                          ├─ outside
//!                          └─ stranger
//! ```
//!
//! Pods are on links of their own. Whoever is on the switch sends what is for Services to node-1.

use std::io::Write;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::thread;

use sealane_net::Family;
use sealane_service::NodeFacts;
use sealane_testkit::{Namespace, Topology, topology::add_address};

use super::sctp::Sctp;
use super::table::TARGET;

pub const NODE: &str = "node-1";

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// A pod of the node that is an endpoint.
    A,
    /// A pod of the node that is none.
    C,
    Node,
    /// Another node.
    Peer,
    Outside,
    /// Outside, and in no list of source ranges.
    Stranger,
}

/// Where it all happens.
pub struct Net {
    pub node: Namespace,
    switch: Namespace,
    a: Namespace,
    b: Namespace,
    c: Namespace,
    peer: Namespace,
    pub x: Namespace,
    outside: Namespace,
    stranger: Namespace,
    topology: Topology,
}

fn by_family(family: Family, v4: String, v6: String) -> IpAddr {
    let text = match family {
        Family::V4 => v4,
        Family::V6 => v6,
    };
    text.parse().unwrap()
}

pub fn cluster_ip(family: Family, number: u16) -> IpAddr {
    let (v4, v6) = (
        format!("10.96.{}.{}", number >> 8, number & 0xff),
        format!("fd00:96::{number:x}"),
    );
    by_family(family, v4, v6)
}

pub fn balancer_ip(family: Family, number: u16) -> IpAddr {
    let (v4, v6) = (
        format!("192.0.2.{number}"),
        format!("2001:db8:2::{number:x}"),
    );
    by_family(family, v4, v6)
}

pub fn external_ip(family: Family, number: u16) -> IpAddr {
    let (v4, v6) = (
        format!("198.51.100.{number}"),
        format!("2001:db8:51::{number:x}"),
    );
    by_family(family, v4, v6)
}

pub fn node_ip(family: Family) -> IpAddr {
    on_switch(family, "2")
}

fn on_switch(family: Family, host: &str) -> IpAddr {
    let (v4, v6) = (format!("172.29.0.{host}"), format!("fd00:172:29::{host}"));
    by_family(family, v4, v6)
}

pub fn loopback(family: Family) -> IpAddr {
    by_family(family, "127.0.0.1".into(), "::1".into())
}

/// Of IPv6 there is but one.
pub fn loopback_elsewhere(family: Family) -> IpAddr {
    by_family(family, "127.9.8.7".into(), "::1".into())
}

/// What pods see of their node.
fn gateway(family: Family, node: u8) -> IpAddr {
    let (v4, v6) = (format!("10.244.{node}.1"), format!("fd00:10:244:{node}::1"));
    by_family(family, v4, v6)
}

pub fn pod_ip(family: Family, name: &str) -> IpAddr {
    let (node, host) = match name {
        "a" => (1, 5),
        "b" => (1, 6),
        "c" => (1, 7),
        "x" => (2, 5),
        _ => panic!("no pod {name}"),
    };
    let (v4, v6) = (
        format!("10.244.{node}.{host}"),
        format!("fd00:10:244:{node}::{host}"),
    );
    by_family(family, v4, v6)
}

/// The node whose task it is.
pub fn facts() -> NodeFacts {
    let addresses = Family::ALL.map(node_ip).to_vec();
    NodeFacts {
        name: NODE.into(),
        zone: Some("zone-1".into()),
        node_port_addresses: [&addresses[..], &[loopback(Family::V4)]].concat(),
        host_addresses: addresses,
        pod_cidrs: ["10.244.1.0/24", "fd00:10:244:1::/64"]
            .map(|net| net.parse().unwrap())
            .to_vec(),
        external_ips: true,
    }
}

impl Who {
    pub fn address(self, family: Family) -> IpAddr {
        match self {
            Who::A => pod_ip(family, "a"),
            Who::C => pod_ip(family, "c"),
            Who::Node => node_ip(family),
            Who::Peer => on_switch(family, "3"),
            Who::Outside => on_switch(family, "9"),
            Who::Stranger => by_family(family, "172.29.0.200".into(), "fd00:172:29::1:9".into()),
        }
    }
}

/// Whether an endpoint sees the node where it sees this.
pub fn is_node(family: Family, seen: IpAddr) -> bool {
    seen == gateway(family, 1) || seen == node_ip(family)
}

impl Net {
    pub fn new() -> Self {
        let titles = [
            "switch", "node", "a", "b", "c", "peer", "x", "outside", "stranger",
        ];
        let (topology, made) = Topology::new(titles);
        let [switch, node, a, b, c, peer, x, outside, stranger] = made;
        let net = Self {
            node,
            switch,
            a,
            b,
            c,
            peer,
            x,
            outside,
            stranger,
            topology,
        };
        net.plug_all();
        net.join_pods();
        net.route_all();
        for (netns, name) in [(&net.a, "a"), (&net.b, "b"), (&net.x, "x")] {
            serve(netns, name);
        }
        net
    }

    pub fn namespace(&self, who: Who) -> &Namespace {
        match who {
            Who::A => &self.a,
            Who::C => &self.c,
            Who::Node => &self.node,
            Who::Peer => &self.peer,
            Who::Outside => &self.outside,
            Who::Stranger => &self.stranger,
        }
    }

    fn plug_all(&self) {
        for who in [Who::Node, Who::Peer, Who::Outside, Who::Stranger] {
            let end = self.namespace(who);
            let [v4, v6] = Family::ALL.map(|family| who.address(family));
            self.topology
                .plug(&self.switch, end, "eth0", &format!("{v4}/24"));
            add_address(end, "eth0", &format!("{v6}/64"));
        }
        let settings = [
            "net.ipv4.ip_forward=1",
            "net.ipv6.conf.all.forwarding=1",
            // A client that asks often is refused once a second otherwise, but for TCP in nftables.
            "net.ipv4.icmp_ratelimit=0",
            "net.ipv6.icmp.ratelimit=0",
        ];
        for node in [&self.node, &self.peer] {
            node.run("sysctl", ["-qw"].iter().chain(&settings))
                .succeeds();
        }
    }

    fn join_pods(&self) {
        for (pod, name) in [
            (&self.a, "a"),
            (&self.b, "b"),
            (&self.c, "c"),
            (&self.x, "x"),
        ] {
            let (node, number) = match name {
                "x" => (&self.peer, 2),
                _ => (&self.node, 1),
            };
            let link = format!("pod-{name}");
            let own = |family| (gateway(family, number), pod_ip(family, name));
            let (near, far) = own(Family::V4);
            self.topology.join(
                (node, &link, &format!("{near}/32")),
                (pod, "eth0", &format!("{far}/32")),
            );
            let (near, far) = own(Family::V6);
            add_address(node, &link, &format!("{near}/128"));
            add_address(pod, "eth0", &format!("{far}/128"));
            for family in Family::ALL {
                let (near, far) = own(family);
                route(node, &[&far.to_string(), "dev", &link]);
                route(pod, &[&near.to_string(), "dev", "eth0"]);
                route(pod, &["default", "via", &near.to_string()]);
            }
        }
    }

    fn route_all(&self) {
        for family in Family::ALL {
            let x = pod_ip(family, "x");
            let peer = Who::Peer.address(family).to_string();
            route(&self.node, &[&x.to_string(), "via", &peer]);
            // A Service's address needs a route before it is translated.
            let outside = Who::Outside.address(family).to_string();
            route(&self.node, &["default", "via", &outside]);
            let node = node_ip(family).to_string();
            for who in [Who::Peer, Who::Outside, Who::Stranger] {
                for net in routed(family) {
                    route(self.namespace(who), &[net, "via", &node]);
                }
            }
        }
    }
}

/// What is behind the node: its pods and all Services.
fn routed(family: Family) -> [&'static str; 4] {
    match family {
        Family::V4 => [
            "10.244.1.0/24",
            "10.96.0.0/16",
            "192.0.2.0/24",
            "198.51.100.0/24",
        ],
        Family::V6 => [
            "fd00:10:244:1::/64",
            "fd00:96::/64",
            "2001:db8:2::/64",
            "2001:db8:51::/64",
        ],
    }
}

fn route(netns: &Namespace, words: &[&str]) {
    let words = ["route", "add"].iter().chain(words);
    netns.run("ip", words).succeeds();
}

/// Answers by each protocol with its name and who asks. The threads end with the test's process.
fn serve(netns: &Namespace, name: &'static str) {
    let tell = move |peer: IpAddr| format!("{name} {}", peer.to_canonical());
    let listener = netns.enter(|| TcpListener::bind(("::", TARGET))).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let peer = stream.peer_addr().map(|peer| tell(peer.ip()));
            let _ = stream.write_all(peer.unwrap_or_default().as_bytes());
        }
    });
    let socket = netns.enter(|| UdpSocket::bind(("::", TARGET))).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(tell(peer.ip()).as_bytes(), peer);
        }
    });
    for family in Family::ALL {
        let socket = netns.enter(|| Sctp::open(family));
        thread::spawn(move || socket.answer(TARGET, tell));
    }
}

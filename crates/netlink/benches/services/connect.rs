//! What a new connection through a cluster IP takes beside one to the endpoint itself, and what it takes through the
//! least that translates: one rule of nftables, written by hand, in another namespace. All take turns.
//!
//! | form | |
//! |---|---|
//! | `pods` | client ─ veth ─ node ─ veth ─ server, as between pods of one node |
//! | `lo` | all addresses in the node itself, so that nothing but the way through the kernel counts |
//!
//! All are tracked, none is masqueraded. What translation itself costs is more over `lo`: the kernel looks up the
//! route of each packet anew there.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Instant;

use sealane_netlink::netns;

use crate::gauge::{quantile_us, tell};
use crate::ours::Place;
use crate::world;

const ROUNDS: usize = 31;
const CONNECTIONS: usize = 100;
/// One whose clients may get any endpoint.
const SERVICE: usize = 1;
/// Where its endpoints are.
const ENDPOINTS: [&str; 2] = ["10.136.0.0/13", "10.144.0.0/12"];
const CLIENT: &str = "10.128.0.200";
/// Who calls at the node itself.
const OWN: &str = "10.128.0.201";

/// A client that calls a server, through a cluster IP or not.
struct Way<'a> {
    client: &'a Place,
    listener: Rc<TcpListener>,
    to: SocketAddr,
}

pub fn measure(node: &Place) {
    let plain = node.beside("hand");
    for rule in rules() {
        plain.run(&rule);
    }
    let nodes = [&plain, node];
    let neighbours = nodes.map(neighbours);
    let pods = neighbours.iter().map(|[client, server]| (client, server));
    compare("pods", pods);
    for node in nodes {
        at_home(node);
    }
    compare("lo", nodes.into_iter().map(|node| (node, node)));
}

/// The least that does it.
fn rules() -> Vec<String> {
    let (from, to) = (world::cluster_ip(SERVICE), world::endpoint(SERVICE, 0));
    let mut rules = vec!["nft add table ip hand".to_owned()];
    for (hook, priority) in [("prerouting", "dstnat"), ("output", "filter")] {
        let kind = format!("{{ type nat hook {hook} priority {priority} ; }}");
        rules.push(format!("nft add chain ip hand {hook} {kind}"));
        let what = format!("ip daddr {from} tcp dport 80 dnat to {to}:8080");
        rules.push(format!("nft add rule ip hand {hook} {what}"));
    }
    rules
}

/// A client and a server on links of their own.
fn neighbours(node: &Place) -> [Place; 2] {
    let places = [
        ("client", "10.128.0.1/24", format!("{CLIENT}/24")),
        ("server", "169.254.7.1/30", "169.254.7.2/30".to_owned()),
    ];
    let places = places.map(|(link, near, far)| {
        let place = node.beside(link);
        let name = place.name();
        let gateway = near.split('/').next().unwrap_or(near);
        node.run(&format!(
            "ip link add {link} type veth peer name eth0 netns {name}"
        ));
        node.run(&format!("ip address add {near} dev {link}"));
        node.run(&format!("ip link set {link} up"));
        place.run("ip link set lo up");
        place.run(&format!("ip address add {far} dev eth0"));
        place.run("ip link set eth0 up");
        place.run(&format!("ip route add default via {gateway}"));
        place
    });
    node.run("sysctl -qw net.ipv4.ip_forward=1");
    for range in ENDPOINTS {
        node.run(&format!("ip route add {range} via 169.254.7.2"));
        places[1].run(&format!("ip route add local {range} dev lo"));
    }
    places
}

/// The endpoints are at the node itself from here on.
fn at_home(node: &Place) {
    node.run("ip link set lo up");
    node.run(&format!("ip address add {OWN}/32 dev lo"));
    for range in ENDPOINTS {
        node.run(&format!("ip route add local {range} dev lo src {OWN}"));
    }
    node.run(&format!("ip route add 10.96.0.0/12 dev lo src {OWN}"));
}

/// One rule by hand, and ours: clients and servers of each.
fn compare<'a>(form: &str, contenders: impl Iterator<Item = (&'a Place, &'a Place)>) {
    let mut ways = Vec::new();
    for (client, server) in contenders {
        let listen = || TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8080));
        let listener = netns::run_in(server.netns(), listen).unwrap().unwrap();
        let listener = Rc::new(listener);
        for to in [
            SocketAddr::from((world::endpoint(SERVICE, 0), 8080)),
            SocketAddr::from((world::cluster_ip(SERVICE), 80)),
        ] {
            let listener = Rc::clone(&listener);
            ways.push(Way {
                client,
                listener,
                to,
            });
        }
    }
    let round = |turn: usize| {
        let mut took = [0.0; 4];
        for step in 0..ways.len() {
            let which = (step + turn) % ways.len();
            took[which] = ways[which].connect();
        }
        took
    };
    let rounds: Vec<[f64; 4]> = (0..ROUNDS).map(round).collect();
    let middle = |what: &str, of: fn(&[f64; 4]) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        tell(&format!("{form}: {what}"), values[values.len() / 2]);
    };
    middle("to the endpoint, no table of ours, us", |took| took[0]);
    middle("one rule by hand, us", |took| took[1]);
    middle("to the endpoint, us", |took| took[2]);
    middle("cluster IP, us", |took| took[3]);
    middle("one rule by hand to none", |took| took[1] / took[0]);
    middle("to the endpoint, our table to none", |took| {
        took[2] / took[0]
    });
    middle("cluster IP to the endpoint", |took| took[3] / took[2]);
    middle("cluster IP to the endpoint without our table", |took| {
        took[3] / took[0]
    });
    middle("cluster IP to one rule by hand", |took| took[3] / took[1]);
}

impl Way<'_> {
    /// The middle of some connections, in microseconds. They end by a reset, so that no port is in use for longer.
    fn connect(&self) -> f64 {
        let listener: &TcpListener = &self.listener;
        let to = self.to;
        let one = move || {
            let begun = Instant::now();
            let client = TcpStream::connect(to).unwrap();
            let took = begun.elapsed();
            let (peer, _) = listener.accept().unwrap();
            let now = nix::libc::linger {
                l_onoff: 1,
                l_linger: 0,
            };
            nix::sys::socket::setsockopt(&client, nix::sys::socket::sockopt::Linger, &now).unwrap();
            drop((client, peer));
            took
        };
        let all = move || (0..CONNECTIONS).map(|_| one()).collect::<Vec<_>>();
        quantile_us(&netns::run_in(self.client.netns(), all).unwrap(), 0.5)
    }
}

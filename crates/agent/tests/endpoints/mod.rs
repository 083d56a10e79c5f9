//! Endpoints that are many, that come and go, and backends that take turns, with packets under way.

mod listing;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sealane_agent::ProxyMode;
use sealane_agent::services::Input;
use sealane_kube::Change;
use sealane_net::{Family, Protocol};
use sealane_netlink::{Conntrack, Flow};
use sealane_objects::{ObjectName, ServiceNet, ServicePortNet, SliceEndpoint, SliceNet, SlicePort};
use sealane_testkit::{Namespace, SOON, eventually};

use crate::alone::{Alone, Objects};
use crate::flows::ask::{self, ask};
use crate::flows::net::{self, Net, Who, facts, pod_ip};

const COUNTS: [u16; 5] = [1, 10, 100, 1_000, 5_000];
/// Where whoever is behind all of many addresses listens.
const MANY_PORT: u16 = 9090;

fn name(name: &str) -> ObjectName {
    ObjectName::new("default", name)
}

/// A Service at the cluster IP of this number, and at a node port.
fn service(number: u16, protocol: Protocol) -> ServiceNet {
    ServiceNet {
        cluster_ips: vec![net::cluster_ip(Family::V4, number)],
        ports: vec![ServicePortNet {
            name: "".into(),
            protocol,
            port: 80,
            node_port: Some(30_000 + number),
        }],
        ..ServiceNet::default()
    }
}

fn slice(service: &str, protocol: Protocol, port: u16, addresses: &[IpAddr]) -> SliceNet {
    let endpoint = |address: &IpAddr| SliceEndpoint {
        address: *address,
        ready: true,
        serving: true,
        terminating: false,
        node: None,
        hints: None,
    };
    SliceNet {
        service: service.into(),
        family: Some(Family::V4),
        ports: [SlicePort {
            name: "".into(),
            protocol,
            port,
        }]
        .into(),
        endpoints: addresses.iter().map(endpoint).collect(),
        triggered_ms: None,
    }
}

fn of_pods(protocol: Protocol, pods: &[&str]) -> SliceNet {
    let addresses: Vec<IpAddr> = pods.iter().map(|pod| pod_ip(Family::V4, pod)).collect();
    slice("web", protocol, 8080, &addresses)
}

fn address(place: u16) -> IpAddr {
    let [high, low] = place.to_be_bytes();
    IpAddr::from([10, 200, high, low])
}

/// One pod has all addresses of 10.200.0.0/16, and tells who it was called as.
fn be_many(net: &Net) {
    let x = pod_ip(Family::V4, "x").to_string();
    let peer = Who::Peer.address(Family::V4).to_string();
    const ALL: &str = "10.200.0.0/16";
    for (netns, way) in [
        (&net.x, ["local", ALL, "dev", "lo"]),
        (net.namespace(Who::Peer), [ALL, "via", &x, ""]),
        (&net.node, [ALL, "via", &peer, ""]),
    ] {
        let words = ["route", "add"].into_iter().chain(way);
        netns
            .run("ip", words.filter(|word| !word.is_empty()))
            .succeeds();
    }
    let listener = net
        .x
        .enter(|| TcpListener::bind(("0.0.0.0", MANY_PORT)))
        .unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let own = stream.local_addr().map(|own| own.ip().to_string());
            let _ = stream.write_all(own.unwrap_or_default().as_bytes());
        }
    });
}

#[test]
fn connections_spread_evenly_over_up_to_five_thousand_endpoints_and_nft_lists_them() {
    const CONNECTIONS: usize = 1_500;
    let net = Net::new();
    be_many(&net);
    let mut objects = Objects::default();
    for (number, count) in (1..).zip(COUNTS) {
        let many = format!("many-{count}");
        let addresses: Vec<IpAddr> = (1..=count).map(address).collect();
        objects
            .services
            .insert(name(&many), service(number, Protocol::Tcp));
        for (place, chunk) in addresses.chunks(1_000).enumerate() {
            let slice = slice(&many, Protocol::Tcp, MANY_PORT, chunk);
            objects
                .slices
                .insert(name(&format!("{many}-{place}")), slice);
        }
    }
    let alone = Alone::start(&net.node, ProxyMode::Nftables, &facts(), &objects);
    for (number, count) in (1..).zip(COUNTS) {
        let to = SocketAddr::new(net::cluster_ip(Family::V4, number), 80);
        let names = ask::names(net.namespace(Who::C), to, CONNECTIONS);
        is_even(&names, count);
    }
    let list = ["-j", "list", "table", "ip", "sealane-services"];
    let listed = net.node.run("nft", list).succeeds();
    listing::is_what_was_meant(&listed, &alone.image(Family::V4), Family::V4);
    net.node.run("nft", ["list", "ruleset"]).succeeds();
    alone.finish();
}

/// Pearson's test: the sum has as many degrees of freedom as there are endpoints but one, and by chance is more than six
/// standard deviations above them once in a million times.
fn is_even(names: &[String], count: u16) {
    let mut hits: BTreeMap<&str, f64> = BTreeMap::new();
    for name in names {
        *hits.entry(name).or_default() += 1.0;
    }
    let expected = names.len() as f64 / f64::from(count);
    let squares = hits
        .values()
        .map(|hits| (hits - expected).powi(2))
        .sum::<f64>();
    let missed = f64::from(count) - hits.len() as f64;
    let sum = squares / expected + missed * expected;
    let freedom = f64::from(count - 1);
    let most = freedom + 6.0 * (2.0 * freedom).sqrt() + 1e-6;
    assert!(
        sum <= most,
        "{count} endpoints: {sum} is above {most}, {} were reached",
        hits.len()
    );
}

/// A client with one socket, and so one flow.
struct Client(UdpSocket);

impl Client {
    fn new(from: &Namespace, to: SocketAddr) -> Self {
        let socket = from.enter(|| UdpSocket::bind("0.0.0.0:0")).unwrap();
        socket.connect(to).unwrap();
        let patience = Duration::from_millis(100);
        socket.set_read_timeout(Some(patience)).unwrap();
        Self(socket)
    }

    /// Who answers the next datagram: `refused` or `nobody`, perhaps.
    fn ask(&self) -> String {
        let mut buffer = [0; 64];
        let answer = ask::send(&self.0, b"?").and_then(|()| self.0.recv(&mut buffer));
        match answer {
            Ok(length) => {
                let said = String::from_utf8_lossy(&buffer[..length]);
                said.split(' ').next().unwrap_or_default().to_owned()
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => "refused".into(),
            Err(_) => "nobody".into(),
        }
    }

    #[track_caller]
    fn expect(&self, answers: &[&str]) -> String {
        eventually(SOON, &format!("one of {answers:?} answers"), || {
            let answer = self.ask();
            let is_expected = answers.contains(&&*answer);
            is_expected.then_some(answer.clone()).ok_or(answer)
        })
    }
}

fn flows_to(conntrack: &Conntrack, to: SocketAddr) -> Vec<Flow> {
    conntrack.flows_to(to, Protocol::Udp).unwrap()
}

#[test]
fn datagrams_of_one_socket_follow_endpoints_and_other_flows_are_left_alone() {
    const UDP: Protocol = Protocol::Udp;
    let net = Net::new();
    let mut objects = Objects::default();
    for (number, service_name) in [(1, "web"), (2, "other")] {
        objects
            .services
            .insert(name(service_name), service(number, UDP));
        let slice = SliceNet {
            service: service_name.into(),
            ..of_pods(UDP, &["a", "b"])
        };
        objects
            .slices
            .insert(name(&format!("{service_name}-1")), slice);
    }
    let alone = Alone::start(&net.node, ProxyMode::Nftables, &facts(), &objects);
    let tell = |pods: &[&str]| {
        let change = Change::Applied(name("web-1"), of_pods(UDP, pods));
        alone.tell(Input::Slices(change));
    };
    let cluster_ip = SocketAddr::new(net::cluster_ip(Family::V4, 1), 80);
    let node_port = SocketAddr::new(net::node_ip(Family::V4), 30_001);
    let clients = [(Who::C, cluster_ip), (Who::Outside, node_port)]
        .map(|(who, to)| Client::new(net.namespace(who), to));
    // Flows to another Service, and to a pod itself.
    let other = SocketAddr::new(net::cluster_ip(Family::V4, 2), 80);
    let direct = SocketAddr::new(pod_ip(Family::V4, "a"), 8080);
    let conntrack = net.node.enter(Conntrack::open).unwrap();
    let bystanders = [other, direct].map(|to| {
        let client = Client::new(net.namespace(Who::C), to);
        client.expect(&["a", "b"]);
        (to, flows_to(&conntrack, to))
    });
    for client in &clients {
        let first = client.expect(&["a", "b"]);
        let rest = if first == "a" { "b" } else { "a" };
        // Whoever stays keeps his flow, whoever else comes.
        tell(&[&first, "x"]);
        tell(&[&first, "x", rest]);
        for _ in 0..8 {
            client.expect(&[&first]);
        }
        tell(&[rest]);
        client.expect(&[rest]);
        tell(&[]);
        client.expect(&["refused"]);
        tell(&["x"]);
        client.expect(&["x"]);
        tell(&["a", "b"]);
        client.expect(&["a", "b"]);
    }
    let web = objects.services[&name("web")].clone();
    alone.tell(Input::Services(Change::Deleted(name("web"), web)));
    eventually(SOON, "no flow to it is left", || {
        let left = [cluster_ip, node_port].map(|to| flows_to(&conntrack, to));
        let translated = left
            .iter()
            .flatten()
            .filter(|flow| flow.answers != flow.called);
        match translated.count() {
            0 => Ok(()),
            _ => Err(format!("{left:?}")),
        }
    });
    for (to, before) in bystanders {
        assert_eq!(before.len(), 1);
        assert_eq!(flows_to(&conntrack, to), before);
    }
    alone.finish();
}

/// Opens connections one after the other until it is told to stop; how many, and what failed.
fn keep_asking(from: &Namespace, to: SocketAddr, stop: &AtomicBool) -> (u32, Vec<String>) {
    from.enter(|| {
        let (mut count, mut failures) = (0, Vec::new());
        while !stop.load(Ordering::Relaxed) {
            match ask(Protocol::Tcp, to, SOON) {
                Ok(_) => count += 1,
                Err(error) => failures.push(format!("{to}: {error}")),
            }
        }
        (count, failures)
    })
}

#[test]
fn backends_take_turns_under_traffic_and_no_connection_fails() {
    let net = Net::new();
    let mut objects = Objects::default();
    objects
        .services
        .insert(name("web"), service(1, Protocol::Tcp));
    let all = of_pods(Protocol::Tcp, &["a", "b", "x"]);
    objects.slices.insert(name("web-1"), all);
    objects
        .services
        .insert(name("held"), service(2, Protocol::Tcp));
    let x = [pod_ip(Family::V4, "x")];
    let held = slice("held", Protocol::Tcp, MANY_PORT, &x);
    objects.slices.insert(name("held-1"), held);
    let start = |mode| Alone::start(&net.node, mode, &facts(), &objects);
    let cluster_ip = SocketAddr::new(net::cluster_ip(Family::V4, 1), 80);
    let node_port = SocketAddr::new(net::node_ip(Family::V4), 30_001);
    let mut alone = start(ProxyMode::Nftables);
    let (mut held, mut far) = held_stream(&net);
    let stop = AtomicBool::new(false);
    let alone = thread::scope(|scope| {
        let callers = [
            (Who::C, cluster_ip),
            (Who::Node, cluster_ip),
            (Who::Outside, node_port),
        ];
        let callers = callers.map(|(who, to)| {
            let (from, stop) = (net.namespace(who), &stop);
            scope.spawn(move || keep_asking(from, to, stop))
        });
        for mode in [
            ProxyMode::Iptables,
            ProxyMode::Nftables,
            ProxyMode::Iptables,
            ProxyMode::Nftables,
        ] {
            alone.finish();
            alone = start(mode);
            held.write_all(b"ping").unwrap();
            let mut got = [0; 4];
            far.read_exact(&mut got).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        for caller in callers {
            let (count, failures) = caller.join().unwrap();
            assert!(failures.is_empty(), "{failures:#?}");
            assert!(count > 0);
        }
        alone
    });
    alone.finish();
}

/// A connection through another Service that stays open, and its far end.
fn held_stream(net: &Net) -> (TcpStream, TcpStream) {
    let listener = net.x.enter(|| TcpListener::bind(("0.0.0.0", MANY_PORT)));
    let to = SocketAddr::new(net::cluster_ip(Family::V4, 2), 80);
    let near = net.namespace(Who::C).enter(|| TcpStream::connect(to));
    (near.unwrap(), listener.unwrap().accept().unwrap().0)
}

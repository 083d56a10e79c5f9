//! Services in the real kernel: who reaches what, and what a restart and a change leave alone.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod alone;
#[path = "services/at_node.rs"]
mod at_node;
mod endpoints;
mod flows;
mod stage;
mod storm;

use std::{
    collections::BTreeSet,
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::Mutex,
    thread,
    time::Duration,
};

use sealane_agent::{ProxyMode, Settings, services::Input};
use sealane_kube::Change;
use sealane_net::{Family, Protocol};
use sealane_objects::{
    ObjectName, ServiceNet, ServicePortNet, SliceEndpoint, SliceNet, SlicePort, TrafficPolicy,
};
use sealane_testkit::{Namespace, SOON, Stream, Topology, eventually};
use stage::{Agent, NODE_IP, OUTSIDE_IP, Stage, ip, pod, this_node};

const SUBNET: &str = "10.244.1.0/24";
const CLUSTER_IP: &str = "10.96.0.9";
const NODE_PORT: u16 = 30080;
/// Longer than the second after which a refused SYN is sent again.
const PATIENCE: Duration = Duration::from_secs(3);
/// Shorter than that.
const BEFORE_SENT_AGAIN: Duration = Duration::from_millis(800);

fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), port)
}

/// A node with an agent that serves Services, and pods that answer with their name and who called.
struct Scene {
    agent: Option<Agent>,
    /// What the API server says.
    service: Mutex<Option<ServiceNet>>,
    slice: Mutex<Option<SliceNet>>,
    pods: Vec<(Namespace, IpAddr)>,
    mode: ProxyMode,
    stage: Stage,
    _topology: Topology,
}

fn settings(stage: &Stage, mode: ProxyMode) -> Settings {
    Settings {
        proxy_mode: mode,
        ..stage.settings()
    }
}

impl Scene {
    fn new() -> Self {
        Self::with(ProxyMode::Nftables)
    }

    fn with(mode: ProxyMode) -> Self {
        Self::with_settings(mode, |stage| settings(stage, mode))
    }

    fn with_settings(mode: ProxyMode, settings: impl FnOnce(&Stage) -> Settings) -> Self {
        let stage = Stage::new();
        let way = ["route", "add", "default", "via", OUTSIDE_IP];
        stage.node.run("ip", way).succeeds();
        let way = ["route", "add", "10.96.0.0/12", "via", NODE_IP];
        stage.outside.run("ip", way).succeeds();
        let agent = Agent::start(settings(&stage), stage.node.title());
        let (topology, pods) = Topology::new(["a", "b", "c"]);
        agent.tell_nodes(vec![this_node(&[SUBNET])]);
        agent.tell_pods(["a", "b", "c"].map(|name| pod(name, &[])).to_vec());
        agent.tell_services(Input::Services(Change::Reset(vec![])));
        agent.tell_services(Input::Slices(Change::Reset(vec![])));
        agent.wait_ready();
        let runtime = stage.runtime();
        let pods = pods.into_iter().zip(["a", "b", "c"]);
        let pods: Vec<_> = pods
            .map(|(netns, name)| {
                let address = ip(&runtime.add(name, &netns).unwrap());
                serve(&netns, name);
                (netns, address)
            })
            .collect();
        Self {
            agent: Some(agent),
            service: Mutex::default(),
            slice: Mutex::default(),
            pods,
            mode,
            stage,
            _topology: topology,
        }
    }

    fn pod(&self, n: usize) -> &Namespace {
        &self.pods[n].0
    }

    fn tell(&self, protocol: Protocol, change: impl FnOnce(&mut ServiceNet)) {
        let mut service = ServiceNet {
            cluster_ips: vec![CLUSTER_IP.parse().unwrap()],
            ports: vec![ServicePortNet {
                name: "".into(),
                protocol,
                port: 80,
                node_port: Some(NODE_PORT),
            }],
            ..ServiceNet::default()
        };
        change(&mut service);
        *self.service.lock().unwrap() = Some(service.clone());
        let change = Change::Applied(ObjectName::new("default", "web"), service);
        self.agent().tell_services(Input::Services(change));
    }

    /// Endpoints by the pods' numbers.
    fn endpoints(&self, protocol: Protocol, pods: &[usize]) {
        let endpoint = |n: &usize| SliceEndpoint {
            address: self.pods[*n].1,
            ready: true,
            serving: true,
            terminating: false,
            node: Some("node-1".into()),
            hints: None,
        };
        let slice = SliceNet {
            service: "web".into(),
            family: Some(Family::V4),
            ports: [SlicePort {
                name: "".into(),
                protocol,
                port: 8080,
            }]
            .into(),
            endpoints: pods.iter().map(endpoint).collect(),
            triggered_ms: None,
        };
        *self.slice.lock().unwrap() = Some(slice.clone());
        let change = Change::Applied(ObjectName::new("default", "web-1"), slice);
        self.agent().tell_services(Input::Slices(change));
    }

    /// Until the kernel has what was told.
    fn wait(&self, what: &str, text: &str) {
        eventually(SOON, what, || self.rules().contains(text));
    }

    fn rules(&self) -> String {
        if self.mode == ProxyMode::Iptables {
            return self.stage.node.run("iptables-nft-save", [""; 0]).succeeds();
        }
        let list = ["list", "table", "ip", "sealane-services"];
        self.stage.node.run("nft", list).succeeds()
    }

    /// Who answers, over several connections.
    fn answering(&self, from: &Namespace, to: SocketAddr) -> BTreeSet<String> {
        (0..24).map(|_| ask_tcp(from, to).unwrap()).collect()
    }
}

/// Answers over TCP and UDP at port 8080 with `name client`.
fn serve(netns: &Namespace, name: &'static str) {
    let listener = netns.enter(|| TcpListener::bind("0.0.0.0:8080")).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let peer = stream.peer_addr().map(|peer| peer.ip().to_string());
            let _ = write!(stream, "{name} {}", peer.unwrap_or_default());
        }
    });
    let socket = netns.enter(|| UdpSocket::bind("0.0.0.0:8080")).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(format!("{name} {}", peer.ip()).as_bytes(), peer);
        }
    });
}

fn ask_tcp(from: &Namespace, to: SocketAddr) -> Result<String, ErrorKind> {
    let mut stream = from
        .enter(|| TcpStream::connect_timeout(&to, PATIENCE))
        .map_err(|error| error.kind())?;
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    Ok(text)
}

fn ask_udp(socket: &UdpSocket, to: SocketAddr, patience: Duration) -> Option<String> {
    socket.set_read_timeout(Some(patience)).unwrap();
    socket.send_to(b"?", to).ok()?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer).ok()?;
    String::from_utf8(buffer[..length].to_vec()).ok()
}

fn set(texts: &[String]) -> BTreeSet<String> {
    texts.iter().cloned().collect()
}

#[test]
fn pods_the_node_and_outside_reach_a_service_as_its_policies_say() {
    let scene = Scene::new();
    scene.tell(Protocol::Tcp, |_| {});
    scene.wait("the Service is there", CLUSTER_IP);
    let (a, node, outside) = (scene.pod(0), &scene.stage.node, &scene.stage.outside);
    let cluster_ip = at(CLUSTER_IP, 80);
    for from in [a, node] {
        assert_eq!(ask_tcp(from, cluster_ip), Err(ErrorKind::ConnectionRefused));
    }
    let node_port = at(NODE_IP, NODE_PORT);
    assert_eq!(
        ask_tcp(outside, node_port),
        Err(ErrorKind::ConnectionRefused)
    );
    // By ICMP the kernel tells one client once a second.
    for at in [cluster_ip, at(CLUSTER_IP, 81), node_port] {
        for _ in 0..20 {
            let refused = a.enter(|| TcpStream::connect_timeout(&at, BEFORE_SENT_AGAIN));
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        }
    }

    scene.endpoints(Protocol::Tcp, &[1, 2]);
    scene.wait("the endpoints are there", &scene.pods[2].1.to_string());
    let a_ip = scene.pods[0].1;
    let gateway = "10.244.1.1";
    let both = |client: &str| set(&[format!("b {client}"), format!("c {client}")]);
    assert_eq!(scene.answering(a, cluster_ip), both(&a_ip.to_string()));
    assert_eq!(scene.answering(node, cluster_ip), both(gateway));
    assert_eq!(scene.answering(outside, cluster_ip), both(gateway));
    assert_eq!(scene.answering(outside, node_port), both(gateway));
    assert_eq!(scene.answering(node, node_port), both(gateway));

    scene.tell(Protocol::Tcp, |service| {
        service.external_policy = TrafficPolicy::Local
    });
    scene.wait("it is local", "10.244.1.1 . tcp . 30080 : 0x3");
    assert_eq!(scene.answering(outside, node_port), both(OUTSIDE_IP));
    assert_eq!(scene.answering(a, node_port), both(&a_ip.to_string()));
    // A pod that reaches itself sees the node.
    scene.endpoints(Protocol::Tcp, &[0]);
    eventually(SOON, "only a is left", || {
        !scene.rules().contains(&scene.pods[2].1.to_string())
    });
    assert_eq!(
        scene.answering(a, cluster_ip),
        set(&[format!("a {gateway}")])
    );
}

#[test]
fn a_restart_changes_nothing_and_cuts_no_stream() {
    let mut scene = Scene::new();
    scene.tell(Protocol::Tcp, |service| {
        service.affinity_seconds = Some(600)
    });
    scene.endpoints(Protocol::Tcp, &[1, 2]);
    scene.wait("the endpoints are there", &scene.pods[2].1.to_string());
    let cluster_ip = at(CLUSTER_IP, 80);
    let first = scene.answering(scene.pod(0), cluster_ip);
    assert_eq!(first.len(), 1, "a client stays: {first:?}");
    let stream = Stream::between(scene.pod(0), scene.pod(1), scene.pods[1].1);
    let list = ["-a", "-s", "-t", "list", "table", "ip", "sealane-services"];
    let before = scene.stage.node.run("nft", list).succeeds();
    scene.kill();
    let served = scene.answering(scene.pod(0), cluster_ip);
    assert_eq!(served, first, "without an agent");
    scene.start_again();
    assert_eq!(scene.stage.node.run("nft", list).succeeds(), before);
    assert_eq!(
        scene.answering(scene.pod(0), cluster_ip),
        first,
        "and stays"
    );
    stream.expect_progress();
}

#[test]
fn datagrams_follow_the_endpoints_at_once() {
    let scene = Scene::new();
    let cluster_ip = at(CLUSTER_IP, 80);
    let client = scene.pod(0).enter(|| UdpSocket::bind("0.0.0.0:0")).unwrap();
    let ask = || ask_udp(&client, cluster_ip, Duration::from_millis(100));
    scene.tell(Protocol::Udp, |_| {});
    scene.wait("the Service is there", CLUSTER_IP);
    assert_eq!(ask(), None);
    for (n, name) in [(1, "b"), (2, "c"), (1, "b")] {
        scene.endpoints(Protocol::Udp, &[n]);
        // The very socket, and so the same flow.
        eventually(SOON, "the new endpoint answers", || {
            ask().is_some_and(|answer| answer.starts_with(name))
        });
    }
    scene.endpoints(Protocol::Udp, &[1, 2]);
    scene.wait("the second is there", &scene.pods[2].1.to_string());
    for _ in 0..8 {
        let answer = ask().unwrap();
        assert!(
            answer.starts_with("b"),
            "a flow that does not mislead stays: {answer}"
        );
    }
}

#[test]
fn what_somebody_takes_away_comes_back_and_without_a_mode_nothing_stays() {
    let mut scene = Scene::new();
    scene.tell(Protocol::Tcp, |_| {});
    scene.endpoints(Protocol::Tcp, &[1, 2]);
    scene.wait("the endpoints are there", &scene.pods[2].1.to_string());
    for (kind, names) in [
        ("map", ["picker-of", "eps"]),
        ("chain", ["services", "cluster-ip"]),
    ] {
        scene.kill();
        for name in names {
            let flush = ["flush", kind, "ip", "sealane-services", name];
            scene.stage.node.run("nft", flush).succeeds();
        }
        scene.start_again();
        scene.wait("all is back", &scene.pods[2].1.to_string());
        assert_eq!(scene.answering(scene.pod(0), at(CLUSTER_IP, 80)).len(), 2);
    }
    scene.kill();
    let _none = scene.stage.start();
    eventually(SOON, "the table is gone", || {
        let tables = scene.stage.node.run("nft", ["list", "tables"]).succeeds();
        !tables.contains("sealane-services")
    });
}

#[test]
fn iptables_serve_alike_and_a_change_of_backend_cuts_no_connection() {
    let mut scene = Scene::with(ProxyMode::Iptables);
    scene.tell(Protocol::Tcp, |_| {});
    scene.wait("the Service is there", "default/web has no endpoints");
    let (node, outside) = (scene.stage.node.clone(), scene.stage.outside.clone());
    let (cluster_ip, node_port) = (at(CLUSTER_IP, 80), at(NODE_IP, NODE_PORT));
    let a = scene.pod(0).clone();
    assert_eq!(ask_tcp(&a, cluster_ip), Err(ErrorKind::ConnectionRefused));
    scene.endpoints(Protocol::Tcp, &[1, 2]);
    scene.wait("the endpoints are there", &scene.pods[2].1.to_string());
    let both = |client: &str| set(&[format!("b {client}"), format!("c {client}")]);
    let a_ip = scene.pods[0].1.to_string();
    let everybody = |scene: &Scene| {
        assert_eq!(scene.answering(&a, cluster_ip), both(&a_ip));
        assert_eq!(scene.answering(&node, cluster_ip), both("10.244.1.1"));
        assert_eq!(scene.answering(&outside, node_port), both("10.244.1.1"));
    };
    everybody(&scene);
    assert_eq!(
        scene.answering(&node, at("127.0.0.1", NODE_PORT)),
        both("10.244.1.1")
    );

    let (mut client, mut server) = held(&scene);
    let mut exchange = || {
        client.write_all(b"ping").unwrap();
        let mut got = [0; 4];
        server.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"ping");
    };
    let has = |what: &str| {
        let rules = node.run("nft", ["list", "ruleset"]).succeeds();
        rules.contains(what)
    };
    exchange();
    for (mode, ours, theirs) in [
        (ProxyMode::Iptables, "KUBE-SEALANE", "sealane-services"),
        (ProxyMode::Nftables, "sealane-services", "KUBE-"),
        (ProxyMode::Iptables, "KUBE-SEALANE", "sealane-services"),
    ] {
        scene.kill();
        exchange();
        scene.mode = mode;
        scene.start_again();
        assert!(has(ours) && !has(theirs), "{mode:?}");
        exchange();
        everybody(&scene);
    }
    scene.kill();
    let _none = scene.stage.start();
    eventually(SOON, "the chains are gone", || !has("KUBE-"));
    exchange();
}

/// A connection through the Service's cluster IP at another port, and its far end.
fn held(scene: &Scene) -> (TcpStream, TcpStream) {
    let listener = scene.pod(1).enter(|| TcpListener::bind("0.0.0.0:9000"));
    let listener = listener.unwrap();
    let service = ServiceNet {
        cluster_ips: vec!["10.96.0.10".parse().unwrap()],
        ports: vec![ServicePortNet {
            name: "".into(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: None,
        }],
        ..ServiceNet::default()
    };
    let slice = SliceNet {
        service: "held".into(),
        family: Some(Family::V4),
        ports: [SlicePort {
            name: "".into(),
            protocol: Protocol::Tcp,
            port: 9000,
        }]
        .into(),
        endpoints: [SliceEndpoint {
            address: scene.pods[1].1,
            ready: true,
            serving: true,
            terminating: false,
            node: Some("node-1".into()),
            hints: None,
        }]
        .into(),
        triggered_ms: None,
    };
    let name = ObjectName::new("default", "held");
    let agent = scene.agent();
    agent.tell_services(Input::Services(Change::Applied(name.clone(), service)));
    agent.tell_services(Input::Slices(Change::Applied(name, slice)));
    scene.wait("it is there", ":9000");
    let client = scene.pod(0).enter(|| TcpStream::connect("10.96.0.10:80"));
    (client.unwrap(), listener.accept().unwrap().0)
}

impl Scene {
    fn agent(&self) -> &Agent {
        self.agent.as_ref().unwrap()
    }

    fn kill(&mut self) {
        self.agent.take().unwrap().kill();
    }

    /// Another agent, which hears of everything.
    fn start_again(&mut self) {
        let agent = Agent::start(settings(&self.stage, self.mode), self.stage.node.title());
        agent.tell_nodes(vec![this_node(&[SUBNET])]);
        agent.tell_pods(["a", "b", "c"].map(|name| pod(name, &[])).to_vec());
        let named = |name: &str| ObjectName::new("default", name);
        let services = self.service.lock().unwrap().clone();
        let services = services.map(|service| (named("web"), service));
        let slices = self.slice.lock().unwrap().clone();
        let slices = slices.map(|slice| (named("web-1"), slice));
        let services = Change::Reset(services.into_iter().collect());
        agent.tell_services(Input::Services(services));
        agent.tell_services(Input::Slices(Change::Reset(slices.into_iter().collect())));
        self.agent = Some(agent);
        self.agent().wait_ready();
        eventually(SOON, "Services are in step", || {
            let metrics = self.agent().metrics();
            let count = "kubeproxy_sync_proxy_rules_duration_seconds_count ";
            let line = metrics.lines().find(|line| line.starts_with(count));
            line.is_some_and(|line| !line.ends_with(" 0"))
        });
    }
}

//! What the node itself answers: health checks, localhost, ports that nobody has, and edits of its table.

use std::net::{Ipv4Addr, TcpListener};

use sealane_agent::Settings;
use sealane_cni::invoke::Attachment as CniAttachment;
use serde_json::{Value, json};

use super::stage::attachment;
use super::*;

const HEALTH_PORT: u16 = 30999;
const BUSY_PORT: u16 = 30998;

impl Scene {
    fn healthz(&self, path: &str) -> (u16, String) {
        let at = at(NODE_IP, 10256);
        ask_http(&self.stage.outside, at, path).unwrap()
    }
}

/// Status, and the rest of the answer. A listener that is being closed resets the connection.
fn ask_http(from: &Namespace, at: SocketAddr, path: &str) -> Result<(u16, String), ErrorKind> {
    let mut stream = from
        .enter(|| TcpStream::connect_timeout(&at, PATIENCE))
        .map_err(|error| error.kind())?;
    let mut text = String::new();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")
        .and_then(|()| stream.read_to_string(&mut text))
        .map_err(|error| error.kind())?;
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    Ok((status, text))
}

fn with_healthz(stage: &Stage) -> Settings {
    Settings {
        healthz_bind_address: Some("[::]:10256".parse().unwrap()),
        ..settings(stage, ProxyMode::Nftables)
    }
}

#[test]
fn load_balancers_learn_whether_this_node_has_endpoints_and_takes_connections() {
    let scene = Scene::with_settings(ProxyMode::Nftables, with_healthz);
    let outside = scene.stage.outside.clone();
    let health = at(NODE_IP, HEALTH_PORT);
    let asked = |port: u16| {
        scene.tell(Protocol::Tcp, |service| {
            service.external_policy = TrafficPolicy::Local;
            service.health_check_node_port = Some(port);
        });
    };
    asked(HEALTH_PORT);
    eventually(SOON, "the port answers", || {
        ask_http(&outside, health, "/")
            .is_ok_and(|(status, text)| status == 503 && text.contains("\"localEndpoints\": 0"))
    });
    scene.endpoints(Protocol::Tcp, &[1, 2]);
    eventually(SOON, "two endpoints are told of", || {
        ask_http(&outside, health, "/healthz").is_ok_and(|(status, text)| {
            status == 200
                && text
                    .to_lowercase()
                    .contains("x-load-balancing-endpoint-weight: 2\r\n")
        })
    });
    // A port that another program has is told of, and the one before is closed.
    let node = &scene.stage.node;
    let other = node
        .enter(|| TcpListener::bind(("0.0.0.0", BUSY_PORT)))
        .unwrap();
    asked(BUSY_PORT);
    eventually(SOON, "the old port is closed", || {
        ask_http(&outside, health, "/") == Err(ErrorKind::ConnectionRefused)
    });
    eventually(SOON, "people are told", || {
        let told = scene.agent().told();
        told.iter().any(|line| {
            line.starts_with("FailedToStartServiceHealthcheck default/web: ")
                && line.contains("30998")
        })
    });
    drop(other);

    let body = |text: &str| -> Value {
        serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()
    };
    let (status, text) = scene.healthz("/healthz");
    assert_eq!(
        (status, &body(&text)["nodeEligible"]),
        (200, &Value::Bool(true))
    );
    let mut leaving = this_node(&[SUBNET]);
    leaving.leaving = true;
    scene.agent().tell_nodes(vec![leaving]);
    eventually(SOON, "a node that leaves says so", || {
        let (status, text) = scene.healthz("/healthz");
        status == 503 && body(&text)["nodeEligible"] == Value::Bool(false)
    });
    assert_eq!(scene.healthz("/livez").0, 200);
    assert_eq!(scene.healthz("/metrics").0, 404);
    let answers = "kubeproxy_proxy_livez_total{code=\"200\"} 1";
    assert!(scene.agent().metrics().contains(answers));
}

#[test]
fn node_ports_answer_at_localhost_and_loopback_stays_closed_to_others() {
    let scene = Scene::new();
    let node = scene.stage.node.clone();
    let local = at("127.0.0.1", NODE_PORT);
    let both = set(&["b 10.244.1.1".into(), "c 10.244.1.1".into()]);
    for policy in [TrafficPolicy::Cluster, TrafficPolicy::Local] {
        scene.tell(Protocol::Tcp, |service| service.external_policy = policy);
        scene.endpoints(Protocol::Tcp, &[1, 2]);
        eventually(SOON, "127.0.0.1 answers", || ask_tcp(&node, local).is_ok());
        assert_eq!(scene.answering(&node, local), both, "{policy:?}");
    }
    // Ports that its cluster IP does not have are refused.
    for from in [scene.pod(0), &node, &scene.stage.outside] {
        let refused = ask_tcp(from, at(CLUSTER_IP, 81));
        assert_eq!(refused, Err(ErrorKind::ConnectionRefused));
    }
    // What listens at 127.0.0.1 is not reached by a neighbour that sends there, nor are node ports.
    let secret = node
        .enter(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 7777)))
        .unwrap();
    let outside = &scene.stage.outside;
    let way = ["route", "add", "table", "7", "127.0.0.1", "via", NODE_IP];
    outside.run("ip", way).succeeds();
    let sends = ["-w", "net.ipv4.conf.all.route_localnet=1"];
    outside.run("sysctl", sends).succeeds();
    let rule = ["rule", "add", "pref", "0", "to", "127.0.0.1", "lookup", "7"];
    let local_first = ["rule", "del", "pref", "0", "lookup", "local"];
    let local_last = ["rule", "add", "pref", "9", "lookup", "local"];
    outside.run("ip", local_last).succeeds();
    outside.run("ip", rule).succeeds();
    outside.run("ip", local_first).succeeds();
    let short = Duration::from_millis(400);
    for port in [7777, NODE_PORT] {
        let to = at("127.0.0.1", port);
        let answer = outside.enter(|| TcpStream::connect_timeout(&to, short));
        assert!(answer.is_err(), "127.0.0.1:{port} answers a neighbour");
    }
    let dropped = scene.rules();
    let mut counters = dropped
        .lines()
        .filter(|line| line.contains("127.0.0.0/8 counter packets"));
    let counted = counters.any(|line| !line.contains("packets 0 "));
    assert!(counted, "it was not asked: {dropped}");
    drop(secret);

    scene.tell(Protocol::Udp, |_| {});
    scene.endpoints(Protocol::Udp, &[1]);
    let socket = node.enter(|| UdpSocket::bind("127.0.0.1:0")).unwrap();
    eventually(SOON, "datagrams are answered at 127.0.0.1", || {
        ask_udp(&socket, local, Duration::from_millis(100)).is_some_and(|a| a.starts_with("b "))
    });
}

#[test]
fn node_ports_are_served_at_chosen_addresses_alone() {
    for mode in [ProxyMode::Nftables, ProxyMode::Iptables] {
        let scene = Scene::with_settings(mode, move |stage| Settings {
            nodeport_addresses: "primary".parse().unwrap(),
            ..settings(stage, mode)
        });
        scene.tell(Protocol::Tcp, |_| {});
        scene.endpoints(Protocol::Tcp, &[1]);
        let outside = &scene.stage.outside;
        eventually(SOON, "the node's own address answers", || {
            ask_tcp(outside, at(NODE_IP, NODE_PORT)).is_ok()
        });
        let gateway = ask_tcp(scene.pod(0), at("10.244.1.1", NODE_PORT));
        assert_eq!(gateway, Err(ErrorKind::ConnectionRefused), "{mode:?}");
        let local = ask_tcp(&scene.stage.node, at("127.0.0.1", NODE_PORT));
        assert_eq!(local, Err(ErrorKind::ConnectionRefused), "{mode:?}");
    }
}

#[test]
fn host_ports_lead_to_their_pod_and_stay_without_an_agent() {
    let mut scene = Scene::new();
    let (_topology, [d]) = Topology::new(["d"]);
    let runtime = scene.stage.runtime();
    let network = runtime.network();
    let capabilities = json!({"portMappings": [
        {"hostPort": 8081, "containerPort": 8080, "protocol": "tcp"},
        {"hostPort": 8081, "containerPort": 8080, "protocol": "udp"},
        {"hostPort": 8082, "containerPort": 8080, "protocol": "tcp", "hostIP": "127.0.0.1"},
    ]});
    let attachment = CniAttachment {
        capabilities: capabilities.as_object().cloned().unwrap(),
        ..attachment("d", Some(&d))
    };
    let add = runtime.runtime.add(&network, &attachment);
    runtime.tokio.block_on(add).unwrap();
    serve(&d, "d");
    let (node, outside) = (scene.stage.node.clone(), scene.stage.outside.clone());
    let a_ip = scene.pods[0].1.to_string();
    let (host_port, local) = (at(NODE_IP, 8081), at("127.0.0.1", 8082));
    eventually(SOON, "the host port answers", || {
        ask_tcp(&outside, host_port).is_ok()
    });
    let answers = |scene: &Scene| {
        for (from, to, client) in [
            (&outside, host_port, OUTSIDE_IP),
            (scene.pod(0), host_port, a_ip.as_str()),
            // A pod that calls itself sees its node.
            (&d, host_port, "10.244.1.1"),
            (&node, host_port, "10.244.1.1"),
            (&node, at("127.0.0.1", 8081), "10.244.1.1"),
            (&node, local, "10.244.1.1"),
        ] {
            assert_eq!(ask_tcp(from, to), Ok(format!("d {client}")), "{to}");
        }
        let elsewhere = ask_tcp(&outside, at(NODE_IP, 8082));
        assert_eq!(elsewhere, Err(ErrorKind::ConnectionRefused));
        let socket = outside.enter(|| UdpSocket::bind("0.0.0.0:0")).unwrap();
        let answer = ask_udp(&socket, host_port, PATIENCE);
        assert_eq!(answer, Some(format!("d {OUTSIDE_IP}")));
    };
    answers(&scene);
    let list = ["-a", "-s", "-t", "list", "table", "ip", "sealane-services"];
    let before = node.run("nft", list).succeeds();
    scene.kill();
    answers(&scene);
    scene.start_again();
    assert_eq!(node.run("nft", list).succeeds(), before);
    answers(&scene);
    let del = runtime.runtime.del(Some(&network), &attachment);
    runtime.tokio.block_on(del).unwrap();
    eventually(SOON, "the port goes with the pod", || {
        ask_tcp(&outside, host_port) == Err(ErrorKind::ConnectionRefused)
    });
}

#[test]
fn what_somebody_edits_is_mended_at_once() {
    let scene = Scene::new();
    scene.tell(Protocol::Tcp, |_| {});
    scene.endpoints(Protocol::Tcp, &[1, 2]);
    scene.wait("the endpoints are there", &scene.pods[2].1.to_string());
    let whole = || {
        let list = ["-s", "list", "table", "ip", "sealane-services"];
        scene.stage.node.run("nft", list).succeeds()
    };
    let before = whole();
    for edit in [
        "flush map ip sealane-services eps",
        "flush chain ip sealane-services services",
        "add rule ip sealane-services pick drop",
        "delete table ip sealane-services",
    ] {
        let words: Vec<&str> = edit.split(' ').collect();
        scene.stage.node.run("nft", words).succeeds();
        eventually(SOON, edit, || {
            let nft = ["-s", "list", "table", "ip", "sealane-services"];
            let listed = scene.stage.node.run("nft", nft);
            listed.code() == Some(0) && sorted(&listed.succeeds()) == sorted(&before)
        });
    }
    assert_eq!(scene.answering(scene.pod(0), at(CLUSTER_IP, 80)).len(), 2);
}

/// Elements of maps stand in any order.
fn sorted(text: &str) -> Vec<String> {
    let words = text.split([',', '\n']).map(|word| word.trim().to_owned());
    let mut words: Vec<String> = words.filter(|word| !word.is_empty()).collect();
    words.sort_unstable();
    words
}

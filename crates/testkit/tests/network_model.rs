//! The Kubernetes network model, on real packets: every pod has an address of its own, reaches every
//! other pod and every node without NAT, and sees itself as others see it.
//!
//! Clients are sockets of the test, made inside the pod's or node's network namespace: what they
//! send is known to the port, so captures are compared with values, not searched for text.
//!
//! `SEALANE_NETWORK` says in which form of the network: `bridge` (the default) or `routed`, `direct`
//! (the default) or `vxlan`, and `ipv4` (the default), `ipv6` or `dual`, as in
//! `SEALANE_NETWORK='routed vxlan dual'`.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use sealane_testkit::{
    Capture, Namespace, Packet, Pod, Protocol, SOON, Shared, UpOptions, eventually,
};

/// Where the echo image listens.
const ECHO_PORT: u16 = 8080;

/// The cluster of the form that is asked for.
#[track_caller]
fn cluster() -> Shared {
    Shared::with(|| {
        let form = form();
        let flags = form.split_whitespace().map(|word| match word {
            "bridge" | "routed" => ["--attachment", word],
            "direct" | "vxlan" => ["--routing", word],
            "ipv4" | "ipv6" | "dual" => ["--ip-family", word],
            other => panic!("SEALANE_NETWORK: {other:?} is no form of the network"),
        });
        UpOptions {
            flags: flags.flatten().map(str::to_owned).collect(),
            ..UpOptions::default()
        }
    })
}

fn form() -> String {
    std::env::var("SEALANE_NETWORK").unwrap_or_default()
}

fn is_vxlan() -> bool {
    form().contains("vxlan")
}

fn is_routed() -> bool {
    form().contains("routed")
}

/// What a connection looks like to those who made it.
struct Connection {
    stream: TcpStream,
    from: SocketAddr,
    to: SocketAddr,
}

#[track_caller]
fn connect(client: &Namespace, to: SocketAddr) -> Connection {
    let stream = eventually(
        SOON,
        &format!("{} connects to {to}", client.title()),
        || client.enter(|| TcpStream::connect_timeout(&to, SOON)),
    );
    let from = stream.local_addr().unwrap();
    Connection { stream, from, to }
}

/// Connects, and requires that both ends see packets with exactly the client's and the server's own addresses.
#[track_caller]
fn assert_no_nat(
    client: (&Namespace, &str),
    server: (&Namespace, &str),
    to: SocketAddr,
) -> SocketAddr {
    let near = Capture::on(client.0, client.1);
    let far = Capture::on(server.0, server.1);
    let connection = connect(client.0, to);
    assert_seen_unchanged(&near, &far, &connection);
    connection.from
}

#[track_caller]
fn assert_seen_unchanged(near: &Capture, far: &Capture, connection: &Connection) {
    let request =
        |packet: &Packet| (packet.from(), packet.to()) == (connection.from, connection.to);
    let answer = |packet: &Packet| (packet.from(), packet.to()) == (connection.to, connection.from);
    for capture in [near, far] {
        capture.expect(SOON, "the request as the client sent it", |packet| {
            request(packet)
        });
        capture.expect(SOON, "the answer as the server sent it", |packet| {
            answer(packet)
        });
        capture.refuse("either port with another address", |packet| {
            let ports = [packet.source_port, packet.destination_port];
            packet.protocol == Protocol::Tcp
                && ports.contains(&connection.from.port())
                && !request(packet)
                && !answer(packet)
        });
    }
}

fn echo(ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, ECHO_PORT)
}

#[test]
fn pods_reach_each_other_on_one_node_without_nat() {
    let cluster = cluster();
    cluster.start(&[
        Pod::echo("one-node-a").on_node(1),
        Pod::echo("one-node-b").on_node(1),
    ]);
    let (a, b) = (
        cluster.pod_netns("one-node-a"),
        cluster.pod_netns("one-node-b"),
    );
    let (a_ip, b_ip) = (cluster.pod_ip("one-node-a"), cluster.pod_ip("one-node-b"));

    assert_eq!(
        assert_no_nat((&a, "eth0"), (&b, "eth0"), echo(b_ip)).ip(),
        a_ip
    );
    assert_eq!(
        assert_no_nat((&b, "eth0"), (&a, "eth0"), echo(a_ip)).ip(),
        b_ip
    );
}

#[test]
fn pods_reach_each_other_across_nodes_without_nat() {
    let cluster = cluster();
    cluster.start(&[
        Pod::echo("across-a").on_node(1),
        Pod::echo("across-b").on_node(2),
    ]);
    let (a, b) = (cluster.pod_netns("across-a"), cluster.pod_netns("across-b"));
    let (a_ip, b_ip) = (cluster.pod_ip("across-a"), cluster.pod_ip("across-b"));

    assert_eq!(
        assert_no_nat((&a, "eth0"), (&b, "eth0"), echo(b_ip)).ip(),
        a_ip
    );
    assert_eq!(
        assert_no_nat((&b, "eth0"), (&a, "eth0"), echo(a_ip)).ip(),
        b_ip
    );
    // Nor in between, on the wire between the nodes.
    let (node_1, node_2) = (cluster.node(1), cluster.node(2));
    let near = Capture::on(&node_1, "eth0");
    let far = Capture::on(&node_2, "eth0");
    let connection = connect(&a, echo(b_ip));
    if is_vxlan() {
        let nodes = [cluster.node_ip(1), cluster.node_ip(2)];
        assert_seen_inside(&near, nodes, &connection);
        assert_seen_inside(&far, nodes, &connection);
    } else {
        assert_seen_unchanged(&near, &far, &connection);
    }
}

/// The nodes' addresses outside, the pods' inside: the request as the client sent it.
#[track_caller]
fn assert_seen_inside(wire: &Capture, nodes: [IpAddr; 2], connection: &Connection) {
    let request = |packet: &Packet| {
        packet
            .inner
            .is_some_and(|inner| (inner.from, inner.to) == (connection.from, connection.to))
    };
    let packet = wire.expect(SOON, "the request inside a datagram of VXLAN", request);
    assert_eq!([packet.source, packet.destination], nodes, "{packet}");
    wire.refuse("a pod's address", |packet| {
        [packet.source, packet.destination].contains(&connection.from.ip())
    });
}

#[test]
fn every_address_of_a_pod_is_its_own() {
    let cluster = cluster();
    cluster.start(&[
        Pod::echo("every-a").on_node(1),
        Pod::echo("every-b").on_node(1),
        Pod::echo("every-c").on_node(2),
    ]);
    let families = if form().contains("dual") { 2 } else { 1 };
    let a = cluster.pod_netns("every-a");
    let a_ips = cluster.pod_ips("every-a");
    assert_eq!(a_ips.len(), families, "{a_ips:?}");
    for other in ["every-b", "every-c"] {
        let netns = cluster.pod_netns(other);
        for (own, ip) in a_ips.iter().zip(cluster.pod_ips(other)) {
            let from = assert_no_nat((&a, "eth0"), (&netns, "eth0"), echo(ip));
            assert_eq!(from.ip(), *own);
        }
    }
    for ip in &a_ips {
        let at_pod = Capture::on(&a, "eth0");
        let from_node = connect(&cluster.node(2), echo(*ip));
        assert_seen_unchanged(&at_pod, &at_pod, &from_node);
    }
}

#[test]
fn a_node_reaches_pods_and_pods_reach_nodes_without_nat() {
    let cluster = cluster();
    cluster.start(&[Pod::echo("with-nodes")]);
    let pod = cluster.pod_netns("with-nodes");
    let pod_ip = cluster.pod_ip("with-nodes");

    for number in [1, 2] {
        let node = cluster.node(number);
        let at_pod = Capture::on(&pod, "eth0");
        let from_node = connect(&node, echo(pod_ip));
        assert_seen_unchanged(&at_pod, &at_pod, &from_node);

        let node_ip = cluster.node_ip(number);
        let listener = node.enter(|| TcpListener::bind((node_ip, 0))).unwrap();
        let from = assert_no_nat(
            (&pod, "eth0"),
            (&pod, "eth0"),
            listener.local_addr().unwrap(),
        );
        let (_, peer) = listener.accept().unwrap();
        assert_eq!(peer, from, "node-{number} sees the pod's own address");
        assert_eq!(peer.ip(), pod_ip);
    }
}

#[test]
fn a_pod_sees_the_address_that_others_see() {
    let cluster = cluster();
    cluster.start(&[
        Pod::idle("sees-itself").on_node(1),
        Pod::echo("sees-others").on_node(2),
    ]);
    let ip = cluster.pod_ip("sees-itself");

    let own = cluster
        .exec(
            "sees-itself",
            ["ip", "-oneline", "address", "show", "dev", "eth0"],
        )
        .succeeds();
    // Beside the others of its node, or alone.
    let prefix_len = match (is_routed(), ip.is_ipv4()) {
        (false, true) => 24,
        (false, false) => 64,
        (true, true) => 32,
        (true, false) => 128,
    };
    assert!(
        own.contains(&format!(" {ip}/{prefix_len} ")),
        "the pod's own address is {ip}: {own}"
    );
    let url = format!("http://{}", echo(cluster.pod_ip("sees-others")));
    let report = cluster
        .exec(
            "sees-itself",
            ["curl", "--silent", "--max-time", "10", &url],
        )
        .succeeds();
    assert!(
        report.contains(&ip.to_string()),
        "the peer reports {ip}: {report}"
    );
    let listed = cluster
        .kubectl(["get", "pod", "sees-itself", "--output=wide"])
        .succeeds();
    assert!(
        listed.contains(&ip.to_string()),
        "kubectl shows {ip}: {listed}"
    );
}

#[test]
fn two_pods_of_one_node_listen_on_the_same_port() {
    let cluster = cluster();
    cluster.start(&[
        Pod::echo("port-a").on_node(1),
        Pod::echo("port-b").on_node(1),
        Pod::echo("port-c").on_node(2),
    ]);
    for client in ["port-a", "port-c"] {
        for server in ["port-a", "port-b"] {
            let url = format!("http://{}/hostname", echo(cluster.pod_ip(server)));
            assert_eq!(
                cluster.exec(client, ["curl", "-s", &url]).succeeds().trim(),
                server
            );
        }
    }
}

#[test]
fn udp_and_packets_of_full_size_pass() {
    let cluster = cluster();
    cluster.start(&[
        Pod::echo("full-a").on_node(1),
        Pod::echo("full-b").on_node(2),
    ]);
    let (a, b) = (cluster.pod_netns("full-a"), cluster.pod_netns("full-b"));
    let (a_ip, b_ip) = (cluster.pod_ip("full-a"), cluster.pod_ip("full-b"));
    // Outer IP and UDP headers, VXLAN's own and the inner Ethernet header: RFC 7348 §5
    let tunnel = match (is_vxlan(), a_ip.is_ipv4()) {
        (false, _) => 0,
        (true, true) => 20 + 8 + 8 + 14,
        (true, false) => 40 + 8 + 8 + 14,
    };
    assert_eq!(
        mtu(&a) + tunnel,
        mtu(&cluster.node(1)),
        "a pod's MTU is its node's, less what the overlay takes"
    );

    let server = b.enter(|| UdpSocket::bind((b_ip, 0))).unwrap();
    let client = a.enter(|| UdpSocket::bind((a_ip, 0))).unwrap();
    server.set_read_timeout(Some(SOON)).unwrap();
    sealane_testkit::datagram::forbid_fragments(&client, b_ip);
    // 20 bytes of IPv4 header or 40 of IPv6, and 8 of UDP: RFC 791, RFC 8200, RFC 768
    let headers = if b_ip.is_ipv4() { 28 } else { 48 };
    let largest = vec![7; mtu(&a) - headers];
    client
        .send_to(&largest, server.local_addr().unwrap())
        .unwrap();
    let mut buffer = vec![0; 65536];
    let (length, from) = server.recv_from(&mut buffer).unwrap();
    assert_eq!(
        (length, from),
        (largest.len(), client.local_addr().unwrap())
    );

    let too_large = client.send_to(&vec![7; largest.len() + 1], server.local_addr().unwrap());
    assert_eq!(too_large.unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));
}

#[test]
fn only_what_leaves_the_cluster_carries_the_address_of_the_node() {
    let cluster = cluster();
    cluster.start(&[Pod::echo("leaves").on_node(2)]);
    let pod = cluster.pod_netns("leaves");
    let machine = Namespace::own();
    let listener = machine
        .enter(|| TcpListener::bind((cluster.gateway(), 0)))
        .unwrap();

    let at_node = Capture::on(&cluster.node(2), "eth0");
    let mut connection = connect(&pod, listener.local_addr().unwrap());
    let (mut accepted, peer) = listener.accept().unwrap();
    assert_eq!(connection.from.ip(), cluster.pod_ip("leaves"));
    assert_eq!(
        peer.ip(),
        cluster.node_ip(2),
        "this machine is outside, so it sees the node"
    );
    at_node.refuse("the pod's address", |packet| {
        packet.source == connection.from.ip()
    });

    // And back.
    accepted.write_all(b"answer").unwrap();
    let mut answer = [0; 6];
    connection.stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"answer");
}

#[test]
fn this_machine_reaches_pods_by_routes() {
    let cluster = cluster();
    cluster.start(&[Pod::echo("from-outside").on_node(1)]);
    let to = echo(cluster.pod_ip("from-outside"));
    let pod = cluster.pod_netns("from-outside");
    let at_pod = Capture::on(&pod, "eth0");
    assert_seen_unchanged(&at_pod, &at_pod, &connect(&Namespace::own(), to));
}

#[test]
fn a_node_has_a_bridge_only_where_pods_are_its_ports() {
    let cluster = cluster();
    cluster.start(&[Pod::idle("attached").on_node(1)]);
    let bridges = cluster
        .node(1)
        .run("ip", ["link", "show", "type", "bridge"]);
    assert_eq!(bridges.succeeds().is_empty(), is_routed());
}

/// The MTU of eth0 inside.
fn mtu(namespace: &Namespace) -> usize {
    let links = namespace
        .run("ip", ["-json", "link", "show", "dev", "eth0"])
        .json();
    links[0]["mtu"].as_u64().unwrap().try_into().unwrap()
}

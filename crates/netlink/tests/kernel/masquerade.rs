//! The programs of egress, told by the address that a receiver sees.
//!
//! ```text
//!   pod 10.244.1.5 ── eth0 │ sl-pod ── node ── eth0 172.29.0.2 ──┬── outside 172.29.0.1, 203.0.113.9
//!       fd00:10:244:1::5   │          forwards  fd00:172:29::2   └── (also another node 172.29.0.3, its pods 10.244.2.0/24)
//! ```

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sealane_net::{Family, IpNet, Route};
use sealane_netlink::netns;
use sealane_ruleset::{NodeEgress, machine_egress, node_egress};
use tokio::net::UdpSocket;

use crate::place::Place;

const DEADLINE: Duration = Duration::from_secs(5);

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

struct Topology {
    pod: Place,
    node: Place,
    outside: Place,
}

async fn topology() -> Topology {
    let (pod, node, outside) = (Place::new().await, Place::new().await, Place::new().await);
    node.connect("sl-pod", &pod, "eth0").await;
    node.connect("eth0", &outside, "eth0").await;
    node.netlink
        .set_sysctls(&[
            ("net.ipv4.ip_forward", "1"),
            ("net.ipv6.conf.all.forwarding", "1"),
        ])
        .unwrap();
    for (place, link, addresses) in [
        (
            &pod,
            "eth0",
            ["10.244.1.5/24", "fd00:10:244:1::5/64"].as_slice(),
        ),
        (&node, "sl-pod", &["10.244.1.1/24", "fd00:10:244:1::1/64"]),
        (&node, "eth0", &["172.29.0.2/24", "fd00:172:29::2/64"]),
        (
            &outside,
            "eth0",
            &[
                "172.29.0.1/24",
                "172.29.0.3/24",
                "fd00:172:29::1/64",
                "fd00:172:29::3/64",
            ],
        ),
        (
            &outside,
            "lo",
            &[
                "203.0.113.9/32",
                "10.244.2.7/32",
                "2001:db8::9/128",
                "fd00:10:244:2::7/128",
            ],
        ),
    ] {
        for address in addresses {
            place.netlink.add_address(link, net(address)).await.unwrap();
        }
    }
    for (place, destination, gateway) in [
        (&pod, "0.0.0.0/0", "10.244.1.1"),
        (&pod, "::/0", "fd00:10:244:1::1"),
        (&node, "0.0.0.0/0", "172.29.0.1"),
        (&node, "::/0", "fd00:172:29::1"),
        (&outside, "10.244.1.0/24", "172.29.0.2"),
        (&outside, "fd00:10:244:1::/64", "fd00:172:29::2"),
    ] {
        let route = Route::via(net(destination), ip(gateway));
        place.netlink.set_route(&route).await.unwrap();
    }
    Topology { pod, node, outside }
}

fn bind(place: &Place, address: IpAddr) -> UdpSocket {
    netns::run_in(&place.netns, || {
        let socket = std::net::UdpSocket::bind((address, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        UdpSocket::from_std(socket).unwrap()
    })
    .unwrap()
}

/// Sends a datagram and its answer: the address that the receiver saw.
async fn seen_by(receiver: &Place, at: IpAddr, sender: &Place, from: IpAddr) -> IpAddr {
    let server = bind(receiver, at);
    let client = bind(sender, from);
    let address: SocketAddr = server.local_addr().unwrap();
    client.send_to(b"hello", address).await.unwrap();
    let mut buffer = [0; 16];
    let exchange = async {
        let (length, peer) = server.recv_from(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..length], b"hello");
        server.send_to(b"you too", peer).await.unwrap();
        let (length, answered) = client.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..length], answered), (&b"you too"[..], address));
        peer.ip()
    };
    tokio::time::timeout(DEADLINE, exchange)
        .await
        .unwrap_or_else(|_| panic!("{from} got no answer from {address}"))
}

#[tokio::test]
async fn pods_leave_the_cluster_with_the_nodes_address_and_stay_themselves_inside() {
    let Topology { pod, node, outside } = topology().await;
    let egress = NodeEgress {
        local_pods: vec![net("10.244.1.0/24"), net("fd00:10:244:1::/64")],
        cluster_pods: vec![net("10.244.0.0/16"), net("fd00:10:244::/56")],
        nodes: [
            "172.29.0.2",
            "172.29.0.3",
            "fd00:172:29::2",
            "fd00:172:29::3",
        ]
        .map(ip)
        .to_vec(),
        ..NodeEgress::default()
    };
    let tables: Vec<_> = Family::ALL
        .iter()
        .filter_map(|family| node_egress(*family, &egress))
        .collect();
    let (v4, v6) = (ip("10.244.1.5"), ip("fd00:10:244:1::5"));
    // Without the program nothing is translated, so that the rest proves something.
    assert_eq!(seen_by(&outside, ip("203.0.113.9"), &pod, v4).await, v4);

    node.netlink.load_tables(&tables).await.unwrap();
    for (place, at, from, seen) in [
        (&outside, "203.0.113.9", v4, "172.29.0.2"),
        (&outside, "172.29.0.1", v4, "172.29.0.2"),
        (&outside, "172.29.0.3", v4, "10.244.1.5"),
        (&outside, "10.244.2.7", v4, "10.244.1.5"),
        (&node, "172.29.0.2", v4, "10.244.1.5"),
        (&node, "10.244.1.1", v4, "10.244.1.5"),
        (&outside, "2001:db8::9", v6, "fd00:172:29::2"),
        (&outside, "fd00:172:29::3", v6, "fd00:10:244:1::5"),
        (&outside, "fd00:10:244:2::7", v6, "fd00:10:244:1::5"),
        (&node, "fd00:172:29::2", v6, "fd00:10:244:1::5"),
    ] {
        assert_eq!(
            seen_by(place, ip(at), &pod, from).await,
            ip(seen),
            "to {at}"
        );
    }
    // The node's own traffic and traffic towards pods are not concerned.
    let to_pod = seen_by(&pod, v4, &outside, ip("203.0.113.9")).await;
    assert_eq!(to_pod, ip("203.0.113.9"));
    let from_node = seen_by(&outside, ip("203.0.113.9"), &node, ip("10.244.1.1")).await;
    assert_eq!(
        from_node,
        ip("172.29.0.2"),
        "an address of the pod subnet never leaves"
    );

    let listed = node.run("nft list chain ip sealane postrouting");
    assert!(
        !listed.contains("packets 0 bytes 0"),
        "the rule counts: {listed}"
    );
}

#[tokio::test]
async fn an_unchanged_program_keeps_running_flows() {
    let Topology { pod, node, outside } = topology().await;
    let egress = |node_addresses: &[&str]| NodeEgress {
        local_pods: vec![net("10.244.1.0/24")],
        cluster_pods: vec![net("10.244.0.0/16")],
        nodes: node_addresses.iter().map(|address| ip(address)).collect(),
        ..NodeEgress::default()
    };
    let table = |addresses: &[&str]| vec![node_egress(Family::V4, &egress(addresses)).unwrap()];
    let netlink = &node.netlink;
    netlink
        .sync_tables("sealane", &table(&["172.29.0.2"]))
        .await
        .unwrap();

    let server = bind(&outside, ip("203.0.113.9"));
    let client = bind(&pod, ip("10.244.1.5"));
    let address = server.local_addr().unwrap();
    let mut buffer = [0; 16];
    let mut ports = Vec::new();
    for nodes in [
        &["172.29.0.2"][..],
        &["172.29.0.2"],
        &["172.29.0.2", "172.29.0.3"],
    ] {
        netlink.sync_tables("sealane", &table(nodes)).await.unwrap();
        client.send_to(b"again", address).await.unwrap();
        let received = tokio::time::timeout(DEADLINE, server.recv_from(&mut buffer)).await;
        ports.push(received.unwrap().unwrap().1);
    }
    assert_eq!(ports[0].ip(), ip("172.29.0.2"));
    assert!(
        ports.iter().all(|peer| *peer == ports[0]),
        "a flow keeps its translation when the program is replaced: {ports:?}"
    );
}

#[tokio::test]
async fn the_machine_translates_what_leaves_by_another_link_than_the_one_to_the_nodes() {
    // Here `pod` plays a node, `node` this machine, `outside` the world.
    let Topology { pod, node, outside } = topology().await;
    let table = machine_egress("pod", net("10.244.1.0/24"));
    node.netlink.load_table(&table).await.unwrap();
    let from = ip("10.244.1.5");
    assert_eq!(
        seen_by(&outside, ip("203.0.113.9"), &pod, from).await,
        ip("172.29.0.2")
    );
    assert_eq!(
        seen_by(&pod, from, &node, ip("10.244.1.1")).await,
        ip("10.244.1.1")
    );
    assert_eq!(
        seen_by(&pod, from, &outside, ip("203.0.113.9")).await,
        ip("203.0.113.9")
    );
}

//! Nodes in two subnets: who is reached directly and who through VXLAN, seen on the wire.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod stage;

use std::{
    collections::HashSet,
    net::{IpAddr, TcpListener, UdpSocket},
};

use sealane_agent::{Attachment, Routing};
use sealane_testkit::{Capture, Namespace, Packet, Protocol, SOON, Stream, Topology, eventually};
use stage::{
    ip, seen_source,
    site::{Families, Form, Site},
};

const V4: Form = Form {
    attachment: Attachment::Bridge,
    routing: Routing::Auto,
    nodes: Families::V4,
    pods: Families::V4,
};

fn vxlan(packet: &Packet) -> bool {
    packet.protocol == Protocol::Udp && packet.destination_port == 4789
}

/// A pod on each node: their namespaces and addresses.
struct Pods {
    _topology: Topology,
    pods: Vec<(Namespace, Vec<IpAddr>)>,
}

impl Pods {
    fn on(site: &Site) -> Self {
        let (topology, namespaces) = Topology::new(["a", "b", "c"]);
        let pods = namespaces.into_iter().zip(&site.nodes);
        let pods = pods.map(|(netns, node)| {
            let result = node.runtime().add("pod", &netns).unwrap();
            let ips = result.ips.iter().map(|ip| ip.address.addr()).collect();
            (netns, ips)
        });
        Self {
            pods: pods.collect(),
            _topology: topology,
        }
    }

    fn netns(&self, number: usize) -> &Namespace {
        &self.pods[number - 1].0
    }

    fn ip(&self, number: usize) -> IpAddr {
        self.pods[number - 1].1[0]
    }
}

/// Everybody's pods and nodes see each other as they are.
fn assert_network_model(site: &Site, pods: &Pods) {
    for from in 1..=3 {
        for to in 1..=3 {
            for (source, target) in pods.pods[from - 1].1.iter().zip(&pods.pods[to - 1].1) {
                let seen = seen_source(pods.netns(from), pods.netns(to), *target);
                assert_eq!(seen, *source, "pod {from} to pod {to}");
                // From a node to a pod: an address of that node, whatever it is called.
                let node = site.node(from);
                let seen = seen_source(&node.netns, pods.netns(to), *target);
                let own = node.netns.run("ip", ["-o", "address", "show"]).succeeds();
                assert!(
                    own.contains(&format!(" {seen}/")),
                    "node {from} to pod {to}: {seen}"
                );
            }
        }
    }
}

#[test]
fn auto_reaches_neighbours_directly_and_others_through_vxlan() {
    let site = Site::start(V4);
    let pods = Pods::on(&site);
    assert_network_model(&site, &pods);

    // Behind the router: on the wire, the nodes' addresses outside and the pods' inside.
    let wire = Capture::on(&site.router, "eth1");
    let stream = Stream::between(pods.netns(1), pods.netns(3), pods.ip(3));
    let outer = wire.expect(SOON, "a datagram of VXLAN", |packet| {
        vxlan(packet) && !packet.outgoing
    });
    assert_eq!(
        (outer.source, outer.destination),
        (site.node(3).ip(), site.node(1).ip())
    );
    let inner = outer.inner.unwrap();
    assert_eq!((inner.vni, inner.protocol), (94, Protocol::Tcp));
    assert_eq!((inner.from.ip(), inner.to.ip()), (pods.ip(3), pods.ip(1)));
    wire.refuse("a pod's address", |packet| {
        [packet.source, packet.destination].contains(&pods.ip(1))
    });
    stream.expect_progress();
    assert_eq!(stream.finish().retransmissions, 0);

    // On one link: the pods' own packets.
    let wire = Capture::on(&site.node(1).netns, "eth0");
    let stream = Stream::between(pods.netns(1), pods.netns(2), pods.ip(2));
    wire.expect(SOON, "the pods' packet", |packet| {
        (packet.source, packet.destination) == (pods.ip(1), pods.ip(2))
    });
    // The stream before may still have said a last word.
    let of_neighbour = |ip| ip == pods.ip(2);
    wire.refuse("VXLAN", |packet| {
        let inner = packet.inner.as_ref();
        inner.is_some_and(|inner| {
            [inner.from.ip(), inner.to.ip()]
                .into_iter()
                .any(of_neighbour)
        })
    });
    assert_eq!(stream.finish().retransmissions, 0);
}

#[test]
fn pods_reach_far_nodes_through_the_overlay_and_without_nat() {
    let site = Site::start(V4);
    let pods = Pods::on(&site);
    let wire = Capture::on(&site.router, "eth1");
    let far = site.node(3);
    assert_eq!(seen_source(pods.netns(1), &far.netns, far.ip()), pods.ip(1));
    assert_eq!(
        seen_source(pods.netns(3), &site.node(1).netns, site.node(1).ip()),
        pods.ip(3)
    );
    wire.expect(SOON, "a datagram of VXLAN", vxlan);
    wire.refuse("a pod's address", |packet| {
        [packet.source, packet.destination].contains(&pods.ip(1))
    });
    // The node itself does not take its own detour.
    let plain = seen_source(&site.node(1).netns, &far.netns, far.ip());
    assert_eq!(plain, site.node(1).ip());
    wire.expect(SOON, "the node's own packet", |packet| {
        packet.protocol == Protocol::Tcp && packet.source == plain
    });
}

/// Every way to the pods of other nodes in every family.
#[test]
fn the_network_model_holds_in_every_form() {
    use Attachment::{Bridge, Routed};
    use Families::{Dual, V4, V6};
    use Routing::{Auto, Vxlan};
    for (attachment, routing, nodes, pods) in [
        (Bridge, Auto, V6, V6),
        (Bridge, Auto, Dual, Dual),
        // Both families of pods over either of the nodes.
        (Routed, Auto, V4, Dual),
        (Bridge, Auto, V6, Dual),
        (Bridge, Vxlan, V6, V6),
        (Routed, Vxlan, Dual, Dual),
    ] {
        let form = Form {
            attachment,
            routing,
            nodes,
            pods,
        };
        let site = Site::start(form);
        assert_network_model(&site, &Pods::on(&site));
        let far = &site.node(3).netns;
        let ups = far.run("ip", ["-d", "link", "show", "sl.vxlan"]).succeeds();
        assert!(
            ups.contains(if nodes == V6 {
                "local fd00"
            } else {
                "local 172"
            }),
            "{form:?}: {ups}"
        );
    }
}

#[test]
fn full_size_packets_of_ipv6_pass() {
    let site = Site::start(Form {
        nodes: Families::V6,
        pods: Families::V6,
        ..V4
    });
    let pods = Pods::on(&site);
    // 40 bytes of IPv6 header and 8 of UDP; VXLAN over IPv6 takes 70 of the link's 1500.
    assert_eq!(largest_datagram(&pods, 1, 3), 1430 - 48);
    assert_eq!(largest_datagram(&pods, 1, 2), 1500 - 48);
    send_much(pods.netns(1), pods.netns(3), pods.ip(3));
}

#[test]
fn the_overlay_asks_nothing_and_learns_nothing() {
    let site = Site::start(V4);
    let pods = Pods::on(&site);
    let node = site.node(1);
    let entries = node.kernel();
    let wire = Capture::on(&site.router, "eth0");
    seen_source(pods.netns(1), pods.netns(3), pods.ip(3));
    // A pod that is not there, and one of a node that nobody has.
    for absent in ["10.244.3.77", "10.244.9.9"] {
        let socket = pods
            .netns(1)
            .enter(|| UdpSocket::bind("0.0.0.0:0"))
            .unwrap();
        let _ = socket.send_to(b"x", (absent, 9));
    }
    wire.expect(SOON, "the packet to nobody", |packet| {
        packet
            .inner
            .is_some_and(|i| i.to.ip().to_string() == "10.244.3.77")
    });
    wire.refuse("VXLAN to another than node 3", |packet| {
        let ends = [packet.source, packet.destination];
        vxlan(packet) && !ends.contains(&site.node(3).ip())
    });
    assert_eq!(node.kernel(), entries, "entries are as they were");
    assert_eq!(
        entries.matches("dst 172.30.0.4 self permanent").count(),
        1,
        "{entries}"
    );
}

#[test]
fn full_size_packets_pass_and_larger_ones_are_told_what_fits() {
    let site = Site::start(V4);
    let pods = Pods::on(&site);
    let wire = Capture::on(&site.router, "eth1");
    // 20 bytes of IPv4 header and 8 of UDP; VXLAN takes 50 of the link's 1500.
    assert_eq!(largest_datagram(&pods, 1, 3), 1450 - 28);
    let full = |packet: &Packet| vxlan(packet) && packet.length == 1500;
    wire.expect(SOON, "a datagram that fills the link", full);
    wire.refuse("one that is too long", |p| {
        p.protocol == Protocol::Udp && p.length > 1500
    });
    assert_eq!(
        largest_datagram(&pods, 1, 2),
        1500 - 28,
        "directly nothing is lost"
    );
    for to in [2, 3] {
        send_much(pods.netns(1), pods.netns(to), pods.ip(to));
    }
}

#[test]
fn another_mtu_of_the_link_is_followed() {
    let site = Site::start(V4);
    let pods = Pods::on(&site);
    let node = site.node(1);
    send_much(pods.netns(1), pods.netns(3), pods.ip(3));
    for (mtu, inside) in [("1400", "1350"), ("1500", "1450")] {
        for node in &site.nodes {
            node.netns
                .run("ip", ["link", "set", "eth0", "mtu", mtu])
                .succeeds();
        }
        let route = format!("onlink mtu {inside}");
        node.shows("ip", &["route", "show", "10.244.3.0/24"], |text| {
            text.contains(&route)
        });
        let link = format!(" mtu {inside} ");
        node.shows("ip", &["link", "show", "sl.vxlan"], |text| {
            text.contains(&link)
        });
    }
    for node in &site.nodes {
        node.netns
            .run("ip", ["link", "set", "eth0", "mtu", "1400"])
            .succeeds();
        node.shows("ip", &["link", "show", "sl.vxlan"], |text| {
            text.contains(" mtu 1350 ")
        });
    }
    assert_eq!(largest_datagram(&pods, 1, 3), 1350 - 28);
    send_much(pods.netns(1), pods.netns(3), pods.ip(3));
    send_much(pods.netns(1), pods.netns(2), pods.ip(2));
    // A new pod and an old one on the same bridge.
    let (_new, [new]) = Topology::new(["new"]);
    let new_ip = ip(&node.runtime().add("new", &new).unwrap());
    send_much(pods.netns(1), &new, new_ip);
    send_much(&new, pods.netns(1), pods.ip(1));
    assert_eq!(largest_to(pods.netns(1), &new, new_ip), 1500 - 28);
}

#[test]
fn a_node_that_moves_goes_and_returns_is_followed_and_nobody_else_notices() {
    let mut site = Site::start(V4);
    let pods = Pods::on(&site);
    let bystander = Stream::between(pods.netns(1), pods.netns(2), pods.ip(2));
    let before = site.objects();
    let others = |site: &Site| {
        for number in [1, 2] {
            site.node(number).agent().tell_nodes(site.objects());
        }
    };

    // It moves.
    let far = &mut site.nodes[2];
    far.object.internal_ips = vec!["172.30.0.44".parse().unwrap()];
    far.netns
        .run("ip", ["address", "flush", "dev", "eth0"])
        .succeeds();
    sealane_testkit::topology::add_address(&far.netns, "eth0", "172.30.0.44/24");
    far.add_default_routes();
    others(&site);
    site.node(3).agent().tell_nodes(site.objects());
    site.node(1)
        .shows("bridge", &["fdb", "show", "dev", "sl.vxlan"], |text| {
            text.contains("dst 172.30.0.44") && !text.contains("dst 172.30.0.4 ")
        });
    site.node(3).wait_routes(2);
    site.node(3)
        .shows("ip", &["-d", "link", "show", "sl.vxlan"], |text| {
            text.contains("local 172.30.0.44")
        });
    eventually(SOON, "pods talk again", || {
        let to = (pods.ip(3), 9).into();
        let answer = pods
            .netns(1)
            .enter(|| std::net::TcpStream::connect_timeout(&to, std::time::Duration::from_secs(1)));
        answer.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    });
    assert_eq!(
        seen_source(pods.netns(3), pods.netns(1), pods.ip(1)),
        pods.ip(3)
    );

    // It goes, and with it all that the overlay was for.
    let gone = site.nodes.remove(2);
    others(&site);
    for node in &site.nodes {
        node.wait_routes(1);
        node.shows("ip", &["link"], |text| !text.contains("sl.vxlan"));
    }
    // It is back where it was first.
    site.nodes.push(gone);
    site.nodes[2].object = before[2].clone();
    others(&site);
    for node in &site.nodes[..2] {
        node.wait_routes(2);
        node.shows("bridge", &["fdb", "show", "dev", "sl.vxlan"], |text| {
            text.contains("dst 172.30.0.4 ")
        });
    }
    bystander.expect_progress();
    let summary = bystander.finish();
    assert_eq!(summary.retransmissions, 0, "{summary:?}");
}

#[test]
fn a_restart_cuts_no_stream_through_the_overlay_and_changes_nothing() {
    let mut site = Site::start(V4);
    let pods = Pods::on(&site);
    let stream = Stream::between(pods.netns(1), pods.netns(3), pods.ip(3));
    let before = site.node(1).kernel();
    for _ in 0..2 {
        let node = &mut site.nodes[0];
        node.agent.take().unwrap().kill();
        node.start();
        site.tell();
        site.node(1).agent().wait_ready();
        site.node(1).wait_routes(2);
        stream.expect_progress();
    }
    assert_eq!(site.node(1).kernel(), before);
    assert_eq!(stream.finish().retransmissions, 0);
}

#[test]
fn what_somebody_takes_away_comes_back_at_once() {
    let site = Site::start(V4);
    let pods = Pods::on(&site);
    let node = site.node(1);
    let before = node.kernel();
    let far = sealane_route::tunnel_mac("node-3");
    for harm in [
        "ip link delete sl.vxlan",
        "ip link set sl.vxlan down",
        "ip route delete 10.244.3.0/24",
        "ip route delete 10.244.2.0/24",
        "ip link set cbr0 mtu 1280",
        "ip neighbour delete 10.244.3.1 dev sl.vxlan",
        &format!("bridge fdb delete {far} dev sl.vxlan"),
        "ip rule delete pref 9400",
    ] {
        let words: Vec<&str> = harm.split(' ').collect();
        node.netns.run(words[0], &words[1..]).succeeds();
        eventually(SOON, &format!("all is well after `{harm}`"), || {
            let now = strip(&node.kernel());
            if now == strip(&before) {
                Ok(())
            } else {
                Err(now)
            }
        });
    }
    assert_network_model(&site, &pods);
}

/// Without indexes of links, which are made anew.
fn strip(kernel: &str) -> String {
    let lines = kernel.lines().map(|line| match line.split_once(": ") {
        Some((number, rest)) if number.bytes().all(|b| b.is_ascii_digit()) => rest,
        _ => line,
    });
    let mut lines: Vec<&str> = lines.collect();
    lines.sort_unstable();
    lines.join("\n")
}

#[test]
fn a_thousand_nodes_are_served_and_one_that_moves_is_the_only_one_touched() {
    let mut site = Site::new(V4);
    site.nodes[0].start();
    let node = site.node(1);
    let far = |number: u32, address: String| sealane_objects::NodeNet {
        name: format!("far-{number}"),
        internal_ips: vec![address.parse().unwrap()],
        pod_cidrs: vec![
            format!("10.{}.{}.0/24", 100 + number / 256, number % 256)
                .parse()
                .unwrap(),
        ],
        ..Default::default()
    };
    let mut all: Vec<_> = (0..200)
        .map(|n| far(n, format!("172.29.0.{}", n + 20)))
        .chain((200..1000).map(|n| far(n, format!("172.31.{}.{}", n / 200, n % 200 + 1))))
        .collect();
    all.push(node.object.clone());
    node.agent().tell_nodes(all.clone());
    node.agent().tell_pods(vec![]);
    node.wait_routes(1000);
    let before = node.kernel();
    assert_eq!(before.matches("self permanent").count(), 800);
    assert_eq!(
        before
            .matches(" dev sl.vxlan proto 94 src 10.244.1.1")
            .count(),
        800
    );

    all[500].internal_ips = vec!["172.31.99.1".parse().unwrap()];
    node.agent().tell_nodes(all);
    node.shows("bridge", &["fdb", "show", "dev", "sl.vxlan"], |text| {
        text.contains("dst 172.31.99.1 ")
    });
    node.shows("ip", &["route", "show", "table", "94"], |text| {
        text.starts_with("172.31.") && text.contains("172.31.99.1 ")
    });
    let after = node.kernel();
    let (before, after): (HashSet<&str>, HashSet<&str>) =
        (before.lines().collect(), after.lines().collect());
    let fresh: Vec<_> = after.difference(&before).collect();
    // Its forwarding entry and the way to itself; the table of nft, with the
    // list of all nodes, is another.
    let others = fresh
        .iter()
        .filter(|line| !line.contains("172.31.99.1") && !line.contains("table ip sealane"))
        .filter(|line| !line.starts_with('\t'));
    assert_eq!(others.count(), 0, "{fresh:#?}");
}

#[test]
fn vxlan_to_all_spares_pods_the_messages_about_what_fits() {
    let site = Site::start(Form {
        routing: Routing::Vxlan,
        ..V4
    });
    let pods = Pods::on(&site);
    assert_network_model(&site, &pods);
    let wire = Capture::on(&site.node(2).netns, "eth0");
    seen_source(pods.netns(1), pods.netns(2), pods.ip(2));
    wire.expect(SOON, "a datagram of VXLAN", vxlan);
    let link = pods.netns(1).run("ip", ["link", "show", "eth0"]).succeeds();
    assert!(link.contains(" mtu 1450 "), "{link}");
}

#[test]
fn direct_serves_neighbours_and_says_whom_it_does_not_serve() {
    let site = Site::new(Form {
        routing: Routing::Direct,
        ..V4
    });
    let mut site = site;
    site.nodes[0].start();
    site.tell();
    let state = site.node(1).agent().wait("the neighbour's route", |state| {
        state["routes"][0] == "10.244.2.0/24 via 172.29.0.3 proto 94"
    });
    let problem = state["problems"][0].as_str().unwrap();
    assert!(
        problem.contains("172.30.0.4 is on no link of this node"),
        "{problem}"
    );
    assert_eq!(state["ready"], true);
}

/// The largest content of a datagram from one pod to another that need not be cut up.
fn largest_datagram(pods: &Pods, from: usize, to: usize) -> usize {
    largest_to(pods.netns(from), pods.netns(to), pods.ip(to))
}

fn largest_to(from: &Namespace, to: &Namespace, address: IpAddr) -> usize {
    let server = to.enter(|| UdpSocket::bind((address, 0))).unwrap();
    server
        .set_read_timeout(Some(std::time::Duration::from_millis(200)))
        .unwrap();
    let any: IpAddr = if address.is_ipv4() {
        [0; 4].into()
    } else {
        [0; 16].into()
    };
    let client = from.enter(|| UdpSocket::bind((any, 0))).unwrap();
    client.connect(server.local_addr().unwrap()).unwrap();
    sealane_testkit::datagram::forbid_fragments(&client, address);
    let mut buffer = vec![0; 65536];
    // Down from the largest of any link here: refused at once, or told by a message and refused then.
    let mut size = 1500;
    while size > 1000 {
        if client.send(&vec![7; size]).is_ok() && server.recv(&mut buffer).is_ok_and(|n| n == size)
        {
            return size;
        }
        // No message has come that says otherwise, so it must pass.
        if client.send(&vec![7; size]).is_ok() {
            server.set_read_timeout(Some(SOON)).unwrap();
            assert!(
                server.recv(&mut buffer).is_ok_and(|n| n == size),
                "{size} bytes vanish"
            );
            return size;
        }
        size -= 1;
    }
    panic!("nothing passes from {} to {address}", from.title());
}

/// A megabyte, in segments as large as TCP finds fit.
#[track_caller]
fn send_much(from: &Namespace, to: &Namespace, address: IpAddr) {
    use std::io::{Read, Write};
    const MUCH: usize = 1 << 20;
    let listener = to.enter(|| TcpListener::bind((address, 0))).unwrap();
    let target = listener.local_addr().unwrap();
    let mut connection = from
        .enter(|| std::net::TcpStream::connect_timeout(&target, SOON))
        .unwrap();
    let (mut accepted, _) = listener.accept().unwrap();
    accepted.set_read_timeout(Some(SOON)).unwrap();
    let sender = std::thread::spawn(move || connection.write_all(&vec![7; MUCH]));
    let mut got = vec![0; MUCH];
    accepted
        .read_exact(&mut got)
        .unwrap_or_else(|error| panic!("a megabyte to {address}: {error}"));
    sender.join().unwrap().unwrap();
}

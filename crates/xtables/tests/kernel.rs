//! Stories of Services in a real kernel: what is loaded is what was meant, and packets go where they should.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../iptables/tests/story/mod.rs"]
mod story;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use sealane_iptables::{Loaded, Program, diff};
use sealane_net::Family;
use sealane_testkit::{Namespace, SOON, Topology, eventually};
use sealane_xtables::{Applied, Tables, Variant};
use story::Story;

const BOTH: [Variant; 2] = [Variant::Nft, Variant::Legacy];

fn sync(node: &Namespace, tables: &mut Tables, program: &Program) -> Applied {
    node.enter(|| tables.sync(program)).unwrap()
}

fn save(node: &Namespace, family: Family, variant: Variant) -> String {
    let family = if family == Family::V4 { "ip" } else { "ip6" };
    let variant = if variant == Variant::Nft {
        "nft"
    } else {
        "legacy"
    };
    node.run(&format!("{family}tables-{variant}-save"), [""; 0])
        .succeeds()
}

/// Rules of ours, sorted, since others' order of chains is their own.
fn rules(text: &str) -> Vec<&str> {
    let mut rules: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("-A "))
        .collect();
    rules.sort_unstable();
    rules
}

#[test]
fn what_is_loaded_is_what_was_meant_and_a_restart_changes_nothing() {
    for (name, family) in [
        ("cluster-ip", Family::V4),
        ("outside", Family::V4),
        ("six", Family::V6),
    ] {
        for variant in BOTH {
            let (_topology, [node]) = Topology::new(["node"]);
            let program = Story::read(name).program(family);
            let mut tables = Tables::with(family, variant);
            let applied = sync(&node, &mut tables, &program);
            assert_eq!(applied.written, program.chains.len());
            let saved = save(&node, family, variant);
            assert_eq!(rules(&saved), rules(&program.text()), "{name} {variant:?}");
            let again = diff(&Loaded::read(&saved), &program);
            assert_eq!(again.text, "", "{name} {variant:?}");
            // Another process begins anew.
            let mut restarted = Tables::with(family, variant);
            assert_eq!(sync(&node, &mut restarted, &program), Applied::default());
            node.enter(|| restarted.remove()).unwrap();
            assert_eq!(rules(&save(&node, family, variant)), [""; 0]);
        }
    }
}

#[test]
fn a_change_writes_what_it_concerns_and_others_rules_stay() {
    for variant in BOTH {
        let (_topology, [node]) = Topology::new(["node"]);
        let program = if variant == Variant::Nft {
            "iptables-nft"
        } else {
            "iptables-legacy"
        };
        let foreign = [
            "-t",
            "nat",
            "-A",
            "PREROUTING",
            "-d",
            "192.0.2.1",
            "-j",
            "ACCEPT",
        ];
        node.run(program, foreign).succeeds();
        let mut story = Story::read("cluster-ip");
        let mut tables = Tables::with(Family::V4, variant);
        sync(&node, &mut tables, &story.program(Family::V4));
        let before = save(&node, Family::V4, variant);
        let gone = story.slices[1].4.pop().unwrap();
        let applied = sync(&node, &mut tables, &story.program(Family::V4));
        assert_eq!((applied.written, applied.deleted), (1, 1));
        story.slices[1].4.push(gone);
        sync(&node, &mut tables, &story.program(Family::V4));
        let after = save(&node, Family::V4, variant);
        assert_eq!(rules(&before), rules(&after));
        assert!(after.contains("-A PREROUTING -d 192.0.2.1/32 -j ACCEPT"));
        // Somebody flushes a chain; a look at what is loaded finds it.
        node.run(program, ["-t", "nat", "-F", "KUBE-SERVICES"])
            .succeeds();
        tables.doubt();
        let applied = sync(&node, &mut tables, &story.program(Family::V4));
        assert_eq!((applied.written, applied.deleted), (1, 0));
        assert_eq!(rules(&save(&node, Family::V4, variant)), rules(&before));
    }
}

#[test]
fn a_refusal_names_the_line_and_is_made_good() {
    let (_topology, [node]) = Topology::new(["node"]);
    let program = Story::read("cluster-ip").program(Family::V4);
    let mut broken = program.clone();
    let rules = broken.chains.values_mut().next_back().unwrap();
    rules.push_str("-A KUBE-SERVICES -j KUBE-NOWHERE\n");
    let mut tables = Tables::with(Family::V4, Variant::Nft);
    let error = node.enter(|| tables.sync(&broken)).unwrap_err().to_string();
    assert!(error.starts_with("iptables-nft-restore: "), "{error}");
    sync(&node, &mut tables, &program);
    assert_eq!(
        diff(
            &Loaded::read(&save(&node, Family::V4, Variant::Nft)),
            &program
        )
        .text,
        ""
    );
}

/// node-1 with a pod, node-2 as a pod's host and as a client from outside.
struct Net {
    _topology: Topology,
    node: Namespace,
    pod: Namespace,
    outside: Namespace,
    far: Namespace,
}

impl Net {
    fn new() -> Self {
        let (topology, [node, pod, outside, far]) =
            Topology::new(["node", "pod", "outside", "far"]);
        topology.join(
            (&node, "p0", "10.244.1.1/24"),
            (&pod, "eth0", "10.244.1.2/24"),
        );
        topology.join(
            (&node, "eth0", "172.29.0.2/24"),
            (&outside, "eth0", "172.29.0.9/24"),
        );
        topology.join(
            (&node, "p1", "10.244.2.1/24"),
            (&far, "eth0", "10.244.2.2/24"),
        );
        for (end, gateway) in [
            (&pod, "10.244.1.1"),
            (&far, "10.244.2.1"),
            (&outside, "172.29.0.2"),
            // A Service's address needs a route before it is translated.
            (&node, "172.29.0.9"),
        ] {
            end.run("ip", ["route", "add", "default", "via", gateway])
                .succeeds();
        }
        // Addresses of load balancers are nobody's on the link.
        let balancers = ["route", "add", "172.29.0.200/29", "via", "172.29.0.2"];
        outside.run("ip", balancers).succeeds();
        for setting in [
            "net.ipv4.ip_forward=1",
            "net.ipv4.conf.all.route_localnet=1",
        ] {
            node.run("sysctl", ["-qw", setting]).succeeds();
        }
        Self {
            _topology: topology,
            node,
            pod,
            outside,
            far,
        }
    }
}

/// Says its title and who asks, to everyone who connects to port 8080.
fn serve(server: &Namespace) {
    let title = server.title().rsplit('-').next().unwrap().to_owned();
    let listener = server.enter(|| TcpListener::bind("0.0.0.0:8080")).unwrap();
    let udp = server.enter(|| UdpSocket::bind("0.0.0.0:5353")).unwrap();
    // Both threads end with the test's process.
    let name = title.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let from = stream.peer_addr().unwrap().ip();
            // Whoever asked may be gone already.
            let _ = stream.write_all(format!("{name} {from}").as_bytes());
        }
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 16];
        while let Ok((_, from)) = udp.recv_from(&mut buffer) {
            let _ = udp.send_to(format!("{title} {}", from.ip()).as_bytes(), from);
        }
    });
}

/// What a server says; `refused` or `nothing` when none does.
fn ask(client: &Namespace, at: &str) -> String {
    let at: SocketAddr = at.parse().unwrap();
    client.enter(
        || match TcpStream::connect_timeout(&at, Duration::from_millis(300)) {
            Ok(mut stream) => {
                let mut said = String::new();
                stream.read_to_string(&mut said).unwrap();
                said
            }
            Err(error) if error.kind() == ErrorKind::TimedOut => "nothing".into(),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => "refused".into(),
            Err(error) => error.to_string(),
        },
    )
}

fn ask_udp(client: &Namespace, at: &str) -> String {
    let at: SocketAddr = at.parse().unwrap();
    client.enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect(at).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(2)))
            .unwrap();
        socket.send(b"?").unwrap();
        let mut buffer = [0; 64];
        match socket.recv(&mut buffer) {
            Ok(count) => String::from_utf8_lossy(&buffer[..count]).into_owned(),
            Err(error) => error.to_string(),
        }
    })
}

/// Everything that comes of asking often.
fn often(client: &Namespace, at: &str) -> Vec<String> {
    let mut said: Vec<String> = (0..24).map(|_| ask(client, at)).collect();
    said.sort();
    said.dedup();
    said
}

#[test]
fn packets_go_where_each_policy_sends_them() {
    for variant in BOTH {
        let net = Net::new();
        serve(&net.pod);
        serve(&net.far);
        let mut tables = Tables::with(Family::V4, variant);
        sync(
            &net.node,
            &mut tables,
            &Story::read("outside").program(Family::V4),
        );
        let table: &[(&Namespace, &str, &[&str])] = &[
            // Cluster IP from a pod: its own address is seen, but by itself, where the node's is.
            (
                &net.far,
                "10.96.0.4:80",
                &["far 10.244.2.1", "pod 10.244.2.2"],
            ),
            (&net.pod, "10.96.0.3:80", &["far 10.244.1.2"]),
            // From the node: masqueraded, since it is no pod.
            (&net.node, "10.96.0.3:80", &["far 10.244.2.1"]),
            // From outside, policy Cluster: any endpoint, masqueraded.
            (
                &net.outside,
                "172.29.0.2:30080",
                &["far 10.244.2.1", "pod 10.244.1.1"],
            ),
            (
                &net.outside,
                "172.29.0.200:80",
                &["far 10.244.2.1", "pod 10.244.1.1"],
            ),
            (
                &net.outside,
                "192.0.2.7:80",
                &["far 10.244.2.1", "pod 10.244.1.1"],
            ),
            // Policy Local: the local one, with the client's address; from a pod and the node any.
            (&net.outside, "172.29.0.2:30083", &["pod 172.29.0.9"]),
            (&net.outside, "172.29.0.203:80", &["pod 172.29.0.9"]),
            (
                &net.far,
                "172.29.0.203:80",
                &["far 10.244.2.1", "pod 10.244.2.2"],
            ),
            (
                &net.node,
                "172.29.0.2:30083",
                &["far 10.244.2.1", "pod 10.244.1.1"],
            ),
            (&net.node, "127.0.0.1:30082", &["far 10.244.2.1"]),
        ];
        for (client, at, expected) in table {
            assert_eq!(
                &often(client, at),
                expected,
                "{variant:?} {} to {at}",
                client.title()
            );
        }
        // Nobody there, nobody here, and not for this client.
        for (client, at, expected) in [
            (&net.pod, "10.96.0.2:80", "refused"),
            (&net.outside, "172.29.0.2:30081", "refused"),
            (&net.outside, "172.29.0.201:80", "refused"),
            (&net.outside, "172.29.0.2:30084", "nothing"),
            (&net.outside, "172.29.0.202:80", "far 10.244.2.1"),
            (&net.pod, "172.29.0.202:80", "nothing"),
        ] {
            assert_eq!(
                ask(client, at),
                expected,
                "{variant:?} {} to {at}",
                client.title()
            );
        }
        sync(
            &net.node,
            &mut tables,
            &Story::read("cluster-ip").program(Family::V4),
        );
        assert_eq!(ask_udp(&net.far, "10.96.0.7:53"), "pod 10.244.2.2");
        assert_eq!(
            often(&net.far, "10.96.0.5:80").len(),
            1,
            "a client stays with its endpoint"
        );
        assert_eq!(ask(&net.outside, "172.29.0.2:30080"), "refused");
    }
}

#[test]
fn a_connection_outlives_changes_and_restarts() {
    let net = Net::new();
    let listener = net.far.enter(|| TcpListener::bind("0.0.0.0:8080")).unwrap();
    let mut story = Story::read("outside");
    let mut tables = Tables::with(Family::V4, Variant::Nft);
    sync(&net.node, &mut tables, &story.program(Family::V4));
    let at: SocketAddr = "10.96.0.3:80".parse().unwrap();
    let mut client = net.pod.enter(|| TcpStream::connect(at)).unwrap();
    let (mut server, from) = listener.accept().unwrap();
    assert_eq!(from.ip(), "10.244.1.2".parse::<IpAddr>().unwrap());
    let mut exchange = || {
        client.write_all(b"ping").unwrap();
        let mut got = [0; 4];
        server.read_exact(&mut got).unwrap();
        server.write_all(&got).unwrap();
        client.read_exact(&mut got).unwrap();
    };
    exchange();
    sync(
        &net.node,
        &mut Tables::with(Family::V4, Variant::Nft),
        &story.program(Family::V4),
    );
    exchange();
    story.slices.clear();
    sync(&net.node, &mut tables, &story.program(Family::V4));
    exchange();
    eventually(SOON, "new connections are refused", || {
        match ask(&net.pod, "10.96.0.3:80") {
            said if said == "refused" => Ok(()),
            said => Err(said),
        }
    });
}

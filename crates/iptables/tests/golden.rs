//! Stories of Services, and what `iptables-save` shows of them. `UPDATE_GOLDEN=1` writes it anew.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "story/mod.rs"]
mod story;

use std::fs;
use std::net::SocketAddr;

use sealane_iptables::walk::{Flow, Outcome, walk};
use sealane_iptables::{Loaded, diff, removal};
use sealane_net::{Family, Protocol};

use story::Story;

fn check(name: &str, family: Family) {
    let program = Story::read(name).program(family);
    let path = story::folder().join(format!("{name}.rules"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, program.text()).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        lines(&program.text()),
        lines(&expected),
        "{}",
        path.display()
    );
}

#[test]
fn cluster_ips() {
    check("cluster-ip", Family::V4);
}

#[test]
fn from_outside() {
    check("outside", Family::V4);
}

#[test]
fn six() {
    check("six", Family::V6);
}

#[test]
fn what_is_loaded_already_is_not_touched() {
    let program = Story::read("outside").program(Family::V4);
    let loaded = Loaded::read(&program.text());
    assert_eq!(diff(&loaded, &program), Default::default());
    let mut after = Loaded::default();
    after.replace(&program);
    assert_eq!(after, loaded);
}

#[test]
fn an_endpoint_that_goes_costs_its_service_alone() {
    let mut story = Story::read("cluster-ip");
    let loaded = Loaded::read(&story.program(Family::V4).text());
    story.slices[1].4.pop();
    let change = diff(&loaded, &story.program(Family::V4));
    assert_eq!((change.written, change.deleted), (1, 1), "{}", change.text);
    let first: Vec<&str> = change.text.lines().take(3).collect();
    assert_eq!(first[0], "*nat");
    assert!(first[1].starts_with(":KUBE-SVC-"), "{}", change.text);
    assert!(change.text.contains("\n-X KUBE-SEP-"), "{}", change.text);
    assert!(!change.text.contains("KUBE-SERVICES"), "{}", change.text);
}

#[test]
fn what_others_have_is_passed_over() {
    let program = Story::read("cluster-ip").program(Family::V4);
    let foreign = "*nat\n:PREROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n:KUBE-KUBELET-CANARY - [0:0]\n\
                   :KUBE-SVC-OLDOLDOLDOLDOLD1 - [0:0]\n-A PREROUTING -j DOCKER\nCOMMIT\n";
    let loaded = Loaded::read(foreign);
    let text = diff(&loaded, &program).text;
    assert!(text.contains("-X KUBE-SVC-OLDOLDOLDOLDOLD1\n"), "{text}");
    assert!(
        !text.contains("DOCKER") && !text.contains("CANARY"),
        "{text}"
    );
    assert!(
        text.contains(
            "-I PREROUTING 1 -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n"
        ),
        "{text}"
    );
    assert!(!loaded.is_ours());
    let gone = removal(&Loaded::read(&program.text())).text;
    assert!(
        gone.contains(
            "-D PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n"
        ),
        "{gone}"
    );
}

/// Who sends to what on node-1, and what the chains make of it.
#[test]
fn packets_go_where_the_story_says() {
    const POD: &str = "10.244.1.9";
    const CLIENT: &str = "198.51.100.7";
    const NEAR: &str = "172.29.0.1";
    const NODE: &str = "172.29.0.2";
    let program = Story::read("outside").program(Family::V4);
    for (from, to, expected) in [
        (POD, "10.96.0.1:80", "10.244.1.2:8080"),
        (CLIENT, "10.96.0.1:80", "10.244.1.2:8080 masqueraded"),
        ("10.244.1.2", "10.96.0.1:80", "10.244.1.2:8080 masqueraded"),
        (NODE, "10.96.0.1:80", "10.244.1.2:8080 masqueraded"),
        (CLIENT, "192.0.2.7:80", "10.244.1.2:8080 masqueraded"),
        (CLIENT, "172.29.0.2:30080", "10.244.1.2:8080 masqueraded"),
        (POD, "10.96.0.2:80", "refused"),
        (CLIENT, "172.29.0.2:30081", "refused"),
        (CLIENT, "172.29.0.202:80", "dropped"),
        (NEAR, "172.29.0.202:80", "10.244.2.2:8080 masqueraded"),
        (CLIENT, "172.29.0.203:80", "10.244.1.2:8080"),
        (CLIENT, "172.29.0.204:80", "dropped"),
        (POD, "172.29.0.204:80", "10.244.2.2:8080"),
        (NODE, "172.29.0.204:80", "10.244.2.2:8080 masqueraded"),
        (POD, "10.96.0.1:81", "10.96.0.1:81"),
    ] {
        let destination: SocketAddr = to.parse().unwrap();
        let flow = Flow {
            from_node: from == NODE,
            source: from.parse().unwrap(),
            destination: destination.ip(),
            port: destination.port(),
            protocol: Protocol::Tcp,
        };
        let walked = walk(&program, &[NODE.parse().unwrap()], &flow, &mut |_| true);
        let outcome = match &walked.outcome {
            Outcome::Passed { to, masqueraded } => {
                format!("{to}{}", if *masqueraded { " masqueraded" } else { "" })
            }
            Outcome::Dropped => "dropped".to_owned(),
            Outcome::Refused => "refused".to_owned(),
            Outcome::Broken(why) => panic!("{from} to {to}: {why}"),
        };
        assert_eq!(outcome, expected, "{from} to {to}: {walked:#?}");
    }
}

#[test]
fn a_packet_passes_the_chains_by_their_names() {
    let program = Story::read("cluster-ip").program(Family::V4);
    let flow = Flow {
        from_node: false,
        source: "10.244.1.9".parse().unwrap(),
        destination: "10.0.33.45".parse().unwrap(),
        port: 80,
        protocol: Protocol::Tcp,
    };
    let walked = walk(&program, &[], &flow, &mut |_| false);
    let chains = walked.steps.iter().map(|step| {
        let chain = step.rule.split(' ').nth(1).unwrap();
        chain.rsplit_once('-').map_or(chain, |(start, _)| start)
    });
    let chains: Vec<&str> = chains.collect();
    assert!(
        chains.starts_with(&["PREROUTING", "KUBE", "KUBE-SVC", "KUBE-SEP"]),
        "{walked:#?}"
    );
    let last = walked.steps.iter().rfind(|step| !step.is_routed).unwrap();
    assert_eq!(last.target(), "DNAT", "{walked:#?}");
}

//! The commands of the single-machine cluster: up, status, kubeconfig, down.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use serde_json::Value;

use sealane_testkit::binary::{command, sealane};
use sealane_testkit::cluster::Role;
use sealane_testkit::topology::unique;
use sealane_testkit::{Cluster, Leftovers, Pod, SOON, Shared, UpOptions, eventually};

const ROLES: [Role; 7] = [
    Role::Supervisor,
    Role::ApiServer,
    Role::Controllers,
    Role::Node(1),
    Role::Node(2),
    Role::Agent(1),
    Role::Agent(2),
];

#[test]
fn up_again_changes_nothing() {
    let cluster = Cluster::up(UpOptions::default());
    cluster.start(&[Pod::echo("stays")]);
    let shim = cluster.shim("stays");
    let before = ROLES.map(|role| cluster.process(role).unwrap());
    let objects = Leftovers::snapshot().naming(cluster.name());

    sealane(cluster.options().arguments()).succeeds();
    sealane(["up", "--name", cluster.name()]).succeeds();
    assert_eq!(ROLES.map(|role| cluster.process(role).unwrap()), before);
    assert!(shim.runs());
    assert_eq!(Leftovers::snapshot().naming(cluster.name()), objects);

    let other = sealane(["up", "--name", cluster.name(), "--nodes", "3"]).fails();
    assert!(
        other.contains("--nodes"),
        "a flag that contradicts the cluster is named: {other}"
    );
    cluster.down();
}

#[test]
fn up_returns_when_every_node_is_ready_and_pods_start_at_once() {
    let cluster = Cluster::up(UpOptions {
        nodes: 3,
        ..UpOptions::default()
    });
    let nodes = cluster.kubectl(["get", "nodes", "--output=json"]).json();
    let nodes = nodes["items"].as_array().unwrap();
    assert_eq!(nodes.len(), 3);
    for node in nodes {
        let conditions = node["status"]["conditions"].as_array().unwrap();
        let ready = conditions
            .iter()
            .find(|condition| condition["type"] == "Ready")
            .unwrap();
        assert_eq!(ready["status"], "True", "{node:#}");
        assert_eq!(
            node["spec"]["podCIDRs"][0], node["spec"]["podCIDR"],
            "{:#}",
            node["spec"]
        );
        assert!(node["spec"]["podCIDR"].is_string(), "{:#}", node["spec"]);
    }
    let table = cluster
        .kubectl(["get", "nodes,pods", "--output=wide"])
        .succeeds();
    assert_eq!(table.matches(" Ready ").count(), 3, "{table}");
    let pods = ["p-1", "p-2", "p-3"].map(Pod::echo);
    cluster.start(&pods);
    let mut used: Vec<String> = pods
        .iter()
        .map(|pod| cluster.pod(pod.name()).unwrap()["spec"]["nodeName"].to_string())
        .collect();
    used.sort();
    assert_eq!(
        used,
        [r#""node-1""#, r#""node-2""#, r#""node-3""#],
        "the scheduler spreads pods"
    );
    cluster.down();
}

#[test]
fn status_tells_nodes_addresses_subnets_pods_and_health() {
    let cluster = Shared::cluster();
    cluster.start(&[Pod::echo("seen-in-status").on_node(1)]);
    let text = sealane(["status", "--name", cluster.name()]).succeeds();
    let subnet = cluster.api().get("/api/v1/nodes/node-1").unwrap()["spec"]["podCIDR"]
        .as_str()
        .unwrap()
        .to_owned();
    for part in [
        "node-1",
        "node-2",
        &subnet,
        &cluster.node_ip(1).to_string(),
        "READY",
        "default/seen-in-status",
        "healthy",
    ] {
        assert!(text.contains(part), "{part} is shown:\n{text}");
    }
    let json = sealane(["status", "--name", cluster.name(), "-o", "json"]).json();
    let nodes = find_array(&json, "nodes").unwrap_or_else(|| panic!("{json:#}"));
    assert_eq!(nodes.len(), 2, "{json:#}");
    assert!(json.to_string().contains(&subnet), "{json:#}");

    let absent = sealane(["status", "--name", &unique()]).fails();
    assert!(absent.contains("sealane up"), "says what to do: {absent}");
}

#[test]
fn check_finds_nothing_on_a_new_cluster_and_names_what_is_broken_then() {
    let cluster = Shared::cluster();
    let check = |more: &[&str]| {
        let words = ["agent", "check", "--name", cluster.name()];
        sealane(words.iter().chain(more))
    };
    let well = check(&[]).succeeds();
    assert_eq!(well.matches("nothing wrong found").count(), 2, "{well}");
    let node = cluster.node(1);
    let forwarding = |value: &str| {
        let setting = format!("net.ipv4.ip_forward={value}");
        node.run("sysctl", ["-qw", &setting]).succeeds();
    };
    forwarding("0");
    check(&["-q", "--node", "node-1"]).fails();
    check(&["-q", "--node", "node-2"]).succeeds();
    let told = check(&["-o", "json"]);
    assert_eq!(told.status.code(), Some(1), "{told}");
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    let finding = &told[0]["findings"][0];
    assert_eq!(finding["check"], "forwarding", "{told:#}");
    assert_eq!(finding["severity"], "error");
    forwarding("1");
    let plan = sealane(["agent", "cleanup", "--dry-run", "--name", cluster.name()]).succeeds();
    assert!(
        plan.contains("node-2: would delete nft table ip sealane\n"),
        "{plan}"
    );
    let refused = sealane(["agent", "cleanup", "--name", cluster.name()]).fails();
    assert!(refused.contains("its agent runs"), "{refused}");
}

#[test]
fn kubeconfig_prints_a_path_that_kubectl_can_use() {
    let cluster = Shared::cluster();
    let path = sealane(["kubeconfig", "--name", cluster.name()]).succeeds();
    assert_eq!(path.trim(), cluster.kubeconfig().to_str().unwrap());
    let mut command = cluster.kubectl_command();
    command
        .env("KUBECONFIG", path.trim())
        .args(["get", "--raw", "/readyz"]);
    assert_eq!(sealane_testkit::command::finish(command).succeeds(), "ok");

    let absent = sealane(["kubeconfig", "--name", &unique()]).fails();
    assert!(absent.contains("sealane up"), "says what to do: {absent}");
}

#[test]
fn two_clusters_live_side_by_side_and_one_goes_alone() {
    let [left, right] = [(); 2].map(|()| {
        Cluster::up(UpOptions {
            nodes: 1,
            ..UpOptions::default()
        })
    });
    for cluster in [&left, &right] {
        cluster.start(&[Pod::echo("same-name")]);
    }
    assert_ne!(left.node_ip(1), right.node_ip(1));
    assert_ne!(
        left.pod_ip("same-name"),
        right.pod_ip("same-name"),
        "this machine has routes to both"
    );
    left.down();
    let answer = right
        .exec(
            "same-name",
            ["curl", "-s", "http://127.0.0.1:8080/hostname"],
        )
        .succeeds();
    assert_eq!(answer.trim(), "same-name");
    right.down();
}

#[test]
fn down_of_what_is_not_there_is_done_already() {
    let name = unique();
    sealane(["down", "--name", &name]).succeeds();
    assert_eq!(Leftovers::snapshot().naming(&name), Vec::<String>::new());
}

/// How `sealane trace` ends, and what it prints for programs.
#[track_caller]
fn trace(cluster: &Cluster, from: &str, to: &str, how: &[&str]) -> (Option<i32>, Value) {
    let asked = ["trace", from, to, "-o", "json", "--name", cluster.name()];
    let finished = sealane(asked.iter().chain(how).copied());
    let told = serde_json::from_str(&finished.stdout);
    let told = told.unwrap_or_else(|error| panic!("{error}: {finished}"));
    (finished.status.code(), told)
}

#[test]
fn trace_tells_what_the_packets_of_the_same_pods_meet() {
    let cluster = Shared::cluster();
    let (near, far) = (Pod::echo("trace-near"), Pod::echo("trace-far"));
    cluster.start(&[near.on_node(1), far.on_node(2)]);
    let url = format!("http://{}:8080", cluster.pod_ip("trace-far"));
    let seen = cluster.exec("trace-near", ["curl", "-s", &url]).succeeds();

    let (code, told) = trace(&cluster, "trace-near", "pod/trace-far:8080", &[]);
    assert_eq!(
        (code, &told["outcome"]["result"]),
        (Some(0), &"arrives".into())
    );
    let stages = told["there"].as_array().unwrap();
    let source = stages.last().unwrap()["packet"]["source"].as_str().unwrap();
    assert!(seen.contains(&format!(" {source}:")), "{source}: {seen}");
    let lines = stages
        .iter()
        .flat_map(|stage| stage["lines"].as_array().unwrap());
    let routes = lines.filter(|line| line["label"] == "route");
    let routes: Vec<&str> = routes.filter_map(|line| line["text"].as_str()).collect();
    let over = routes
        .iter()
        .find(|route| route.contains(" proto 94"))
        .unwrap();
    let words: Vec<&str> = over.split(' ').take(3).collect();
    let kernel = cluster.node(1).run("ip", ["route"]).succeeds();
    assert!(kernel.contains(&words.join(" ")), "{words:?}: {kernel}");

    let service = ["create", "service", "clusterip", "nobody", "--tcp=80"];
    cluster.kubectl(service).succeeds();
    let (code, told) = trace(&cluster, "trace-near", "nobody:80", &[]);
    let outcome = &told["outcome"];
    assert_eq!(
        (code, &outcome["object"]),
        (Some(3), &"service default/nobody".into())
    );
    let why = outcome["why"].as_str().unwrap();
    assert!(why.contains("no pod has the labels app=nobody"), "{why}");
}

#[test]
fn a_packet_that_trace_sends_is_seen_at_every_stage_and_leaves_nothing() {
    let cluster = Shared::cluster();
    let (near, far) = (
        Pod::echo("live-near"),
        Pod::echo("live-far").label("app", "live-far"),
    );
    cluster.start(&[near.on_node(1), far.on_node(2)]);
    let service = [
        "expose",
        "pod",
        "live-far",
        "--port=80",
        "--target-port=8080",
        "--type=NodePort",
    ];
    cluster.kubectl(service).succeeds();
    let live = |from: &str, to: &str| trace(&cluster, from, to, &["--live"]);
    eventually(
        SOON,
        "a packet to the Service to be told and seen alike",
        || {
            let (code, told) = live("live-near", "live-far:80");
            let live = &told["live"];
            (code == Some(0) && live["differs"] == 0 && live["notSeen"] == 0).then_some(())
        },
    );
    let port = [
        "get",
        "service",
        "live-far",
        "-o",
        "jsonpath={.spec.ports[0].nodePort}",
    ];
    let port = cluster.kubectl(port).succeeds();
    let (code, told) = live("outside", &format!("node/node-1:{port}"));
    assert_eq!(
        (code, &told["live"]["differs"]),
        (Some(0), &0.into()),
        "{told:#}"
    );

    let (code, told) = live("live-near", "pod/live-far:9999");
    let why = told["live"]["outcome"]["why"].as_str().unwrap();
    assert_eq!(
        (code, why.contains("nobody listens")),
        (Some(3), true),
        "{why}"
    );

    let node = cluster.node(2);
    // Other tests of this cluster go on.
    let [near, far] = ["live-near", "live-far"].map(|pod| cluster.pod_ip(pod));
    for line in [
        "add table inet wall",
        "add chain inet wall way { type filter hook forward priority 5 ; }",
        &format!("add rule inet wall way ip daddr {far} tcp dport 8080 drop"),
    ] {
        node.run("nft", line.split(' ').collect::<Vec<_>>())
            .succeeds();
    }
    let (code, told) = live("live-near", "live-far:80");
    let ended_by = stopped(&cluster, "live-near", "live-far:80");
    node.run("nft", ["delete", "table", "inet", "wall"])
        .succeeds();
    assert_eq!(ended_by, Some(libc::SIGTERM));
    let outcome = &told["live"]["outcome"];
    assert_eq!(
        (code, &outcome["object"]),
        (Some(3), &"table inet wall on node-2".into())
    );
    for node in [cluster.node(1), node] {
        let left = node.run("nft", ["list", "tables"]).succeeds();
        assert!(!left.contains("trace"), "{left}");
        // The kernel keeps who was called without an answer for two minutes.
        let flows = node.enter(|| std::fs::read_to_string("/proc/thread-self/net/nf_conntrack"));
        let flows = flows.unwrap();
        let from = format!("src={near} ");
        let of_ours = |line: &&str| line.contains("SYN_SENT") && line.contains(&from);
        assert_eq!(flows.lines().find(of_ours), None, "{flows}");
    }
}

/// A packet is sent, and while its end is waited for the command is told to stop. The signal that it ended by.
///
/// Not by SIGINT, which a shell makes its background jobs ignore.
fn stopped(cluster: &Cluster, from: &str, to: &str) -> Option<i32> {
    let mut command = command(["trace", from, to, "--live", "--name", cluster.name()]);
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let node = cluster.node(1);
    eventually(SOON, "its rules are noted", || {
        let tables = node.run("nft", ["list", "tables"]).succeeds();
        tables.contains("trace")
    });
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    child.wait().unwrap().signal()
}

#[test]
fn every_command_explains_itself() {
    let help = sealane(["--help"]).succeeds();
    for command in ["up", "down", "status", "kubeconfig", "agent", "completions"] {
        assert!(
            help.lines()
                .any(|line| line.trim_start().starts_with(command)),
            "{command} is listed:\n{help}"
        );
        assert!(
            sealane([command, "--help"]).succeeds().len() > 100,
            "{command} --help teaches"
        );
    }
    for hidden in ["shim", "supervise"] {
        assert!(
            !help
                .lines()
                .any(|line| line.trim_start().starts_with(hidden)),
            "{hidden} is not for users:\n{help}"
        );
    }
    assert!(
        sealane(["completions", "bash"])
            .succeeds()
            .contains("sealane")
    );
    assert!(sealane(["--version"]).succeeds().starts_with("sealane "));
}

/// The first array of that name, at any depth.
fn find_array<'a>(value: &'a Value, name: &str) -> Option<&'a Vec<Value>> {
    match value {
        Value::Object(fields) => fields
            .get(name)
            .and_then(Value::as_array)
            .or_else(|| fields.values().find_map(|field| find_array(field, name))),
        Value::Array(items) => items.iter().find_map(|item| find_array(item, name)),
        _ => None,
    }
}

//! Plugin and agent together, on the real kernel.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "cni/duplicates.rs"]
mod duplicates;
#[path = "cni/pools.rs"]
mod pools;
mod reference;
mod stage;

use std::{collections::BTreeSet, net::IpAddr, path::Path, time::Instant};

use sealane_cni::types::code;
use sealane_testkit::{SOON, Topology, eventually};
use serde_json::{Value, json};
use stage::{
    Agent, Stage, attachment,
    calls::{conf, environment, environment_with, execute, netns_path, ours, plugin},
    ip, pod, reach, this_node,
};

const SUBNET: &str = "10.244.1.0/24";

#[test]
fn two_pods_get_addresses_and_reach_each_other_and_the_node() {
    let stage = Stage::new();
    let agent = stage.start_ready(&[SUBNET]);
    let runtime = stage.runtime();
    let (_pods, [a, b]) = Topology::new(["a", "b"]);
    let first = runtime.add("a", &a).unwrap();
    let second = runtime.add("b", &b).unwrap();
    assert_eq!(first.ips[0].address.to_string(), "10.244.1.2/24");
    assert_eq!(second.ips[0].address.to_string(), "10.244.1.3/24");
    reach(&a, ip(&second));
    reach(&b, ip(&first));
    reach(&a, "10.244.1.1".parse().unwrap());
    reach(&stage.node, ip(&first));
    assert_eq!(
        a.run("ip", ["route", "show"]).succeeds(),
        "default via 10.244.1.1 dev eth0 proto static \n\
         10.244.1.0/24 dev eth0 proto kernel scope link src 10.244.1.2 \n"
    );
    let link = a.run("ip", ["-o", "link", "show", "eth0"]).succeeds();
    assert!(
        link.contains("mtu 1450") && link.contains("02:00:0a:f4:01:02"),
        "{link}"
    );

    runtime.del("a", Some(&a)).unwrap();
    runtime.del("a", Some(&a)).unwrap();
    assert!(!a.run("ip", ["link"]).succeeds().contains("eth0"));
    assert_eq!(agent.leases(), 1);
    assert_eq!(
        stage.leases_on_disk()["leases"].as_array().unwrap().len(),
        1
    );
    let third = runtime.add("a2", &a).unwrap();
    assert_eq!(
        ip(&third).to_string(),
        "10.244.1.4",
        "what was just released comes back last"
    );
}

#[test]
fn an_answered_add_means_that_packets_pass() {
    let stage = Stage::new();
    let _agent = stage.start_ready(&[SUBNET]);
    let runtime = stage.runtime();
    let (_pods, pods) = Topology::new(["p0", "p1", "p2", "p3", "p4", "p5"]);
    for (n, netns) in pods.iter().enumerate() {
        let address = ip(&runtime.add(&format!("p{n}"), netns).unwrap());
        reach(&stage.node, address);
    }
    // A SYN that is lost comes again after a second.
    let again = stage
        .node
        .run("nstat", ["-asz", "TcpRetransSegs"])
        .succeeds();
    assert_eq!(again.split_whitespace().nth(2), Some("0"), "{again}");
}

#[test]
fn del_needs_no_namespace() {
    let stage = Stage::new();
    let agent = stage.start_ready(&[SUBNET]);
    let runtime = stage.runtime();
    let (pods, [a, b]) = Topology::new(["a", "b"]);
    runtime.add("a", &a).unwrap();
    runtime.add("b", &b).unwrap();
    runtime.del("a", None).unwrap();
    drop(pods);
    runtime.del("b", Some(&b)).unwrap();
    assert_eq!(agent.leases(), 0);
    assert!(
        !stage
            .node
            .run("ip", ["-o", "link"])
            .succeeds()
            .contains(": sl")
    );
}

#[test]
fn a_result_has_the_form_of_its_version() {
    let stage = Stage::new();
    let _agent = stage.start_ready(&[SUBNET]);
    let (_pods, pods) = Topology::new(["p0", "p1", "p2", "p3"]);
    let cases = [
        ("0.3.1", true, false),
        ("0.4.0", true, false),
        ("1.0.0", false, false),
        ("1.1.0", false, true),
    ];
    for ((version, family, mtu), netns) in cases.into_iter().zip(&pods) {
        let result = plugin(&stage, netns, "ADD", &conf(&stage, version)).unwrap();
        assert_eq!(result["cniVersion"], version);
        assert_eq!(
            result["ips"][0].get("version").is_some(),
            family,
            "{result}"
        );
        assert_eq!(
            result["interfaces"][2].get("mtu").is_some(),
            mtu,
            "{result}"
        );
        assert_eq!(result["interfaces"][2]["sandbox"], netns_path(netns));
        assert_eq!(result["ips"][0]["interface"], 2);
        let answer = plugin(&stage, netns, "DEL", &conf(&stage, version)).unwrap();
        assert_eq!(answer, Value::Null);
    }
}

/// The reference plugin's result for the same task, key by key.
#[test]
fn a_result_has_the_form_of_the_reference_plugins() {
    let reference = Path::new("/usr/lib/cni/bridge");
    assert!(
        reference.exists(),
        "install the package containernetworking-plugins"
    );
    let stage = Stage::new();
    let _agent = stage.start_ready(&[SUBNET]);
    let (_pods, [ours, theirs]) = Topology::new(["ours", "theirs"]);
    let our_result = plugin(&stage, &ours, "ADD", &conf(&stage, "1.0.0")).unwrap();
    let their_conf = json!({
        "cniVersion": "1.0.0", "name": "reference", "type": "bridge", "bridge": "br-ref", "isGateway": true,
        "ipam": {"type": "host-local", "subnet": "10.99.0.0/24", "dataDir": stage.path("host-local"),
                 "routes": [{"dst": "0.0.0.0/0", "gw": "10.99.0.1"}]},
    });
    let reference_call = |command: &str| {
        let environment = environment(&stage, &theirs, command);
        execute(
            &stage.node,
            reference,
            &environment,
            &their_conf.to_string(),
        )
    };
    let their_result = reference_call("ADD").unwrap();
    assert_eq!(shape(&our_result), shape(&their_result));
    reference_call("DEL").unwrap();
    let our_version = plugin(&stage, &ours, "VERSION", &json!({"cniVersion": "1.0.0"})).unwrap();
    assert_eq!(our_version["cniVersion"], "1.0.0");
}

#[test]
fn a_second_add_is_an_error_and_changes_nothing() {
    let stage = Stage::new();
    let agent = stage.start_ready(&[SUBNET]);
    let (_pods, [a]) = Topology::new(["a"]);
    let conf = conf(&stage, "1.0.0");
    plugin(&stage, &a, "ADD", &conf).unwrap();
    let before = stage.kernel();
    let error = plugin(&stage, &a, "ADD", &conf).unwrap_err();
    assert_eq!(error["code"], code::ALREADY_ATTACHED, "{error}");
    assert_eq!(stage.kernel(), before);
    assert_eq!(agent.leases(), 1);
    reach(&a, "10.244.1.1".parse().unwrap());
}

#[test]
fn an_interface_name_that_is_taken_in_the_pod_is_an_error_and_leaves_nothing() {
    let stage = Stage::new();
    let agent = stage.start_ready(&[SUBNET]);
    let (_pods, [a]) = Topology::new(["a"]);
    a.run(
        "ip",
        [
            "link", "add", "eth0", "type", "veth", "peer", "name", "other",
        ],
    )
    .succeeds();
    let error = plugin(&stage, &a, "ADD", &conf(&stage, "1.0.0")).unwrap_err();
    assert_eq!(error["code"], code::ALREADY_ATTACHED);
    assert!(error["msg"].as_str().unwrap().contains("eth0"), "{error}");
    assert_eq!(agent.leases(), 0);
    assert!(
        !stage
            .node
            .run("ip", ["-o", "link"])
            .succeeds()
            .contains(": sl")
    );
}

#[test]
fn a_subnet_that_is_used_up_says_so_and_recovers() {
    let stage = Stage::new();
    let agent = stage.start_ready(&["10.244.1.0/29"]);
    let runtime = stage.runtime();
    let (_pods, pods) = Topology::new(["p0", "p1", "p2", "p3", "p4", "p5"]);
    for (n, netns) in pods.iter().take(5).enumerate() {
        runtime.add(&format!("p{n}"), netns).unwrap();
    }
    let error = runtime.add("p5", &pods[5]).unwrap_err();
    assert_eq!(error.plugin_error().unwrap().code, code::ADDRESSES_USED_UP);
    let text = error.to_string();
    for part in ["10.244.1.0/29", "5 of its 5", "maxPods"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    let status = runtime.status().unwrap_err();
    assert_eq!(
        status.plugin_error().unwrap().code,
        code::NOT_AVAILABLE,
        "{status}"
    );
    let told = agent.told();
    assert!(
        told[0].starts_with("AddressesUsedUp default/p5: subnet 10.244.1.0/29 is used up"),
        "{told:?}"
    );
    let metrics = agent.metrics();
    assert!(
        metrics.contains("sealane_ipam_exhausted_total 1"),
        "{metrics}"
    );
    reach(&pods[0], "10.244.1.6".parse().unwrap());
    runtime.del("p2", Some(&pods[2])).unwrap();
    runtime.status().unwrap();
    let result = runtime.add("p5", &pods[5]).unwrap();
    assert_eq!(ip(&result).to_string(), "10.244.1.4");
    assert_eq!(agent.leases(), 5);
}

#[test]
fn an_address_rests_between_two_pods_also_when_the_agent_restarts() {
    let stage = Stage::new();
    let start = |seconds| {
        let mut settings = stage.settings();
        settings.address_reuse_delay = seconds;
        let agent = Agent::start(settings, stage.node.title());
        agent.tell_nodes(vec![this_node(&["10.244.1.0/30"])]);
        agent.tell_pods(vec![]);
        agent.wait_ready();
        agent
    };
    let agent = start(3600);
    let runtime = stage.runtime();
    let (_pods, [a, b]) = Topology::new(["a", "b"]);
    let first = ip(&runtime.add("a", &a).unwrap());
    runtime.del("a", Some(&a)).unwrap();
    agent.kill();
    let agent = start(3600);
    let resting = |state: &Value| state["subnets"][0]["resting"] == 1;
    agent.wait("the address rests", resting);
    std::thread::scope(|scope| {
        let add = scope.spawn(|| stage.plugin("b", &b, "ADD"));
        agent.wait("the ADD waits for it", |_| {
            agent.metrics().contains("sealane_cni_parked 1")
        });
        assert_eq!(agent.leases(), 0);
        agent.kill();
        assert_eq!(
            add.join().unwrap().unwrap_err()["code"],
            code::TRY_AGAIN_LATER
        );
    });
    let _agent = start(0);
    assert_eq!(ip(&runtime.add("b", &b).unwrap()), first);
}

#[test]
fn annotations_that_only_the_api_tells_of_count_and_refusals_are_told() {
    let stage = Stage::new();
    let agent = stage.start_ready(&[SUBNET]);
    let annotated = |name: &str, ips: &str| sealane_objects::PodNet {
        annotations: [("sealane.io/ips".to_owned(), ips.to_owned())].into(),
        ..pod(name, &[])
    };
    agent.tell_pods(vec![
        annotated("a", "10.244.1.77"),
        annotated("b", "10.244.1.77"),
        annotated("c", "192.0.2.1"),
        annotated("d", "10.244.1.777"),
    ]);
    let runtime = stage.runtime();
    let (_pods, pods) = Topology::new(["a", "b", "c", "d"]);
    let result = runtime.add("a", &pods[0]).unwrap();
    assert_eq!(ip(&result).to_string(), "10.244.1.77");
    for (name, netns, code, part) in [
        ("b", &pods[1], code::TRY_AGAIN_LATER, "pod default/a"),
        ("c", &pods[2], code::INVALID_CONFIG, "10.244.1.0/24"),
        ("d", &pods[3], code::INVALID_CONFIG, "10.244.1.777"),
    ] {
        let error = runtime.add(name, netns).unwrap_err();
        assert_eq!(error.plugin_error().unwrap().code, code, "{error}");
        assert!(error.to_string().contains(part), "{error}");
        let event = format!("AddressRefused default/{name}: ");
        let told = agent.told();
        let told = told.iter().find(|line| line.starts_with(&event)).unwrap();
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(agent.leases(), 1);
}

#[test]
fn nonsense_is_refused_with_the_codes_of_the_specification_and_changes_nothing() {
    let stage = Stage::new();
    let agent = stage.start_ready(&[SUBNET]);
    let (_pods, [a]) = Topology::new(["a"]);
    let before = stage.kernel();
    let good = conf(&stage, "1.0.0");
    let with = |key: &str, value: Value| {
        let mut conf = good.clone();
        conf[key] = value;
        conf
    };
    for (conf, code) in [
        (json!([]), code::DECODE_FAILURE),
        (json!({}), code::INCOMPATIBLE_VERSION),
        (
            with("cniVersion", json!("7.0.0")),
            code::INCOMPATIBLE_VERSION,
        ),
        (with("name", json!("../x")), code::INVALID_CONFIG),
        (
            with("ipam", json!({"type": "host-local"})),
            code::UNSUPPORTED_FIELD,
        ),
        (
            with("prevResult", json!({"ips": "x"})),
            code::DECODE_FAILURE,
        ),
        (
            with("socket", json!("/nowhere/agent.sock")),
            code::TRY_AGAIN_LATER,
        ),
    ] {
        let error = plugin(&stage, &a, "ADD", &conf).unwrap_err();
        assert_eq!(error["code"], code, "{conf}: {error}");
    }
    for (variable, value, code) in [
        ("CNI_COMMAND", "NOTHING", code::INVALID_ENVIRONMENT),
        ("CNI_CONTAINERID", "../a", code::INVALID_ENVIRONMENT),
        ("CNI_IFNAME", "a/b", code::INVALID_ENVIRONMENT),
        ("CNI_NETNS", "/proc/self/ns/net", code::INVALID_ENVIRONMENT),
        ("CNI_NETNS", "/run/netns/absent", code::UNKNOWN_CONTAINER),
        ("CNI_ARGS", "nonsense", code::INVALID_ENVIRONMENT),
    ] {
        let environment = environment_with(&stage, &a, "ADD", (variable, value));
        let error = ours(&stage, &environment, &good).unwrap_err();
        assert_eq!(error["code"], code, "{variable}={value}: {error}");
        assert!(error["msg"].as_str().unwrap().contains(variable), "{error}");
    }
    assert_eq!(stage.kernel(), before);
    assert_eq!(agent.leases(), 0);
}

#[test]
fn an_agent_that_is_away_means_try_again_later() {
    let stage = Stage::new();
    let agent = stage.start_ready(&[SUBNET]);
    let runtime = stage.runtime();
    let (_pods, [a]) = Topology::new(["a"]);
    runtime.add("a", &a).unwrap();
    agent.kill();
    let error = runtime.add("b", &a).unwrap_err();
    let error = error.plugin_error().unwrap();
    assert_eq!(error.code, code::TRY_AGAIN_LATER);
    let socket = stage.path("run/agent.sock");
    assert!(error.msg.contains(&socket.display().to_string()), "{error}");
    let error = runtime.status().unwrap_err();
    assert_eq!(error.plugin_error().unwrap().code, code::NOT_AVAILABLE);
    reach(&a, "10.244.1.1".parse().unwrap());
}

#[test]
fn an_add_that_comes_early_waits_for_the_nodes_subnet() {
    let stage = Stage::new();
    let agent = stage.start();
    agent.tell_nodes(vec![this_node(&[])]);
    let state = agent.wait("the node is known", |s| s["node"].is_object());
    assert!(
        state["trouble"]
            .as_str()
            .unwrap()
            .contains(".spec.podCIDRs"),
        "{state}"
    );
    assert!(!stage.path("net.d/10-sealane.conflist").exists());
    eventually(SOON, "the plugin is installed", || {
        stage.path("bin/sealane").exists()
    });
    let (_pods, [a]) = Topology::new(["a"]);
    let result = std::thread::scope(|scope| {
        let adding = scope.spawn(|| plugin(&stage, &a, "ADD", &conf(&stage, "1.0.0")));
        eventually(SOON, "the ADD waits", || {
            agent.metrics().contains("sealane_cni_parked 1")
        });
        agent.tell_pods(vec![]);
        agent.tell_nodes(vec![this_node(&[SUBNET])]);
        adding.join().unwrap()
    });
    assert_eq!(result.unwrap()["ips"][0]["address"], "10.244.1.2/24");
    eventually(SOON, "the conflist is installed", || {
        stage.path("net.d/10-sealane.conflist").exists()
    });
}

/// In the pod, where the agent does not look by itself, and on the node, where it mends what it finds.
#[test]
fn check_finds_what_is_broken() {
    let stage = Stage::new();
    let agent = stage.start_ready(&[SUBNET]);
    // Else a lease without its link is a leak.
    agent.tell_pods(vec![pod("a", &[])]);
    let runtime = stage.runtime();
    let (_pods, [a]) = Topology::new(["a"]);
    runtime.add("a", &a).unwrap();
    runtime.check("a", &a).unwrap();
    let unknown = runtime.check("b", &a).unwrap_err();
    assert_eq!(unknown.plugin_error().unwrap().code, code::CHECK_FAILED);
    a.run("ip", ["route", "del", "default"]).succeeds();
    a.run("ip", ["address", "flush", "dev", "eth0"]).succeeds();
    let link = sealane_agent::wire::link_name(&sealane_agent::leases::Key {
        container_id: "a".into(),
        ifname: "eth0".into(),
    });
    let on_node = |words: &[&str]| stage.node.run("ip", words).status.success();
    // Older kernels rename a link while it is down alone, and the agent sets it up.
    eventually(SOON, "the near end has another name", || {
        on_node(&["link", "set", &link, "down"]) && on_node(&["link", "set", &link, "name", "x"])
    });
    let text = runtime.check("a", &a).unwrap_err().to_string();
    for part in [
        &*format!("link {link} is missing on the node"),
        "address 10.244.1.2/24 is missing",
        "route default",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[test]
fn gc_takes_away_what_the_runtime_has_forgotten() {
    let stage = Stage::new();
    let agent = stage.start_ready(&[SUBNET]);
    let runtime = stage.runtime();
    let (_pods, [a, b]) = Topology::new(["a", "b"]);
    runtime.add("a", &a).unwrap();
    runtime.add("b", &b).unwrap();
    let mut conf = conf(&stage, "1.1.0");
    let error = plugin(&stage, &a, "GC", &conf).unwrap_err();
    assert_eq!(
        error["code"],
        code::INVALID_CONFIG,
        "without a list nothing is garbage"
    );
    conf["cni.dev/valid-attachments"] = json!([{"containerID": "b", "ifname": "eth0"}]);
    plugin(&stage, &a, "GC", &conf).unwrap();
    assert_eq!(agent.leases(), 1);
    runtime.check("b", &b).unwrap();
    assert!(!a.run("ip", ["link"]).succeeds().contains("eth0"));
}

#[test]
fn two_families_at_once() {
    let stage = Stage::new();
    let _agent = stage.start_ready(&[SUBNET, "fd00:10:244:1::/64"]);
    let runtime = stage.runtime();
    let (_pods, [a, b]) = Topology::new(["a", "b"]);
    runtime.add("a", &a).unwrap();
    let second = runtime.add("b", &b).unwrap();
    let addresses: Vec<String> = second.ips.iter().map(|ip| ip.address.to_string()).collect();
    assert_eq!(addresses, ["10.244.1.3/24", "fd00:10:244:1::3/64"]);
    assert_eq!(second.routes.len(), 2);
    for target in &second.ips {
        reach(&a, target.address.addr());
    }
    reach(&a, "fd00:10:244:1::1".parse().unwrap());
    runtime.check("a", &a).unwrap();
}

#[test]
fn a_hundred_at_once() {
    const PODS: usize = 100;
    let stage = Stage::new();
    let agent = stage.start_ready(&[SUBNET]);
    let runtime = stage.runtime();
    let titles: [String; PODS] = std::array::from_fn(|n| format!("p{n}"));
    let (_pods, pods) = Topology::new(titles.each_ref().map(String::as_str));
    let network = sealane_cni::invoke::load_conflist(&stage.path("net.d")).unwrap();
    let all: Vec<_> = pods
        .iter()
        .enumerate()
        .map(|(n, ns)| attachment(&format!("p{n}"), Some(ns)))
        .collect();
    let started = Instant::now();
    let results = runtime.tokio.block_on(futures::future::join_all(
        all.iter()
            .map(|attachment| runtime.runtime.add(&network, attachment)),
    ));
    let added = started.elapsed();
    let addresses: BTreeSet<IpAddr> = results.iter().map(|r| ip(r.as_ref().unwrap())).collect();
    assert_eq!(addresses.len(), PODS, "an address was given out twice");
    assert_eq!(
        stage.leases_on_disk()["leases"].as_array().unwrap().len(),
        PODS
    );
    for (netns, result) in pods.iter().zip(&results).step_by(20) {
        let shown = netns
            .run("ip", ["-o", "-4", "address", "show", "eth0"])
            .succeeds();
        assert!(
            shown.contains(&ip(result.as_ref().unwrap()).to_string()),
            "{shown}"
        );
    }
    let started = Instant::now();
    let results = runtime
        .tokio
        .block_on(futures::future::join_all(all.iter().map(|attachment| {
            runtime.runtime.del(Some(&network), attachment)
        })));
    eprintln!("{PODS} at once: ADD {added:?}, DEL {:?}", started.elapsed());
    for result in results {
        result.unwrap();
    }
    assert_eq!(agent.leases(), 0);
    assert!(
        !stage
            .node
            .run("ip", ["-o", "link"])
            .succeeds()
            .contains(": sl")
    );
}

/// A value with its texts and numbers replaced by what they are.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), shape(value)))
            .collect(),
        Value::Array(list) => list.iter().map(shape).collect(),
        Value::String(_) => json!("text"),
        Value::Number(_) => json!(0),
        other => other.clone(),
    }
}

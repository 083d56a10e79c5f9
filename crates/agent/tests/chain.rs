//! Our plugin beside the stock ones of the package containernetworking-plugins,
//! and what runtimes hand over as capabilities.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod stage;

use std::{
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::fs::symlink,
};

use sealane_cni::{
    invoke::{Attachment, InvokeError},
    types::{AddResult, Interface, POD_ANNOTATIONS, code},
};
use sealane_net::{Attachment as How, IpNet};
use sealane_objects::bandwidth::{EGRESS, INGRESS};
use sealane_testkit::{Namespace, SOON, Topology, eventually};
use serde_json::{Value, json};
use stage::{
    Agent, ContainerRuntime, NODE_IP, OUTSIDE_IP, Stage, attachment, attachment_asked_for,
    calls::conf, ip, pod, reach, this_node,
};

const SUBNET: &str = "10.244.1.0/24";
const HOST_PORT: u16 = 8080;
const POD_PORT: u16 = 80;

/// An agent with stock plugins behind ours.
fn start_with(stage: &Stage, chain: &[&str]) -> Agent {
    let mut settings = stage.settings();
    settings.cni_chain = chain.iter().map(|name| (*name).to_owned()).collect();
    std::fs::create_dir_all(&settings.cni_bin_dir).unwrap();
    for name in chain {
        let stock = format!("/usr/lib/cni/{name}");
        symlink(stock, settings.cni_bin_dir.join(name)).unwrap();
    }
    let agent = Agent::start(settings, stage.node.title());
    agent.tell_nodes(vec![this_node(&[SUBNET])]);
    agent.tell_pods(vec![]);
    agent.wait_ready();
    agent
}

fn offering(container: &str, netns: &Namespace, capabilities: Value) -> Attachment {
    Attachment {
        capabilities: capabilities.as_object().cloned().unwrap(),
        ..attachment(container, Some(netns))
    }
}

/// As a runtime in the node's namespace, which stock plugins work in.
fn add(
    stage: &Stage,
    runtime: &ContainerRuntime,
    attachment: &Attachment,
) -> Result<AddResult, InvokeError> {
    let network = runtime.network();
    let add = runtime.runtime.add(&network, attachment);
    stage.node.enter(|| runtime.tokio.block_on(add))
}

/// Both ends of the pod's link, which stand behind the bridge and whatever was made before us.
fn ends(result: &AddResult) -> [&Interface; 2] {
    let far = result.ips.last().unwrap().interface.unwrap();
    [far - 1, far].map(|index| &result.interfaces[index])
}

/// An address as the pod has it: beside the others of its subnet, or alone.
fn in_pod(address: &str) -> String {
    let net: IpNet = address.parse().unwrap();
    match attachment_asked_for() {
        How::Bridge => net.to_string(),
        How::Routed => IpNet::from(net.addr()).to_string(),
    }
}

#[test]
fn stock_plugins_behind_ours_open_host_ports_and_limit_bandwidth() {
    let stage = Stage::new();
    let _agent = start_with(&stage, &["portmap", "bandwidth", "tuning"]);
    let runtime = stage.runtime();
    let (_pods, [a]) = Topology::new(["a"]);
    let capabilities = json!({
        "portMappings": [{"hostPort": HOST_PORT, "containerPort": POD_PORT, "protocol": "tcp"}],
        "bandwidth": {"ingressRate": 8_000_000, "ingressBurst": 8_000_000},
    });
    let attachment = offering("a", &a, capabilities);
    let result = add(&stage, &runtime, &attachment).unwrap();
    assert_eq!(ip(&result).to_string(), "10.244.1.2");
    let [near, far] = ends(&result);
    assert_eq!(far.name, "eth0", "{result:?}");

    let listener = a
        .enter(|| TcpListener::bind(("0.0.0.0", POD_PORT)))
        .unwrap();
    let target: SocketAddr = format!("{NODE_IP}:{HOST_PORT}").parse().unwrap();
    let connect = || TcpStream::connect_timeout(&target, SOON);
    stage.outside.enter(connect).expect("the host port is open");
    listener.accept().unwrap();
    let queues = stage.node.run("tc", ["qdisc"]).succeeds();
    assert!(
        queues.contains(&format!("dev {} root", near.name)) && queues.contains("tbf"),
        "{queues}"
    );

    // Ours alone: portmap 1.1.1 looks for IPv6 rules although the pod has no such address.
    let checked = stage.plugin("a", &a, "CHECK");
    assert_eq!(checked.unwrap(), Value::Null);
    let network = runtime.network();
    let del = runtime.runtime.del(Some(&network), &attachment);
    stage.node.enter(|| runtime.tokio.block_on(del)).unwrap();
    let rules = stage.node.run("iptables-save", ["-t", "nat"]).succeeds();
    assert!(!rules.contains(&HOST_PORT.to_string()), "{rules}");
    assert!(!stage.node.run("ip", ["link"]).succeeds().contains(": sl"));
}

/// How many bytes have gone through the near end of a pod's link, `tx` to the pod and `rx` from it.
fn bytes(stage: &Stage, near: &str, direction: &str) -> u64 {
    let shown = stage.node.run("ip", ["-s", "-j", "link", "show", near]);
    let shown: Value = serde_json::from_str(&shown.succeeds()).unwrap();
    shown[0]["stats64"][direction]["bytes"].as_u64().unwrap()
}

/// Sends datagrams as fast as it can, much more than the limits of the test let pass in a minute.
fn flood(from: &Namespace, to: IpAddr) -> u64 {
    const DATAGRAM: usize = 1400;
    const COUNT: usize = 15_000;
    let socket = from.enter(|| UdpSocket::bind("0.0.0.0:0")).unwrap();
    for _ in 0..COUNT {
        // What does not fit into a queue is lost.
        let _ = socket.send_to(&[0; DATAGRAM], (to, 9));
    }
    (DATAGRAM * COUNT) as u64
}

#[test]
fn a_pod_gets_the_bandwidth_that_it_asks_for_and_no_more() {
    let stage = Stage::new();
    let agent = stage.start_ready(&["10.244.1.0/24"]);
    let runtime = stage.runtime();
    let (_pods, [free, slow, odd]) = Topology::new(["free", "slow", "odd"]);
    let annotations = json!({
        INGRESS: "1M",
        EGRESS: "1M",
    });
    let asked = offering("slow", &slow, json!({POD_ANNOTATIONS: annotations}));
    let without = offering("free", &free, json!({}));
    for (netns, attachment, limited) in [(&free, without, false), (&slow, asked, true)] {
        let result = add(&stage, &runtime, &attachment).unwrap();
        let near = &ends(&result)[0].name;
        let outside = OUTSIDE_IP.parse().unwrap();
        for (from, to, direction) in [(&stage.node, ip(&result), "tx"), (netns, outside, "rx")] {
            let before = bytes(&stage, near, direction);
            let sent = flood(from, to);
            let passed = bytes(&stage, near, direction) - before;
            let whole = passed > sent / 4 * 3;
            let little = passed < sent / 4;
            let right = if limited { little } else { whole };
            assert!(right, "{direction} {near}: {passed} of {sent} bytes");
            assert!(passed > 0);
        }
        let network = runtime.network();
        let check = || {
            let check = runtime.runtime.check(&network, &attachment);
            runtime.tokio.block_on(check)
        };
        check().unwrap();
        if limited {
            for (place, link) in [(&stage.node, &**near), (netns, "eth0")] {
                place
                    .run("tc", ["qdisc", "del", "dev", link, "root"])
                    .succeeds();
                let fault = check().unwrap_err().to_string();
                let expected = format!("by {link}, expected 1000000 bits a second");
                assert!(fault.contains(&expected), "{fault}");
            }
            let mut known = pod("slow", &[]);
            known.annotations.insert(INGRESS.into(), "1M".into());
            agent.tell_pods(vec![known]);
            eventually(SOON, "the limit is back", || {
                let queue = stage.node.run("tc", ["qdisc", "show", "dev", near]);
                let queue = queue.succeeds();
                if queue.contains("tbf") && queue.contains("rate 1Mbit") {
                    Ok(())
                } else {
                    Err(queue)
                }
            });
        }
        let del = runtime.runtime.del(Some(&network), &attachment);
        runtime.tokio.block_on(del).unwrap();
    }
    let queues = stage.node.run("tc", ["qdisc"]).succeeds();
    assert!(!queues.contains("tbf"), "{queues}");
    let nonsense = json!({EGRESS: "fast"});
    let attachment = offering("odd", &odd, json!({POD_ANNOTATIONS: nonsense}));
    let error = add(&stage, &runtime, &attachment).unwrap_err().to_string();
    assert!(
        error.contains("egress-bandwidth") && error.contains("fast"),
        "{error}"
    );
    let told = agent.told();
    assert!(
        told.iter()
            .any(|line| line.starts_with("BandwidthRefused default/odd")),
        "{told:?}"
    );
    assert_eq!(agent.leases(), 0);
}

#[test]
fn a_chain_with_a_plugin_that_is_not_there_is_not_installed() {
    let stage = Stage::new();
    let mut settings = stage.settings();
    settings.cni_chain = vec!["portmap".into()];
    let debug_socket = settings.debug_socket();
    let agent = Agent::start(settings, stage.node.title());
    agent.tell_nodes(vec![this_node(&[SUBNET])]);
    agent.tell_pods(vec![]);
    agent.wait_ready();
    eventually(SOON, "/readyz names the plugin", || {
        let ready = sealane_introspect::fetch(&debug_socket, "GET", "/readyz").unwrap();
        if ready.body.contains("portmap: no such file") {
            Ok(())
        } else {
            Err(ready.body)
        }
    });
    assert!(!stage.path("net.d/10-sealane.conflist").exists());
}

#[test]
fn what_was_made_before_us_in_the_chain_is_handed_on() {
    let stage = Stage::new();
    let _agent = start_with(&stage, &["loopback"]);
    let runtime = stage.runtime();
    let (_pods, [a]) = Topology::new(["a"]);
    let conflist = json!({
        "cniVersion": "1.0.0", "name": "chain", "plugins": [
            {"type": "loopback"},
            conf(&stage, "1.0.0"),
        ],
    });
    std::fs::write(stage.path("net.d/05-chain.conflist"), conflist.to_string()).unwrap();
    let attachment = attachment("a", Some(&a));
    let result = add(&stage, &runtime, &attachment).unwrap();
    assert_eq!(result.interfaces[0].name, "lo", "{result:?}");
    let [near, far] = ends(&result);
    assert_eq!((far.name.as_str(), near.sandbox.as_str()), ("eth0", ""));
    let ours = result.ips.last().unwrap();
    assert_eq!(ours.address.to_string(), in_pod("10.244.1.2/24"));
    runtime.check("a", &a).unwrap();
    runtime.del("a", Some(&a)).unwrap();
}

#[test]
fn addresses_and_resolvers_that_are_asked_for_are_given() {
    let stage = Stage::new();
    let agent = stage.start_ready(&[SUBNET, "fd00:10:244:1::/64"]);
    let runtime = stage.runtime();
    let (_pods, [a, b, c]) = Topology::new(["a", "b", "c"]);
    let wanted = json!({
        "ips": ["10.244.1.77/24", "fd00:10:244:1::77"], "mac": "02:42:00:00:00:77",
        "dns": {"servers": ["10.96.0.10"], "searches": ["cluster.local"]},
    });
    let result = add(&stage, &runtime, &offering("a", &a, wanted.clone())).unwrap();
    let ips: Vec<String> = result.ips.iter().map(|ip| ip.address.to_string()).collect();
    let wanted_ips = ["10.244.1.77/24", "fd00:10:244:1::77/64"].map(in_pod);
    assert_eq!(ips, wanted_ips);
    assert_eq!(ends(&result)[1].mac, "02:42:00:00:00:77");
    assert_eq!(result.dns.nameservers, ["10.96.0.10"]);
    let shown = a.run("ip", ["-o", "link", "show", "eth0"]).succeeds();
    assert!(shown.contains("02:42:00:00:00:77"), "{shown}");
    reach(&stage.node, ip(&result));
    runtime.check("a", &a).unwrap();
    a.run(
        "ip",
        ["link", "set", "eth0", "address", "02:42:00:00:00:78"],
    )
    .succeeds();
    let error = runtime.check("a", &a).unwrap_err().to_string();
    assert!(
        error.contains("02:42:00:00:00:78, expected 02:42:00:00:00:77"),
        "{error}"
    );

    let refused = |container: &str, netns: &Namespace, capabilities: Value| {
        let error = add(&stage, &runtime, &offering(container, netns, capabilities)).unwrap_err();
        error.plugin_error().unwrap().clone()
    };
    let taken = refused("b", &b, wanted);
    assert_eq!(taken.code, code::TRY_AGAIN_LATER);
    assert!(taken.msg.contains("pod default/a"), "{taken}");
    let outside = refused("b", &b, json!({"ips": ["192.168.7.7"]}));
    assert_eq!(outside.code, code::INVALID_CONFIG);
    assert!(outside.msg.contains(SUBNET), "{outside}");
    assert_eq!(agent.leases(), 1, "a refusal leases nothing");
    assert!(!b.run("ip", ["link"]).succeeds().contains("eth0"));

    let annotated = json!({POD_ANNOTATIONS: {"sealane.io/ips": "10.244.1.99"}});
    let result = add(&stage, &runtime, &offering("c", &c, annotated)).unwrap();
    assert_eq!(ip(&result).to_string(), "10.244.1.99");
    assert_eq!(result.ips.len(), 2, "the other family as usual");
}

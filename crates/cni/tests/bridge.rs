//! Mode `bridge` on two hosts, with real packets: what Docker's bridge gives.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{
    io::Write,
    net::{IpAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use sealane_cni::types::code;
use sealane_testkit::{Namespace, SOON, Topology};
use serde_json::{Value, json};

/// `host-1 ── eth0 ── outside ── eth1 ── host-2`, and leases of each host in a folder of its own.
struct Stage {
    _topology: Topology,
    hosts: [Namespace; 2],
    outside: Namespace,
    dir: tempfile::TempDir,
}

const OUTSIDE: [&str; 2] = ["192.0.2.1", "198.51.100.1"];

impl Stage {
    fn new() -> Self {
        let (topology, [one, two, outside]) = Topology::new(["host-1", "host-2", "outside"]);
        for (n, (host, link)) in [(&one, "eth0"), (&two, "eth1")].into_iter().enumerate() {
            let gateway = OUTSIDE[n];
            let near = format!("{}.10/24", gateway.rsplit_once('.').unwrap().0);
            topology.join(
                (host, "eth0", &near),
                (&outside, link, &format!("{gateway}/24")),
            );
            host.run("ip", ["route", "add", "default", "via", gateway])
                .succeeds();
        }
        outside
            .run("sh", ["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])
            .succeeds();
        Self {
            _topology: topology,
            hosts: [one, two],
            outside,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn conf(&self, host: usize, more: Value) -> Value {
        let mut conf = json!({
            "cniVersion": "1.1.0", "name": "containers", "type": "sealane", "mode": "bridge",
            "dataDir": self.dir.path().join(format!("host-{host}")),
        });
        for (key, value) in more.as_object().unwrap() {
            conf[key] = value.clone();
        }
        conf
    }

    fn call(
        &self,
        host: usize,
        command: &str,
        netns: &Namespace,
        more: Value,
    ) -> Result<Value, Value> {
        call(&self.hosts[host], command, netns, &self.conf(host, more))
    }

    fn add(&self, host: usize, netns: &Namespace) -> IpAddr {
        let result = self.call(host, "ADD", netns, json!({})).unwrap();
        address(&result)
    }
}

fn address(result: &Value) -> IpAddr {
    let text = result["ips"][0]["address"].as_str().unwrap();
    text.split('/').next().unwrap().parse().unwrap()
}

fn call(host: &Namespace, command: &str, netns: &Namespace, conf: &Value) -> Result<Value, Value> {
    let mut child = host
        .command(plugin().to_str().unwrap())
        .env("CNI_COMMAND", command)
        .env("CNI_CONTAINERID", netns.title())
        .env("CNI_NETNS", format!("/run/netns/{}", netns.title()))
        .env("CNI_IFNAME", "eth0")
        .env("CNI_PATH", "/usr/lib/cni")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child
        .stdin
        .take()
        .unwrap()
        .write_all(conf.to_string().as_bytes());
    let output = child.wait_with_output().unwrap();
    let printed = serde_json::from_slice(&output.stdout).unwrap_or_default();
    if output.status.success() {
        Ok(printed)
    } else {
        Err(printed)
    }
}

/// The example that cargo builds beside the tests.
fn plugin() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let built = tests.parent().unwrap().parent().unwrap();
    let path = built.join("examples/plugin");
    assert!(
        path.exists(),
        "{} is missing: build the examples",
        path.display()
    );
    path
}

/// Who a listener in `to` sees when `from` connects to it; `None` when it is not reached.
fn seen(from: &Namespace, to: &Namespace, address: IpAddr, patience: Duration) -> Option<IpAddr> {
    let listener = to.enter(|| TcpListener::bind((address, 0))).unwrap();
    let target = listener.local_addr().unwrap();
    let connected = from.enter(|| TcpStream::connect_timeout(&target, patience));
    connected.ok()?;
    Some(listener.accept().unwrap().1.ip())
}

#[test]
fn containers_reach_each_other_and_the_outside_and_not_another_hosts() {
    let stage = Stage::new();
    let (_pods, [a, b, far]) = Topology::new(["a", "b", "far"]);
    let (a_ip, b_ip) = (stage.add(0, &a), stage.add(0, &b));
    assert_eq!(
        (a_ip.to_string(), b_ip.to_string()),
        ("172.17.0.2".into(), "172.17.0.3".into())
    );
    // Each host has the subnet for itself.
    let far_ip = stage.add(1, &far);
    assert_eq!(far_ip, a_ip);

    assert_eq!(seen(&a, &b, b_ip, SOON), Some(a_ip));
    assert_eq!(
        seen(&stage.hosts[0], &a, a_ip, SOON).unwrap().to_string(),
        "172.17.0.1"
    );
    let outside: IpAddr = OUTSIDE[0].parse().unwrap();
    let host_ip: IpAddr = "192.0.2.10".parse().unwrap();
    assert_eq!(seen(&a, &stage.outside, outside, SOON), Some(host_ip));
    // The third address exists on the other host alone, so nobody here answers for it.
    let (_more, [far_too, far_third]) = Topology::new(["far-too", "far-third"]);
    stage.add(1, &far_too);
    let third = stage.add(1, &far_third);
    assert_eq!(third.to_string(), "172.17.0.4");
    let patience = Duration::from_millis(300);
    assert_eq!(seen(&a, &far_third, third, patience), None);

    let shown = stage.hosts[0]
        .run("ip", ["-o", "address", "show", "docker0"])
        .succeeds();
    assert!(shown.contains("172.17.0.1/16"), "{shown}");
    let rules = stage.hosts[0].run("nft", ["list", "ruleset"]).succeeds();
    assert!(rules.contains("table ip sealane-br-docker0"), "{rules}");
    assert_eq!(
        a.run("ip", ["route", "show", "default"]).succeeds().trim(),
        "default via 172.17.0.1 dev eth0 proto static"
    );
    for (host, netns) in [(0, &a), (0, &b), (1, &far)] {
        stage.call(host, "CHECK", netns, json!({})).unwrap();
        stage.call(host, "DEL", netns, json!({})).unwrap();
        stage.call(host, "DEL", netns, json!({})).unwrap();
        assert!(!netns.run("ip", ["link"]).succeeds().contains("eth0"));
    }
}

#[test]
fn a_second_add_is_refused_and_a_leak_repairs_itself() {
    let stage = Stage::new();
    let small = json!({"subnet": "172.17.0.0/30"});
    let (pods, [a]) = Topology::new(["a"]);
    stage.call(0, "ADD", &a, small.clone()).unwrap();
    let again = stage.call(0, "ADD", &a, small.clone()).unwrap_err();
    assert_eq!(again["code"], code::ALREADY_ATTACHED, "{again}");
    let (_others, [b]) = Topology::new(["b"]);
    let full = stage.call(0, "ADD", &b, small.clone()).unwrap_err();
    assert_eq!(full["code"], code::ADDRESSES_USED_UP, "{full}");
    let status = stage.call(0, "STATUS", &b, small.clone()).unwrap_err();
    assert_eq!(status["code"], code::NOT_AVAILABLE, "{status}");
    // The namespace goes without DEL, and its link with it.
    drop(pods);
    drop(a);
    sealane_testkit::eventually(SOON, "the leaked address is free", || {
        stage
            .call(0, "ADD", &b, small.clone())
            .map_err(|error| error.to_string())
    });
}

#[test]
fn calls_at_once_get_different_addresses() {
    const MANY: usize = 12;
    let stage = Stage::new();
    let titles: [String; MANY] = std::array::from_fn(|n| format!("p{n}"));
    let (_pods, pods) = Topology::new(titles.each_ref().map(String::as_str));
    let (stage, add) = (&stage, |netns| stage.add(0, netns));
    let mut addresses: Vec<IpAddr> = std::thread::scope(|scope| {
        let calls: Vec<_> = pods
            .iter()
            .map(|netns| scope.spawn(move || add(netns)))
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), MANY);
    let valid = json!({"cni.dev/valid-attachments": [
        {"containerID": pods[0].title(), "ifname": "eth0"}
    ]});
    stage.call(0, "GC", &pods[0], valid).unwrap();
    let links = stage.hosts[0].run("ip", ["-o", "link"]).succeeds();
    assert_eq!(links.matches(": sl").count(), 1, "{links}");
}

#[test]
fn what_cannot_be_meant_is_refused_and_changes_nothing() {
    let stage = Stage::new();
    let (_pods, [a]) = Topology::new(["a"]);
    let host = &stage.hosts[0];
    host.run("ip", ["link", "add", "foreign", "type", "bridge"])
        .succeeds();
    let shown = || {
        [
            host.run("ip", ["-o", "link"]).succeeds(),
            host.run("nft", ["list", "ruleset"]).succeeds(),
        ]
    };
    let before = shown();
    for (more, part) in [
        (json!({"subnet": "172.17.0.0/31"}), "at most /30"),
        (json!({"subnet": "192.0.2.0/24"}), "eth0"),
        (
            json!({"subnets": ["10.0.0.0/16", "10.0.1.0/24"]}),
            "overlap",
        ),
        (json!({"bridge": "foreign"}), "not ours"),
        (json!({"bridge": "../x"}), "../x"),
        (json!({"mode": "moat"}), "moat"),
        (json!({"runtimeConfig": {"ips": ["10.9.9.9"]}}), "10.9.9.9"),
    ] {
        let error = stage.call(0, "ADD", &a, more.clone()).unwrap_err();
        assert_eq!(error["code"], code::INVALID_CONFIG, "{more}: {error}");
        assert!(
            error["msg"].as_str().unwrap().contains(part),
            "{more}: {error}"
        );
        assert_eq!(shown(), before, "{more}");
    }
    assert!(!a.run("ip", ["link"]).succeeds().contains("eth0"));
}

#[test]
fn two_families_and_addresses_that_are_asked_for() {
    let stage = Stage::new();
    let (_pods, [a, b]) = Topology::new(["a", "b"]);
    let both = |ip: &str| json!({"subnets": ["172.17.0.0/16", "fd00:17::/64"], "runtimeConfig": {"ips": [ip], "mac": "02:00:00:00:00:07"}});
    let first = stage.call(0, "ADD", &a, both("172.17.3.7")).unwrap();
    assert_eq!(first["ips"][0]["address"], "172.17.3.7/16");
    assert_eq!(first["ips"][1]["address"], "fd00:17::2/64");
    assert_eq!(first["interfaces"][2]["mac"], "02:00:00:00:00:07");
    let second = stage.call(0, "ADD", &b, both("172.17.3.7")).unwrap_err();
    assert_eq!(second["code"], code::TRY_AGAIN_LATER, "{second}");
    let mut conf = json!({"subnets": ["172.17.0.0/16", "fd00:17::/64"]});
    stage.call(0, "ADD", &b, conf.clone()).unwrap();
    let far: IpAddr = "fd00:17::2".parse().unwrap();
    assert_eq!(seen(&b, &a, far, SOON).unwrap().to_string(), "fd00:17::3");
    a.run(
        "ip",
        ["-6", "address", "flush", "dev", "eth0", "scope", "global"],
    )
    .succeeds();
    let broken = stage.call(0, "CHECK", &a, conf.take()).unwrap_err();
    assert_eq!(broken["code"], code::CHECK_FAILED, "{broken}");
}

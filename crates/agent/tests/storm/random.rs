//! Objects as an API server that checks nothing could tell them.

use sealane_kube::{service_net, slice_net};
use sealane_objects::{ObjectName, ServiceNet, SliceNet};
use sealane_testkit::Chance;
use serde_json::{Value, json};

const SERVICES: u64 = 24;
const SLICES: u64 = 48;

pub enum Event {
    Service(ObjectName, Option<ServiceNet>),
    Slice(ObjectName, Option<SliceNet>),
}

/// A Service or a slice comes, changes or goes.
pub fn event(chance: &mut Chance) -> Event {
    let stays = chance.below(5) > 0;
    if chance.below(3) == 0 {
        let name = format!("s{}", chance.below(SERVICES));
        let service = stays.then(|| service(&name, chance));
        Event::Service(ObjectName::new("default", name), service)
    } else {
        let name = format!("slice{}", chance.below(SLICES));
        let slice = stays.then(|| slice(&name, chance));
        Event::Slice(ObjectName::new("default", name), slice)
    }
}

fn one_in(n: u64, chance: &mut Chance) -> bool {
    chance.below(n) == 0
}

/// One of these, and now and then one that makes no sense.
fn word(chance: &mut Chance, good: &[&str], bad: &[&str]) -> String {
    let from = if one_in(12, chance) { bad } else { good };
    (*chance.pick(from).unwrap()).to_owned()
}

/// Few addresses and ports for many Services, so that some want the same.
fn service(name: &str, chance: &mut Chance) -> ServiceNet {
    let host = chance.below(20);
    let mut ips = vec![format!("10.96.0.{host}")];
    if one_in(2, chance) {
        ips.push(format!("fd00:96::{host:x}"));
    }
    if one_in(20, chance) {
        ips[0] = word(chance, &["None"], &["nonsense", "127.0.0.1", "0.0.0.0"]);
    }
    let policy = |chance: &mut Chance| word(chance, &["Cluster", "Local"], &["Everywhere"]);
    let mut spec = json!({
        "clusterIP": ips[0], "clusterIPs": ips, "type": "LoadBalancer",
        "externalTrafficPolicy": policy(chance), "internalTrafficPolicy": policy(chance),
        "ports": (0..1 + chance.below(3)).map(|n| port(n, chance)).collect::<Vec<_>>(),
    });
    if one_in(3, chance) {
        spec["sessionAffinity"] = json!("ClientIP");
        let seconds = chance.pick(&[1, 60, 10_800, -1]);
        spec["sessionAffinityConfig"] = json!({"clientIP": {"timeoutSeconds": seconds}});
    }
    if one_in(3, chance) {
        let good = [
            "203.0.113.0/24",
            "2001:db8:113::/64",
            "10.0.0.0/8",
            "0.0.0.0/0",
        ];
        let bad = ["anywhere", "10.0.0.0/99"];
        let ranges: Vec<_> = (0..3).map(|_| word(chance, &good, &bad)).collect();
        spec["loadBalancerSourceRanges"] = json!(ranges);
    }
    if one_in(3, chance) {
        let good = ["192.0.2.1", "192.0.2.2", "2001:db8:2::1", "10.96.0.3"];
        spec["externalIPs"] = json!([word(chance, &good, &["224.0.0.1", "127.0.0.1", ""])]);
    }
    let balancers = ["192.0.2.1", "192.0.2.3", "192.0.2.4", "2001:db8:2::4"];
    let balancer = word(chance, &balancers, &["nonsense", "255.255.255.256"]);
    let object = json!({
        "metadata": {
            "name": name, "namespace": "default",
            // Two that are as old as each other are told apart by their names.
            "creationTimestamp": format!("2026-11-21T00:00:0{}Z", chance.below(5)),
        },
        "spec": spec,
        "status": {"loadBalancer": {"ingress": [{"ip": balancer}]}},
    });
    service_net(&serde_json::from_value(object).unwrap())
}

fn port(n: u64, chance: &mut Chance) -> Value {
    let mut port = json!({
        "name": format!("p{}", if one_in(12, chance) { 0 } else { n }),
        "protocol": word(chance, &["TCP", "UDP", "SCTP"], &["DCCP", ""]),
        "port": chance.pick(&[80, 81, 443, 53, 0, 70_000]),
    });
    if one_in(2, chance) {
        port["nodePort"] = json!(30_000 + chance.below(12));
    }
    port
}

fn slice(name: &str, chance: &mut Chance) -> SliceNet {
    let six = one_in(3, chance);
    let family = if six { "IPv6" } else { "IPv4" };
    let ports: Vec<Value> = (0..1 + chance.below(3))
        .map(|n| {
            json!({
                "name": format!("p{n}"),
                "protocol": word(chance, &["TCP", "UDP", "SCTP"], &["DCCP"]),
                "port": chance.pick(&[8080, 8081, 0, -1]),
            })
        })
        .collect();
    let endpoints: Vec<Value> = (0..chance.below(5))
        .map(|_| endpoint(six, chance))
        .collect();
    let object = json!({
        "metadata": {
            "name": name, "namespace": "default",
            "labels": {"kubernetes.io/service-name": format!("s{}", chance.below(SERVICES + 2))},
        },
        "addressType": word(chance, &[family], &["FQDN", "IPv6", "IPX"]),
        "ports": ports,
        "endpoints": endpoints,
    });
    slice_net(&serde_json::from_value(object).unwrap())
}

fn endpoint(six: bool, chance: &mut Chance) -> Value {
    let host = 1 + chance.below(8);
    let address = match six {
        true => format!("fd00:10:244:1::{host}"),
        false => format!("10.244.1.{host}"),
    };
    let bad = [
        "127.0.0.1",
        "::1",
        "0.0.0.0",
        "224.0.0.7",
        "169.254.1.1",
        "fe80::1",
        "nonsense",
    ];
    let node = chance.pick(&["node-1", "node-2"]);
    let mut endpoint = json!({
        "addresses": [word(chance, &[&address], &bad)],
        "nodeName": node,
        "conditions": {
            "ready": one_in(2, chance), "serving": one_in(2, chance), "terminating": one_in(3, chance),
        },
    });
    if one_in(3, chance) {
        let zone = chance.pick(&["zone-1", "zone-2"]);
        endpoint["hints"] = json!({"forZones": [{"name": zone}]});
    }
    endpoint
}

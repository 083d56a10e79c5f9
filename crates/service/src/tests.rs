use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use sealane_net::{Family, Protocol};
use sealane_objects::{
    Hints, ObjectName, PortMapping, ServiceNet, ServicePortNet, SliceEndpoint, SliceNet, SlicePort,
    TrafficPolicy,
};

use super::*;

fn node() -> NodeFacts {
    NodeFacts {
        name: "node-1".into(),
        zone: Some("a".into()),
        node_port_addresses: vec!["172.29.0.2".parse().unwrap()],
        ..NodeFacts::default()
    }
}

fn name(name: &str) -> ObjectName {
    ObjectName::new("default", name)
}

fn service(ip: &str) -> ServiceNet {
    ServiceNet {
        cluster_ips: vec![ip.parse().unwrap()],
        ports: vec![ServicePortNet {
            name: "http".into(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: None,
        }],
        ..ServiceNet::default()
    }
}

/// Endpoints as words: address, then `r`eady, `s`erving, `t`erminating, `@node`, `zX` and `nX` for hints.
fn slice(service: &str, port: u16, endpoints: &[&str]) -> SliceNet {
    let endpoint = |words: &&str| {
        let mut words = words.split(' ');
        let address = words.next().unwrap().parse().unwrap();
        let mut endpoint = SliceEndpoint {
            address,
            ready: false,
            serving: false,
            terminating: false,
            node: None,
            hints: None,
        };
        let mut hints = Hints::default();
        for word in words {
            match word.split_at(1) {
                ("r", "") => (endpoint.ready, endpoint.serving) = (true, true),
                ("s", "") => endpoint.serving = true,
                ("t", "") => endpoint.terminating = true,
                ("@", node) => endpoint.node = Some(node.into()),
                ("z", zone) => hints.zones.push(zone.into()),
                ("n", node) => hints.nodes.push(node.into()),
                _ => panic!("{word}"),
            }
        }
        endpoint.hints = (hints != Hints::default()).then(|| Arc::new(hints));
        endpoint
    };
    SliceNet {
        service: service.into(),
        family: Some(Family::V4),
        ports: [SlicePort {
            name: "http".into(),
            protocol: Protocol::Tcp,
            port,
        }]
        .into(),
        endpoints: endpoints.iter().map(endpoint).collect(),
        triggered_ms: None,
    }
}

fn shown(way: Way<'_>) -> String {
    match way {
        Way::Drop => "drop".into(),
        Way::Refuse => "refuse".into(),
        Way::Endpoints(list) => {
            let last = |e: &Endpoint| e.address.to_string().rsplit('.').next().unwrap().to_owned();
            let all: Vec<_> = list.iter().map(last).collect();
            all.join(" ")
        }
    }
}

#[test]
fn policies_readiness_termination_and_hints() {
    use TrafficPolicy::{Cluster, Local};
    for (endpoints, policy, expected) in [
        // internal, external, inside
        (vec![], Cluster, ["refuse", "refuse", "refuse"]),
        (vec![], Local, ["refuse", "refuse", "refuse"]),
        (vec!["10.0.0.1"], Cluster, ["refuse", "refuse", "refuse"]),
        (
            vec!["10.0.0.2 r @node-2", "10.0.0.1 r @node-1", "10.0.0.3"],
            Cluster,
            ["1 2", "1 2", "1 2"],
        ),
        (
            vec!["10.0.0.1 r @node-1", "10.0.0.2 r @node-2"],
            Local,
            ["1", "1", "1 2"],
        ),
        (vec!["10.0.0.2 r @node-2"], Local, ["drop", "drop", "2"]),
        // Terminating endpoints: only when nothing is ready, among those that the policy allows.
        (vec!["10.0.0.1 s t", "10.0.0.2 r"], Cluster, ["2", "2", "2"]),
        (vec!["10.0.0.1 s t", "10.0.0.2 t"], Cluster, ["1", "1", "1"]),
        (vec!["10.0.0.1 s"], Cluster, ["refuse", "refuse", "refuse"]),
        (
            vec!["10.0.0.1 s t @node-1", "10.0.0.2 r @node-2"],
            Local,
            ["1", "1", "2"],
        ),
        (
            vec!["10.0.0.1 t @node-1", "10.0.0.2 r @node-2"],
            Local,
            ["drop", "drop", "2"],
        ),
        // Ready and terminating is what publishNotReadyAddresses makes of it.
        (vec!["10.0.0.1 r t"], Cluster, ["1", "1", "1"]),
        // Hints: all ready ones have one, and one is for us.
        (
            vec!["10.0.0.1 r za", "10.0.0.2 r zb"],
            Cluster,
            ["1", "1", "1"],
        ),
        (
            vec!["10.0.0.1 r za", "10.0.0.2 r"],
            Cluster,
            ["1 2", "1 2", "1 2"],
        ),
        (
            vec!["10.0.0.1 r zb", "10.0.0.2 r zb"],
            Cluster,
            ["1 2", "1 2", "1 2"],
        ),
        (
            vec!["10.0.0.1 r za", "10.0.0.2 s t"],
            Cluster,
            ["1", "1", "1"],
        ),
        (
            vec!["10.0.0.1 s t zb", "10.0.0.2 r za"],
            Cluster,
            ["2", "2", "2"],
        ),
        (
            vec!["10.0.0.1 r za nnode-2", "10.0.0.2 r za nnode-1"],
            Cluster,
            ["2", "2", "2"],
        ),
        (
            vec!["10.0.0.1 r za nnode-2", "10.0.0.2 r zb nnode-3"],
            Cluster,
            ["1", "1", "1"],
        ),
        (
            vec!["10.0.0.1 r zb @node-1", "10.0.0.2 r za @node-2"],
            Local,
            ["1", "1", "2"],
        ),
        // What no slice may hold.
        (
            vec!["127.0.0.1 r", "169.254.1.1 r", "0.0.0.0 r", "224.0.0.1 r"],
            Cluster,
            ["refuse", "refuse", "refuse"],
        ),
    ] {
        let mut table = ServiceTable::new(node());
        let mut web = service("10.96.0.9");
        web.load_balancer_ips = vec!["192.0.2.1".parse().unwrap()];
        (web.internal_policy, web.external_policy) = (policy, policy);
        table.set_slice(&name("web-1"), Some(slice("web", 8080, &endpoints)));
        let changes = table.set_service(&name("web"), Some(web));
        let port = changes[0].after.as_ref().unwrap();
        let ways = [port.internal(), port.external(), port.inside()].map(shown);
        assert_eq!(ways, expected, "{endpoints:?} {policy:?}");
    }
}

#[test]
fn load_balancers_are_told_of_pods_of_this_node_that_are_ready() {
    let mut table = ServiceTable::new(node());
    let told = |table: &ServiceTable| table.ports_of(&name("web"))[0].local_ready;
    let mut web = service("10.96.0.9");
    web.external_policy = TrafficPolicy::Local;
    let pods = ["10.0.0.1 r @node-1", "10.0.0.2 r @node-2"];
    table.set_slice(&name("web-1"), Some(slice("web", 8080, &pods)));
    table.set_service(&name("web"), Some(web.clone()));
    assert_eq!(told(&table), 0, "nobody asks");
    web.health_check_node_port = Some(30999);
    table.set_service(&name("web"), Some(web));
    assert_eq!(told(&table), 1);
    // The other family of the same pod, and a pod that is in two slices.
    table.set_slice(
        &name("web-2"),
        Some(slice("web", 8080, &["fd00::1 r @node-1"])),
    );
    table.set_slice(&name("web-3"), Some(slice("web", 9090, &pods)));
    assert_eq!(told(&table), 1);
    // The last one drains: it serves on, and load balancers look elsewhere.
    let draining = Some(slice("web", 8080, &["10.0.0.1 s t @node-1", pods[1]]));
    table.set_slice(&name("web-3"), None);
    table.set_slice(&name("web-2"), None);
    let changes = table.set_slice(&name("web-1"), draining);
    let (before, after) = (&changes[0].before, changes[0].after.as_ref().unwrap());
    assert_eq!(after.local, before.as_ref().unwrap().local);
    assert_eq!(after.local_ready, 0);
}

fn pod(name: &str, ports: &[(u16, Option<&str>)]) -> PodPorts {
    let port = |(host_port, ip): &(u16, Option<&str>)| PortMapping {
        protocol: Protocol::Tcp,
        host_port: *host_port,
        container_port: 80,
        host_ip: ip.map(|ip| ip.parse().unwrap()),
    };
    PodPorts {
        pod: ObjectName::new("default", name),
        container: "3f".into(),
        addresses: vec!["10.244.1.5".parse().unwrap(), "fd00:1::5".parse().unwrap()],
        ports: ports.iter().map(port).collect(),
    }
}

#[test]
fn a_pods_host_ports_are_at_the_nodes_addresses_unless_somebody_has_them() {
    let mut facts = node();
    facts.host_addresses = ["172.29.0.2", "192.168.7.2", "fd00::2"]
        .map(|ip| ip.parse().unwrap())
        .into();
    facts.node_port_addresses = vec!["172.29.0.2".parse().unwrap(), "127.0.0.1".parse().unwrap()];
    let mut table = ServiceTable::new(facts);
    let shown = |table: &ServiceTable| {
        let ports = table
            .iter()
            .filter(|port| port.key.service.name.starts_with("pod/"));
        let frontends = ports.flat_map(|port| {
            let frontends = port.frontends().into_iter();
            frontends.map(|(frontend, _)| format!("{} at {frontend}", port.key.service.name))
        });
        frontends.collect::<Vec<_>>().join(", ")
    };
    let changes = table.replace_host_ports(vec![pod("b", &[(8080, None)])]);
    assert_eq!(
        shown(&table),
        "pod/b/3f at 127.0.0.1:8080 TCP, pod/b/3f at 172.29.0.2:8080 TCP, pod/b/3f at 192.168.7.2:8080 TCP, \
         pod/b/3f at [fd00::2]:8080 TCP"
    );
    let port = changes[0].after.as_ref().unwrap();
    assert!(matches!(port.external(), Way::Endpoints(_)));
    // A later pod gets what is left.
    let both = || {
        vec![
            pod("a", &[(8080, None), (8081, Some("192.168.7.2"))]),
            pod("b", &[(8080, None)]),
        ]
    };
    table.replace_host_ports(both());
    assert!(shown(&table).starts_with("pod/a/3f at 192.168.7.2:8081 TCP, pod/b/3f at"));
    let why: Vec<String> = table
        .problems()
        .map(|(of, why)| format!("{of}: {why}"))
        .collect();
    assert!(
        why.contains(&"default/pod/a/3f: node port 8080 TCP belongs to pod default/b".into()),
        "{why:?}"
    );
    // A Service has its node port, and what it gives back goes to the pod.
    let mut web = service("10.96.0.9");
    web.ports[0].node_port = Some(8080);
    table.set_service(&name("web"), Some(web));
    assert!(!shown(&table).contains("172.29.0.2:8080"));
    table.set_service(&name("web"), None);
    assert!(shown(&table).contains("pod/b/3f at 172.29.0.2:8080 TCP"));
    table.replace_host_ports(vec![pod("a", &[(8080, None)])]);
    assert!(shown(&table).contains("pod/a/3f at 172.29.0.2:8080 TCP"));
    table.replace_host_ports(vec![]);
    assert_eq!(table.iter().count(), 0);
    assert_eq!(table.problems().count(), 0);
}

#[test]
fn named_ports_differ_by_slice_and_doubles_count_once() {
    let mut table = ServiceTable::new(node());
    table.set_service(&name("web"), Some(service("10.96.0.9")));
    table.set_slice(
        &name("web-1"),
        Some(slice("web", 8080, &["10.0.0.1 r", "10.0.0.2 r"])),
    );
    let again = slice("web", 8080, &["10.0.0.2 r @node-1", "10.0.0.1"]);
    table.set_slice(&name("web-2"), Some(again));
    let changes = table.set_slice(&name("web-3"), Some(slice("web", 9090, &["10.0.0.1 r"])));
    let port = changes[0].after.as_ref().unwrap();
    let list: Vec<_> = port
        .cluster
        .iter()
        .map(|e| (e.address.to_string(), e.port, e.local))
        .collect();
    assert_eq!(
        list,
        [
            ("10.0.0.1".into(), 8080, false),
            ("10.0.0.1".into(), 9090, false),
            ("10.0.0.2".into(), 8080, true)
        ]
    );
    assert_eq!(table.set_slice(&name("web-2"), None).len(), 1);
    assert_eq!(table.set_slice(&name("web-2"), None), []);
}

#[test]
fn a_slice_moves_to_another_service_and_survives_its_service() {
    let mut table = ServiceTable::new(node());
    table.set_slice(&name("s"), Some(slice("web", 8080, &["10.0.0.1 r"])));
    table.set_service(&name("web"), Some(service("10.96.0.9")));
    table.set_service(&name("api"), Some(service("10.96.0.8")));
    let changes = table.set_slice(&name("s"), Some(slice("api", 8080, &["10.0.0.1 r"])));
    let ways: BTreeMap<_, _> = changes
        .iter()
        .map(|c| {
            (
                c.key.to_string(),
                shown(c.after.as_ref().unwrap().internal()),
            )
        })
        .collect();
    assert_eq!(ways["default/web:http TCP"], "refuse");
    assert_eq!(ways["default/api:http TCP"], "1");
    assert_eq!(table.set_service(&name("api"), None)[0].after, None);
    let back = table.set_service(&name("api"), Some(service("10.96.0.8")));
    assert_eq!(shown(back[0].after.as_ref().unwrap().internal()), "1");
}

#[test]
fn the_older_service_keeps_a_frontend_and_the_younger_one_gets_it_later() {
    let mut table = ServiceTable::new(node());
    let aged = |created| {
        let mut service = ServiceNet {
            created,
            ..service("10.96.0.9")
        };
        service.ports[0].node_port = Some(30080);
        service
    };
    table.set_service(&name("young"), Some(aged(2)));
    let changes = table.set_service(&name("old"), Some(aged(1)));
    assert_eq!(changes.len(), 2, "one comes, the other goes");
    assert_eq!(table.ports_of(&name("young")), []);
    let problems: Vec<_> = table.problems().map(|(n, p)| format!("{n}: {p}")).collect();
    assert_eq!(
        problems,
        [
            "default/young: node port 30080 TCP belongs to the older Service default/old",
            "default/young: 10.96.0.9:80 TCP belongs to the older Service default/old",
            "default/young: 172.29.0.2:30080 TCP belongs to the older Service default/old",
        ]
    );
    let changes = table.set_service(&name("old"), None);
    assert_eq!(changes.len(), 2);
    assert_eq!(table.ports_of(&name("young"))[0].frontends().len(), 2);
    assert_eq!(table.problems().count(), 0);
}

#[test]
fn external_addresses_are_served_only_when_the_node_may() {
    for (allowed, count) in [(false, 1), (true, 2)] {
        let mut table = ServiceTable::new(NodeFacts {
            external_ips: allowed,
            ..node()
        });
        let mut web = service("10.96.0.9");
        web.external_ips = vec!["192.0.2.7".parse().unwrap()];
        table.set_service(&name("web"), Some(web));
        assert_eq!(table.ports_of(&name("web"))[0].frontends().len(), count);
    }
}

#[test]
fn two_families_are_two_ports_and_node_ports_follow_the_node() {
    let mut table = ServiceTable::new(node());
    let mut web = service("10.96.0.9");
    web.cluster_ips.push("fd00::9".parse().unwrap());
    web.ports[0].node_port = Some(30080);
    table.set_service(&name("web"), Some(web));
    let show = |table: &ServiceTable| -> Vec<String> {
        let all = table.iter().flat_map(|p| p.frontends());
        all.map(|(f, kind)| format!("{f} {kind:?}")).collect()
    };
    let cluster_ips = ["10.96.0.9:80 TCP ClusterIp", "[fd00::9]:80 TCP ClusterIp"];
    assert_eq!(
        show(&table),
        [
            cluster_ips[0],
            "172.29.0.2:30080 TCP NodePort",
            cluster_ips[1]
        ]
    );
    let moved = NodeFacts {
        node_port_addresses: vec!["fd00::2".parse().unwrap()],
        ..node()
    };
    assert_eq!(table.set_node(moved).len(), 2);
    assert_eq!(
        show(&table),
        [
            cluster_ips[0],
            "[fd00::2]:30080 TCP NodePort",
            cluster_ips[1]
        ]
    );
}

#[derive(Clone, Debug)]
enum Event {
    Service(usize, Option<(u8, u8, bool, bool)>),
    Slice(usize, Option<(usize, u16, u8)>),
    Node(bool),
}

fn event() -> impl Strategy<Value = Event> {
    let shape = (0..4_u8, 0..3_u8, any::<bool>(), any::<bool>());
    let content = (0..4_usize, 8080..8082_u16, any::<u8>());
    prop_oneof![
        (0..4_usize, prop::option::weighted(0.8, shape)).prop_map(|(n, s)| Event::Service(n, s)),
        (0..6_usize, prop::option::weighted(0.8, content)).prop_map(|(n, s)| Event::Slice(n, s)),
        any::<bool>().prop_map(Event::Node),
    ]
}

fn random_service(shape: (u8, u8, bool, bool)) -> ServiceNet {
    let (ip, created, node_port, local) = shape;
    let mut made = service(&format!("10.96.0.{ip}"));
    made.created = created.into();
    made.ports[0].node_port = node_port.then_some(30080);
    if local {
        made.external_policy = TrafficPolicy::Local;
    }
    made
}

fn random_slice((service, port, flags): (usize, u16, u8)) -> SliceNet {
    let states = ["r @node-1", "r @node-2", "s t @node-1", ""];
    let words: Vec<String> = (0..4)
        .map(|n| format!("10.0.0.{n} {}", states[usize::from(flags >> (2 * n)) & 3]))
        .map(|words| words.trim().to_owned())
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).skip(1).collect();
    slice(&format!("s{service}"), port, &words)
}

proptest! {
    /// Whatever happened on the way, the table is that of the objects that are there; and who
    /// only follows the changes knows all of it. Among many others, and among none.
    #[test]
    fn is_what_a_fresh_start_would_make(
        events in prop::collection::vec(event(), 0..60),
        others in prop::sample::select(vec![0, 40_u8]),
    ) {
        let mut table = ServiceTable::new(node());
        let (mut services, mut slices) = (BTreeMap::new(), BTreeMap::new());
        for n in 0..others {
            let place = if n % 2 == 0 { "a" } else { "z" };
            services.insert(name(&format!("{place}{n}")), service(&format!("10.97.0.{n}")));
        }
        let made = table.replace_services(services.clone());
        let made = made.into_iter().filter_map(|change| Some((change.key, change.after?)));
        let mut followed: BTreeMap<_, _> = made.collect();
        let mut facts = node();
        for event in events {
            let changes = match event {
                Event::Service(n, shape) => {
                    let name = name(&format!("s{n}"));
                    let made = shape.map(random_service);
                    match made.clone() {
                        Some(made) => services.insert(name.clone(), made),
                        None => services.remove(&name),
                    };
                    table.set_service(&name, made)
                }
                Event::Slice(n, content) => {
                    let name = name(&format!("slice{n}"));
                    let made = content.map(random_slice);
                    match made.clone() {
                        Some(made) => slices.insert(name.clone(), made),
                        None => slices.remove(&name),
                    };
                    table.set_slice(&name, made)
                }
                Event::Node(moved) => {
                    let address = if moved { "10.96.0.1" } else { "172.29.0.2" };
                    facts.node_port_addresses = vec![address.parse().unwrap()];
                    table.set_node(facts.clone())
                }
            };
            for change in changes {
                prop_assert_eq!(followed.get(&change.key), change.before.as_ref());
                match change.after {
                    Some(port) => followed.insert(change.key, port),
                    None => followed.remove(&change.key),
                };
            }
        }
        let mut fresh = ServiceTable::new(facts);
        fresh.replace_slices(slices);
        fresh.replace_services(services);
        let all = |table: &ServiceTable| table.iter().cloned().collect::<Vec<_>>();
        prop_assert_eq!(all(&table), all(&fresh));
        prop_assert_eq!(followed.into_values().collect::<Vec<_>>(), all(&fresh));
        let problems = |table: &ServiceTable| -> Vec<String> {
            table.problems().map(|(n, p)| format!("{n}: {p}")).collect()
        };
        prop_assert_eq!(problems(&table), problems(&fresh));
        let mut frontends: Vec<_> = fresh.iter().flat_map(|p| p.frontends()).map(|f| f.0).collect();
        frontends.sort();
        let count = frontends.len();
        frontends.dedup();
        prop_assert_eq!(frontends.len(), count, "a frontend belongs to one Service");
    }
}

//! A storm of events of objects good and bad, and what it leaves in the kernel: the rules of a fresh start.
//!
//! `SEALANE_EVENTS` and `SEALANE_SEED` choose how long and which; a failure names both.

mod random;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use sealane_agent::ProxyMode;
use sealane_agent::services::Input;
use sealane_kube::Change;
use sealane_net::{Family, Protocol};
use sealane_objects::{ObjectName, ServiceNet, ServicePortNet};
use sealane_ruleset::services::{
    Flow, Image, Loaded, Map, Origin, Outcome, ServiceProgram, World, walk,
};
use sealane_service::{NodeFacts, ServiceTable};
use sealane_testkit::chance::number;
use sealane_testkit::{Chance, Namespace, SOON, Topology, eventually};

use crate::alone::{Alone, Objects};
use random::Event;

/// Up to so many events are told at once; the task takes what has come while it worked as one change.
const BURST: u64 = 24;
const NODE_IPS: [&str; 2] = ["172.29.0.2", "fd00:172:29::2"];
const PODS: [&str; 2] = ["10.244.1.0/24", "fd00:10:244:1::/64"];
/// Who calls: a pod, the node, somebody outside and in source ranges, and somebody else.
const CLIENTS: [[&str; 4]; 2] = [
    ["10.244.1.1", NODE_IPS[0], "203.0.113.9", "198.18.0.1"],
    [
        "fd00:10:244:1::1",
        NODE_IPS[1],
        "2001:db8:113::9",
        "2001:db8:18::1",
    ],
];

fn facts() -> NodeFacts {
    NodeFacts {
        name: "node-1".into(),
        zone: Some("zone-1".into()),
        node_port_addresses: NODE_IPS.map(|ip| ip.parse().unwrap()).to_vec(),
        host_addresses: NODE_IPS.map(|ip| ip.parse().unwrap()).to_vec(),
        pod_cidrs: PODS.map(|net| net.parse().unwrap()).to_vec(),
        external_ips: true,
    }
}

/// A task, what it was told, and how to know that it has done it.
struct Storm {
    node: Namespace,
    mode: ProxyMode,
    alone: Option<Alone>,
    objects: Objects,
    marks: u8,
    _topology: Topology,
}

impl Storm {
    fn begin(mode: ProxyMode) -> Self {
        let (topology, [node]) = Topology::new(["node"]);
        let objects = Objects::default();
        Self {
            alone: Some(Alone::start(&node, mode, &facts(), &objects)),
            node,
            mode,
            objects,
            marks: 0,
            _topology: topology,
        }
    }

    fn rage(&mut self, events: u64, mut chance: Chance) {
        let mut left = events;
        while left > 0 {
            let burst = (1 + chance.below(BURST)).min(left);
            left -= burst;
            for _ in 0..burst {
                match random::event(&mut chance) {
                    Event::Service(name, service) => self.tell_service(name, service),
                    Event::Slice(name, slice) => {
                        let change = put(&mut self.objects.slices, name, slice);
                        change
                            .into_iter()
                            .for_each(|change| self.alone().tell(Input::Slices(change)));
                    }
                }
            }
            // Most bursts are waited for, so that there are many changes and not a few large ones.
            match chance.below(40) {
                0 => self.restart(),
                1..8 => {}
                _ => self.mark(),
            }
        }
    }

    fn tell_service(&mut self, name: ObjectName, service: Option<ServiceNet>) {
        let change = put(&mut self.objects.services, name, service);
        change
            .into_iter()
            .for_each(|change| self.alone().tell(Input::Services(change)));
    }

    /// Waits until all that was told is in the kernel: a Service of ours that moves is the last of it.
    fn mark(&mut self) {
        self.marks = self.marks.wrapping_add(1);
        let address = IpAddr::from([10, 97, 0, self.marks]);
        let service = ServiceNet {
            cluster_ips: vec![address],
            ports: vec![ServicePortNet {
                name: "".into(),
                protocol: Protocol::Tcp,
                port: 1,
                node_port: None,
            }],
            ..ServiceNet::default()
        };
        self.tell_service(ObjectName::new("default", "mark"), Some(service));
        let text = format!("{address}/32 ");
        eventually(SOON, "the mark is in the kernel", || match self.mode {
            ProxyMode::Iptables => self.saved(Family::V4).contains(&text),
            _ => has_frontend(&self.alone().image(Family::V4), address),
        });
    }

    fn restart(&mut self) {
        self.finish();
        let again = Alone::start(&self.node, self.mode, &facts(), &self.objects);
        self.alone = Some(again);
    }

    fn finish(&mut self) {
        self.alone.take().unwrap().finish();
    }

    fn alone(&self) -> &Alone {
        self.alone.as_ref().unwrap()
    }

    fn saved(&self, family: Family) -> String {
        let program = match family {
            Family::V4 => "iptables-nft-save",
            Family::V6 => "ip6tables-nft-save",
        };
        self.node.run(program, [""; 0]).succeeds()
    }
}

/// Takes an object in, or that it is gone; what a watch would tell of that.
fn put<T: Clone>(
    all: &mut BTreeMap<ObjectName, T>,
    name: ObjectName,
    object: Option<T>,
) -> Option<Change<T>> {
    match object {
        Some(object) => {
            all.insert(name.clone(), object.clone());
            Some(Change::Applied(name, object))
        }
        None => {
            let last = all.remove(&name)?;
            Some(Change::Deleted(name, last))
        }
    }
}

fn has_frontend(image: &Image, address: IpAddr) -> bool {
    let mut frontends = image.of_map(Map::PickerOf);
    frontends.any(|(key, _)| key.address_at(0, Family::V4) == Some(address))
}

/// What becomes of connections to a frontend: the set of outcomes over all draws.
fn ways(
    loaded: &Loaded,
    family: Family,
    to: SocketAddr,
    protocol: Protocol,
) -> Vec<BTreeSet<String>> {
    /// Each of up to sixteen endpoints is drawn by one of these.
    const DRAWS: u32 = 16;
    let world = World {
        local_addresses: facts().node_port_addresses,
    };
    let clients = &CLIENTS[usize::from(family == Family::V6)];
    let each = clients.iter().map(|client| {
        let source: IpAddr = client.parse().unwrap();
        let is_node = world.local_addresses.contains(&source);
        let flow = Flow {
            origin: if is_node { Origin::Node } else { Origin::Link },
            source,
            destination: to.ip(),
            port: to.port(),
            protocol,
            mark: 0,
        };
        let outcome = |draw: u32| {
            let trace = walk(loaded, &world, &flow, &mut |modulus| draw % modulus);
            assert!(!matches!(trace.outcome, Outcome::Broken(_)), "{trace:#?}");
            format!("{:?}", trace.outcome)
        };
        (0..DRAWS).map(outcome).collect()
    });
    each.collect()
}

/// The kernel leads every frontend where a fresh start would, has nothing else, and a fresh start would change nothing.
fn is_as_after_a_fresh_start(image: &Image, table: &ServiceTable, family: Family) {
    let pods = facts().pod_cidrs;
    let (_, nothing) = ServiceProgram::restore(family, image, &pods, table.iter());
    assert_eq!(nothing, [], "a fresh start finds nothing to do");
    let none = Image::default();
    let (fresh, _) = ServiceProgram::restore(family, &none, &pods, table.iter());
    let (fresh, loaded) = (fresh.loaded(), Loaded::of(family, image.clone()));
    let own = table.iter().filter(|port| port.key.family == family);
    for (frontend, _) in own.flat_map(|port| port.frontends()) {
        let to = SocketAddr::new(frontend.address, frontend.port);
        let (is, should) = (
            ways(&loaded, family, to, frontend.protocol),
            ways(&fresh, family, to, frontend.protocol),
        );
        assert_eq!(is, should, "{frontend}");
    }
    for map in Map::ALL {
        // Chains that are no longer needed stay, and packets fill the table of clients.
        if ![Map::Pickers, Map::Affinity].contains(&map) {
            let count = |image: &Image| image.of_map(map).count();
            assert_eq!(count(image), count(&fresh.image), "{}", map.spec().name);
        }
    }
}

fn events() -> u64 {
    let events = number("SEALANE_EVENTS").unwrap_or(5_000);
    eprintln!("SEALANE_EVENTS={events}");
    events
}

#[test]
fn a_storm_of_events_ends_in_the_rules_of_a_fresh_start() {
    let mut storm = Storm::begin(ProxyMode::Nftables);
    storm.rage(events(), Chance::of_this_run());
    let table = storm.objects.table(&facts());
    assert!(table.problems().count() > 0, "no two wanted the same");
    let kernel = storm.alone().kernel.clone();
    storm.finish();
    for family in Family::ALL {
        let image = kernel.services(family).unwrap();
        is_as_after_a_fresh_start(&image, &table, family);
    }
}

#[test]
fn a_storm_of_events_ends_in_the_chains_of_a_fresh_start() {
    let mut storm = Storm::begin(ProxyMode::Iptables);
    // Each change starts programs, which take their time.
    storm.rage(events() / 10, Chance::of_this_run());
    let mut fresh = Storm::begin(ProxyMode::Iptables);
    fresh.objects = storm.objects.clone();
    fresh.restart();
    // All that it was told is in the kernel then.
    storm.restart();
    for family in Family::ALL {
        let (is, should) = (storm.saved(family), fresh.saved(family));
        assert_eq!(chains_and_rules(&is), chains_and_rules(&should));
    }
    storm.finish();
    fresh.finish();
}

/// Sorted, without counters and dates.
fn chains_and_rules(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut lines: Vec<&str> = lines
        .map(|line| line.split(" [").next().unwrap_or(line))
        .collect();
    lines.sort_unstable();
    lines
}

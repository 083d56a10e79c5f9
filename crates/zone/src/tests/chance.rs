//! Objects that come and go by chance: the zone is the one that is built of what is left.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sealane_message::Kind;
use sealane_objects::{DnsTarget, EndpointDns, PodDns, PortDns, ServiceDns, SliceDns};

use super::{ask, object, settings};
use crate::{PodRecords, Settings, Zone};

const NAMES: [&str; 3] = ["default/web", "default/db", "other/web"];

#[derive(Clone, Debug)]
enum Event {
    Service(usize, Option<ServiceDns>),
    Slice(usize, Option<SliceDns>),
    Pod(usize, Option<PodDns>),
    Namespace(usize, bool),
}

fn port() -> impl Strategy<Value = PortDns> {
    (0..3_usize, 80..82_u16).prop_map(|(name, port)| PortDns {
        name: ["", "http", "sql"][name].into(),
        protocol: sealane_net::Protocol::Tcp,
        port,
    })
}

fn address() -> impl Strategy<Value = std::net::IpAddr> {
    (0..6_usize).prop_map(|which| {
        let all = [
            "10.0.0.1",
            "10.0.0.2",
            "10.0.1.1",
            "fd00::1",
            "fd00::2",
            "10.96.0.1",
        ];
        all[which].parse().unwrap()
    })
}

fn service() -> impl Strategy<Value = ServiceDns> {
    let target = prop_oneof![
        prop::collection::vec(address(), 0..3).prop_map(DnsTarget::Addresses),
        Just(DnsTarget::Endpoints),
        Just(DnsTarget::Name("db.default.svc.cluster.local".into())),
        Just(DnsTarget::Name("1.2.3.4".into())),
    ];
    (target, prop::collection::vec(port(), 0..2))
        .prop_map(|(target, ports)| ServiceDns { target, ports })
}

fn slice() -> impl Strategy<Value = SliceDns> {
    let endpoint = (address(), any::<bool>(), 0..3_usize);
    let endpoint = endpoint.prop_map(|(address, ready, host)| EndpointDns {
        address,
        ready,
        hostname: [None, Some("a"), Some("b")][host].map(Into::into),
        pod: None,
    });
    let endpoints = prop::collection::vec(endpoint, 0..4);
    let parts = (0..2_usize, prop::collection::vec(port(), 0..2), endpoints);
    parts.prop_map(|(service, ports, endpoints)| SliceDns {
        service: ["web", "db"][service].into(),
        ports,
        endpoints,
    })
}

fn event() -> impl Strategy<Value = Event> {
    let which = || 0..NAMES.len();
    let pod = prop::collection::vec(address(), 0..3).prop_map(|addresses| PodDns {
        addresses,
        ..PodDns::default()
    });
    prop_oneof![
        2 => (which(), prop::option::of(service())).prop_map(|(n, s)| Event::Service(n, s)),
        4 => (which(), prop::option::of(slice())).prop_map(|(n, s)| Event::Slice(n, s)),
        1 => (which(), prop::option::of(pod)).prop_map(|(n, p)| Event::Pod(n, p)),
        1 => (which(), any::<bool>()).prop_map(|(n, yes)| Event::Namespace(n, yes)),
    ]
}

/// What is left of events.
#[derive(Default)]
struct Left {
    services: BTreeMap<usize, ServiceDns>,
    slices: BTreeMap<usize, SliceDns>,
    pods: BTreeMap<usize, PodDns>,
    namespaces: BTreeMap<usize, ()>,
}

fn put<T>(map: &mut BTreeMap<usize, T>, at: usize, value: Option<T>) {
    match value {
        Some(value) => map.insert(at, value),
        None => map.remove(&at),
    };
}

fn namespace(at: usize) -> &'static str {
    ["default", "other", "third"][at]
}

impl Left {
    fn take(&mut self, event: Event) {
        match event {
            Event::Service(at, service) => put(&mut self.services, at, service),
            Event::Slice(at, slice) => put(&mut self.slices, at, slice),
            Event::Pod(at, pod) => put(&mut self.pods, at, pod),
            Event::Namespace(at, yes) => put(&mut self.namespaces, at, yes.then_some(())),
        }
    }

    fn fill(&self, zone: &mut Zone) {
        let named = |at: &usize| object(NAMES[*at]);
        zone.replace_namespaces(self.namespaces.keys().map(|at| namespace(*at)));
        zone.replace_slices(self.slices.iter().map(|(at, s)| (named(at), s.clone())));
        zone.replace_services(self.services.iter().map(|(at, s)| (named(at), s.clone())));
        let pods: Vec<_> = self.pods.iter().map(|(at, pod)| (named(at), pod)).collect();
        zone.replace_pods(pods.iter().map(|(name, pod)| (name, *pod)));
    }
}

fn apply(zone: &mut Zone, event: &Event) {
    match event.clone() {
        Event::Service(at, service) => zone.set_service(&object(NAMES[at]), service),
        Event::Slice(at, slice) => zone.set_slice(&object(NAMES[at]), slice),
        Event::Pod(at, pod) => zone.set_pod(&object(NAMES[at]), pod.as_ref()),
        Event::Namespace(at, yes) => zone.set_namespace(namespace(at), yes),
    }
}

/// Everything that can be asked of such a zone.
fn everything(zone: &Zone) -> String {
    let variants = [
        settings(),
        Settings {
            pods: PodRecords::Verified,
            ignore_empty_service: true,
            namespaces: vec!["default".into()],
            ..settings()
        },
    ];
    let mut text = format!("{:?}\n", zone.size());
    for settings in &variants {
        for service in ["web.default", "db.default", "web.other"] {
            for host in [
                "",
                "a.",
                "b.",
                "10-0-0-1.",
                "fd00--1.",
                "_tcp.",
                "_http._tcp.",
                "_sql._tcp.",
            ] {
                let name = format!("{host}{service}.svc.cluster.local");
                for kind in [Kind::A, Kind::AAAA, Kind::SRV, Kind::TXT] {
                    text += &format!("{name} {kind} {}", ask(zone, settings, &name, kind));
                }
            }
        }
        for name in [
            "default.svc.cluster.local",
            "other.svc.cluster.local",
            "third.svc.cluster.local",
            "10-0-0-1.default.pod.cluster.local",
            "1.0.0.10.in-addr.arpa",
            "1.1.0.10.in-addr.arpa",
            "1.0.96.10.in-addr.arpa",
            "96.10.in-addr.arpa",
            "10.in-addr.arpa",
        ] {
            for kind in [Kind::A, Kind::PTR] {
                text += &format!("{name} {kind} {}", ask(zone, settings, name, kind));
            }
        }
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn taken_in_one_by_one_or_all_at_once(events in prop::collection::vec(event(), 1..24)) {
        let (mut zone, mut left) = (Zone::new(), Left::default());
        for event in &events {
            apply(&mut zone, event);
        }
        let half = events.len() / 2;
        let mut resynced = Zone::new();
        for event in &events[..half] {
            apply(&mut resynced, event);
        }
        for event in events {
            left.take(event);
        }
        let mut fresh = Zone::new();
        left.fill(&mut fresh);
        let expected = everything(&fresh);
        prop_assert_eq!(everything(&zone), expected.clone());
        // One that is made of its parts says the same.
        let mut again = Zone::new();
        for key in zone.parts() {
            again.put(zone.part(&key).unwrap());
        }
        prop_assert_eq!(everything(&again), expected.clone());
        // A list after a gap brings the zone to the same.
        left.fill(&mut resynced);
        prop_assert_eq!(everything(&resynced), expected);
        // And when all is gone, nothing is left.
        Left::default().fill(&mut zone);
        prop_assert!(zone.is_empty());
    }
}

//! Any change in any order, and what must hold meanwhile and afterwards.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Event {
    Service(usize, Option<(u8, bool, u8, u8)>),
    Slice(usize, Option<(usize, u8)>),
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    let shape = (0..4_u8, any::<bool>(), 0..3_u8, 0..3_u8);
    prop_oneof![
        4 => (0..4_usize, prop::option::weighted(0.8, shape)).prop_map(|(n, s)| Event::Service(n, s)),
        8 => (0..5_usize, prop::option::weighted(0.8, (0..4_usize, any::<u8>())))
            .prop_map(|(n, s)| Event::Slice(n, s)),
        1 => Just(Event::Restart),
    ]
}

fn random_service((last, local, guarded, affinity): (u8, bool, u8, u8)) -> ServiceNet {
    let mut made = everywhere(Protocol::Tcp);
    made.cluster_ips = vec![IpAddr::from([10, 96, 0, last])];
    made.external_ips.clear();
    made.load_balancer_ips = vec![IpAddr::from([192, 0, 2, last])];
    made.ports[0].node_port = Some(30_000 + u16::from(last));
    if local {
        made.external_policy = TrafficPolicy::Local;
        made.internal_policy = TrafficPolicy::Local;
    }
    // Of which one is within the other.
    let ranges = ["", "203.0.113.0/24", "200.0.0.0/6"];
    let range = ranges[usize::from(guarded)];
    made.source_ranges = range.parse().ok().map(|range| vec![range]);
    made.affinity_seconds = [None, Some(30), Some(60)][usize::from(affinity)];
    made
}

fn random_slice((service, bits): (usize, u8)) -> SliceNet {
    let node = |n: u8| {
        if n.is_multiple_of(2) {
            "node-1"
        } else {
            "node-2"
        }
    };
    let chosen = (0..8_u8).filter(|n| bits >> n & 1 == 1);
    let endpoints: Vec<_> = chosen
        .map(|n| (IpAddr::from([10, 244, 9, n + 1]), node(n)))
        .collect();
    let mut made = slice(Protocol::Tcp, &endpoints);
    made.service = format!("s{service}").into();
    made
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever happens in whatever order, the kernel takes every transaction, no packet for a frontend ever passes
    /// untranslated, restarts change nothing, and all ends as if it had been made at once.
    #[test]
    fn a_storm_ends_in_the_rules_of_a_fresh_start(events in prop::collection::vec(event(), 0..40)) {
        let mut table = ServiceTable::new(node());
        let mut stage = Stage::new(Family::V4);
        for event in events {
            let changes = match event {
                Event::Service(n, shape) => table.set_service(&name(&format!("s{n}")), shape.map(random_service)),
                Event::Slice(n, content) => table.set_slice(&name(&format!("slice{n}")), content.map(random_slice)),
                Event::Restart => {
                    let image = &stage.kernel.image;
                    let (program, transactions) = ServiceProgram::restore(
                        Family::V4, image, &node().pod_cidrs, table.iter());
                    prop_assert_eq!(transactions, vec![]);
                    stage.program = program;
                    continue;
                }
            };
            let address = |port: &Option<Arc<sealane_service::ServicePort>>| port.as_ref()?.cluster_ip;
            let stays: Vec<IpAddr> = changes.iter()
                .filter(|c| address(&c.before) == address(&c.after))
                .filter_map(|c| address(&c.after))
                .collect();
            for transaction in stage.program.update(&changes) {
                prop_assert_eq!(stage.kernel.apply(&transaction), Ok(()));
                for destination in &stays {
                    let flow = flow(POD, &destination.to_string(), 80, Protocol::Tcp);
                    let ways = stage.ways(&flow);
                    prop_assert!(!ways.contains("10.96."), "{}", ways);
                }
            }
            prop_assert_eq!(stage.program.difference(&stage.kernel.image), vec![]);
        }
        let fresh = Stage::of(Family::V4, &table);
        let sources = [POD, OUTSIDE, NODE, "10.244.9.1"];
        for last in 0..4 {
            for (to, port) in [
                (format!("10.96.0.{last}"), 80),
                (format!("192.0.2.{last}"), 80),
                (NODE.to_owned(), 30_000 + last),
            ] {
                for from in sources {
                    let flow = flow(from, &to, port, Protocol::Tcp);
                    prop_assert_eq!(stage.ways(&flow), fresh.ways(&flow), "{} to {}:{}", from, to, port);
                }
            }
        }
        let count = |stage: &Stage| Map::ALL.map(|map| match map {
            Map::Pickers | Map::Draws => 0,
            map => stage.kernel.image.of_map(map).count(),
        });
        prop_assert_eq!(count(&stage), count(&fresh), "nothing is left over");
    }
}

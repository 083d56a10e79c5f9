//! Five thousand pods onto a hundred nodes, one after the other, each seeing those before it.
//!
//! `cargo bench -p sealane-scheduling --bench burst`: time of this one thread for the whole burst, by
//! what the pods ask for.

use std::collections::BTreeMap;
use std::time::Instant;

use sealane_objects::{Demand, PodAffinity, PodTerm, Resources, Selector, Spread};
use sealane_scheduling::{Board, NodeFacts, Traits};

const NODES: usize = 100;
const PODS: usize = 5000;
/// As many as Deployments would be in such a cluster.
const TEMPLATES: usize = 50;
const HOST: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

fn main() {
    let plain = || Demand {
        requests: Resources::of([("cpu", "50m"), ("memory", "64Mi")]),
        weight: Resources::of([("cpu", "50m"), ("memory", "64Mi")]),
        ..Demand::default()
    };
    measure("requests, default spreading", |_| plain());
    measure("hard spreading over nodes and zones", |app| Demand {
        spread: vec![spread(app, HOST, 2), spread(app, ZONE, 1)],
        ..plain()
    });
    measure("preferred anti-affinity to their own kind", |app| Demand {
        away: PodAffinity {
            required: Vec::new(),
            preferred: vec![(100, term(app, HOST))],
        },
        ..plain()
    });
    measure("required anti-affinity to their own kind", |app| Demand {
        away: PodAffinity {
            required: vec![term(app, HOST)],
            preferred: Vec::new(),
        },
        ..plain()
    });
}

fn measure(what: &str, demand: impl Fn(usize) -> Demand) {
    let mut board = Board::default();
    for number in 0..NODES {
        let name = format!("node-{number}");
        board.set_node(&name, Some(node(&name, number)));
    }
    let templates: Vec<_> = (0..TEMPLATES)
        .map(|app| (labels(app), demand(app).into()))
        .collect();
    let begun = Instant::now();
    for number in 0..PODS {
        let (labels, demand) = &templates[number % TEMPLATES];
        let class = board.join(Traits {
            namespace: "default".into(),
            labels: BTreeMap::clone(labels),
            demand: std::sync::Arc::clone(demand),
        });
        let like = Selector::of_labels(labels.clone());
        let node = board.choose(class, Some(&like)).map(str::to_owned);
        let node = node.unwrap_or_else(|refusal| panic!("{what}: pod {number}: {refusal}"));
        board.put(class, &node, false);
    }
    let whole = begun.elapsed();
    let each = whole.as_secs_f64() * 1e6 / PODS as f64;
    println!(
        "{what}: {} ms for {PODS} pods onto {NODES} nodes, {each:.0} us each",
        whole.as_millis()
    );
}

fn node(name: &str, number: usize) -> NodeFacts {
    let zone = format!("zone-{}", number % 4);
    let labels = [(HOST, name), (ZONE, &zone), ("kubernetes.io/os", "linux")];
    NodeFacts {
        labels: labels
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        allocatable: Resources::of([("cpu", "8"), ("memory", "32Gi")]),
        max_pods: Some(110),
        ..NodeFacts::default()
    }
}

fn labels(app: usize) -> BTreeMap<String, String> {
    let hash = format!("{app:010x}");
    [("app", format!("app-{app}")), ("pod-template-hash", hash)]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
}

fn selector(app: usize) -> Option<Selector> {
    let own = labels(app).into_iter().filter(|(key, _)| key == "app");
    Some(Selector::of_labels(own.collect()))
}

fn term(app: usize, key: &str) -> PodTerm {
    PodTerm {
        selector: selector(app),
        namespaces: ["default".to_owned()].into(),
        namespace_selector: None,
        topology_key: key.to_owned(),
    }
}

fn spread(app: usize, key: &str, max_skew: u32) -> Spread {
    Spread {
        topology_key: key.to_owned(),
        max_skew,
        hard: true,
        selector: selector(app),
        min_domains: 1,
        honours_affinity: true,
        honours_taints: false,
    }
}

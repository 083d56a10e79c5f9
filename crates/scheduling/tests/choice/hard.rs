//! Whatever is placed in whatever order: no placement breaks a hard rule, and no pod is refused that a node could
//! take. The judge knows neither classes nor counts: it asks every pod on every node, by the API's definitions.

use std::collections::BTreeSet;

use crate::world::*;
use proptest::prelude::*;
use sealane_objects::{Demand, Effect, HostPort, Placement, PodTerm, Spread, Taint, Toleration};
use sealane_scheduling::{Board, ClassId, NodeFacts};

const APPS: [&str; 3] = ["app=a", "app=b", "app=c"];
const KEYS: [&str; 2] = [HOST, ZONE];

/// One pod that stands somewhere.
struct Standing {
    class: ClassId,
    labels: &'static str,
    demand: Demand,
    node: String,
    leaving: bool,
}

#[derive(Clone, Debug)]
enum Step {
    /// A pod of this app comes.
    Come(usize, Demand),
    /// The pod at this place of the list goes.
    Go(usize),
    /// It begins to go.
    Leave(usize),
    /// A node changes.
    Turn(usize, NodeFacts),
}

fn dedicated() -> Taint {
    Taint::no_schedule("dedicated")
}

fn nodes() -> impl Strategy<Value = Vec<NodeFacts>> {
    prop::collection::vec(facts(), 1..6)
}

fn facts() -> impl Strategy<Value = NodeFacts> {
    let zone = prop::option::weighted(0.8, 0..3u8);
    (
        zone,
        1..5u64,
        any::<bool>(),
        prop::bool::weighted(0.1),
        1..6usize,
    )
        .prop_map(|(zone, cpus, tainted, cordoned, pods)| NodeFacts {
            labels: zone
                .map(|zone| labels(&format!("{ZONE}={zone}")))
                .unwrap_or_default(),
            taints: tainted.then(dedicated).into_iter().collect(),
            cordoned,
            allocatable: cpu(cpus * 1000),
            max_pods: Some(pods),
            limited_by: None,
        })
}

fn terms() -> impl Strategy<Value = Vec<PodTerm>> {
    let one = (0..3usize, 0..2usize).prop_map(|(app, key)| term(APPS[app], KEYS[key]));
    prop::collection::vec(one, 0..2)
}

fn spreads() -> impl Strategy<Value = Vec<Spread>> {
    let one = (
        0..3usize,
        0..2usize,
        1..3u32,
        1..4u32,
        any::<bool>(),
        any::<bool>(),
    );
    let one = one.prop_map(|(app, key, skew, least, affinity, taints)| Spread {
        min_domains: least,
        honours_affinity: affinity,
        honours_taints: taints,
        ..spread(APPS[app], KEYS[key], skew)
    });
    prop::collection::vec(one, 0..3)
}

fn demands() -> impl Strategy<Value = Demand> {
    let bears = any::<bool>();
    let zone = prop::option::weighted(0.2, 0..3u8);
    let port = prop::option::weighted(0.2, 80..82u16);
    (0..30u64, bears, zone, port, terms(), terms(), spreads()).prop_map(
        |(cpus, bears, zone, port, near, away, spread)| {
            let toleration = Toleration {
                key: "dedicated".into(),
                exists: true,
                effect: Some(Effect::NoSchedule),
                ..Toleration::default()
            };
            let mut demand = Demand {
                requests: cpu(cpus * 100),
                weight: cpu(cpus * 100),
                placement: Placement {
                    selector: zone
                        .map(|z| labels(&format!("{ZONE}={z}")))
                        .unwrap_or_default(),
                    tolerations: bears.then_some(toleration).into_iter().collect(),
                    ..Placement::default()
                },
                ports: port
                    .map(|port| HostPort {
                        ip: None,
                        protocol: "TCP".into(),
                        port,
                    })
                    .into_iter()
                    .collect(),
                spread,
                ..Demand::default()
            };
            demand.near.required = near;
            demand.away.required = away;
            demand
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..3usize, demands()).prop_map(|(app, demand)| Step::Come(app, demand)),
        2 => (0..20usize).prop_map(Step::Go),
        1 => (0..20usize).prop_map(Step::Leave),
        1 => (0..6usize, facts()).prop_map(|(node, facts)| Step::Turn(node, facts)),
    ];
    prop::collection::vec(step, 1..30)
}

/// The cluster as the judge sees it.
struct World {
    nodes: Vec<(String, NodeFacts)>,
    pods: Vec<Standing>,
}

impl World {
    fn label<'a>(&'a self, node: &str, key: &str) -> Option<&'a String> {
        let (_, facts) = self.nodes.iter().find(|(name, _)| name == node)?;
        facts.labels.get(key)
    }

    fn tolerates(demand: &Demand, facts: &NodeFacts) -> bool {
        let borne = !demand.placement.tolerations.is_empty();
        borne || facts.taints.is_empty()
    }

    fn selects(demand: &Demand, facts: &NodeFacts) -> bool {
        let mut pairs = demand.placement.selector.iter();
        pairs.all(|(key, value)| facts.labels.get(key) == Some(value))
    }

    fn wants(term: &PodTerm, text: &str) -> bool {
        term.selector
            .as_ref()
            .expect("every term here selects")
            .matches(&labels(text))
    }

    /// The first rule that this pod would break on this node.
    fn broken(&self, app: &str, demand: &Demand, node: &str) -> Option<&'static str> {
        let facts = &self.nodes.iter().find(|(name, _)| name == node)?.1;
        let there = || self.pods.iter().filter(|pod| pod.node == node);
        let used: u64 = there().map(|pod| pod.demand.requests.cpu_millis).sum();
        let asked = demand.requests.cpu_millis;
        if facts.cordoned || !Self::tolerates(demand, facts) {
            return Some("taint");
        }
        if !Self::selects(demand, facts) {
            return Some("selector");
        }
        if there().any(|pod| {
            pod.demand
                .ports
                .iter()
                .any(|port| demand.ports.contains(port))
        }) {
            return Some("port");
        }
        if there().count() >= facts.max_pods.expect("every node here has a limit") {
            return Some("pods");
        }
        if asked > 0 && used + asked > facts.allocatable.cpu_millis {
            return Some("cpu");
        }
        if demand
            .spread
            .iter()
            .any(|rule| self.skews(app, demand, rule, node))
        {
            return Some("spread");
        }
        self.neighbours(app, demand, node)
    }

    fn neighbours(&self, app: &str, demand: &Demand, node: &str) -> Option<&'static str> {
        let same_place = |term: &PodTerm, other: &str| {
            let here = self.label(node, &term.topology_key);
            here.is_some() && here == self.label(other, &term.topology_key)
        };
        let near = &demand.near.required;
        let fits_all = |text: &str| near.iter().all(|term| Self::wants(term, text));
        let friends: Vec<_> = self
            .pods
            .iter()
            .filter(|pod| fits_all(pod.labels))
            .collect();
        let reachable = friends.iter().any(|pod| {
            near.iter()
                .any(|term| self.label(&pod.node, &term.topology_key).is_some())
        });
        let first = !reachable && fits_all(app);
        let served = |term: &PodTerm| {
            let labelled = self.label(node, &term.topology_key).is_some();
            labelled && (first || friends.iter().any(|pod| same_place(term, &pod.node)))
        };
        if !near.iter().all(served) {
            return Some("near");
        }
        let bothers = |pod: &Standing| {
            let ours = demand.away.required.iter();
            let theirs = pod.demand.away.required.iter();
            ours.filter(|term| Self::wants(term, pod.labels))
                .chain(theirs.filter(|term| Self::wants(term, app)))
                .any(|term| same_place(term, &pod.node))
        };
        self.pods.iter().any(bothers).then_some("away")
    }

    fn skews(&self, app: &str, demand: &Demand, rule: &Spread, node: &str) -> bool {
        let Some(value) = self.label(node, &rule.topology_key) else {
            return true;
        };
        let all_keys = |facts: &NodeFacts| {
            let mut keys = demand.spread.iter().map(|rule| &rule.topology_key);
            keys.all(|key| facts.labels.contains_key(key))
        };
        let counts = |(_, facts): &&(String, NodeFacts)| {
            all_keys(facts)
                && (!rule.honours_affinity || Self::selects(demand, facts))
                && (!rule.honours_taints || Self::tolerates(demand, facts))
        };
        let eligible: Vec<_> = self.nodes.iter().filter(counts).collect();
        let domains: BTreeSet<_> = eligible
            .iter()
            .map(|(_, n)| &n.labels[&rule.topology_key])
            .collect();
        let selector = rule.selector.as_ref().expect("every rule here selects");
        let pods_in = |domain: &String| {
            let inside = |pod: &&Standing| {
                let on = eligible.iter().find(|(name, _)| *name == pod.node);
                on.is_some_and(|(_, facts)| &facts.labels[&rule.topology_key] == domain)
                    && !pod.leaving
                    && selector.matches(&labels(pod.labels))
            };
            self.pods.iter().filter(inside).count() as i64
        };
        let fewest = domains
            .iter()
            .map(|domain| pods_in(domain))
            .min()
            .unwrap_or(0);
        let fewest = if domains.len() < rule.min_domains as usize {
            0
        } else {
            fewest
        };
        let own = i64::from(selector.matches(&labels(app)));
        pods_in(value) + own - fewest > i64::from(rule.max_skew)
    }
}

fn named(number: usize, mut facts: NodeFacts) -> (String, NodeFacts) {
    let name = format!("node-{number}");
    facts.labels.insert(HOST.into(), name.clone());
    (name, facts)
}

fn run(nodes: Vec<NodeFacts>, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut board = Board::default();
    let nodes: Vec<_> = nodes
        .into_iter()
        .enumerate()
        .map(|(n, facts)| named(n, facts))
        .collect();
    for (name, facts) in &nodes {
        board.set_node(name, Some(facts.clone()));
    }
    let mut world = World {
        nodes,
        pods: Vec::new(),
    };
    for step in steps {
        match step {
            Step::Come(app, demand) => {
                let text = APPS[app];
                let class = pod(&mut board, text, demand.clone());
                match board.choose(class, None).map(str::to_owned) {
                    Ok(node) => {
                        prop_assert_eq!(world.broken(text, &demand, &node), None);
                        board.put(class, &node, false);
                        world.pods.push(Standing {
                            class,
                            labels: text,
                            demand,
                            node,
                            leaving: false,
                        });
                    }
                    Err(refusal) => {
                        for (name, _) in &world.nodes {
                            let broken = world.broken(text, &demand, name);
                            prop_assert!(broken.is_some(), "{} would do: {}", name, refusal);
                        }
                        board.part(class);
                    }
                }
            }
            Step::Go(place) if place < world.pods.len() => {
                let gone = world.pods.remove(place);
                board.take(gone.class, &gone.node, gone.leaving);
                board.part(gone.class);
            }
            Step::Leave(place) if place < world.pods.len() => {
                let pod = &mut world.pods[place];
                if !pod.leaving {
                    board.take(pod.class, &pod.node, false);
                    board.put(pod.class, &pod.node, true);
                    pod.leaving = true;
                }
            }
            Step::Turn(number, facts) if number < world.nodes.len() => {
                let (name, facts) = named(number, facts);
                board.set_node(&name, Some(facts.clone()));
                world.nodes[number] = (name, facts);
            }
            _ => {}
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_placement_breaks_no_rule_and_a_refusal_has_its_reasons(nodes in nodes(), steps in steps()) {
        run(nodes, steps)?;
    }
}

//! How fast nodes may be emptied, by how many of their zone are unwell.
//!
//! | of a zone's nodes | state | a node is tainted `NoExecute` |
//! |---|---|---|
//! | some are not ready | normal | `--node-eviction-rate` times a second |
//! | more than two, and `--unhealthy-zone-threshold` of all | partial disruption | `--secondary-node-eviction-rate` in a large zone, in others not at all |
//! | all | full disruption | as normal; but when that is so of every zone, not at all |
//!
//! When many nodes fall silent together, it is more likely that we do not hear
//! them than that they are all gone; and if they are, there is no room for
//! their pods elsewhere. Source: kube-controller-manager's `nodelifecycle`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::view::{NodeView, Truth};

/// How fast nodes may be emptied.
#[derive(Clone, Debug, PartialEq)]
pub struct Rates {
    /// Nodes a second.
    pub normal: f64,
    /// Nodes a second in a large zone that is partially disrupted.
    pub reduced: f64,
    /// A zone with more nodes is large.
    pub large: usize,
    /// The share of nodes that makes a zone partially disrupted.
    pub threshold: f64,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            normal: 0.1,
            reduced: 0.01,
            large: 50,
            threshold: 0.55,
        }
    }
}

/// How a zone is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Normal,
    Partial,
    Full,
}

/// Region and zone of a node.
pub type ZoneKey = (String, String);

#[derive(Default)]
struct Zone {
    ready: usize,
    unwell: usize,
    /// When the next node may be tainted.
    next_at: Option<Instant>,
}

/// All zones that have nodes.
pub struct Zones {
    rates: Rates,
    zones: BTreeMap<ZoneKey, Zone>,
    /// Every zone is fully disrupted.
    blind: bool,
}

/// What a new count of the nodes has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    None,
    /// From now on no node at all is ready.
    Blind,
    /// Some node is ready again.
    Seeing,
}

impl Zones {
    pub fn new(rates: Rates) -> Self {
        Self {
            rates,
            zones: BTreeMap::new(),
            blind: false,
        }
    }

    /// Counts anew. After a time of blindness nothing is tainted for `patience`: others may come back too.
    pub fn count<'a>(
        &mut self,
        nodes: impl Iterator<Item = &'a NodeView>,
        now: Instant,
        patience: Duration,
    ) -> Turn {
        for zone in self.zones.values_mut() {
            (zone.ready, zone.unwell) = (0, 0);
        }
        for node in nodes.filter(|node| !node.labels.contains_key(EXCLUDED)) {
            let zone = self.zones.entry(zone_of(node)).or_default();
            match node.ready {
                Some(Truth::True) => zone.ready += 1,
                _ => zone.unwell += 1,
            }
        }
        self.zones.retain(|_, zone| zone.ready + zone.unwell > 0);
        let full = |zone: &Zone| state(zone, &self.rates) == State::Full;
        let blind = !self.zones.is_empty() && self.zones.values().all(full);
        match (std::mem::replace(&mut self.blind, blind), blind) {
            (false, true) => Turn::Blind,
            (true, false) => {
                for zone in self.zones.values_mut() {
                    zone.next_at = Some(now + patience);
                }
                Turn::Seeing
            }
            _ => Turn::None,
        }
    }

    pub fn is_blind(&self) -> bool {
        self.blind
    }

    /// When a node of this zone may be tainted; none: not while things are as they are.
    pub fn may_at(&self, node: &NodeView, now: Instant) -> Option<Instant> {
        if self.blind {
            return None;
        }
        let Some(zone) = self.zones.get(&zone_of(node)) else {
            return Some(now); // It is not counted, and has no zone of others.
        };
        self.pause(zone)?;
        Some(zone.next_at.map_or(now, |at| at.max(now)))
    }

    /// A node of this zone is being tainted.
    pub fn spend(&mut self, node: &NodeView, now: Instant) {
        let Some(zone) = self.zones.get(&zone_of(node)) else {
            return;
        };
        let pause = self.pause(zone);
        if let Some(zone) = self.zones.get_mut(&zone_of(node)) {
            zone.next_at = pause.map(|pause| now + pause);
        }
    }

    /// The pause between two nodes of a zone.
    fn pause(&self, zone: &Zone) -> Option<Duration> {
        let rate = match state(zone, &self.rates) {
            State::Normal | State::Full => self.rates.normal,
            State::Partial if zone.ready + zone.unwell > self.rates.large => self.rates.reduced,
            State::Partial => 0.0,
        };
        (rate > 0.0).then(|| Duration::from_secs_f64((1.0 / rate).min(1e6)))
    }

    /// The state of each zone, for `/debug/state`.
    pub fn shown(&self) -> BTreeMap<String, String> {
        let shown = |((region, name), zone): (&ZoneKey, &Zone)| {
            let state = format!("{:?}", state(zone, &self.rates));
            (format!("{region}/{name}"), state)
        };
        self.zones.iter().map(shown).collect()
    }
}

/// Nodes with this label do not count.
const EXCLUDED: &str = "node.kubernetes.io/exclude-disruption";

fn zone_of(node: &NodeView) -> ZoneKey {
    let label = |key: &str| node.labels.get(key).cloned().unwrap_or_default();
    (
        label("topology.kubernetes.io/region"),
        label("topology.kubernetes.io/zone"),
    )
}

fn state(zone: &Zone, rates: &Rates) -> State {
    let all = zone.ready + zone.unwell;
    if zone.ready == 0 && all > 0 {
        State::Full
    } else if zone.unwell > 2 && zone.unwell as f64 / all as f64 >= rates.threshold {
        State::Partial
    } else {
        State::Normal
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::node;

    const NOW: Duration = Duration::ZERO;

    fn nodes(zone: &str, ready: usize, silent: usize) -> Vec<NodeView> {
        let node = |ready| {
            let mut node = node("u");
            node.labels
                .insert("topology.kubernetes.io/zone".into(), zone.into());
            node.ready = Some(ready);
            node
        };
        let mut all = vec![node(Truth::True); ready];
        all.extend(vec![node(Truth::Unknown); silent]);
        all
    }

    #[test]
    fn a_zone_is_as_unwell_as_its_nodes() {
        for (ready, silent, pause) in [
            (2, 1, Some(10)),
            (1, 2, Some(10)),
            (3, 3, Some(10)),
            (2, 3, None),
            (1, 9, None),
            (20, 31, Some(100)),
            (40, 20, Some(10)),
        ] {
            let mut zones = Zones::new(Rates::default());
            let all = nodes("a", ready, silent);
            let now = Instant::now();
            assert_eq!(zones.count(all.iter(), now, NOW), Turn::None);
            let first = zones.may_at(&all[ready], now);
            zones.spend(&all[ready], now);
            let second = zones.may_at(&all[ready], now);
            let expected = pause.map(|seconds| now + Duration::from_secs(seconds));
            assert_eq!(
                (first.is_some(), second),
                (pause.is_some(), expected),
                "{ready} {silent}"
            );
        }
    }

    #[test]
    fn one_zone_may_go_down_but_not_all() {
        let mut zones = Zones::new(Rates::default());
        let now = Instant::now();
        let down = nodes("a", 0, 3);
        let up = nodes("b", 1, 0);
        zones.count(down.iter().chain(&up), now, NOW);
        assert_eq!(zones.may_at(&down[0], now), Some(now));
        let up = nodes("b", 0, 1);
        assert_eq!(zones.count(down.iter().chain(&up), now, NOW), Turn::Blind);
        assert_eq!(zones.may_at(&down[0], now), None);
        let patience = Duration::from_secs(40);
        let up = nodes("b", 1, 0);
        let turn = zones.count(down.iter().chain(&up), now, patience);
        assert_eq!(turn, Turn::Seeing);
        assert_eq!(zones.may_at(&down[0], now), Some(now + patience));
    }

    #[test]
    fn a_node_that_is_excluded_does_not_count() {
        let mut zones = Zones::new(Rates::default());
        let mut all = nodes("a", 1, 1);
        all[0].labels.insert(EXCLUDED.into(), String::new());
        assert_eq!(zones.count(all.iter(), Instant::now(), NOW), Turn::Blind);
    }
}

//! The life of nodes, and what becomes of their pods.
//!
//! ```text
//!  lease not renewed ──> health ──> conditions Unknown ──> unready ──> pods Ready=False: endpoints leave
//!                                         │
//!                     conditions, cordon ─┴─> taints (zones: how fast) ──> eviction ──> pods deleted in time
//!  node does not exist, is out of service; too many ended pods ──> collection ──> pods removed by force
//! ```
//!
//! Kubernetes has four controllers for this (node lifecycle, taint eviction,
//! pod garbage collection and a part of each in the others), each with caches
//! of its own. Here each is a state machine of its own too, but they share one
//! index of pods by node, and each sees only what the watches show of the
//! others' work, as there.

mod collection;
mod eviction;
mod health;
mod orphans;
mod pods;
mod taints;
mod unready;
mod zones;

use std::time::{Duration, Instant};

use sealane_kube::Change;
use serde_json::{Value, json};

use crate::action::{Action, Controller, Input};
use collection::Collection;
use eviction::Evictions;
use health::Health;
use orphans::Orphans;
use pods::PodsByNode;
pub use taints::PRESSURES;
use taints::Taints;
use unready::Unready;
pub use zones::Rates;

/// How patient to be with nodes. Names and defaults are those of kube-controller-manager's flags.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// A node that gives no sign of life for so long is marked.
    pub grace: Duration,
    /// The same for a node that has never posted its status.
    pub startup_grace: Duration,
    /// How fast nodes may be emptied.
    pub rates: Rates,
    /// As many pods that have ended are kept; 0: all.
    pub ended_pods: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(50),
            startup_grace: Duration::from_secs(60),
            rates: Rates::default(),
            ended_pods: 12_500,
        }
    }
}

/// The controller of nodes' lives.
pub struct Lifecycle {
    pods: PodsByNode,
    health: Health,
    taints: Taints,
    unready: Unready,
    evictions: Evictions,
    orphans: Orphans,
    collection: Collection,
}

impl Lifecycle {
    pub fn new(settings: Settings) -> Self {
        Self {
            pods: PodsByNode::default(),
            health: Health::new(settings.grace, settings.startup_grace),
            taints: Taints::new(settings.rates, settings.grace),
            unready: Unready::default(),
            evictions: Evictions::default(),
            orphans: Orphans::default(),
            collection: Collection::new(settings.ended_pods),
        }
    }
}

impl Controller for Lifecycle {
    fn handle(&mut self, input: &Input, now: Instant, actions: &mut Vec<Action>) {
        match input {
            Input::Nodes(change) => {
                self.health.nodes_changed(change, now, actions);
                self.taints.nodes_changed(change, now, actions);
                self.unready.nodes_changed(change, &self.pods, actions);
                self.evictions
                    .nodes_changed(change, &self.pods, now, actions);
                self.orphans.nodes_changed(change, &self.pods, now);
                self.collection.nodes_changed(change, &self.pods, actions);
            }
            Input::Pods(change) => {
                let moved = self.pods.apply(change);
                self.unready.pods_changed(change, actions);
                self.evictions.pods_changed(change, now, actions);
                self.orphans.pods_changed(&moved, &self.pods, now);
                self.collection.pods_changed(change, actions);
            }
            Input::Leases(change) => self.health.leases_changed(change, now),
            Input::Ended(action, outcome) => {
                self.health.ended(action, outcome, now, actions);
                self.taints.ended(action, outcome, now);
                self.unready
                    .ended(action, outcome, &self.pods, now, actions);
                self.evictions.ended(action, outcome, now);
                self.orphans.ended(action, outcome, now);
                self.collection.ended(action, outcome);
            }
            Input::Tick => {
                self.health.tick(now, actions);
                self.taints.tick(now, actions);
                self.unready.tick(&self.pods, now, actions);
                self.evictions.tick(now, actions);
                self.orphans.tick(&self.pods, now, actions);
            }
            Input::Workloads(_) => {}
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        let wakes = [
            self.health.wake_at(),
            self.taints.wake_at(),
            self.unready.wake_at(),
            self.evictions.wake_at(),
            self.orphans.wake_at(&self.pods),
        ];
        wakes.into_iter().flatten().min()
    }

    fn state(&self, now: Instant) -> Value {
        json!({
            "health": self.health.state(now),
            "taints": self.taints.state(now),
            "evictions": self.evictions.state(now),
            "orphans": self.orphans.state(now),
            "ended_pods": self.collection.ended_pods(),
        })
    }
}

/// The names of a full set, and of one object that changed.
fn names<T>(change: &Change<T>) -> impl Iterator<Item = &str> {
    let (all, one) = match change {
        Change::Reset(all) => (all.as_slice(), None),
        Change::Applied(name, _) | Change::Deleted(name, _) => (&[][..], Some(name)),
    };
    let all = all.iter().map(|(name, _)| name);
    all.chain(one).map(|name| &*name.name)
}

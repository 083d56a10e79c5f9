//! What one of all nodes has to do about a pool, without anybody who says which one.
//!
//! All agents see the same objects and come to the same conclusion. The first
//! node by name acts at once; each other one a moment after the one before it, if
//! the watch does not show by then that it is done. So it is done once, also when
//! the first ones are away. Rejected: an election, which is a lease to be kept for
//! something that happens a few times in a pool's life.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sealane_objects::{PoolCondition, PoolNet};
use tokio::time::Instant;

use super::pools::KEPT_EMPTY;

/// How long a node waits for the one before it.
const TURN: Duration = Duration::from_millis(300);
/// Agents with different settings may never agree: each says the same thing again only so often.
const SAID_AGAIN: Duration = Duration::from_secs(300);

/// What is to be done, and since when.
#[derive(Debug, Default)]
pub struct Duties {
    since: BTreeMap<String, Instant>,
    due: BTreeMap<String, Instant>,
    /// Nodes that have blocks and no Node.
    absent_since: BTreeMap<(String, String), Instant>,
    said: BTreeMap<String, (PoolCondition, Instant)>,
}

impl Duties {
    /// Forgets pools that are gone.
    pub fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.since.retain(|pool, _| is_there(pool));
        self.due.retain(|pool, _| is_there(pool));
        self.absent_since.retain(|(pool, _), _| is_there(pool));
        self.said.retain(|pool, _| is_there(pool));
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.due.values().min().copied()
    }

    /// Those of the absent nodes that have been so for long enough to lose what they have of a pool.
    ///
    /// A Node may be deleted and come back with its pods, so it is given some
    /// time; not if the pool is being deleted, since then nobody else gets them.
    pub fn gone(&mut self, pool: &PoolNet, absent: Vec<String>, now: Instant) -> Vec<String> {
        let still: BTreeSet<&String> = absent.iter().collect();
        self.absent_since
            .retain(|(of, node), _| *of != pool.name || still.contains(node));
        let mut gone = Vec::new();
        for node in absent {
            let key = (pool.name.clone(), node.clone());
            let since = *self.absent_since.entry(key).or_insert(now);
            if pool.deleting || now >= since + KEPT_EMPTY {
                gone.push(node);
            }
        }
        gone
    }

    /// A condition is being written.
    pub fn told(&mut self, pool: &str, condition: &PoolCondition) {
        let said = (condition.clone(), Instant::now());
        self.said.insert(pool.to_owned(), said);
    }

    /// It could not be written.
    pub fn not_told(&mut self, pool: &str) {
        self.said.remove(pool);
    }

    /// Whether this node has said the same not long ago, and somebody has said something else since.
    pub fn was_told(&self, pool: &str, condition: &PoolCondition, now: Instant) -> bool {
        let said = self.said.get(pool);
        said.is_some_and(|(said, when)| said.says(condition) && now < *when + SAID_AGAIN)
    }

    /// Whether it is the turn of the node that has so many `before` it.
    pub fn is_due(&mut self, pool: &str, needed: bool, before: usize, now: Instant) -> bool {
        if !needed {
            self.since.remove(pool);
            self.due.remove(pool);
            return false;
        }
        let since = *self.since.entry(pool.to_owned()).or_insert(now);
        let before = u32::try_from(before).unwrap_or(u32::MAX);
        let at = since + TURN.saturating_mul(before);
        if now < at {
            self.due.insert(pool.to_owned(), at);
            return false;
        }
        self.due.remove(pool);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_take_their_turns_and_stop_when_it_is_done() {
        let (mut first, mut second) = (Duties::default(), Duties::default());
        let now = Instant::now();
        assert!(first.is_due("web", true, 0, now));
        assert!(!second.is_due("web", true, 1, now));
        assert_eq!(second.next_due(), Some(now + TURN));
        assert!(!second.is_due("web", false, 1, now + TURN / 2));
        assert_eq!(second.next_due(), None);
        assert!(!second.is_due("web", true, 1, now + TURN));
        assert!(second.is_due("web", true, 1, now + TURN * 2));
    }

    #[test]
    fn an_absent_node_loses_its_blocks_after_a_while_and_at_once_with_its_pool() {
        let mut duties = Duties::default();
        let now = Instant::now();
        let mut pool = PoolNet {
            name: "web".into(),
            ..PoolNet::default()
        };
        let absent = || vec!["node-9".to_owned()];
        assert!(duties.gone(&pool, absent(), now).is_empty());
        assert!(duties.gone(&pool, vec![], now + KEPT_EMPTY / 2).is_empty());
        assert!(
            duties.gone(&pool, absent(), now + KEPT_EMPTY).is_empty(),
            "it was back"
        );
        assert_eq!(duties.gone(&pool, absent(), now + KEPT_EMPTY * 2), absent());
        pool.deleting = true;
        assert_eq!(Duties::default().gone(&pool, absent(), now), absent());
    }

    #[test]
    fn what_was_said_is_not_said_again_at_once() {
        let mut duties = Duties::default();
        let bad = PoolCondition {
            message: "no".into(),
            ..PoolCondition::default()
        };
        let now = Instant::now();
        assert!(!duties.was_told("web", &bad, now));
        duties.told("web", &bad);
        assert!(duties.was_told("web", &bad, now));
        assert!(!duties.was_told("web", &PoolCondition::default(), now));
        assert!(!duties.was_told("web", &bad, now + SAID_AGAIN * 2));
    }
}

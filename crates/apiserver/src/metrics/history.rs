//! Rates out of counters: what nodes have said lately, and what lies between.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use jiff::Timestamp;

use super::summary::{Meter, Summary};

/// A rate is taken over at least this long, if anybody asked so long ago.
const WINDOW: Duration = Duration::from_secs(10);
/// What was said longer ago says nothing about the present.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// The shortest time over which a rate is worth anything.
pub const MOMENT: Duration = Duration::from_secs(1);

/// What all nodes said at one time; nodes that did not answer are missing.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// By the name of the node.
    pub nodes: HashMap<String, Summary>,
}

/// What one thing takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    /// Processors, in thousandths of a millionth.
    pub cpu_nanos: u64,
    /// Memory in use.
    pub memory_bytes: u64,
    /// When it was measured.
    pub at: Timestamp,
    /// Over how long the processor time was.
    pub window: Duration,
}

/// Samples of the last minute, the newest last. Of those older than [`WINDOW`] only the newest is kept.
#[derive(Debug, Default)]
pub struct History {
    samples: VecDeque<(Timestamp, Sample)>,
}

impl History {
    /// The newest sample's age; none without one.
    pub fn age(&self, now: Timestamp) -> Option<Duration> {
        self.samples.back().map(|(at, _)| between(*at, now))
    }

    /// Whether there are two samples, from which a rate can be told.
    pub fn is_rated(&self) -> bool {
        self.samples.len() > 1
    }

    /// Takes in what nodes said at the time `at`.
    pub fn add(&mut self, at: Timestamp, sample: Sample) {
        self.samples
            .retain(|(then, _)| then <= &at && between(*then, at) <= FORGOTTEN);
        while let Some((next, _)) = self.samples.get(1)
            && between(*next, at) >= WINDOW
        {
            self.samples.pop_front();
        }
        self.samples.push_back((at, sample));
    }

    /// What each container of a pod takes, by name: `None` if it is not known of any container that runs.
    pub fn pod(&self, node: &str, uid: &str) -> Option<Vec<(String, Figure)>> {
        let newest = self.newest(node)?;
        let pod = newest.pods.get(uid)?;
        let before = self.oldest(node).and_then(|summary| summary.pods.get(uid));
        let figures = pod.containers.iter().map(|container| {
            let before = before.and_then(|pod| {
                let mut containers = pod.containers.iter();
                containers.find(|one| one.name == container.name)
            });
            let began = Meter {
                at: container.began,
                cpu_nanos: 0,
                memory_bytes: 0,
            };
            let before = before
                .filter(|before| before.began == container.began)
                .map_or(began, |before| before.meter);
            Some((container.name.clone(), figure(&before, &container.meter)?))
        });
        let figures: Option<Vec<_>> = figures.collect();
        figures.filter(|figures| !figures.is_empty())
    }

    /// What the pods of a node take together.
    pub fn node(&self, node: &str) -> Option<Figure> {
        let (newest, oldest) = (self.newest(node)?, self.oldest(node)?);
        figure(&oldest.node?, &newest.node?)
    }

    fn newest(&self, node: &str) -> Option<&Summary> {
        self.samples.back()?.1.nodes.get(node)
    }

    /// The oldest sample that the node is in; it may not have answered each time.
    fn oldest(&self, node: &str) -> Option<&Summary> {
        let mut samples = self.samples.iter();
        samples.find_map(|(_, sample)| sample.nodes.get(node))
    }
}

fn between(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

/// The rate between two readings; none if they are too close, or the counter began anew.
fn figure(before: &Meter, now: &Meter) -> Option<Figure> {
    let window = between(before.at, now.at);
    let spent = now.cpu_nanos.checked_sub(before.cpu_nanos)?;
    // A little less than a moment, since clocks are read at both ends.
    if window < MOMENT / 2 {
        return None;
    }
    let rate = u128::from(spent) * 1_000_000_000 / window.as_nanos();
    Some(Figure {
        cpu_nanos: u64::try_from(rate).ok()?,
        memory_bytes: now.memory_bytes,
        at: now.at,
        window,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::summary::{Container, Pod};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    /// A node with one container that began at `began` and has taken this many milliseconds.
    fn sample(now: i64, began: i64, milliseconds: u64) -> Sample {
        let meter = Meter {
            at: at(now),
            cpu_nanos: milliseconds * 1_000_000,
            memory_bytes: 5000,
        };
        let container = Container {
            name: "c".into(),
            began: at(began),
            meter,
        };
        let summary = Summary {
            node: Some(meter),
            pods: [(
                "u".to_owned(),
                Pod {
                    containers: vec![container],
                },
            )]
            .into(),
        };
        Sample {
            nodes: [("n".to_owned(), summary)].into(),
        }
    }

    fn shown(history: &History) -> Option<(u64, u64)> {
        let figures = history.pod("n", "u")?;
        let [(_, figure)] = figures.as_slice() else {
            panic!("{figures:?}")
        };
        Some((figure.cpu_nanos / 1_000_000, figure.window.as_secs()))
    }

    #[test]
    fn the_rate_is_that_of_the_last_ten_seconds_or_a_little_more() {
        let mut history = History::default();
        // Half a processor until 100, all of it from then on.
        for (now, spent, expected) in [
            (90, 5_000, None),
            (91, 5_500, Some((500, 1))),
            (95, 7_500, Some((500, 5))),
            (100, 10_000, Some((500, 10))),
            (103, 13_000, Some((625, 12))),
            (113, 23_000, Some((1000, 10))),
            // Nobody asked for a while; then for too long.
            (170, 80_000, Some((1000, 57))),
            (231, 80_000, None),
        ] {
            history.add(at(now), sample(now, 10, spent));
            assert_eq!(shown(&history), expected, "at {now}");
        }
        assert!(!history.is_rated());
        assert_eq!(history.node("n"), None, "a rate needs two readings");
    }

    #[test]
    fn a_container_that_began_meanwhile_is_measured_from_its_beginning() {
        let mut history = History::default();
        history.add(at(100), sample(100, 10, 50_000));
        history.add(at(105), sample(105, 103, 1_000));
        assert_eq!(shown(&history), Some((500, 2)));
        history.add(at(106), sample(106, 106, 0));
        assert_eq!(shown(&history), None, "it began just now");
        assert_eq!(history.pod("n", "other"), None);
        assert_eq!(history.pod("m", "u"), None);
    }

    #[test]
    fn a_node_is_measured_between_two_readings() {
        let mut history = History::default();
        history.add(at(100), sample(100, 10, 1_000));
        history.add(at(102), sample(102, 10, 4_000));
        let figure = history.node("n").unwrap();
        assert_eq!(
            (figure.cpu_nanos, figure.memory_bytes),
            (1_500_000_000, 5000)
        );
    }

    #[test]
    fn memory_stays_small_however_often_somebody_asks() {
        let mut history = History::default();
        for second in 0..600 {
            history.add(at(second), sample(second, 0, 0));
        }
        assert!(history.samples.len() <= 12, "{}", history.samples.len());
        assert_eq!(history.age(at(602)), Some(Duration::from_secs(3)));
    }
}

//! Histograms: how often something took how long, or was how large.
//!
//! One observation is two additions and a search among a dozen numbers, without a lock: it may be
//! made for every query of a busy server.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::metrics::render_labels;

/// Counts observations by how large they are.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Cells>);

#[derive(Debug)]
struct Cells {
    /// Upper ends, ascending.
    ends: Box<[f64]>,
    /// Observations for each end, and those beyond the last.
    counts: Box<[AtomicU64]>,
    /// Bits of a float.
    sum: AtomicU64,
}

impl Histogram {
    pub(crate) fn new(ends: &[f64]) -> Self {
        debug_assert!(ends.is_sorted(), "upper ends ascend");
        Self(Arc::new(Cells {
            ends: ends.into(),
            counts: (0..=ends.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0f64.to_bits()),
        }))
    }

    /// Counts one observation.
    pub fn observe(&self, value: f64) {
        let cells = &*self.0;
        let bucket = cells.ends.partition_point(|end| *end < value);
        if let Some(count) = cells.counts.get(bucket) {
            count.fetch_add(1, Relaxed);
        }
        let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
        let _always = cells.sum.fetch_update(Relaxed, Relaxed, add);
    }

    /// How many observations there were.
    pub fn count(&self) -> u64 {
        self.0.counts.iter().map(|count| count.load(Relaxed)).sum()
    }

    fn render(&self, out: &mut String, name: &str, labels: &[(String, String)]) {
        let mut total = 0;
        let ends = self.0.ends.iter().map(f64::to_string);
        let ends = ends.chain(["+Inf".to_owned()]);
        for (end, count) in ends.zip(&self.0.counts) {
            total += count.load(Relaxed);
            let own: Vec<_> = labels
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .chain([("le", end.as_str())])
                .collect();
            let _infallible = writeln!(out, "{name}_bucket{} {total}", render_labels(&own));
        }
        let own: Vec<_> = labels
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let labels = render_labels(&own);
        let sum = f64::from_bits(self.0.sum.load(Relaxed));
        let _infallible = write!(
            out,
            "{name}_sum{labels} {sum}\n{name}_count{labels} {total}\n"
        );
    }
}

/// All histograms of a process, by name and labels.
#[derive(Debug, Default)]
pub(crate) struct Histograms {
    families: Mutex<BTreeMap<&'static str, Family>>,
}

#[derive(Debug)]
struct Family {
    help: &'static str,
    members: BTreeMap<Vec<(String, String)>, Histogram>,
}

impl Histograms {
    /// The same name and labels give the same histogram, which keeps its first ends.
    pub(crate) fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&str, &str)],
        ends: &[f64],
    ) -> Histogram {
        let labels = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let family = families.entry(name).or_insert_with(|| Family {
            help,
            members: BTreeMap::new(),
        });
        let member = family.members.entry(labels);
        member.or_insert_with(|| Histogram::new(ends)).clone()
    }

    pub(crate) fn render(&self, out: &mut String) {
        let families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, family) in &*families {
            let help = family.help;
            let _infallible = write!(out, "# HELP {name} {help}\n# TYPE {name} histogram\n");
            for (labels, histogram) in &family.members {
                histogram.render(out, name, labels);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_the_text_that_prometheus_reads() {
        let all = Histograms::default();
        let took = all.histogram("took_seconds", "Time.", &[("to", "a")], &[0.25, 1.0]);
        for value in [0.25, 0.5, 7.0] {
            took.observe(value);
        }
        let mut text = String::new();
        all.render(&mut text);
        assert_eq!(
            text,
            "# HELP took_seconds Time.\n\
             # TYPE took_seconds histogram\n\
             took_seconds_bucket{to=\"a\",le=\"0.25\"} 1\n\
             took_seconds_bucket{to=\"a\",le=\"1\"} 2\n\
             took_seconds_bucket{to=\"a\",le=\"+Inf\"} 3\n\
             took_seconds_sum{to=\"a\"} 7.75\n\
             took_seconds_count{to=\"a\"} 3\n"
        );
    }

    #[test]
    fn registering_again_goes_on_counting() {
        let all = Histograms::default();
        all.histogram("n", "N.", &[], &[1.0]).observe(0.0);
        assert_eq!(all.histogram("n", "N.", &[], &[1.0]).count(), 1);
    }
}

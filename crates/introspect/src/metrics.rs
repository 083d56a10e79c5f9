//! Counters and gauges, and the Prometheus text of all of them.
//!
//! Text format 0.0.4: `# HELP`, `# TYPE`, then one line for each label set.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// A number that only grows.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The number so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Relaxed))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

/// All numbers of a process, by name and labels.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    families: Mutex<BTreeMap<&'static str, Family>>,
}

#[derive(Debug)]
struct Family {
    kind: Kind,
    help: &'static str,
    /// Rendered labels (`{family="4"}` or nothing) to the cell.
    cells: BTreeMap<String, Arc<AtomicU64>>,
}

impl Metrics {
    pub(crate) fn counter(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&str, &str)],
    ) -> Counter {
        Counter(self.cell(Kind::Counter, name, help, labels))
    }

    pub(crate) fn gauge(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&str, &str)],
    ) -> Gauge {
        Gauge(self.cell(Kind::Gauge, name, help, labels))
    }

    /// The same name and labels give the same cell, so that a part which is started again goes on counting.
    fn cell(
        &self,
        kind: Kind,
        name: &'static str,
        help: &'static str,
        labels: &[(&str, &str)],
    ) -> Arc<AtomicU64> {
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let family = families.entry(name).or_insert_with(|| Family {
            kind,
            help,
            cells: BTreeMap::new(),
        });
        debug_assert_eq!(family.kind, kind, "{name} is registered as two kinds");
        Arc::clone(family.cells.entry(render_labels(labels)).or_default())
    }

    /// The Prometheus text of all numbers.
    pub(crate) fn render(&self, out: &mut String) {
        let families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, family) in &*families {
            header(out, name, family.kind, family.help);
            for (labels, cell) in &family.cells {
                let bits = cell.load(Relaxed);
                let _infallible = match family.kind {
                    Kind::Counter => writeln!(out, "{name}{labels} {bits}"),
                    Kind::Gauge => writeln!(out, "{name}{labels} {}", f64::from_bits(bits)),
                };
            }
        }
    }
}

fn header(out: &mut String, name: &str, kind: Kind, help: &str) {
    let kind = match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
    };
    let _infallible = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

/// One number that is taken from elsewhere when it is asked for.
fn render_one(
    out: &mut String,
    kind: Kind,
    (name, help): (&str, &str),
    labels: &[(&str, &str)],
    value: f64,
) {
    header(out, name, kind, help);
    let _infallible = writeln!(out, "{name}{} {value}", render_labels(labels));
}

/// A gauge that is computed when it is asked for; it is named and explained by `words`.
pub(crate) fn render_gauge(
    out: &mut String,
    words: (&str, &str),
    labels: &[(&str, &str)],
    value: f64,
) {
    render_one(out, Kind::Gauge, words, labels, value);
}

/// A counter that is kept elsewhere; it is named and explained by `words`.
pub(crate) fn render_counter(out: &mut String, words: (&str, &str), value: f64) {
    render_one(out, Kind::Counter, words, &[], value);
}

pub(crate) fn render_labels(labels: &[(&str, &str)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let pairs: Vec<_> = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", escape(value)))
        .collect();
    format!("{{{}}}", pairs.join(","))
}

fn escape(value: &str) -> String {
    value
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_the_text_that_prometheus_reads() {
        let metrics = Metrics::default();
        let bound = metrics.counter("sealane_pods_bound_total", "Pods given a node.", &[]);
        bound.inc();
        bound.add(2);
        metrics
            .gauge("sealane_routes", "Routes installed.", &[("family", "4")])
            .set(2.0);
        metrics
            .gauge("sealane_routes", "Routes installed.", &[("family", "6")])
            .set(0.5);
        let mut text = String::new();
        metrics.render(&mut text);
        assert_eq!(
            text,
            "# HELP sealane_pods_bound_total Pods given a node.\n\
             # TYPE sealane_pods_bound_total counter\n\
             sealane_pods_bound_total 3\n\
             # HELP sealane_routes Routes installed.\n\
             # TYPE sealane_routes gauge\n\
             sealane_routes{family=\"4\"} 2\n\
             sealane_routes{family=\"6\"} 0.5\n"
        );
    }

    #[test]
    fn registering_again_goes_on_counting() {
        let metrics = Metrics::default();
        metrics.counter("n_total", "N.", &[("a", "b")]).inc();
        metrics.counter("n_total", "N.", &[("a", "b")]).inc();
        assert_eq!(metrics.counter("n_total", "N.", &[("a", "b")]).get(), 2);
        assert_eq!(metrics.counter("n_total", "N.", &[("a", "c")]).get(), 0);
    }

    #[test]
    fn label_values_are_escaped() {
        assert_eq!(render_labels(&[("x", "a\"b\\c\nd")]), r#"{x="a\"b\\c\nd"}"#);
    }
}

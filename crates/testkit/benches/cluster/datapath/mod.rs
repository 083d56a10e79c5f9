//! What a packet costs from pod to pod: throughput, round trip and connections.
//!
//! All paths take turns, some milliseconds each, and the order turns round every time, so what else
//! the machine does falls on all of them. A ratio is that of two paths in the same round; what is
//! shown is the middle of all rounds.

pub mod load;
mod paths;

use serde_json::json;

use crate::samples::Report;
use load::Measured;
use paths::{Base, Paths};

const ROUNDS: usize = 21;

/// What was measured on one path, in the order of the rounds.
type Series = Vec<Measured>;

/// Measures all paths.
pub fn measure(report: &mut Report) {
    let paths = Paths::new();
    let all = paths.all();
    let mut series: Vec<Series> = all.iter().map(|_| Series::new()).collect();
    for round in 0..ROUNDS {
        let mut order: Vec<usize> = (0..all.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for path in order {
            series[path].push(load::measure(&all[path]));
        }
    }
    let find = |name: &str| all.iter().position(|path| path.name == name);
    for (path, measured) in all.iter().zip(&series) {
        let base = match path.base {
            Base::Bare => find(paths::BARE),
            Base::Underlay => find(paths::UNDERLAY),
        };
        let against = |other: Option<usize>| other.map(|other| ratios(measured, &series[other]));
        let mut row = serde_json::Map::new();
        for (name, figure) in FIGURES {
            row.insert(name.into(), shown(middle(measured.iter().map(figure))));
        }
        for (what, other) in [("base", base), ("reference", find(path.reference))] {
            for (name, ratio) in against(other).into_iter().flatten() {
                row.insert(format!("{name}/{what}"), shown(ratio));
            }
        }
        report.row(&format!("data path, {}", path.name), row.into());
    }
    paths.end();
}

/// A figure of a measurement, and what it is called.
type Figure = (&'static str, fn(&Measured) -> f64);

/// Units are in the names; of those with `_us`, less is better, of the others more.
const FIGURES: [Figure; 5] = [
    ("rtt_us", |m| m.round_trip_us),
    ("connect_us", |m| m.connection_us),
    ("connections_per_s", |m| 1e6 / m.connection_us),
    ("gbit_per_s", |m| m.gbit_per_s),
    ("gbit_per_cpu_s", |m| m.gbit_per_cpu_s),
];

/// The figures of which ratios are shown: round trip, connections, throughput for each second of the processors.
fn ratios(ours: &[Measured], theirs: &[Measured]) -> Vec<(&'static str, f64)> {
    let shown = ["rtt_us", "connect_us", "gbit_per_cpu_s"];
    let wanted = FIGURES.iter().filter(|(name, _)| shown.contains(name));
    wanted
        .map(|(name, figure)| {
            let of_rounds = ours.iter().zip(theirs).map(|(a, b)| figure(a) / figure(b));
            (*name, middle(of_rounds))
        })
        .collect()
}

/// Of an odd number of values the one in the middle.
pub fn middle(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn shown(value: f64) -> serde_json::Value {
    json!((value * 100.0).round() / 100.0)
}

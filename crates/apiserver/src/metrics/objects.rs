//! `PodMetrics` and `NodeMetrics` as clients see them.

use std::time::Duration;

use jiff::Timestamp;
use sealane_store::Entry;
use serde_json::{Map, Value, json};

use super::history::{Figure, History};
use crate::object;

/// The metrics of a stored pod; `None` while it does not run, or while what it takes is not known.
pub fn pod(entry: &Entry, history: &History) -> Option<Value> {
    let node = entry.attributes.field("spec.nodeName")?;
    let pod: Value = serde_json::from_slice(&entry.object.unpack()).ok()?;
    let figures = history.pod(node, object::meta(&pod, "uid"))?;
    let (at, window) = figures
        .iter()
        .map(|(_, figure)| (figure.at, figure.window))
        .min()?;
    let containers = figures
        .iter()
        .map(|(name, figure)| json!({ "name": name, "usage": usage(figure) }));
    let containers: Vec<Value> = containers.collect();
    let mut shown = shell("PodMetrics", entry, at, window);
    shown["containers"] = containers.into();
    Some(shown)
}

/// The metrics of a stored node.
pub fn node(entry: &Entry, history: &History) -> Option<Value> {
    let figure = history.node(entry.key.name())?;
    let mut shown = shell("NodeMetrics", entry, figure.at, figure.window);
    shown["usage"] = usage(&figure);
    Some(shown)
}

/// What both kinds have.
fn shell(kind: &str, entry: &Entry, at: Timestamp, window: Duration) -> Value {
    let mut metadata = json!({
        "name": entry.key.name(),
        "creationTimestamp": object::time(Timestamp::now()),
    });
    if !entry.key.namespace().is_empty() {
        metadata["namespace"] = entry.key.namespace().into();
    }
    let labels = entry.attributes.labels();
    let labels: Map<String, Value> = labels
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    if !labels.is_empty() {
        metadata["labels"] = labels.into();
    }
    json!({
        "kind": kind, "apiVersion": "metrics.k8s.io/v1beta1", "metadata": metadata,
        "timestamp": object::time(at), "window": in_go(window),
    })
}

fn usage(figure: &Figure) -> Value {
    let cpu = match figure.cpu_nanos {
        0 => "0".into(),
        nanos => format!("{nanos}n"),
    };
    let memory = match figure.memory_bytes.div_ceil(1024) {
        0 => "0".into(),
        kibibytes => format!("{kibibytes}Ki"),
    };
    json!({ "cpu": cpu, "memory": memory })
}

/// A duration as Go writes it: `10.052s`, `1m0.5s`.
fn in_go(duration: Duration) -> String {
    let millis = duration.as_millis();
    let (minutes, millis) = (millis / 60_000, millis % 60_000);
    let seconds = format!("{}.{:03}", millis / 1000, millis % 1000);
    let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
    match minutes {
        0 => format!("{seconds}s"),
        minutes => format!("{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_go() {
        for (millis, expected) in [
            (1000, "1s"),
            (10_052, "10.052s"),
            (60_500, "1m0.5s"),
            (0, "0s"),
            (120_000, "2m0s"),
        ] {
            assert_eq!(in_go(Duration::from_millis(millis)), expected);
        }
    }

    #[test]
    fn amounts_read_as_those_of_metrics_server() {
        let figure = Figure {
            cpu_nanos: 1234,
            memory_bytes: 2049,
            at: Timestamp::UNIX_EPOCH,
            window: Duration::from_secs(1),
        };
        assert_eq!(usage(&figure), json!({"cpu": "1234n", "memory": "3Ki"}));
    }
}

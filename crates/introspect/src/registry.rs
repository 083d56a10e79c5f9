//! What can be seen of a daemon.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::histogram::{Histogram, Histograms};
use crate::metrics::{Counter, Gauge, Metrics, render_gauge};
use crate::process;

type State = Box<dyn Fn() -> Value + Send + Sync>;
type Look = Arc<dyn Fn() + Send + Sync>;

/// What a daemon shows of itself. Cheap to clone; all clones show the same.
#[derive(Clone)]
pub struct Introspect {
    inner: Arc<Inner>,
}

struct Inner {
    role: String,
    metrics: Metrics,
    histograms: Histograms,
    config: Mutex<Value>,
    states: Mutex<BTreeMap<String, State>>,
    looks: Mutex<Vec<Look>>,
    checks: Mutex<BTreeMap<String, Result<(), String>>>,
}

/// One named condition of being ready. Starts out unmet.
#[derive(Clone)]
pub struct Readiness {
    name: String,
    inner: Arc<Inner>,
}

impl Readiness {
    /// The condition is met.
    pub fn ready(&self) {
        self.set(Ok(()));
    }

    /// The condition is not met; `reason` is shown to whoever asks.
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.set(Err(reason.into()));
    }

    fn set(&self, result: Result<(), String>) {
        lock(&self.inner.checks).insert(self.name.clone(), result);
    }
}

impl Introspect {
    /// Nothing to see yet. `role` is the subcommand: `agent`, `node`, …
    pub fn new(role: impl Into<String>) -> Self {
        Self {
            inner: Arc::new(Inner {
                role: role.into(),
                metrics: Metrics::default(),
                histograms: Histograms::default(),
                config: Mutex::new(json!({})),
                states: Mutex::default(),
                looks: Mutex::default(),
                checks: Mutex::default(),
            }),
        }
    }

    /// What `/debug/config` shows: the settings as resolved, without secrets.
    pub fn config(&self, config: &impl Serialize) {
        let shown = serde_json::to_value(config)
            .unwrap_or_else(|error| json!({"error": error.to_string()}));
        *lock(&self.inner.config) = shown;
    }

    /// Adds a part of `/debug/state`. `state` runs for each request and must not block.
    pub fn state(
        &self,
        name: impl Into<String>,
        state: impl Fn() -> Value + Send + Sync + 'static,
    ) {
        lock(&self.inner.states).insert(name.into(), Box::new(state));
    }

    /// Adds a condition of `/readyz`, unmet until it is said to be met.
    pub fn readiness(&self, name: impl Into<String>) -> Readiness {
        let readiness = Readiness {
            name: name.into(),
            inner: Arc::clone(&self.inner),
        };
        readiness.not_ready("not yet");
        readiness
    }

    /// Registers a counter; the same name and labels give the same counter.
    pub fn counter(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&str, &str)],
    ) -> Counter {
        self.inner.metrics.counter(name, help, labels)
    }

    /// Registers a gauge; the same name and labels give the same gauge.
    pub fn gauge(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)]) -> Gauge {
        self.inner.metrics.gauge(name, help, labels)
    }

    /// Registers a histogram with these upper ends, ascending; the same name and labels give the same one.
    pub fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&str, &str)],
        ends: &[f64],
    ) -> Histogram {
        self.inner.histograms.histogram(name, help, labels, ends)
    }

    /// Adds what brings counters up to date; `look` runs before metrics are shown and must not block.
    pub fn before_metrics(&self, look: impl Fn() + Send + Sync + 'static) {
        lock(&self.inner.looks).push(Arc::new(look));
    }

    /// Whether every condition of `/readyz` is met.
    pub fn is_ready(&self) -> bool {
        lock(&self.inner.checks).values().all(Result::is_ok)
    }

    /// A line for each condition, as kube-apiserver's `/readyz?verbose` writes it.
    pub(crate) fn render_readiness(&self) -> String {
        let mut text = String::new();
        for (name, check) in &*lock(&self.inner.checks) {
            let _infallible = match check {
                Ok(()) => writeln!(text, "[+] {name}: ok"),
                Err(reason) => writeln!(text, "[-] {name}: {reason}"),
            };
        }
        text.push_str(if self.is_ready() {
            "ok\n"
        } else {
            "not ready\n"
        });
        text
    }

    pub(crate) fn render_metrics(&self) -> String {
        // A look may register a counter, or another look.
        let looks = lock(&self.inner.looks).clone();
        for look in looks {
            look();
        }
        let mut text = String::new();
        let labels = [
            ("role", self.inner.role.as_str()),
            ("version", env!("CARGO_PKG_VERSION")),
        ];
        let build = ("sealane_build_info", "Which program this is.");
        render_gauge(&mut text, build, &labels, 1.0);
        let ready = f64::from(u8::from(self.is_ready()));
        let words = ("sealane_ready", "1 when /readyz answers 200.");
        render_gauge(&mut text, words, &[], ready);
        process::render(&mut text);
        self.inner.metrics.render(&mut text);
        self.inner.histograms.render(&mut text);
        text
    }

    pub(crate) fn shown_config(&self) -> Value {
        json!({
            "role": self.inner.role,
            "version": env!("CARGO_PKG_VERSION"),
            "config": *lock(&self.inner.config),
        })
    }

    pub(crate) fn shown_state(&self) -> Value {
        let states = lock(&self.inner.states);
        let all: Map<_, _> = states
            .iter()
            .map(|(name, state)| (name.clone(), state()))
            .collect();
        Value::Object(all)
    }

    pub(crate) fn shown_state_of(&self, name: &str) -> Option<Value> {
        lock(&self.inner.states).get(name).map(|state| state())
    }
}

/// A panic elsewhere must not take the view away.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_ready_when_every_condition_is_and_says_which_is_not() {
        let introspect = Introspect::new("test");
        assert!(introspect.is_ready(), "nothing to wait for");
        let nodes = introspect.readiness("nodes");
        let cni = introspect.readiness("cni");
        nodes.ready();
        cni.not_ready("waiting for this node's pod subnet");
        assert_eq!(
            introspect.render_readiness(),
            "[-] cni: waiting for this node's pod subnet\n[+] nodes: ok\nnot ready\n"
        );
        cni.ready();
        assert!(introspect.is_ready());
    }

    #[test]
    fn state_is_taken_when_it_is_asked_for() {
        let introspect = Introspect::new("test");
        let routes = introspect.gauge("routes", "Routes.", &[]);
        let seen = routes.clone();
        introspect.state("routes", move || json!(seen.get()));
        routes.set(3.0);
        assert_eq!(introspect.shown_state(), json!({"routes": 3.0}));
        assert_eq!(introspect.shown_state_of("rules"), None);
    }
}

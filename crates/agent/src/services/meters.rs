//! Metrics under the names that dashboards for kube-proxy read.

use std::time::{Duration, SystemTime};

use sealane_introspect::{Counter, Gauge, Introspect};

/// Upper ends in seconds, as kube-proxy has them in part.
const SECONDS: [(f64, &str); 12] = [
    (0.001, "0.001"),
    (0.004, "0.004"),
    (0.016, "0.016"),
    (0.064, "0.064"),
    (0.25, "0.25"),
    (0.5, "0.5"),
    (1.0, "1"),
    (2.0, "2"),
    (4.0, "4"),
    (10.0, "10"),
    (60.0, "60"),
    (f64::INFINITY, "+Inf"),
];

/// How often something took how long.
struct Histogram {
    buckets: Vec<Counter>,
    sum: Gauge,
    count: Counter,
}

impl Histogram {
    fn observe(&self, seconds: f64) {
        let into = SECONDS.iter().zip(&self.buckets);
        into.filter(|((end, _), _)| seconds <= *end)
            .for_each(|(_, bucket)| bucket.inc());
        self.sum.set(self.sum.get() + seconds);
        self.count.inc();
    }
}

/// The metrics of Services.
pub struct Meters {
    sync: Histogram,
    programming: Histogram,
    last: Gauge,
    queued: Gauge,
    endpoints: Counter,
    services: Counter,
    ended: Counter,
    failed: Counter,
    total: Gauge,
}

macro_rules! histogram {
    ($introspect:expr, $name:literal, $help:literal) => {
        Histogram {
            buckets: SECONDS
                .iter()
                .map(|(_, end)| {
                    $introspect.counter(concat!($name, "_bucket"), $help, &[("le", *end)])
                })
                .collect(),
            sum: $introspect.gauge(concat!($name, "_sum"), $help, &[]),
            count: $introspect.counter(concat!($name, "_count"), $help, &[]),
        }
    };
}

impl Meters {
    pub fn new(introspect: &Introspect) -> Self {
        Self {
            sync: histogram!(
                introspect,
                "kubeproxy_sync_proxy_rules_duration_seconds",
                "How long it took to bring the kernel along with a change."
            ),
            programming: histogram!(
                introspect,
                "kubeproxy_network_programming_duration_seconds",
                "From a change of endpoints until it was in the kernel."
            ),
            last: introspect.gauge(
                "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
                "When the kernel was last brought along.",
                &[],
            ),
            queued: introspect.gauge(
                "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
                "When the last change came.",
                &[],
            ),
            endpoints: introspect.counter(
                "kubeproxy_sync_proxy_rules_endpoint_changes_total",
                "Changes of EndpointSlices.",
                &[],
            ),
            services: introspect.counter(
                "kubeproxy_sync_proxy_rules_service_changes_total",
                "Changes of Services.",
                &[],
            ),
            ended: introspect.counter(
                "kubeproxy_conntrack_reconciler_deleted_entries_total",
                "Flows of datagrams that were ended, since nobody serves them where they went.",
                &[],
            ),
            failed: introspect.counter(
                "sealane_services_failures_total",
                "Changes that the kernel refused, and that were repaired later.",
                &[],
            ),
            total: introspect.gauge(
                "sealane_service_ports",
                "Ports of Services, each family by itself.",
                &[],
            ),
        }
    }

    pub fn queued(&self) {
        self.queued.set(wall_clock().as_secs_f64());
    }

    pub fn service_change(&self) {
        self.services.inc();
    }

    pub fn endpoint_change(&self) {
        self.endpoints.inc();
    }

    pub fn synced(&self, took: Duration, ports: usize) {
        self.sync.observe(took.as_secs_f64());
        self.last.set(wall_clock().as_secs_f64());
        self.total.set(ports as f64);
    }

    /// A slice says since when it was out of date.
    pub fn programmed(&self, triggered_ms: i64) {
        let now = wall_clock().as_millis() as i64;
        self.programming
            .observe((now - triggered_ms).max(0) as f64 / 1000.0);
    }

    pub fn ended(&self, flows: usize) {
        self.ended.add(flows as u64);
    }

    pub fn failed(&self) {
        self.failed.inc();
    }
}

fn wall_clock() -> Duration {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default()
}

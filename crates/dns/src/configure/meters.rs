//! How reading went, under `CoreDNS`'s names.

use std::fmt::Write;

use ring::digest::{SHA512, digest};
use sealane_introspect::{Counter, Gauge, Introspect};

pub struct Meters {
    introspect: Introspect,
    version: Option<(String, Gauge)>,
    failed: Counter,
    notices: Gauge,
}

impl Meters {
    pub fn new(introspect: &Introspect) -> Self {
        Self {
            introspect: introspect.clone(),
            version: None,
            failed: introspect.counter(
                "coredns_reload_failed_total",
                "Corefiles that were not sound; the former one stayed in force.",
                &[],
            ),
            notices: introspect.gauge(
                "sealane_dns_corefile_notices",
                "Parts of the Corefile in force that have no effect; the log names them.",
                &[],
            ),
        }
    }

    pub fn failed(&self) {
        self.failed.inc();
    }

    /// Another Corefile is in force: its text, and how much of it has no effect.
    pub fn in_force(&mut self, text: &str, notices: usize) {
        self.notices.set(notices as f64);
        let value = hash([text]);
        let same = |(before, _): &(String, Gauge)| *before == value;
        if self.version.as_ref().is_some_and(same) {
            return;
        }
        if let Some((_, gauge)) = &self.version {
            gauge.set(0.0);
        }
        let gauge = self.introspect.gauge(
            "coredns_reload_version_info",
            "1 for the Corefile in force, by the hash of its text.",
            &[("hash", "sha512"), ("value", &value)],
        );
        gauge.set(1.0);
        self.version = Some((value, gauge));
    }
}

/// What tells texts from others.
pub fn hash<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let all = texts.into_iter().collect::<Vec<_>>().join("\0");
    let mut hex = String::with_capacity(128);
    for byte in digest(&SHA512, all.as_bytes()).as_ref() {
        let _infallible = write!(hex, "{byte:02x}");
    }
    hex
}

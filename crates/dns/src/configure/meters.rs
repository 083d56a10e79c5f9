//! How reading went, under `CoreDNS`'s names.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use ring::digest::{SHA512, digest};
use sealane_introspect::{Counter, Gauge, Introspect};

use super::live::Block;

pub struct Meters {
    introspect: Introspect,
    version: Option<(String, Gauge)>,
    /// By block and name; those that are gone stand at zero.
    plugins: BTreeMap<[String; 3], Gauge>,
    failed: Counter,
    notices: Gauge,
}

impl Meters {
    pub fn new(introspect: &Introspect) -> Self {
        Self {
            introspect: introspect.clone(),
            version: None,
            plugins: BTreeMap::new(),
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

    /// Another Corefile is in force: its text, its blocks, and how much of it has no effect.
    pub fn in_force(&mut self, text: &str, blocks: &[Arc<Block>], notices: usize) {
        self.notices.set(notices as f64);
        self.count_plugins(blocks);
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

    fn count_plugins(&mut self, blocks: &[Arc<Block>]) {
        for gauge in self.plugins.values() {
            gauge.set(0.0);
        }
        for block in blocks {
            for name in block.server.plugins() {
                let labels = &block.labels;
                let key = [name.to_owned(), labels.server.clone(), labels.zone.clone()];
                let gauge = self
                    .plugins
                    .entry(key)
                    .or_insert_with_key(|[name, server, zone]| {
                        self.introspect.gauge(
                            "coredns_plugin_enabled",
                            "1 for each plugin of each server block in force.",
                            &[
                                ("name", name),
                                ("server", server),
                                ("view", ""),
                                ("zone", zone),
                            ],
                        )
                    });
                gauge.set(1.0);
            }
        }
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

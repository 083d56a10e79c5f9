//! Counts, under the names that dashboards for CoreDNS read.
//!
//! What CoreDNS does not count begins with `sealane_dns_`.

use std::net::SocketAddr;
use std::time::Duration;

use sealane_introspect::{Counter, Gauge, Histogram, Introspect};
use sealane_message::Rcode;

use crate::{
    cache::Hit,
    exchange::Via,
    response::{Lie, Outcome},
};

/// Upper ends in seconds, CoreDNS's.
const SECONDS: [f64; 16] = [
    0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024,
    2.048, 4.096, 8.192,
];

/// The value of the label `proxy_name`: which of CoreDNS's plugins it stands for.
const PROXY: (&str, &str) = ("proxy_name", "forward");

/// What a cache counts.
#[derive(Debug)]
pub struct CacheMeters {
    requests: Counter,
    misses: Counter,
    hits: [Counter; 2],
    evictions: [Counter; 2],
    entries: [Gauge; 2],
    prefetch: Counter,
    pub served_stale: Counter,
    pub bytes: Gauge,
}

/// `success` or `denial`.
fn kind(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "success",
        Outcome::Denial => "denial",
    }
}

impl CacheMeters {
    /// Of the cache of a server block: its address and its zones as the labels have them.
    pub fn new(introspect: &Introspect, server: &str, zones: &str) -> Self {
        let own = [("server", server), ("zones", zones)];
        let counter = |name, help| introspect.counter(name, help, &own);
        let typed = |outcome| [own[0], ("type", kind(outcome)), own[1]];
        let outcomes = [Outcome::Success, Outcome::Denial];
        Self {
            requests: counter(
                "coredns_cache_requests_total",
                "Queries that were looked up among kept answers.",
            ),
            misses: counter(
                "coredns_cache_misses_total",
                "Queries to which no answer was kept.",
            ),
            prefetch: counter(
                "coredns_cache_prefetch_total",
                "Answers that were fetched again before they expired.",
            ),
            served_stale: counter(
                "coredns_cache_served_stale_total",
                "Queries that got an answer which had expired.",
            ),
            hits: outcomes.map(|outcome| {
                introspect.counter(
                    "coredns_cache_hits_total",
                    "Queries to which an answer was kept.",
                    &typed(outcome),
                )
            }),
            evictions: outcomes.map(|outcome| {
                introspect.counter(
                    "coredns_cache_evictions_total",
                    "Answers that made room for others.",
                    &typed(outcome),
                )
            }),
            entries: outcomes.map(|outcome| {
                introspect.gauge("coredns_cache_entries", "Kept answers.", &typed(outcome))
            }),
            bytes: introspect.gauge("sealane_dns_cache_bytes", "What kept answers take.", &own),
        }
    }

    /// Somebody asked, and this was found.
    pub fn asked(&self, hit: Option<&Hit>) {
        self.requests.inc();
        let Some(hit) = hit else {
            self.misses.inc();
            return;
        };
        self.hits[hit.outcome as usize].inc();
        if hit.stale {
            self.served_stale.inc();
        } else if hit.refresh {
            self.prefetch.inc();
        }
    }

    /// So many went to make room.
    pub fn evicted(&self, outcome: Outcome, count: usize) {
        self.evictions[outcome as usize].add(count as u64);
    }

    /// So many are kept.
    pub fn entries(&self, outcome: Outcome, count: usize) {
        self.entries[outcome as usize].set(count as f64);
    }
}

/// What a server block counts of its upstreams together.
#[derive(Clone, Debug)]
pub struct ForwardMeters {
    pub all_down: Counter,
    pub rejected: Counter,
    pub dropped: Counter,
    pub unusable: Counter,
    pub loops: Counter,
    pub merged: Counter,
}

impl ForwardMeters {
    pub fn new(introspect: &Introspect) -> Self {
        let counter = |name, help| introspect.counter(name, help, &[]);
        Self {
            all_down: counter(
                "coredns_forward_healthcheck_broken_total",
                "Queries that were sent although all upstreams were down.",
            ),
            rejected: counter(
                "coredns_forward_max_concurrent_rejects_total",
                "Queries that were refused since too many were under way.",
            ),
            dropped: counter(
                "sealane_dns_forward_dropped_records_total",
                "Records of upstreams that were not about the question.",
            ),
            unusable: counter(
                "sealane_dns_forward_unusable_total",
                "Replies of upstreams that could not be read or contradicted themselves.",
            ),
            loops: counter(
                "sealane_dns_forward_loops_total",
                "Probes to upstreams that came back to us.",
            ),
            merged: counter(
                "sealane_dns_forward_merged_total",
                "Queries that waited for the answer to an equal one.",
            ),
        }
    }
}

/// What is counted of one upstream.
pub struct UpstreamMeters {
    to: String,
    reused: Counter,
    opened: [Counter; 2],
    health: Counter,
    lies: [Counter; 4],
    introspect: Introspect,
}

impl UpstreamMeters {
    pub fn new(introspect: &Introspect, address: SocketAddr) -> Self {
        let to = address.to_string();
        let connection = |name, help, via| {
            let labels = [("proto", proto(via)), PROXY, ("to", to.as_str())];
            introspect.counter(name, help, &labels)
        };
        let opened = |via| {
            connection(
                "coredns_proxy_conn_cache_misses_total",
                "Queries for which a socket was opened.",
                via,
            )
        };
        let lie = |what| {
            introspect.counter(
                "sealane_dns_forward_lies_total",
                "Messages that came from an upstream's address and were not its reply.",
                &[("to", to.as_str()), ("what", what)],
            )
        };
        let [no_reply, id, question] = Lie::ALL.map(Lie::name);
        Self {
            reused: connection(
                "coredns_proxy_conn_cache_hits_total",
                "Queries that went through a connection which was open already.",
                Via::Tcp,
            ),
            opened: [opened(Via::Udp), opened(Via::Tcp)],
            health: introspect.counter(
                "coredns_proxy_healthcheck_failures_total",
                "Probes of an upstream that it did not answer.",
                &[PROXY, ("to", &to)],
            ),
            lies: [lie(no_reply), lie(id), lie(question), lie("case")],
            introspect: introspect.clone(),
            to,
        }
    }

    /// It answered.
    pub fn answered(&self, rcode: Rcode, took: Duration) {
        self.histogram(rcode).observe(took.as_secs_f64());
    }

    fn histogram(&self, rcode: Rcode) -> Histogram {
        self.introspect.histogram(
            "coredns_proxy_request_duration_seconds",
            "How long upstreams took to answer.",
            &[PROXY, ("rcode", &rcode.to_string()), ("to", &self.to)],
            &SECONDS,
        )
    }

    /// A socket was opened for a query, or one that was open taken.
    pub fn socket(&self, via: Via, reused: bool) {
        match reused {
            true => self.reused.inc(),
            false => self.opened[via as usize].inc(),
        }
    }

    /// A probe was not answered.
    pub fn probe_failed(&self) {
        self.health.inc();
    }

    /// Something came that is not its reply.
    pub fn lied(&self, lie: Lie) {
        self.lies[lie as usize].inc();
    }

    /// The name came back in another case.
    pub fn folded(&self) {
        self.lies[3].inc();
    }
}

fn proto(via: Via) -> &'static str {
    match via {
        Via::Udp => "udp",
        Via::Tcp => "tcp",
    }
}

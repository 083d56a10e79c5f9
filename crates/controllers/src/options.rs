//! Flags about nodes, named as those of kube-controller-manager.

use std::time::Duration;

use clap::Args;
use k8s_openapi::jiff::SignedDuration;
use serde::Serialize;

use crate::lifecycle::{Rates, Settings};

/// How patient to be with nodes, and how fast to empty them.
#[derive(Clone, Debug, Args, Serialize)]
pub struct NodeOptions {
    /// Time without a sign of life after which a node counts as lost.
    ///
    /// Nodes renew their Lease every quarter of `--node-lease-duration-seconds`;
    /// several renewals must fit in.
    #[arg(long, value_name = "DURATION", default_value = "50s", value_parser = duration)]
    pub node_monitor_grace_period: Duration,

    /// The same for a node that has never posted its status.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration)]
    pub node_startup_grace_period: Duration,

    /// Nodes of a zone whose pods are sent away, for each second.
    #[arg(long, value_name = "RATE", default_value_t = 0.1)]
    pub node_eviction_rate: f64,

    /// The same in a large zone that is disrupted; in others nobody is sent away then.
    #[arg(long, value_name = "RATE", default_value_t = 0.01)]
    pub secondary_node_eviction_rate: f64,

    /// A zone with more nodes than this is large.
    #[arg(long, value_name = "NODES", default_value_t = 50)]
    pub large_cluster_size_threshold: usize,

    /// The share of nodes that are not ready with which a zone is disrupted; at least three.
    #[arg(long, value_name = "SHARE", default_value_t = 0.55)]
    pub unhealthy_zone_threshold: f64,

    /// Pods that have ended are kept up to this number; 0 keeps all.
    #[arg(long, value_name = "PODS", default_value_t = 12_500)]
    pub terminated_pod_gc_threshold: usize,
}

impl NodeOptions {
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            grace: self.node_monitor_grace_period,
            startup_grace: self.node_startup_grace_period,
            rates: Rates {
                normal: self.node_eviction_rate,
                reduced: self.secondary_node_eviction_rate,
                large: self.large_cluster_size_threshold,
                threshold: self.unhealthy_zone_threshold,
            },
            ended_pods: self.terminated_pod_gc_threshold,
        }
    }
}

/// `50s`, `1m30s`, `500ms`; a number alone means seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let parsed: Option<SignedDuration> = text.parse().ok();
    parsed
        .and_then(|duration| Duration::try_from(duration).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| format!("expected a duration, such as 50s or 1m30s, found {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_kubernetes_writes_them() {
        for (text, expected) in [
            ("50s", Some(50_000)),
            ("1m30s", Some(90_000)),
            ("500ms", Some(500)),
            ("7", Some(7_000)),
            ("0s", None),
            ("-1s", None),
            ("soon", None),
        ] {
            let read = duration(text).ok();
            assert_eq!(read, expected.map(Duration::from_millis), "{text}");
        }
    }
}

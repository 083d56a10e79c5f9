//! What is measured, and what it should be.

use std::fmt;

use serde::Serialize;

/// A metric of an autoscaler's spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metric {
    /// `cpu` or `memory` of pods, or of one container in each.
    Resource {
        /// The resource's name.
        resource: String,
        /// The one container that counts; all without.
        container: Option<String>,
        /// What it should be.
        target: Target,
    },
    /// A metric that the API for custom or external metrics would have.
    Foreign(Foreign),
}

/// A metric that nobody serves here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// `Pods`, `Object`, `External`.
    pub kind: &'static str,
    /// What a lookup of it says.
    pub failure: String,
}

/// What a metric should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Percent of what containers request.
    Utilization(i64),
    /// The average of pods, in thousandths.
    AverageMilli(i64),
}

/// What a resource metric is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Current {
    /// The resource's name.
    pub resource: String,
    /// The container that counts.
    pub container: Option<String>,
    /// Percent of what containers request, if the target is said so.
    pub utilization: Option<i64>,
    /// The average of pods, in thousandths.
    pub average_milli: i64,
}

impl Metric {
    /// A metric that is fetched from elsewhere: `Pods`, with its name.
    pub fn pods(name: &str) -> Self {
        Self::Foreign(Foreign {
            kind: "Pods",
            failure: format!("unable to get metric {name}: {NO_CUSTOM}"),
        })
    }

    /// A metric of an object: `KIND on NAMESPACE NAME`.
    pub fn object(metric: &str, namespace: &str, kind: &str, name: &str) -> Self {
        Self::Foreign(Foreign {
            kind: "Object",
            failure: format!(
                "unable to get metric {metric}: {kind} on {namespace} {name}/{NO_CUSTOM}"
            ),
        })
    }

    /// A metric from outside the cluster.
    pub fn external(metric: &str, namespace: &str) -> Self {
        Self::Foreign(Foreign {
            kind: "External",
            failure: format!(
                "unable to get external metric {namespace}/{metric}/nil: unable to fetch metrics from \
                 external metrics API: the server could not find the requested resource (get \
                 {metric}.external.metrics.k8s.io)"
            ),
        })
    }
}

const NO_CUSTOM: &str =
    "unable to fetch metrics from custom metrics API: no known available metric versions found";

/// As conditions and events name it.
impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Resource {
            resource,
            container,
            target,
        } = self
        else {
            return f.write_str("metric");
        };
        let of = if container.is_some() {
            " container"
        } else {
            ""
        };
        match target {
            Target::Utilization(_) => {
                write!(
                    f,
                    "{resource}{of} resource utilization (percentage of request)"
                )
            }
            Target::AverageMilli(_) => write!(f, "{resource}{of} resource"),
        }
    }
}

//! Deployments: what one asks for, and what it says of itself.

use std::time::Duration;

use kube::api::DynamicObject;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::head::{Condition, Head, is_zero};
use super::replica_set::{ReplicaSet, take};
use sealane_objects::Selector;

use crate::action::Kind;

/// Labels of a ReplicaSet's pods that tell them from those of its siblings.
pub const HASH_LABEL: &str = "pod-template-hash";
pub const REVISION: &str = "deployment.kubernetes.io/revision";
pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
pub const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";

/// A Deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    pub head: Head,
    pub replicas: i32,
    pub selector: Selector,
    pub template: Value,
    pub strategy: Strategy,
    pub min_ready: Duration,
    /// How many old ReplicaSets without pods are kept.
    pub history: Option<usize>,
    pub paused: bool,
    /// None: it never fails to progress.
    pub deadline: Option<Duration>,
    pub status: Status,
}

/// How pods are replaced.
#[derive(Clone, Debug, PartialEq)]
pub enum Strategy {
    Recreate,
    RollingUpdate {
        max_surge: Share,
        max_unavailable: Share,
    },
}

/// `3` or `25%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    Count(i32),
    Percent(i32),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    #[serde(skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub replicas: i32,
    #[serde(skip_serializing_if = "is_zero")]
    pub updated_replicas: i32,
    #[serde(skip_serializing_if = "is_zero")]
    pub ready_replicas: i32,
    #[serde(skip_serializing_if = "is_zero")]
    pub available_replicas: i32,
    #[serde(skip_serializing_if = "is_zero")]
    pub unavailable_replicas: i32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collision_count: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    replicas: Option<i32>,
    selector: Selector,
    template: Value,
    strategy: Value,
    min_ready_seconds: u64,
    revision_history_limit: Option<usize>,
    paused: bool,
    progress_deadline_seconds: Option<u64>,
}

/// No deadline is written so.
const NO_DEADLINE: u64 = i32::MAX as u64;

impl Deployment {
    pub fn of(mut object: DynamicObject) -> Self {
        let spec: Spec = take(&mut object.data, "spec");
        let deadline = spec.progress_deadline_seconds;
        Self {
            replicas: spec.replicas.unwrap_or(1),
            selector: spec.selector,
            template: spec.template,
            strategy: Strategy::of(&spec.strategy),
            min_ready: Duration::from_secs(spec.min_ready_seconds),
            history: spec.revision_history_limit,
            paused: spec.paused,
            deadline: deadline
                .filter(|seconds| *seconds != NO_DEADLINE)
                .map(Duration::from_secs),
            status: take(&mut object.data, "status"),
            head: Head::of(Kind::Deployment, object.metadata),
        }
    }

    /// How many pods there may be beyond the number asked for.
    pub fn max_surge(&self) -> i32 {
        match self.strategy {
            Strategy::Recreate => 0,
            Strategy::RollingUpdate { max_surge, .. } => max_surge.rounded_up(self.replicas),
        }
    }

    /// How many of the pods asked for may be missing.
    pub fn max_unavailable(&self) -> i32 {
        let Strategy::RollingUpdate {
            max_surge,
            max_unavailable,
        } = self.strategy
        else {
            return 0;
        };
        if self.replicas == 0 {
            return 0;
        }
        let missing = max_unavailable.rounded_down(self.replicas);
        if missing == 0 && max_surge.rounded_up(self.replicas) == 0 {
            return 1; // Or nothing could ever move.
        }
        missing.min(self.replicas)
    }

    /// Whether everything is as asked for.
    pub fn is_complete(&self, status: &Status) -> bool {
        status.updated_replicas == self.replicas
            && status.replicas == self.replicas
            && status.available_replicas == self.replicas
            && status.observed_generation >= self.head.generation
    }

    /// Whether a ReplicaSet was made from the template as it is now.
    pub fn is_current(&self, set: &ReplicaSet) -> bool {
        without_hash(&set.template) == without_hash(&self.template)
    }
}

impl Strategy {
    fn of(strategy: &Value) -> Self {
        if strategy["type"] == "Recreate" {
            return Self::Recreate;
        }
        let limits = &strategy["rollingUpdate"];
        let quarter = Share::Percent(25);
        Self::RollingUpdate {
            max_surge: Share::of(&limits["maxSurge"]).unwrap_or(quarter),
            max_unavailable: Share::of(&limits["maxUnavailable"]).unwrap_or(quarter),
        }
    }
}

impl Share {
    /// Reads `3` or `"25%"`.
    pub fn of(value: &Value) -> Option<Self> {
        if let Some(count) = value.as_i64() {
            return i32::try_from(count).ok().map(Self::Count);
        }
        let percent = value.as_str()?.strip_suffix('%')?;
        percent.parse().ok().map(Self::Percent)
    }

    pub fn rounded_up(self, of: i32) -> i32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => (percent * of + 99).div_euclid(100),
        }
    }

    pub fn rounded_down(self, of: i32) -> i32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => (percent * of).div_euclid(100),
        }
    }
}

/// A template without the label that tells ReplicaSets of one Deployment apart.
fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels")
        && let Some(labels) = labels.as_object_mut()
    {
        labels.remove(HASH_LABEL);
    }
    if let Some(meta) = template
        .get_mut("metadata")
        .and_then(|meta| meta.as_object_mut())
    {
        // A template without labels is the same as one with none.
        meta.retain(|_, value| !value.is_null() && *value != serde_json::json!({}));
    }
    template
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn surge_rounds_up_and_missing_rounds_down_and_something_may_always_move() {
        let deployment = |replicas: i32, surge: Value, missing: Value| {
            let object = json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
                "spec": {"replicas": replicas, "strategy": {"rollingUpdate": {
                    "maxSurge": surge, "maxUnavailable": missing}}},
            });
            Deployment::of(serde_json::from_value(object).unwrap())
        };
        let cases = [
            (4, json!("25%"), json!("25%"), (1, 1)),
            (3, json!("25%"), json!("25%"), (1, 0)),
            (1, json!("25%"), json!("25%"), (1, 0)),
            (10, json!("30%"), json!("35%"), (3, 3)),
            (3, json!(0), json!(0), (0, 1)),
            (3, json!(0), json!("10%"), (0, 1)),
            (2, json!(1), json!(5), (1, 2)),
            (0, json!("25%"), json!(1), (0, 0)),
        ];
        for (replicas, surge, missing, expected) in cases {
            let seen = deployment(replicas, surge.clone(), missing.clone());
            let seen = (seen.max_surge(), seen.max_unavailable());
            assert_eq!(seen, expected, "{replicas} {surge} {missing}");
        }
    }

    #[test]
    fn a_template_is_the_same_but_for_the_hash() {
        let with = json!({"metadata": {"labels": {"app": "a", HASH_LABEL: "x"}}, "spec": {"a": 1}});
        let without = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"a": 1}});
        assert_eq!(without_hash(&with), without_hash(&without));
    }
}

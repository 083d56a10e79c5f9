//! A HorizontalPodAutoscaler, as far as a look needs it.

use k8s_openapi::api::autoscaling::v2::{
    self, HPAScalingRules, HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus, MetricSpec,
    MetricTarget,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;
use sealane_autoscaling::{
    Autoscaler, Behavior, Metric, Policy, PolicyKind, Rules, Select, Target,
};

/// An autoscaler.
#[derive(Clone, Debug)]
pub struct Spec {
    pub uid: String,
    /// `spec.scaleTargetRef`
    pub target: TargetRef,
    pub autoscaler: Autoscaler,
    /// What was said of it last.
    pub status: HorizontalPodAutoscalerStatus,
}

/// What is scaled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetRef {
    pub api_version: String,
    pub kind: String,
    pub name: String,
}

impl Spec {
    pub fn of(object: &HorizontalPodAutoscaler) -> Self {
        let spec = object.spec.clone();
        let namespace = object.namespace().unwrap_or_default();
        let metrics = spec.metrics.iter().flatten();
        Self {
            uid: object.uid().unwrap_or_default(),
            target: TargetRef {
                api_version: spec.scale_target_ref.api_version.unwrap_or_default(),
                kind: spec.scale_target_ref.kind,
                name: spec.scale_target_ref.name,
            },
            autoscaler: Autoscaler {
                min: spec.min_replicas.unwrap_or(1),
                max: spec.max_replicas,
                metrics: metrics.filter_map(|one| metric(one, &namespace)).collect(),
                behavior: spec.behavior.as_ref().map(|behavior| Behavior {
                    up: rules(behavior.scale_up.as_ref(), Rules::up()),
                    down: rules(behavior.scale_down.as_ref(), Rules::down()),
                }),
            },
            status: object.status.clone().unwrap_or_default(),
        }
    }

    /// Whether somebody has changed what is wanted.
    pub fn is_other(&self, other: &Self) -> bool {
        self.target != other.target || self.autoscaler != other.autoscaler
    }
}

fn metric(spec: &MetricSpec, namespace: &str) -> Option<Metric> {
    let resource = |resource: &str, container: Option<&str>, target: &MetricTarget| {
        Some(Metric::Resource {
            resource: resource.to_owned(),
            container: container.map(str::to_owned),
            target: wanted(target)?,
        })
    };
    if let Some(of) = &spec.resource {
        return resource(&of.name, None, &of.target);
    }
    if let Some(of) = &spec.container_resource {
        return resource(&of.name, Some(&of.container), &of.target);
    }
    if let Some(of) = &spec.pods {
        return Some(Metric::pods(&of.metric.name));
    }
    if let Some(of) = &spec.object {
        let on = &of.described_object;
        return Some(Metric::object(
            &of.metric.name,
            namespace,
            &on.kind,
            &on.name,
        ));
    }
    let of = spec.external.as_ref()?;
    Some(Metric::external(&of.metric.name, namespace))
}

fn wanted(target: &MetricTarget) -> Option<Target> {
    if let Some(percent) = target.average_utilization {
        return Some(Target::Utilization(percent.into()));
    }
    milli(target.average_value.as_ref()?).map(Target::AverageMilli)
}

/// An amount in thousandths.
pub fn milli(amount: &Quantity) -> Option<i64> {
    let amount = sealane_objects::Quantity::parse(&amount.0)?;
    i64::try_from(amount.milli).ok()
}

fn rules(said: Option<&HPAScalingRules>, usual: Rules) -> Rules {
    let Some(said) = said else {
        return usual;
    };
    let policies = said.policies.iter().flatten().map(policy);
    let policies: Vec<Policy> = policies.collect();
    Rules {
        stabilization_seconds: said
            .stabilization_window_seconds
            .map_or(usual.stabilization_seconds, i64::from),
        select: match said.select_policy.as_deref() {
            Some("Min") => Select::Min,
            Some("Disabled") => Select::Disabled,
            _ => Select::Max,
        },
        policies: if policies.is_empty() {
            usual.policies
        } else {
            policies
        },
        tolerance: said
            .tolerance
            .as_ref()
            .and_then(milli)
            .map(|milli| milli as f64 / 1000.0),
    }
}

fn policy(said: &v2::HPAScalingPolicy) -> Policy {
    Policy {
        kind: match said.type_.as_str() {
            "Pods" => PolicyKind::Pods,
            _ => PolicyKind::Percent,
        },
        value: said.value,
        period_seconds: said.period_seconds.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_autoscaler_is_read() {
        let object = json!({
            "metadata": {"uid": "u", "namespace": "shop"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "maxReplicas": 9,
                "metrics": [
                    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
                    {"type": "ContainerResource", "containerResource": {"name": "memory", "container": "c", "target": {"type": "AverageValue", "averageValue": "1Ki"}}},
                    {"type": "Pods", "pods": {"metric": {"name": "r"}, "target": {"type": "AverageValue", "averageValue": "1"}}},
                ],
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0, "selectPolicy": "Min", "tolerance": "50m",
                    "policies": [{"type": "Pods", "value": 2, "periodSeconds": 30}]}},
            },
        });
        let spec = Spec::of(&serde_json::from_value(object).unwrap());
        let down = Rules {
            stabilization_seconds: 0,
            select: Select::Min,
            policies: vec![Policy {
                kind: PolicyKind::Pods,
                value: 2,
                period_seconds: 30,
            }],
            tolerance: Some(0.05),
        };
        let cpu = Metric::Resource {
            resource: "cpu".into(),
            container: None,
            target: Target::Utilization(50),
        };
        let memory = Metric::Resource {
            resource: "memory".into(),
            container: Some("c".into()),
            target: Target::AverageMilli(1_024_000),
        };
        let expected = Autoscaler {
            min: 1,
            max: 9,
            metrics: vec![cpu, memory, Metric::pods("r")],
            behavior: Some(Behavior {
                up: Rules::up(),
                down,
            }),
        };
        assert_eq!(spec.autoscaler, expected);
        assert_eq!(spec.target.name, "web");
    }
}

//! What an autoscaler says of itself after a look.

use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricStatus, HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerStatus,
    MetricStatus, MetricValueStatus, ResourceMetricStatus,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use sealane_autoscaling::{Condition, Current, Decision};

/// The status after a decision; `replicas` are those before and after it.
pub fn after(
    old: &HorizontalPodAutoscalerStatus,
    decision: &Decision,
    (before, after): (i32, i32),
    now: Timestamp,
) -> HorizontalPodAutoscalerStatus {
    // Whole seconds, as the API keeps them.
    let time = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
    HorizontalPodAutoscalerStatus {
        conditions: Some(conditions(old, &decision.conditions, &time)),
        current_metrics: Some(decision.current.iter().map(current).collect()),
        current_replicas: Some(before),
        desired_replicas: after,
        last_scale_time: match before == after {
            true => old.last_scale_time.clone(),
            false => Some(time),
        },
        observed_generation: old.observed_generation,
    }
}

/// The status of one whose target cannot be asked how it is scaled.
pub fn without_scale(
    old: &HorizontalPodAutoscalerStatus,
    failure: &str,
    now: Timestamp,
) -> HorizontalPodAutoscalerStatus {
    let time = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
    let condition = Condition {
        kind: "AbleToScale",
        holds: false,
        reason: "FailedGetScale",
        message: format!(
            "the HPA controller was unable to get the target's current scale: {failure}"
        ),
    };
    HorizontalPodAutoscalerStatus {
        conditions: Some(conditions(old, &[condition], &time)),
        ..old.clone()
    }
}

/// What was said before stays unless something else is said now.
fn conditions(
    old: &HorizontalPodAutoscalerStatus,
    said: &[Condition],
    now: &Time,
) -> Vec<HorizontalPodAutoscalerCondition> {
    let mut all = old.conditions.clone().unwrap_or_default();
    for condition in said {
        let status = if condition.holds { "True" } else { "False" };
        let new = HorizontalPodAutoscalerCondition {
            last_transition_time: Some(now.clone()),
            message: Some(condition.message.clone()),
            reason: Some(condition.reason.to_owned()),
            status: status.to_owned(),
            type_: condition.kind.to_owned(),
        };
        match all.iter_mut().find(|one| one.type_ == condition.kind) {
            None => all.push(new),
            Some(old) => {
                let since = (old.status == new.status).then(|| old.last_transition_time.clone());
                *old = HorizontalPodAutoscalerCondition {
                    last_transition_time: since.unwrap_or(new.last_transition_time),
                    ..new
                };
            }
        }
    }
    all
}

fn current(current: &Current) -> MetricStatus {
    let value = MetricValueStatus {
        average_utilization: current
            .utilization
            .map(|percent| i32::try_from(percent).unwrap_or(i32::MAX)),
        average_value: Some(Quantity(amount(current.average_milli))),
        value: None,
    };
    match &current.container {
        None => MetricStatus {
            type_: "Resource".into(),
            resource: Some(ResourceMetricStatus {
                current: value,
                name: current.resource.clone(),
            }),
            ..MetricStatus::default()
        },
        Some(container) => MetricStatus {
            type_: "ContainerResource".into(),
            container_resource: Some(ContainerResourceMetricStatus {
                container: container.clone(),
                current: value,
                name: current.resource.clone(),
            }),
            ..MetricStatus::default()
        },
    }
}

/// Thousandths as the API writes them.
fn amount(milli: i64) -> String {
    sealane_objects::Quantity::whole(0)
        .with_milli(milli.into())
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_holds_on_keeps_its_time() {
        let condition = |kind, holds| Condition {
            kind,
            holds,
            reason: "R",
            message: String::new(),
        };
        let at = |second| Timestamp::from_second(second).unwrap();
        let decision = |conditions| Decision {
            conditions,
            ..Decision::default()
        };
        let first = decision(vec![condition("A", true), condition("B", true)]);
        let first = after(
            &HorizontalPodAutoscalerStatus::default(),
            &first,
            (1, 1),
            at(1),
        );
        let second = decision(vec![condition("A", true), condition("B", false)]);
        let second = after(&first, &second, (1, 2), at(2));
        let times: Vec<_> = second.conditions.iter().flatten().collect();
        let times: Vec<_> = times
            .iter()
            .map(|one| one.last_transition_time.as_ref().unwrap().0.as_second())
            .collect();
        assert_eq!(times, [1, 2]);
        assert_eq!(second.last_scale_time, Some(Time(at(2))));
        let failed = without_scale(&second, "gone", at(3));
        assert_eq!(failed.conditions.unwrap().len(), 3);
        assert_eq!(failed.desired_replicas, 2);
    }

    #[test]
    fn amounts_are_written_as_the_api_does() {
        assert_eq!(amount(250), "250m");
        assert_eq!(amount(20 << 20), "20971520m");
        assert_eq!(amount(8_286_208_000), "8286208");
    }
}

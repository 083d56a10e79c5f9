//! One look of an autoscaler: from what is seen to how many pods there should be, with the
//! conditions and events that say why. `horizontal.go` upstream.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    behavior::{Behavior, DOWN_STABILIZATION_SECONDS},
    memory::Memory,
    metric::{Current, Metric, Target},
    replicas::{Pod, Question, Reading, Tolerance, propose},
};

/// What an autoscaler is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Autoscaler {
    /// `spec.minReplicas`
    pub min: i32,
    /// `spec.maxReplicas`
    pub max: i32,
    /// `spec.metrics`
    pub metrics: Vec<Metric>,
    /// `spec.behavior`, complete; none if it is absent.
    pub behavior: Option<Behavior>,
}

/// How its target is scaled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scale {
    /// `spec.replicas`
    pub replicas: i32,
    /// `status.selector` is not empty.
    pub has_selector: bool,
}

/// What is seen of the target's pods.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Those that the selector selects.
    pub pods: Vec<Pod>,
    /// What they take, by name.
    pub readings: BTreeMap<String, Reading>,
    /// Why that could not be asked.
    pub failure: Option<String>,
}

/// A condition of an autoscaler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// `AbleToScale`, `ScalingActive`, `ScalingLimited`
    pub kind: &'static str,
    /// `True` or `False`
    pub holds: bool,
    /// In a word.
    pub reason: &'static str,
    /// In a sentence.
    pub message: String,
}

/// An Event; all are warnings but those of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// In a word.
    pub reason: &'static str,
    /// In a sentence.
    pub message: String,
}

/// What comes of a look.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// So many pods there should be; none if that cannot be told.
    pub replicas: Option<i32>,
    /// Why, if that is a change.
    pub reason: String,
    /// What the metrics are.
    pub current: Vec<Current>,
    /// What is to be said of the autoscaler, the later over the earlier.
    pub conditions: Vec<Condition>,
    /// What has to be told.
    pub notes: Vec<Note>,
}

impl Decision {
    fn say(
        &mut self,
        kind: &'static str,
        holds: bool,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        self.conditions.retain(|one| one.kind != kind);
        self.conditions.push(Condition {
            kind,
            holds,
            reason,
            message: message.into(),
        });
    }

    fn note(&mut self, reason: &'static str, message: impl Into<String>) {
        self.notes.push(Note {
            reason,
            message: message.into(),
        });
    }
}

/// Looks at the target and its pods.
pub fn decide(
    autoscaler: &Autoscaler,
    scale: &Scale,
    observed: &Observed,
    memory: &mut Memory,
    now_ms: i64,
) -> Decision {
    let mut decision = Decision::default();
    let current = scale.replicas;
    decision.say(
        "AbleToScale",
        true,
        "SucceededGetScale",
        "the HPA controller was able to get the target's current scale",
    );
    memory.begin(current, now_ms);
    if current == 0 && autoscaler.min != 0 {
        decision.replicas = Some(0);
        decision.say(
            "ScalingActive",
            false,
            "ScalingDisabled",
            "scaling is disabled since the replica count of the target is zero",
        );
    } else if current > autoscaler.max {
        decision.replicas = Some(autoscaler.max);
        decision.reason = "Current number of replicas above Spec.MaxReplicas".into();
    } else if current < autoscaler.min {
        decision.replicas = Some(autoscaler.min);
        decision.reason = "Current number of replicas below Spec.MinReplicas".into();
    } else {
        let look = Look {
            autoscaler,
            scale,
            observed,
            now_ms,
        };
        look.measure(memory, &mut decision);
    }
    decision
}

struct Look<'a> {
    autoscaler: &'a Autoscaler,
    scale: &'a Scale,
    observed: &'a Observed,
    now_ms: i64,
}

impl Look<'_> {
    fn measure(&self, memory: &mut Memory, decision: &mut Decision) {
        let Some((wanted, metric)) = self.wanted(decision) else {
            return;
        };
        let current = self.scale.replicas;
        let reason = match wanted {
            more if more > current => format!("{metric} above target"),
            fewer if fewer < current => "All metrics below target".into(),
            _ => String::new(),
        };
        let replicas = match &self.autoscaler.behavior {
            None => self.steady_as_ever(wanted, memory, decision),
            Some(behavior) => self.steady(behavior, wanted, memory, decision),
        };
        decision.replicas = Some(replicas);
        decision.reason = reason;
    }

    /// The most that any metric asks for, and which one.
    fn wanted(&self, decision: &mut Decision) -> Option<(i32, String)> {
        if !self.scale.has_selector {
            decision.note("SelectorRequired", "selector is required");
            decision.note("FailedComputeMetricsReplicas", "selector is required");
            let why = "the HPA target's scale is missing a selector";
            decision.say("ScalingActive", false, "InvalidSelector", why);
            return None;
        }
        let mut wanted: Option<(i32, String)> = None;
        let mut first: Option<Trouble> = None;
        let (mut invalid, all) = (0, self.autoscaler.metrics.len());
        for metric in &self.autoscaler.metrics {
            match self.of(metric, decision) {
                Ok(replicas) if wanted.as_ref().is_none_or(|(most, _)| replicas > *most) => {
                    wanted = Some((replicas, metric.to_string()));
                }
                Ok(_) => {}
                Err(trouble) => {
                    invalid += 1;
                    decision.note(trouble.reason, trouble.cause.clone());
                    first.get_or_insert(trouble);
                }
            }
        }
        let current = self.scale.replicas;
        let fewer = wanted.as_ref().is_none_or(|(wanted, _)| *wanted < current);
        // A metric that is not known may be the one that needs the pods.
        if let Some(trouble) = first.filter(|_| fewer) {
            let why = format!(
                "the HPA was unable to compute the replica count: {}",
                trouble.cause
            );
            decision.say("ScalingActive", false, trouble.reason, why);
            decision.note(
                "FailedComputeMetricsReplicas",
                format!(
                    "invalid metrics ({invalid} invalid out of {all}), first error is: failed to get \
                     {}: {}",
                    trouble.what, trouble.cause
                ),
            );
            return None;
        }
        let (replicas, metric) = wanted?;
        decision.say(
            "ScalingActive",
            true,
            "ValidMetricFound",
            format!("the HPA was able to successfully calculate a replica count from {metric}"),
        );
        Some((replicas, metric))
    }

    fn of(&self, metric: &Metric, decision: &mut Decision) -> Result<i32, Trouble> {
        let (resource, container, target) = match metric {
            Metric::Foreign(foreign) => {
                return Err(Trouble::foreign(foreign.kind, &foreign.failure));
            }
            Metric::Resource {
                resource,
                container,
                target,
            } => (resource, container.as_deref(), *target),
        };
        let question = Question {
            current: self.scale.replicas,
            resource,
            container,
            target,
            pods: &self.observed.pods,
            readings: &self.observed.readings,
            tolerance: self
                .autoscaler
                .behavior
                .as_ref()
                .map_or_else(Tolerance::default, Behavior::tolerance),
            now_ms: self.now_ms,
        };
        let proposal = match &self.observed.failure {
            Some(failure) => Err(format!(
                "unable to get metrics for resource {resource}: {failure}"
            )),
            None => propose(&question),
        };
        let proposal =
            proposal.map_err(|why| Trouble::resource(resource, container, target, &why))?;
        decision.current.push(Current {
            resource: resource.clone(),
            container: container.map(str::to_owned),
            utilization: proposal.utilization,
            average_milli: proposal.average_milli,
        });
        Ok(proposal.replicas)
    }

    /// Without behavior: down to the most of five minutes, up to twice as many at a time, or four.
    fn steady_as_ever(&self, wanted: i32, memory: &mut Memory, decision: &mut Decision) -> i32 {
        let (current, max) = (self.scale.replicas, self.autoscaler.max);
        let window = DOWN_STABILIZATION_SECONDS * 1000;
        let most = memory.most_since(self.now_ms - window);
        let steady = most.map_or(wanted, |most| most.max(wanted));
        memory.recommend(wanted, self.now_ms, window);
        steadied(decision, steady, wanted, DOWN);
        let fast = current.saturating_mul(2).max(4);
        let (most, why) = if max > fast {
            (fast, FAST_UP)
        } else {
            (max, TOO_MANY)
        };
        if steady < self.autoscaler.min {
            return limited(decision, self.autoscaler.min, Some(TOO_FEW));
        }
        if steady > most {
            return limited(decision, most, Some(why));
        }
        limited(decision, steady, None)
    }

    fn steady(
        &self,
        behavior: &Behavior,
        wanted: i32,
        memory: &mut Memory,
        decision: &mut Decision,
    ) -> i32 {
        let (current, now) = (self.scale.replicas, self.now_ms);
        let up_ms = behavior.up.stabilization_seconds * 1000;
        let down_ms = behavior.down.stabilization_seconds * 1000;
        let least = memory
            .least_since(now - up_ms)
            .unwrap_or(wanted)
            .min(wanted);
        let most = memory
            .most_since(now - down_ms)
            .unwrap_or(wanted)
            .max(wanted);
        let steady = current.max(least).min(most);
        memory.recommend(wanted, now, up_ms.max(down_ms));
        steadied(
            decision,
            steady,
            wanted,
            if wanted >= current { UP } else { DOWN },
        );
        if steady > current {
            let (fast, max) = (behavior.most(current, memory, now), self.autoscaler.max);
            let (most, why) = if max > fast {
                (fast, FAST_UP)
            } else {
                (max, TOO_MANY)
            };
            return limited(decision, steady.min(most), (steady > most).then_some(why));
        }
        if steady < current {
            let (fast, min) = (behavior.fewest(current, memory, now), self.autoscaler.min);
            let (fewest, why) = if min < fast {
                (fast, FAST_DOWN)
            } else {
                (min, TOO_FEW)
            };
            return limited(
                decision,
                steady.max(fewest),
                (steady < fewest).then_some(why),
            );
        }
        limited(decision, steady, None)
    }
}

type Words = (&'static str, &'static str);

const UP: Words = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
);
const DOWN: Words = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
);
const FAST_UP: Words = (
    "ScaleUpLimit",
    "the desired replica count is increasing faster than the maximum scale rate",
);
const FAST_DOWN: Words = (
    "ScaleDownLimit",
    "the desired replica count is decreasing faster than the maximum scale rate",
);
const TOO_MANY: Words = (
    "TooManyReplicas",
    "the desired replica count is more than the maximum replica count",
);
const TOO_FEW: Words = (
    "TooFewReplicas",
    "the desired replica count is less than the minimum replica count",
);

fn steadied(decision: &mut Decision, steady: i32, wanted: i32, (reason, message): Words) {
    if steady == wanted {
        let message = "recommended size matches current size";
        decision.say("AbleToScale", true, "ReadyForNewScale", message);
    } else {
        decision.say("AbleToScale", true, reason, message);
    }
}

fn limited(decision: &mut Decision, replicas: i32, why: Option<Words>) -> i32 {
    let within = (
        "DesiredWithinRange",
        "the desired count is within the acceptable range",
    );
    let (reason, message) = why.unwrap_or(within);
    decision.say("ScalingLimited", why.is_some(), reason, message);
    replicas
}

/// A metric that does not tell.
struct Trouble {
    reason: &'static str,
    /// What was to be had.
    what: String,
    cause: String,
}

impl Trouble {
    fn resource(resource: &str, container: Option<&str>, target: Target, why: &str) -> Self {
        let (reason, of) = match container {
            None => ("FailedGetResourceMetric", "resource"),
            Some(_) => ("FailedGetContainerResourceMetric", "container"),
        };
        let what = match target {
            Target::Utilization(_) => "utilization",
            Target::AverageMilli(_) => "usage",
        };
        Self {
            reason,
            what: format!("{resource} {of} metric value"),
            cause: format!("failed to get {resource} {what}: {why}"),
        }
    }

    fn foreign(kind: &str, failure: &str) -> Self {
        let (reason, what) = match kind {
            "Pods" => ("FailedGetPodsMetric", "pods metric value"),
            "Object" => ("FailedGetObjectMetric", "object metric value"),
            _ => ("FailedGetExternalMetric", "external metric value"),
        };
        Self {
            reason,
            what: what.into(),
            cause: failure.into(),
        }
    }
}

/// Says how a change of the target went, and remembers it.
pub fn rescaled(
    autoscaler: &Autoscaler,
    decision: &mut Decision,
    (from, to): (i32, i32),
    failure: Option<&str>,
    memory: &mut Memory,
    now_ms: i64,
) {
    let reason = decision.reason.clone();
    if let Some(failure) = failure {
        let why = format!("the HPA controller was unable to update the target scale: {failure}");
        decision.say("AbleToScale", false, "FailedUpdateScale", why);
        let message = format!("New size: {to}; reason: {reason}; error: {failure}");
        return decision.note("FailedRescale", message);
    }
    let message = format!("the HPA controller was able to update the target scale to {to}");
    decision.say("AbleToScale", true, "SucceededRescale", message);
    decision.note(
        "SuccessfulRescale",
        format!("New size: {to}; reason: {reason}"),
    );
    if let Some(behavior) = &autoscaler.behavior {
        let rules = if to > from {
            &behavior.up
        } else {
            &behavior.down
        };
        memory.changed(from, to, now_ms, rules.longest_ms());
    }
}

#[cfg(test)]
mod tests;

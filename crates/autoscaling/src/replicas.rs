//! How many pods one metric asks for.
//!
//! Pods whose use is not known yet count against a change: as wanting everything when there would
//! be fewer, as wanting nothing when there would be more. `replica_calculator.go` upstream.

use std::collections::{BTreeMap, BTreeSet};

use crate::metric::Target;

/// A pod that the scale's selector selects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its phase.
    pub phase: Phase,
    /// A deletion has begun.
    pub deleting: bool,
    /// When its node first saw it.
    pub started_ms: Option<i64>,
    /// Condition Ready; none while it has none.
    pub ready: Option<Ready>,
    /// Its containers, sidecars included.
    pub containers: Vec<Container>,
    /// What the pod as a whole requests, by resource, in thousandths.
    pub requests_milli: BTreeMap<String, i64>,
}

/// `status.phase`, as far as it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Not all of its containers have been started.
    Pending,
    /// It ended, and not well.
    Failed,
    /// Anything else.
    #[default]
    Running,
}

/// Condition Ready of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Its status is not False.
    pub is: bool,
    /// When that began.
    pub since_ms: i64,
}

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// What it requests, by resource, in thousandths.
    pub requests_milli: BTreeMap<String, i64>,
}

/// What a pod takes, by container and resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// When it was measured.
    pub at_ms: i64,
    /// Over how long.
    pub window_ms: i64,
    /// Container, resource, thousandths.
    pub containers: BTreeMap<String, BTreeMap<String, i64>>,
}

/// How far from the target is near enough, as shares of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Above it.
    pub up: f64,
    /// Below it.
    pub down: f64,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self { up: 0.1, down: 0.1 }
    }
}

impl Tolerance {
    fn holds(self, ratio: f64) -> bool {
        1.0 - self.down <= ratio && ratio <= 1.0 + self.up
    }
}

/// What one metric asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// So many pods.
    pub replicas: i32,
    /// What was measured in percent, if the target is said so.
    pub utilization: Option<i64>,
    /// The average of pods, in thousandths.
    pub average_milli: i64,
}

/// A question to the calculator.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// How many pods there are to be now.
    pub current: i32,
    /// The resource.
    pub resource: &'a str,
    /// The container that counts; all without.
    pub container: Option<&'a str>,
    /// What it should be.
    pub target: Target,
    /// The pods that the selector selects.
    pub pods: &'a [Pod],
    /// What they take, by name.
    pub readings: &'a BTreeMap<String, Reading>,
    /// How near is near enough.
    pub tolerance: Tolerance,
    /// Now.
    pub now_ms: i64,
}

/// A pod that began so recently may be busy with beginning.
const CPU_INITIALIZATION_MS: i64 = 5 * 60 * 1000;
/// A pod that was not ready within this time after its start never was.
const INITIAL_READINESS_MS: i64 = 30 * 1000;

/// Pods by what is known of them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Groups {
    ready: i32,
    unready: BTreeSet<String>,
    missing: BTreeSet<String>,
    ignored: BTreeSet<String>,
}

/// How many pods the metric asks for.
///
/// # Errors
/// Why that cannot be told, in upstream's words.
pub fn propose(question: &Question<'_>) -> Result<Proposal, String> {
    let Question { resource, pods, .. } = *question;
    let mut taken = taken(question)
        .map_err(|why| format!("unable to get metrics for resource {resource}: {why}"))?;
    if pods.is_empty() {
        return Err("no pods returned by selector while calculating replica count".into());
    }
    let groups = group(question, &taken);
    taken.retain(|name, _| !groups.ignored.contains(name) && !groups.unready.contains(name));
    if taken.is_empty() {
        return Err("did not receive metrics for targeted pods (pods might be unready)".into());
    }
    let requests = match question.target {
        Target::Utilization(_) => requests(question)?,
        Target::AverageMilli(_) => BTreeMap::new(),
    };
    let scale = Scale {
        target: question.target,
        requests: &requests,
    };
    scale.propose(question, &groups, taken)
}

/// What each pod takes of the resource, in thousandths; pods of which that is not wholly known are missing.
fn taken(question: &Question<'_>) -> Result<BTreeMap<String, i64>, String> {
    if question.readings.is_empty() {
        return Err("no metrics returned from resource metrics API".into());
    }
    let mut taken = BTreeMap::new();
    for (name, reading) in question.readings {
        let total = match question.container {
            None => reading
                .containers
                .values()
                .map(|resources| resources.get(question.resource).copied())
                .sum(),
            Some(container) => {
                let Some(resources) = reading.containers.get(container) else {
                    return Err(format!(
                        "container {container} not present in metrics for pod {name}"
                    ));
                };
                resources.get(question.resource).copied()
            }
        };
        if let Some(total) = total {
            taken.insert(name.clone(), total);
        }
    }
    Ok(taken)
}

fn group(question: &Question<'_>, taken: &BTreeMap<String, i64>) -> Groups {
    let mut groups = Groups::default();
    for pod in question.pods {
        let name = pod.name.clone();
        if pod.deleting || pod.phase == Phase::Failed {
            groups.ignored.insert(name);
        } else if pod.phase == Phase::Pending {
            groups.unready.insert(name);
        } else if !taken.contains_key(&name) {
            groups.missing.insert(name);
        } else if question.resource == "cpu" && is_unready(pod, question) {
            groups.unready.insert(name);
        } else {
            groups.ready += 1;
        }
    }
    groups
}

/// Whether the processor time of a pod says nothing yet of its work.
fn is_unready(pod: &Pod, question: &Question<'_>) -> bool {
    let (Some(ready), Some(started)) = (pod.ready, pod.started_ms) else {
        return true;
    };
    let Some(reading) = question.readings.get(&pod.name) else {
        return true;
    };
    if started + CPU_INITIALIZATION_MS > question.now_ms {
        // A window that began before it was ready has its start in it.
        !ready.is || reading.at_ms < ready.since_ms + reading.window_ms
    } else {
        !ready.is && started + INITIAL_READINESS_MS > ready.since_ms
    }
}

/// What each pod requests of the resource.
fn requests(question: &Question<'_>) -> Result<BTreeMap<String, i64>, String> {
    let resource = question.resource;
    let mut requests = BTreeMap::new();
    for pod in question.pods {
        let whole = pod.requests_milli.get(resource);
        if let (None, Some(whole)) = (question.container, whole) {
            requests.insert(pod.name.clone(), *whole);
            continue;
        }
        let mut total = 0;
        let counted = pod.containers.iter().filter(|one| {
            question
                .container
                .is_none_or(|container| one.name == container)
        });
        for container in counted {
            let request = container.requests_milli.get(resource).ok_or_else(|| {
                let (container, pod) = (&container.name, &pod.name);
                format!("missing request for {resource} in container {container} of Pod {pod}")
            })?;
            total += request;
        }
        requests.insert(pod.name.clone(), total);
    }
    Ok(requests)
}

/// A target with what it is relative to.
struct Scale<'a> {
    target: Target,
    requests: &'a BTreeMap<String, i64>,
}

/// What is measured, in relation to the target.
struct Measured {
    ratio: f64,
    utilization: Option<i64>,
    average_milli: i64,
}

impl Scale<'_> {
    fn measure(&self, taken: &BTreeMap<String, i64>) -> Result<Measured, String> {
        match self.target {
            Target::Utilization(target) => self.utilization(taken, target),
            Target::AverageMilli(target) => {
                let total: i64 = taken.values().sum();
                let average_milli = total / count(taken.len());
                Ok(Measured {
                    ratio: average_milli as f64 / target as f64,
                    utilization: None,
                    average_milli,
                })
            }
        }
    }

    fn utilization(&self, taken: &BTreeMap<String, i64>, target: i64) -> Result<Measured, String> {
        let known = taken
            .iter()
            .filter_map(|(name, taken)| Some((*taken, *self.requests.get(name)?)));
        let (mut total, mut requested, mut pods) = (0, 0, 0);
        for (taken, request) in known {
            (total, requested, pods) = (total + taken, requested + request, pods + 1);
        }
        if requested == 0 {
            return Err("no metrics returned matched known pods".into());
        }
        let utilization = total * 100 / requested;
        Ok(Measured {
            ratio: utilization as f64 / target as f64,
            utilization: Some(utilization),
            average_milli: total / pods,
        })
    }

    /// What a pod is taken to take of which nothing is known, when there would be fewer.
    fn all(&self, pod: &str) -> i64 {
        match self.target {
            Target::Utilization(target) => {
                self.requests.get(pod).copied().unwrap_or(0) * target.max(100) / 100
            }
            Target::AverageMilli(target) => target,
        }
    }

    fn propose(
        &self,
        question: &Question<'_>,
        groups: &Groups,
        mut taken: BTreeMap<String, i64>,
    ) -> Result<Proposal, String> {
        let measured = self.measure(&taken)?;
        let (ratio, current) = (measured.ratio, question.current);
        let proposal = |replicas| Proposal {
            replicas,
            utilization: measured.utilization,
            average_milli: measured.average_milli,
        };
        let grows_with_unready = !groups.unready.is_empty() && ratio > 1.0;
        if !grows_with_unready && groups.missing.is_empty() {
            if question.tolerance.holds(ratio) {
                return Ok(proposal(current));
            }
            return Ok(proposal(rounded(ratio * f64::from(groups.ready))));
        }
        for pod in &groups.missing {
            if ratio < 1.0 {
                taken.insert(pod.clone(), self.all(pod));
            } else if ratio > 1.0 {
                taken.insert(pod.clone(), 0);
            }
        }
        if grows_with_unready {
            taken.extend(groups.unready.iter().map(|pod| (pod.clone(), 0)));
        }
        let again = self.measure(&taken)?.ratio;
        let turns = (ratio < 1.0 && again > 1.0) || (ratio > 1.0 && again < 1.0);
        if question.tolerance.holds(again) || turns {
            return Ok(proposal(current));
        }
        let replicas = rounded(again * taken.len() as f64);
        let backwards = (again < 1.0 && replicas > current) || (again > 1.0 && replicas < current);
        Ok(proposal(if backwards { current } else { replicas }))
    }
}

fn count(pods: usize) -> i64 {
    i64::try_from(pods).unwrap_or(i64::MAX).max(1)
}

fn rounded(replicas: f64) -> i32 {
    // A float that is too large becomes the largest number.
    replicas.ceil() as i32
}

#[cfg(test)]
mod tests;

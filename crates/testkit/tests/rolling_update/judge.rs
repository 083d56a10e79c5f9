//! What the history of pods and slices must be, merged by version.
//!
//! Slices follow the pods and are a little late, so a slice need not be right at the version at which
//! it is written. But whoever writes it sees the pods change one after the other, so:
//!
//! 1. what a slice says is exactly what holds of the pods at some version before it, and at no earlier one
//!    than the slice before was made from; so it never names as ready a pod that is not or was not
//!    yet, never drops one that is ready, and names as serving those on their way out that still are;
//! 2. a pod whose containers have ended is not named as ready any more: its leaving was seen in time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use sealane_testkit::history::{Change, Deed};
use serde_json::Value;

use crate::slices::{Endpoint, Listing};
use crate::steward::condition;

/// What was found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Rules that were broken, in words.
    pub wrongs: Vec<String>,
    /// Names of the pods that were ever named as ready.
    pub listed: BTreeSet<String>,
    /// Versions of slices.
    writes: u32,
    /// From each change of the pods that matters to the slice that tells of it.
    lags: Vec<Duration>,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut lags = self.lags.clone();
        lags.sort_unstable();
        let lag = |share: usize| lags.get(lags.len() * share / 100).copied();
        write!(
            to,
            "{} versions of slices named {} pods as ready; {} changes of pods were told after {:.1?} (half of them) \
             to {:.1?} (99 %); {} rules broken",
            self.writes,
            self.listed.len(),
            lags.len(),
            lag(50).unwrap_or_default(),
            lag(99).unwrap_or_default(),
            self.wrongs.len()
        )
    }
}

/// The pods of a Service at one version, and what slices should say of them.
#[derive(Default)]
struct World {
    endpoints: BTreeMap<String, Endpoint>,
    /// Pods that are gone, or whose containers have ended for good.
    ended: BTreeSet<String>,
}

impl World {
    /// Takes in a change of a pod; true when slices must tell of it.
    fn take(&mut self, change: &Change) -> bool {
        let uid = word(&change.object["metadata"]["uid"]);
        let phase = change.object["status"]["phase"].as_str();
        let over = matches!(phase, Some("Succeeded" | "Failed"));
        if over || change.deed == Deed::Deleted {
            self.ended.insert(uid.clone());
            return self.endpoints.remove(&uid).is_some();
        }
        match endpoint(&change.object) {
            Some(endpoint) => self.endpoints.insert(uid, endpoint.clone()) != Some(endpoint),
            None => false,
        }
    }

    fn is_told_by(&self, listing: &Listing) -> bool {
        listing.all().count() == self.endpoints.len()
            && listing
                .all()
                .all(|endpoint| self.endpoints.get(&endpoint.uid) == Some(endpoint))
    }
}

/// A pod as slices should name it, once it has an address.
fn endpoint(pod: &Value) -> Option<Endpoint> {
    let terminating = pod["metadata"]["deletionTimestamp"].is_string();
    let serving = condition(pod, "Ready") == Some("True");
    Some(Endpoint {
        pod: word(&pod["metadata"]["name"]),
        uid: word(&pod["metadata"]["uid"]),
        ip: word(&pod["status"]["podIP"]).parse().ok()?,
        ready: serving && !terminating,
        serving,
        terminating,
    })
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Merges two histories and holds them against the rules.
pub fn judge(pods: &[Change], slices: &[Change], service: &str) -> Verdict {
    let is_behind = |change: &&Change| change.object["metadata"]["labels"]["app"] == service;
    let pods: Vec<&Change> = pods.iter().filter(is_behind).collect();
    let mut verdict = Verdict::default();
    let mut listing = Listing::default();
    // The pods as the writer of the slice saw them, and how many of their changes that were.
    let (mut view, mut seen) = (World::default(), 0);
    // The pods as they were when it was written.
    let (mut now, mut passed) = (World::default(), 0);
    for slice in slices {
        while let Some(pod) = pods.get(passed).filter(|pod| pod.version <= slice.version) {
            now.take(pod);
            passed += 1;
        }
        if !listing.take(slice, service) {
            continue;
        }
        verdict.writes += 1;
        let mut told: Vec<Instant> = Vec::new();
        while !view.is_told_by(&listing) && seen < passed {
            if view.take(pods[seen]) {
                told.push(pods[seen].seen);
            }
            seen += 1;
        }
        let lags = told
            .iter()
            .map(|told| slice.seen.saturating_duration_since(*told));
        verdict.lags.extend(lags);
        let said: Vec<&Endpoint> = listing.all().collect();
        if !view.is_told_by(&listing) {
            verdict.wrongs.push(format!(
                "slice of version {} is true at no version before: it says {said:#?}, and pods are {:#?}",
                slice.version, now.endpoints
            ));
            break;
        }
        for endpoint in said.into_iter().filter(|endpoint| endpoint.ready) {
            verdict.listed.insert(endpoint.pod.clone());
            if now.ended.contains(&endpoint.uid) {
                let version = slice.version;
                let wrong = format!("{endpoint:?} has ended and is listed at version {version}");
                verdict.wrongs.push(wrong);
            }
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A version of pod `a`: `+` ready, `-` not, `>` ready and leaving, `x` gone.
    fn pod(version: u64, state: char) -> Change {
        let ready = if "+>".contains(state) {
            "True"
        } else {
            "False"
        };
        let mut object = json!({
            "metadata": {"name": "a", "uid": "u", "labels": {"app": "web"}},
            "status": {"podIP": "10.0.0.2", "conditions": [{"type": "Ready", "status": ready}]},
        });
        if state == '>' {
            object["metadata"]["deletionTimestamp"] = json!("2026-11-21T00:00:00Z");
        }
        let deed = if state == 'x' {
            Deed::Deleted
        } else {
            Deed::Modified
        };
        change(version, deed, object)
    }

    /// A version of the slice that says so of pod `a`; `x`: that it names nobody.
    fn slice(version: u64, state: char) -> Change {
        let endpoint = json!({
            "addresses": ["10.0.0.2"], "targetRef": {"name": "a", "uid": "u"},
            "conditions": {
                "ready": state == '+', "serving": "+>".contains(state), "terminating": state == '>',
            },
        });
        let endpoints = if state == 'x' {
            json!([])
        } else {
            json!([endpoint])
        };
        let labels = json!({"kubernetes.io/service-name": "web"});
        let object = json!({"metadata": {"name": "s", "labels": labels}, "endpoints": endpoints});
        change(version, Deed::Modified, object)
    }

    fn change(version: u64, deed: Deed, object: Value) -> Change {
        Change {
            version,
            deed,
            object,
            seen: Instant::now(),
        }
    }

    #[test]
    fn slices_may_be_late_and_nothing_else() {
        let cases = [
            ("as it is", "-+", "1- 3+", true),
            ("late", "-+-", "4+ 5-", true),
            ("one is left out", "-+-+", "2- 5+", true),
            ("too early", "-+", "1+", false),
            ("back again", "-+-", "4+ 5- 6+", false),
            ("dropped while it is ready", "-+", "3+ 4x", false),
            ("on its way out it serves", "+>", "1+ 3>", true),
            ("on its way out it is not forgotten", "+>", "1+ 3x", false),
            ("gone and still ready", "+>x", "5+", false),
        ];
        for (case, pods, slices, good) in cases {
            // Pods change at even versions, and slices at those that are given.
            let pods: Vec<_> = (0..).step_by(2).zip(pods.chars()).collect();
            let pods: Vec<_> = pods
                .into_iter()
                .map(|(version, state)| pod(version, state))
                .collect();
            let slices: Vec<_> = slices
                .split(' ')
                .map(|text| text.split_at(text.len() - 1))
                .map(|(version, state)| {
                    slice(version.parse().unwrap(), state.chars().next().unwrap())
                })
                .collect();
            let verdict = judge(&pods, &slices, "web");
            assert_eq!(
                verdict.wrongs.is_empty(),
                good,
                "{case}: {:?}",
                verdict.wrongs
            );
        }
    }
}

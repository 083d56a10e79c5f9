//! Eviction: a deletion of a pod that its disruption budget has to allow.
//!
//! ```text
//!  ended, pending, going already ───────────────────────────────────────────> delete
//!  no budget ───────────────────────────────────────────────────────────────> delete
//!  not ready, and its budget is kept without it (or allows it always) ──────> delete, this very version
//!  one budget: nothing to spend ──> 429, cause DisruptionBudget
//!              something ────────> one less, the pod is written down in it ──> delete
//!  several budgets ──> 500
//! ```
//!
//! The budget is spent before the pod goes, in one write that fails if anybody else has changed the
//! budget; its controller counts the pod as gone from then on. The rules are those of
//! `pkg/registry/core/pod/storage/eviction.go`.

use http::{Response, StatusCode};
use jiff::Timestamp;
use sealane_store::Entry;
use serde_json::{Value, json};

use super::{
    delete::{check_preconditions, delete_object},
    finish::commit,
    update::ATTEMPTS,
};
use crate::{
    answer::{self, Body},
    kinds::{POD, POD_DISRUPTION_BUDGET, label_selector},
    object,
    request::{Accept, DeleteOptions, Payload, WriteOptions, read_value},
    server::{Context, Server},
    status::ApiError,
    webhooks,
};

/// Pods that a budget has let go and that are still there, at most.
const MOST_DISRUPTED: usize = 2000;
/// A budget that has just been made or changed is counted within moments.
const RETRY_SECONDS: u32 = 1;
const REFUSED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

/// Deletes a pod if its budget allows.
///
/// # Errors
///
/// 400 for a body that is none, 404 without the pod, 409 if it is another, 429 if the budget does not
/// allow it.
pub async fn evict(context: &Context, payload: Payload) -> Result<Response<Body>, ApiError> {
    let written = WriteOptions::parse(&context.query, "CreateOptions")?;
    let eviction = read_value(&payload)?.value;
    let (server, target) = (&*context.server, &context.target);
    let said = object::name(&eviction);
    if !said.is_empty() && said != target.name {
        return Err(ApiError::bad_request(format!(
            "name in URL does not match name in Eviction object: {} != {said}",
            target.name
        )));
    }
    let (mut eviction, warnings) = webhooks::post(context, eviction, written.dry_run).await?;
    let options = DeleteOptions::of(eviction["deleteOptions"].take())?;
    let dry_run = written.dry_run || options.is_dry_run();
    for attempt in 1.. {
        match try_once(server, &target.namespace, &target.name, &options, dry_run).await {
            Ok(()) => break,
            Err(error) if error.reason == "Conflict" && attempt < ATTEMPTS => {}
            Err(error) => return Err(error),
        }
    }
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
    });
    let response = answer::value(StatusCode::CREATED, Accept::PLAIN, &status);
    Ok(answer::warn(response, &warnings))
}

async fn try_once(
    server: &Server,
    namespace: &str,
    name: &str,
    options: &DeleteOptions,
    dry_run: bool,
) -> Result<(), ApiError> {
    let found = server.store.get(&POD.key(namespace, name));
    let current = found.ok_or_else(|| ApiError::not_found(&POD, name))?;
    let pod: Value =
        serde_json::from_slice(&current.object.unpack()).map_err(ApiError::internal)?;
    check_preconditions(&POD, &pod, options)?;
    let mut options = options.clone();
    if counts(&pod)
        && let Some((entry, budget)) = budget_of(server, namespace, &pod)?
    {
        if may_go_free(&pod, &budget) {
            // Should it become ready meanwhile, it may not.
            options.preconditions.resource_version = Some(object::resource_version(&pod).into());
        } else {
            let spent = spend(&budget, name, Timestamp::now())?;
            if !dry_run {
                let budgets = &POD_DISRUPTION_BUDGET;
                commit(server, budgets, &spent, Some(&entry), None).await?;
            }
        }
    }
    if dry_run {
        return Ok(());
    }
    if !is_ended(&pod) && !object::is_deleting(&pod) {
        let said = marked(pod, Timestamp::now());
        let entry = commit(server, &POD, &said, Some(&current), None).await?;
        if let Some(version) = &mut options.preconditions.resource_version {
            *version = entry.revision.to_string();
        }
    }
    delete_object(server, &POD, namespace, name, &options)
        .await
        .map(drop)
}

/// Whether a budget counts on the pod at all.
fn counts(pod: &Value) -> bool {
    !is_ended(pod) && pod["status"]["phase"] != "Pending" && !object::is_deleting(pod)
}

fn is_ended(pod: &Value) -> bool {
    let phase = &pod["status"]["phase"];
    phase == "Succeeded" || phase == "Failed"
}

/// The budget that selects the pod.
fn budget_of(
    server: &Server,
    namespace: &str,
    pod: &Value,
) -> Result<Option<(std::sync::Arc<Entry>, Value)>, ApiError> {
    let bucket = POD_DISRUPTION_BUDGET.bucket();
    let listing = server.store.list(&bucket, Some(namespace), |_| true);
    let mut found = None;
    for entry in listing.entries {
        let budget: Value =
            serde_json::from_slice(&entry.object.unpack()).map_err(ApiError::internal)?;
        let selector = &budget["spec"]["selector"];
        if !selector.is_object() || !label_selector::matches(selector, &pod["metadata"]["labels"]) {
            continue;
        }
        if found.replace((entry, budget)).is_some() {
            return Err(ApiError::internal(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource \
                 does not support.",
            ));
        }
    }
    Ok(found)
}

/// Whether a pod that is not ready may go without being counted.
fn may_go_free(pod: &Value, budget: &Value) -> bool {
    let number = |field: &str| budget["status"][field].as_i64().unwrap_or(0);
    let is_kept =
        number("currentHealthy") >= number("desiredHealthy") && number("desiredHealthy") > 0;
    let always = budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow";
    !is_true(&pod["status"], "Ready") && (always || is_kept)
}

/// Pure: the budget with one disruption less, and the pod written down.
fn spend(budget: &Value, pod: &str, now: Timestamp) -> Result<Value, ApiError> {
    let (name, status) = (object::name(budget), &budget["status"]);
    let number = |field: &str| status[field].as_i64().unwrap_or(0);
    let observed = number("observedGeneration");
    if observed < budget["metadata"]["generation"].as_i64().unwrap_or(0) {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(refusal(&why, RETRY_SECONDS));
    }
    let forbid = |why: &str| Err(ApiError::forbidden(&POD_DISRUPTION_BUDGET, name, why));
    let allowed = number("disruptionsAllowed");
    if allowed < 0 {
        return forbid("pdb disruptions allowed is negative");
    }
    let disrupted = status["disruptedPods"]
        .as_object()
        .map_or(0, |map| map.len());
    if disrupted > MOST_DISRUPTED {
        return forbid(
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        );
    }
    if allowed == 0 {
        let why = format!(
            "The disruption budget {name} needs {} healthy pods and has {} currently",
            number("desiredHealthy"),
            number("currentHealthy")
        );
        return Err(refusal(&why, 0));
    }
    let mut spent = budget.clone();
    let status = &mut spent["status"];
    status["disruptionsAllowed"] = json!(allowed - 1);
    status["disruptedPods"][pod] = object::time(now).into();
    if allowed == 1 {
        let generation = &budget["metadata"]["generation"];
        let condition = json!({
            "type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods",
            "message": "", "observedGeneration": generation,
            "lastTransitionTime": object::time(now),
        });
        set_condition(status, condition);
    }
    Ok(spent)
}

fn refusal(why: &str, retry_seconds: u32) -> ApiError {
    let code = StatusCode::TOO_MANY_REQUESTS;
    let mut error = ApiError::new(code, "TooManyRequests", REFUSED);
    error.details = json!({ "causes": [{ "reason": "DisruptionBudget", "message": why }] });
    if retry_seconds > 0 {
        error.details["retryAfterSeconds"] = json!(retry_seconds);
    }
    error
}

/// The pod with the reason for its end.
fn marked(mut pod: Value, now: Timestamp) -> Value {
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting", "lastProbeTime": null,
        "lastTransitionTime": object::time(now),
    });
    set_condition(&mut pod["status"], condition);
    pod
}

fn set_condition(status: &mut Value, condition: Value) {
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    if let Some(conditions) = status["conditions"].as_array_mut() {
        conditions.retain(|other| other["type"] != condition["type"]);
        conditions.push(condition);
    }
}

fn is_true(status: &Value, kind: &str) -> bool {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let mut conditions = conditions.filter(|one| one["type"] == kind);
    conditions.any(|one| one["status"] == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(allowed: i64) -> Value {
        json!({
            "metadata": {"name": "b", "generation": 2},
            "spec": {"selector": {}},
            "status": {
                "observedGeneration": 2, "disruptionsAllowed": allowed,
                "desiredHealthy": 2, "currentHealthy": 2 + allowed,
            },
        })
    }

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_budget_is_spent_until_nothing_is_left() {
        let spent = spend(&budget(2), "a", now()).unwrap();
        let spent = spend(&spent, "b", now()).unwrap();
        let status = &spent["status"];
        assert_eq!(status["disruptionsAllowed"], 0);
        assert_eq!(status["conditions"][0]["reason"], "InsufficientPods");
        let time = "2026-01-01T00:00:00Z";
        assert_eq!(status["disruptedPods"], json!({"a": time, "b": time}));
        let refused = spend(&spent, "c", now()).unwrap_err();
        assert_eq!(refused.code, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(
            refused.details["causes"][0],
            json!({"reason": "DisruptionBudget",
                   "message": "The disruption budget b needs 2 healthy pods and has 4 currently"})
        );
    }

    #[test]
    fn a_budget_that_was_not_looked_at_yet_is_not_spent() {
        let mut new = budget(2);
        new["metadata"]["generation"] = json!(3);
        let refused = spend(&new, "a", now()).unwrap_err();
        assert_eq!(refused.details["retryAfterSeconds"], 1);
    }

    #[test]
    fn pods_that_are_not_ready_go_free_as_the_policy_says() {
        let pod =
            |ready: &str| json!({"status": {"conditions": [{"type": "Ready", "status": ready}]}});
        let (kept, mut broken) = (budget(0), budget(-1));
        assert!(may_go_free(&pod("False"), &kept));
        assert!(!may_go_free(&pod("True"), &kept));
        assert!(!may_go_free(&pod("False"), &broken));
        broken["spec"]["unhealthyPodEvictionPolicy"] = json!("AlwaysAllow");
        assert!(may_go_free(&pod("False"), &broken));
        for (phase, expected) in [("Pending", false), ("Running", true), ("Failed", false)] {
            assert_eq!(counts(&json!({"status": {"phase": phase}})), expected);
        }
    }
}

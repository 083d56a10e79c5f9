//! Stories of Jobs.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use sealane_objects::ObjectName;
use serde_json::{Value, json};

use crate::action::Kind;
use crate::workloads::simulation::{KINDS, Story, is_ended, name};

const TRACKING: &str = "batch.kubernetes.io/job-tracking";

/// A Job as the API server keeps it.
fn job(spec: Value) -> Value {
    let mut job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "work"},
        "spec": {
            "parallelism": 1, "completions": 1, "backoffLimit": 6, "completionMode": "NonIndexed",
            "podReplacementPolicy": "TerminatingOrFailed",
            "selector": {"matchLabels": {"job": "work"}},
            "template": {
                "metadata": {"labels": {"job": "work"}},
                "spec": {"nodeName": "n", "restartPolicy": "Never", "containers": [{"name": "c", "image": "a"}]},
            },
        },
    });
    let more = spec.as_object().unwrap().clone();
    job["spec"].as_object_mut().unwrap().extend(more);
    job
}

impl Story {
    fn job(spec: Value) -> Self {
        let mut story = Self::new();
        story.world.create(Kind::Job, job(spec));
        story.settle(true);
        story
    }

    fn work(&self) -> &Value {
        &self.world.get(Kind::Job, &name("work"))["status"]
    }

    /// Types and reasons of the conditions that hold.
    fn said(&self) -> Vec<(String, String)> {
        let conditions = self.work()["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let holds = conditions.iter().filter(|one| one["status"] == "True");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        holds
            .map(|one| (text(&one["type"]), text(&one["reason"])))
            .collect()
    }

    /// Pods that work, by name.
    fn workers(&self) -> Vec<ObjectName> {
        let active = self
            .world
            .of(Kind::Pod)
            .filter(|(_, pod)| pod["metadata"]["deletionTimestamp"].is_null() && !is_ended(pod));
        active.map(|(name, _)| name.clone()).collect()
    }

    /// Working pods of an index.
    fn worker(&self, index: u32) -> ObjectName {
        let start = format!("work-{index}-");
        let mut workers = self.workers().into_iter();
        workers.find(|name| name.name.starts_with(&start)).unwrap()
    }

    fn end(&mut self, name: &ObjectName, code: i32) {
        self.world.end(name, code);
        self.settle(true);
    }

    fn end_all(&mut self, code: i32) {
        for name in self.workers() {
            self.world.end(&name, code);
        }
        self.settle(true);
    }

    fn wait(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
        self.settle(true);
    }

    fn ended_as(&self, end: &str, reason: &str) {
        let (target, last) = match end {
            "Complete" => ("SuccessCriteriaMet", "Complete"),
            _ => ("FailureTarget", "Failed"),
        };
        let expected = [target, last].map(|kind| (kind.to_owned(), reason.to_owned()));
        assert_eq!(self.said(), expected, "{}", self.work());
        assert_eq!(self.work()["uncountedTerminatedPods"], json!({}));
        assert_eq!(self.work()["active"], Value::Null);
        let held = self.world.of(Kind::Pod).filter(|(_, pod)| {
            pod["metadata"]["finalizers"]
                .as_array()
                .is_some_and(|all| !all.is_empty())
        });
        assert_eq!(held.count(), 0);
    }
}

#[test]
fn a_job_runs_its_pod_and_is_complete() {
    let mut story = Story::job(json!({}));
    let workers = story.workers();
    assert_eq!(workers.len(), 1);
    let pod = story.world.get(Kind::Pod, &workers[0]);
    assert_eq!(pod["metadata"]["finalizers"], json!([TRACKING]));
    assert_eq!(pod["metadata"]["ownerReferences"][0]["kind"], "Job");
    let status = story.work();
    assert_eq!(
        *status,
        json!({"active": 1, "ready": 1, "terminating": 0, "uncountedTerminatedPods": {},
               "startTime": "2026-11-21T00:00:00Z"})
    );
    story.wait(5);
    story.end_all(0);
    story.ended_as("Complete", "CompletionsReached");
    let status = story.work();
    assert_eq!(status["succeeded"], 1);
    assert_eq!(status["completionTime"], "2026-11-21T00:00:05Z");
    assert_eq!(story.told.last().unwrap(), "Completed: Job completed");
}

#[test]
fn a_pod_that_fails_is_followed_by_others_after_growing_pauses() {
    let mut story = Story::job(json!({"backoffLimit": 2}));
    for (failures, pause) in [(1, 10), (2, 20)] {
        story.end_all(1);
        assert_eq!(story.work()["failed"], failures);
        story.wait(pause - 1);
        assert!(story.workers().is_empty(), "after {failures}");
        story.wait(1);
        assert_eq!(story.workers().len(), 1, "after {failures}");
    }
    story.end_all(1);
    story.ended_as("Failed", "BackoffLimitExceeded");
    assert_eq!(story.work()["failed"], 3);
    assert!(story.work()["completionTime"].is_null());
    assert_eq!(
        story.told.last().unwrap(),
        "BackoffLimitExceeded: Job has reached the specified backoff limit"
    );
    story.wait(1000);
    assert!(story.workers().is_empty());
}

#[test]
fn as_many_work_at_once_as_may_and_no_more_than_is_left_to_do() {
    let mut story = Story::job(json!({"parallelism": 3, "completions": 5}));
    let mut seen = Vec::new();
    while !story.workers().is_empty() {
        seen.push(story.workers().len());
        story.end_all(0);
    }
    assert_eq!(seen, [3, 2]);
    story.ended_as("Complete", "CompletionsReached");
    assert_eq!(story.work()["succeeded"], 5);
}

#[test]
fn workers_of_a_queue_end_by_themselves_when_one_has_succeeded() {
    let mut story = Story::job(json!({"parallelism": 3, "completions": null}));
    let workers = story.workers();
    story.end(&workers[0], 0);
    assert_eq!(story.workers().len(), 2);
    story.end(&workers[1], 1);
    assert_eq!(story.workers().len(), 1);
    story.end(&workers[2], 0);
    story.ended_as("Complete", "CompletionsReached");
    assert_eq!(
        (&story.work()["succeeded"], &story.work()["failed"]),
        (&json!(2), &json!(1))
    );
}

#[test]
fn each_index_is_done_once_and_its_pod_knows_it() {
    let spec = json!({"parallelism": 2, "completions": 4, "completionMode": "Indexed"});
    let mut story = Story::job(spec);
    let first = story.worker(0);
    let pod = story.world.get(Kind::Pod, &first);
    assert_eq!(pod["spec"]["hostname"], "work-0");
    let index = "batch.kubernetes.io/job-completion-index";
    assert_eq!(pod["metadata"]["annotations"][index], "0");
    assert_eq!(pod["metadata"]["labels"][index], "0");
    let variable = &pod["spec"]["containers"][0]["env"][0];
    assert_eq!(variable["name"], "JOB_COMPLETION_INDEX");
    story.end(&first, 0);
    assert_eq!(story.work()["completedIndexes"], "0");
    let second = story.worker(1);
    story.end(&second, 1);
    story.wait(10);
    for index in [1, 2, 3] {
        let worker = story.worker(index);
        story.end(&worker, 0);
    }
    story.ended_as("Complete", "CompletionsReached");
    assert_eq!(story.work()["completedIndexes"], "0-3");
    assert_eq!(
        (&story.work()["succeeded"], &story.work()["failed"]),
        (&json!(4), &json!(1))
    );
}

#[test]
fn an_index_that_fails_too_often_does_not_hold_up_the_others() {
    let mut story = Story::job(json!({
        "parallelism": 3, "completions": 3, "completionMode": "Indexed",
        "backoffLimit": i32::MAX, "backoffLimitPerIndex": 1,
    }));
    let failures = "batch.kubernetes.io/job-index-failure-count";
    let of = |story: &Story, index| {
        let worker = story.worker(index);
        story.world.get(Kind::Pod, &worker)["metadata"]["annotations"][failures].clone()
    };
    assert_eq!(of(&story, 1), "0");
    let worker = story.worker(1);
    story.end(&worker, 1);
    assert_eq!(story.workers().len(), 2);
    // The failed pod is kept until its successor knows of it.
    let kept = &story.world.get(Kind::Pod, &worker)["metadata"]["finalizers"];
    assert_eq!(*kept, json!([TRACKING]));
    story.wait(10);
    assert_eq!(of(&story, 1), "1");
    let worker = story.worker(1);
    story.end(&worker, 1);
    assert_eq!(story.work()["failedIndexes"], "1");
    story.end_all(0);
    story.ended_as("Failed", "FailedIndexes");
    assert_eq!(story.work()["completedIndexes"], "0,2");
    assert_eq!(story.work()["failed"], 2);
}

#[test]
fn too_many_failed_indexes_end_a_job() {
    let mut story = Story::job(json!({
        "parallelism": 4, "completions": 4, "completionMode": "Indexed", "maxFailedIndexes": 1,
        "backoffLimit": i32::MAX, "backoffLimitPerIndex": 0,
    }));
    let worker = story.worker(0);
    story.end(&worker, 1);
    assert_eq!(story.workers().len(), 3);
    let worker = story.worker(1);
    story.end(&worker, 1);
    story.ended_as("Failed", "MaxFailedIndexesExceeded");
    // Those that worked on were ended.
    assert_eq!(story.work()["failed"], 4);
}

#[test]
fn a_job_is_suspended_and_goes_on() {
    let mut story =
        Story::job(json!({"parallelism": 2, "completions": 2, "activeDeadlineSeconds": 60}));
    let suspend = |story: &mut Story, yes: bool| {
        let patch = json!({"spec": {"suspend": yes}});
        story.world.patch(Kind::Job, &name("work"), &patch, false);
        story.settle(true);
    };
    suspend(&mut story, true);
    assert!(story.workers().is_empty());
    assert_eq!(
        story.said(),
        [("Suspended".to_owned(), "JobSuspended".to_owned())]
    );
    story.wait(1000);
    suspend(&mut story, false);
    assert_eq!(story.work()["startTime"], "2026-11-21T00:16:40Z");
    assert_eq!(story.workers().len(), 2);
    assert!(story.said().is_empty());
    for event in ["Suspended: Job suspended", "Resumed: Job resumed"] {
        assert_eq!(story.told.iter().filter(|told| *told == event).count(), 1);
    }
    story.end_all(0);
    assert_eq!(story.work()["succeeded"], 2);

    let story = Story::job(json!({"suspend": true}));
    assert!(story.workers().is_empty() && story.work()["startTime"].is_null());
}

#[test]
fn a_job_that_takes_too_long_is_ended() {
    let mut story =
        Story::job(json!({"activeDeadlineSeconds": 60, "parallelism": 2, "completions": 2}));
    story.wait(59);
    assert_eq!(story.workers().len(), 2);
    story.wait(1);
    story.ended_as("Failed", "DeadlineExceeded");
    assert!(story.workers().is_empty());
}

#[test]
fn what_a_failure_means_is_for_the_policy_to_say() {
    let policy = json!({"rules": [
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]});
    let spec =
        json!({"podFailurePolicy": policy, "podReplacementPolicy": "Failed", "backoffLimit": 1});
    let mut story = Story::job(spec);
    for _ in 0..3 {
        let worker = story.workers()[0].clone();
        let conditions = json!([{"type": "DisruptionTarget", "status": "True"}]);
        let patch = json!({"status": {"conditions": conditions}});
        story.world.patch(Kind::Pod, &worker, &patch, true);
        story.end(&worker, 143);
        story.wait(60);
    }
    assert_eq!(story.work()["failed"], Value::Null);
    story.end_all(42);
    story.ended_as("Failed", "PodFailurePolicy");
    let message = &story.work()["conditions"][0]["message"];
    let message = message.as_str().unwrap();
    assert!(
        message.ends_with("failed with exit code 42 matching FailJob rule at index 0"),
        "{message}"
    );
}

#[test]
fn some_indexes_are_enough_if_the_policy_says_so() {
    let mut story = Story::job(json!({
        "parallelism": 3, "completions": 3, "completionMode": "Indexed",
        "successPolicy": {"rules": [{"succeededIndexes": "1"}]},
    }));
    let leader = story.worker(1);
    story.end(&leader, 0);
    story.ended_as("Complete", "SuccessPolicy");
    assert!(story.workers().is_empty());
    assert_eq!(story.work()["succeeded"], 1);
}

#[test]
fn a_pod_that_is_to_go_is_replaced_at_once_or_when_it_is_over() {
    for (policy, at_once) in [("TerminatingOrFailed", 1), ("Failed", 0)] {
        let mut story = Story::job(json!({"podReplacementPolicy": policy}));
        let worker = story.workers()[0].clone();
        let at = json!({"metadata": {"deletionTimestamp": "2026-11-21T00:00:30Z"}});
        story.world.patch(Kind::Pod, &worker, &at, true);
        story.settle(false);
        story.pass(Duration::from_secs(10));
        story.settle(false);
        assert_eq!(story.workers().len(), at_once, "{policy}");
        story.settle(true);
        story.wait(10);
        assert_eq!(story.workers().len(), 1, "{policy}");
        assert_eq!(story.work()["failed"], 1, "{policy}");
        story.end_all(0);
        story.ended_as("Complete", "CompletionsReached");
    }
}

#[test]
fn a_job_goes_when_its_time_after_the_end_is_over() {
    let mut story = Story::job(json!({"ttlSecondsAfterFinished": 30}));
    story.end_all(0);
    story.wait(29);
    assert_eq!(story.world.of(Kind::Job).count(), 1);
    story.wait(1);
    assert_eq!(story.world.of(Kind::Job).count(), 0);
}

#[test]
fn pods_of_a_job_that_is_gone_are_let_go() {
    let mut story = Story::job(json!({"parallelism": 2, "completions": 2}));
    story.world.remove(Kind::Job, &name("work"));
    story.settle(true);
    let held = |pod: &Value| !pod["metadata"]["finalizers"].is_null();
    assert!(story.world.of(Kind::Pod).all(|(_, pod)| !held(pod)));
}

#[test]
fn containers_that_are_started_again_count_against_the_limit() {
    let mut story = Story::job(json!({"backoffLimit": 2}));
    let template = json!({"template": {"spec": {"restartPolicy": "OnFailure"}}});
    let patch = json!({"spec": template});
    story.world.patch(Kind::Job, &name("work"), &patch, false);
    let worker = story.workers()[0].clone();
    for restarts in [1, 2] {
        assert!(story.said().is_empty());
        let container = json!({"name": "c", "restartCount": restarts, "image": "a", "imageID": "", "ready": true});
        let patch = json!({"status": {"containerStatuses": [container]}});
        story.world.patch(Kind::Pod, &worker, &patch, true);
        story.settle(true);
    }
    story.ended_as("Failed", "BackoffLimitExceeded");
}

#[test]
fn a_job_of_somebody_else_is_left_alone() {
    let story = Story::job(json!({"managedBy": "acme.io/jobs"}));
    assert!(story.workers().is_empty() && story.work().is_null());
}

/// What may happen in any order.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Deliver(usize),
    Perform(usize),
    Kubelet(usize),
    End(usize, bool),
    Delete(usize),
    Elect,
    Pass(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => any::<usize>().prop_map(Happening::Deliver),
        6 => any::<usize>().prop_map(Happening::Perform),
        2 => any::<usize>().prop_map(Happening::Kubelet),
        3 => (any::<usize>(), any::<bool>()).prop_map(|(which, good)| Happening::End(which, good)),
        1 => any::<usize>().prop_map(Happening::Delete),
        1 => Just(Happening::Elect),
        2 => (0u64..40).prop_map(Happening::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever comes late, fails or leads next, each pod that ended is counted, and once.
    #[test]
    fn no_end_is_lost_or_counted_twice(
        happenings in proptest::collection::vec(happening(), 0..250), indexed in any::<bool>(),
    ) {
        let mode = if indexed { "Indexed" } else { "NonIndexed" };
        let mut story = Story::new();
        story.world.create(Kind::Job, job(json!({
            "parallelism": 3, "completions": 6, "completionMode": mode, "backoffLimit": 1000,
        })));
        // Pods that the Job has had, and those that succeeded.
        let (mut all, mut good) = (BTreeSet::new(), BTreeSet::new());
        let note = |story: &Story, all: &mut BTreeSet<String>, good: &mut BTreeSet<String>| {
            for (name, pod) in story.world.of(Kind::Pod) {
                all.insert(name.name.clone());
                if pod["status"]["phase"] == "Succeeded" {
                    good.insert(name.name.clone());
                }
            }
        };
        for happening in happenings {
            match happening {
                Happening::Deliver(kind) => drop(story.deliver(KINDS[kind % KINDS.len()])),
                Happening::Perform(which) => drop(story.perform(which)),
                Happening::Kubelet(which) => story.world.kubelet(which),
                Happening::End(which, ok) => {
                    let workers = story.workers();
                    if !workers.is_empty() {
                        story.world.end(&workers[which % workers.len()], i32::from(!ok));
                    }
                }
                Happening::Delete(which) => {
                    let workers = story.workers();
                    if !workers.is_empty() {
                        story.world.remove(Kind::Pod, &workers[which % workers.len()]);
                    }
                }
                Happening::Elect => story.elect(),
                Happening::Pass(seconds) => story.pass(Duration::from_secs(seconds)),
            }
            note(&story, &mut all, &mut good);
        }
        for _ in 0..60 {
            if story.said().iter().any(|(kind, _)| kind == "Complete") {
                break;
            }
            story.settle(true);
            note(&story, &mut all, &mut good);
            story.end_all(0);
            note(&story, &mut all, &mut good);
            story.wait(700);
        }
        story.ended_as("Complete", "CompletionsReached");
        let (succeeded, failed) = (&story.work()["succeeded"], &story.work()["failed"]);
        let failed = failed.as_u64().unwrap_or(0);
        prop_assert_eq!(all.len() as u64, good.len() as u64 + failed, "{}", story.work());
        let expected = if indexed { 6 } else { good.len() as u64 };
        prop_assert_eq!(succeeded.as_u64(), Some(expected), "{}", story.work());
    }
}

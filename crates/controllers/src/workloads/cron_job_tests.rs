//! Stories of CronJobs.

use std::time::Duration;

use serde_json::{Value, json};

use super::simulation::{Story, name};
use crate::action::Kind;

/// A CronJob as the API server keeps it.
fn cron(spec: Value) -> Value {
    let template = json!({
        "metadata": {"labels": {"tick": "tock"}},
        "spec": {"restartPolicy": "Never", "nodeName": "n", "containers": [{"name": "c", "image": "a"}]},
    });
    let selector = json!({"matchLabels": {"tick": "tock"}});
    let job =
        json!({"parallelism": 1, "completions": 1, "selector": selector, "template": template});
    let mut cron = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "clock"},
        "spec": {
            "schedule": "*/10 * * * *", "concurrencyPolicy": "Allow", "suspend": false,
            "successfulJobsHistoryLimit": 2, "failedJobsHistoryLimit": 1,
            "jobTemplate": {"metadata": {"labels": {"made": "by-clock"}}, "spec": job},
        },
    });
    let more = spec.as_object().unwrap().clone();
    cron["spec"].as_object_mut().unwrap().extend(more);
    cron
}

impl Story {
    fn clock(spec: Value) -> Self {
        let mut story = Self::new();
        story.world.create(Kind::CronJob, cron(spec));
        story.settle(true);
        story
    }

    fn minutes(&mut self, minutes: u64) {
        self.pass(Duration::from_secs(60 * minutes));
        self.settle(true);
    }

    fn jobs(&self) -> Vec<String> {
        let jobs = self
            .world
            .of(Kind::Job)
            .filter(|(_, job)| job["metadata"]["deletionTimestamp"].is_null());
        jobs.map(|(name, _)| name.name.clone()).collect()
    }

    /// All pods that work end so.
    fn done(&mut self, code: i32) {
        let pods: Vec<_> = self
            .world
            .of(Kind::Pod)
            .map(|(name, _)| name.clone())
            .collect();
        for pod in pods {
            if self.world.get(Kind::Pod, &pod)["status"]["phase"] == "Running" {
                self.world.end(&pod, code);
            }
        }
        self.settle(true);
    }

    fn hands(&self) -> &Value {
        &self.world.get(Kind::CronJob, &name("clock"))["status"]
    }
}

/// 2026-11-21T00:10:00Z in minutes, when the first Job of the stories is due.
const FIRST: u64 = 29_920_330;

fn due(times: impl IntoIterator<Item = u64>) -> Vec<String> {
    let name = |ten: u64| format!("clock-{}", FIRST + 10 * ten);
    times.into_iter().map(name).collect()
}

#[test]
fn a_job_is_made_each_time_and_the_oldest_go() {
    let mut story = Story::clock(json!({}));
    story.minutes(9);
    assert!(story.jobs().is_empty());
    story.minutes(1);
    assert_eq!(story.jobs(), due([0]));
    let job = story.world.get(Kind::Job, &name(&due([0])[0]));
    assert_eq!(job["metadata"]["labels"], json!({"made": "by-clock"}));
    let scheduled = "batch.kubernetes.io/cronjob-scheduled-timestamp";
    assert_eq!(
        job["metadata"]["annotations"][scheduled],
        "2026-11-21T00:10:00Z"
    );
    assert_eq!(job["metadata"]["ownerReferences"][0]["kind"], "CronJob");
    let hands = story.hands();
    assert_eq!(hands["lastScheduleTime"], "2026-11-21T00:10:00Z");
    assert_eq!(hands["active"][0]["name"], json!(due([0])[0]));
    story.minutes(1);
    story.done(0);
    let hands = story.hands();
    assert_eq!(hands["lastSuccessfulTime"], "2026-11-21T00:11:00Z");
    assert_eq!(hands["active"], Value::Null);
    assert!(
        story
            .told
            .contains(&format!("SuccessfulCreate: Created job {}", due([0])[0]))
    );
    let saw = format!(
        "SawCompletedJob: Saw completed job: {}, condition: Complete",
        due([0])[0]
    );
    assert!(story.told.contains(&saw), "{:?}", story.told);
    for _ in 0..3 {
        story.minutes(10);
        story.done(0);
    }
    assert_eq!(story.jobs(), due([2, 3]));
}

#[test]
fn a_job_that_still_runs_is_joined_waited_for_or_replaced() {
    for (policy, expected) in [
        ("Allow", due([0, 1])),
        ("Forbid", due([0])),
        ("Replace", due([1])),
    ] {
        let mut story = Story::clock(json!({"concurrencyPolicy": policy}));
        story.minutes(10);
        story.minutes(10);
        assert_eq!(story.jobs(), expected, "{policy}");
        if policy == "Forbid" {
            // The time that was missed is served when it may be.
            story.done(0);
            assert_eq!(story.jobs(), due([0, 1]));
        }
    }
}

#[test]
fn of_times_that_were_missed_the_last_is_served_unless_it_is_too_late() {
    let mut story = Story::clock(json!({"suspend": true}));
    story.minutes(65);
    let go = json!({"spec": {"suspend": false}});
    story.world.patch(Kind::CronJob, &name("clock"), &go, false);
    story.settle(true);
    assert_eq!(story.jobs(), due([5]));

    let mut story = Story::clock(json!({"suspend": true, "startingDeadlineSeconds": 200}));
    story.minutes(65);
    story.world.patch(Kind::CronJob, &name("clock"), &go, false);
    story.settle(true);
    assert!(story.jobs().is_empty());
    story.minutes(5);
    assert_eq!(story.jobs(), due([6]));
}

#[test]
fn another_leader_does_not_serve_a_time_again() {
    let mut story = Story::clock(json!({}));
    story.minutes(10);
    story.done(0);
    story.elect();
    story.settle(true);
    assert_eq!(story.jobs(), due([0]));
    // Not even if the status was never written.
    let blank = json!({"status": null});
    story
        .world
        .patch(Kind::CronJob, &name("clock"), &blank, true);
    story.elect();
    story.settle(true);
    assert_eq!(story.jobs(), due([0]));
    assert_eq!(story.hands()["lastScheduleTime"], "2026-11-21T00:10:00Z");
}

#[test]
fn clocks_of_another_zone_are_gone_by() {
    let mut story = Story::clock(json!({"schedule": "5 1 * * *", "timeZone": "Europe/Berlin"}));
    story.minutes(5);
    assert_eq!(story.jobs().len(), 1);
    let (_, job) = story.world.of(Kind::Job).next().unwrap();
    let scheduled = "batch.kubernetes.io/cronjob-scheduled-timestamp";
    assert_eq!(
        job["metadata"]["annotations"][scheduled],
        "2026-11-21T01:05:00+01:00"
    );
}

#[test]
fn jobs_made_by_hand_are_no_times_but_go_when_there_are_too_many() {
    let mut story =
        Story::clock(json!({"failedJobsHistoryLimit": 0, "concurrencyPolicy": "Forbid"}));
    let cron = story.world.get(Kind::CronJob, &name("clock")).clone();
    let owner = json!([{"kind": "CronJob", "name": "clock", "uid": cron["metadata"]["uid"], "controller": true}]);
    let mut job = json!({"metadata": {
        "name": "by-hand", "ownerReferences": owner,
        "annotations": {"cronjob.kubernetes.io/instantiate": "manual"},
    }});
    job["spec"] = cron["spec"]["jobTemplate"]["spec"].clone();
    job["spec"]["backoffLimit"] = json!(0);
    story.world.create(Kind::Job, job);
    story.settle(true);
    assert!(story.hands()["lastScheduleTime"].is_null() && story.hands()["active"].is_null());
    story.minutes(10);
    assert_eq!(story.jobs().len(), 2);
    story.done(1);
    assert!(!story.jobs().contains(&"by-hand".to_owned()));
}

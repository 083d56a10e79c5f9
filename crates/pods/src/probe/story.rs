//! Whole lives of containers under their probes, with a clock that is a number.
//!
//! A story is a container's fields and what each of its attempts answers; played, it is every
//! question and what followed, as `SECONDS PURPOSE ANSWER WHAT FOLLOWED`. A container that is doomed ends
//! when its grace period is over, and its next attempt begins in the same moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::rules::{Key, enter, needed};
use super::run::Verdict;
use super::*;
use crate::desired::Desired;
use crate::record::{Exit, Record, State};

/// What a container answers: by purpose, for each attempt in turn, `+`, `-` or `?`; the last one
/// for ever.
type Script = &'static [(Purpose, &'static [&'static str])];

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(1_000_000_000 + millis).unwrap()
}

fn seconds(time: Timestamp) -> f64 {
    time.duration_since(at(0)).as_secs_f64()
}

struct Story {
    pod: Desired,
    record: Record,
    script: Script,
    probers: BTreeMap<Key, (Prober, Timestamp, usize)>,
    told: Vec<String>,
}

impl Story {
    fn begin(spec: Value, script: Script) -> Self {
        let object = json!({"metadata": {"name": "p", "uid": "u"}, "spec": spec});
        let pod: Pod = serde_json::from_value(object).unwrap();
        let mut story = Self {
            pod: Desired::new(Arc::new(pod)),
            record: Record::new(at(0)),
            script,
            probers: BTreeMap::new(),
            told: Vec::new(),
        };
        story.start(at(0));
        story
    }

    /// Starts the container's next attempt.
    fn start(&mut self, now: Timestamp) {
        let container = self.record.container_mut("c");
        container.begin(now);
        container.state = State::Running(now);
    }

    /// The container's process ends.
    fn crash(&mut self, now: Timestamp) {
        self.tell(now, "ends");
        self.record.container_mut("c").state = State::Exited(Exit {
            code: 1,
            reason: "Error".to_owned(),
            message: None,
            started_at: None,
            finished_at: now,
        });
    }

    /// The pod is deleted.
    fn delete(&mut self, now: Timestamp) {
        self.tell(now, "deleted");
        let mut pod = (*self.pod.pod).clone();
        pod.metadata.deletion_timestamp = Some(Time(now));
        self.pod.pod = Arc::new(pod);
    }

    /// This process is restarted: records live on, probers do not.
    fn resume(&mut self, now: Timestamp, share: f64) {
        self.tell(now, "resumed");
        self.probers.clear();
        self.follow(now, Some(share));
    }

    fn tell(&mut self, now: Timestamp, words: &str) {
        self.told.push(format!("{} {words}", seconds(now)));
    }

    /// Begins the probes that are needed and ends the others.
    fn follow(&mut self, now: Timestamp, share: Option<f64>) {
        let needed = needed(&self.pod, &self.record);
        self.probers
            .retain(|key, _| needed.iter().any(|needed| needed.key == *key));
        for one in needed {
            self.probers.entry(one.key.clone()).or_insert_with(|| {
                let prober = Prober::new(
                    one.key.purpose,
                    Rhythm::of(one.probe),
                    one.since,
                    one.verdict,
                );
                let first = prober.first(now, share);
                (prober, first, 0)
            });
        }
    }

    fn answer(&self, key: &Key, turn: usize) -> char {
        let answers = self
            .script
            .iter()
            .find(|(purpose, _)| *purpose == key.purpose);
        let attempts = answers.unwrap().1;
        let attempt = usize::try_from(key.attempt)
            .unwrap()
            .min(attempts.len() - 1);
        let answers: Vec<char> = attempts[attempt].chars().collect();
        answers[turn.min(answers.len() - 1)]
    }

    /// Plays until a moment.
    fn until(&mut self, end: Timestamp) {
        let mut now = at(0);
        loop {
            self.follow(now, None);
            let doom = self
                .record
                .container("c")
                .doom
                .as_ref()
                .map(|doom| doom.kill_at);
            let next = self
                .probers
                .iter()
                .min_by_key(|(key, (_, due, _))| (*due, (*key).clone()));
            let next = next.map(|(key, (_, due, _))| (key.clone(), *due));
            let quiet = |moment| next.as_ref().is_none_or(|(_, due)| *due > moment);
            match (&next, doom) {
                (_, Some(doom)) if doom <= end && quiet(doom) => {
                    now = doom;
                    self.crash(now);
                    self.start(now);
                }
                (Some((key, due)), _) if *due <= end => {
                    now = *due;
                    self.ask(key, now);
                }
                _ => return,
            }
        }
    }

    fn ask(&mut self, key: &Key, now: Timestamp) {
        let turn = self.probers[key].2;
        let answer = self.answer(key, turn);
        let (prober, due, turn) = self.probers.get_mut(key).unwrap();
        let follows = prober.take((answer != '?').then_some(answer == '+'), now);
        *due = prober.next(now);
        *turn += 1;
        let mut words = format!("{} {answer}", key.purpose.word());
        if let Some(good) = follows.verdict {
            let verdict = Verdict {
                container: key.container.clone(),
                attempt: key.attempt,
                purpose: key.purpose,
                good,
            };
            enter(&verdict, &self.pod, &mut self.record, now);
            let spec = &self.pod.main()[0];
            let container = self.record.container("c");
            let doomed = container.doom.as_ref().map(|doom| seconds(doom.kill_at));
            words += &match doomed.filter(|_| key.purpose != Purpose::Readiness) {
                Some(kill_at) => format!(" killed by {kill_at}"),
                None if container.is_ready(spec) => " ready".to_owned(),
                None if container.is_started(spec) => " started".to_owned(),
                None => " not started".to_owned(),
            };
        }
        self.tell(now, &words);
    }
}

fn container(fields: Value) -> Value {
    let mut container = json!({"name": "c"});
    container
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    json!({"terminationGracePeriodSeconds": 5, "containers": [container]})
}

fn told(story: &Story) -> Vec<&str> {
    story.told.iter().map(String::as_str).collect()
}

use Purpose::{Liveness, Readiness, Startup};

#[test]
fn the_startup_probe_holds_up_the_others_and_is_asked_no_more_when_it_has_passed() {
    let spec = container(json!({
        "startupProbe": {"periodSeconds": 2, "failureThreshold": 3, "initialDelaySeconds": 1},
        "livenessProbe": {"periodSeconds": 5},
        "readinessProbe": {"periodSeconds": 5, "initialDelaySeconds": 4},
    }));
    let mut story = Story::begin(
        spec,
        &[(Startup, &["--+"]), (Liveness, &["+"]), (Readiness, &["+"])],
    );
    story.until(at(11_000));
    assert_eq!(
        told(&story),
        [
            "1 startup -",
            "3 startup -",
            "5 startup + started",
            "5 liveness +",
            "5 readiness + ready",
            "10 liveness +",
            "10 readiness +",
        ]
    );
}

#[test]
fn a_startup_that_never_passes_ends_the_container_and_the_next_attempt_begins_anew() {
    let spec = container(json!({
        "startupProbe": {"periodSeconds": 1, "failureThreshold": 2},
        "livenessProbe": {"periodSeconds": 10},
    }));
    let mut story = Story::begin(spec, &[(Startup, &["-", "-+"]), (Liveness, &["+"])]);
    story.until(at(9_000));
    assert_eq!(
        told(&story),
        [
            "0 startup -",
            "1 startup - killed by 6",
            "6 ends",
            "6 startup -",
            "7 startup + ready",
            "7 liveness +",
        ]
    );
}

#[test]
fn liveness_ends_the_container_within_the_grace_period_of_the_probe() {
    let cases = [
        ("the pod's", json!({}), 13),
        (
            "the probe's",
            json!({"terminationGracePeriodSeconds": 3}),
            11,
        ),
        (
            "2 s at least",
            json!({"terminationGracePeriodSeconds": 1}),
            10,
        ),
    ];
    for (case, grace, kill_at) in cases {
        let mut probe =
            json!({"periodSeconds": 4, "failureThreshold": 2, "initialDelaySeconds": 4});
        probe
            .as_object_mut()
            .unwrap()
            .extend(grace.as_object().unwrap().clone());
        let spec = container(json!({"livenessProbe": probe}));
        let mut story = Story::begin(spec, &[(Liveness, &["--", "+"])]);
        story.until(at(kill_at * 1000 + 4_000));
        let expected = [
            "4 liveness -".to_owned(),
            format!("8 liveness - killed by {kill_at}"),
            format!("{kill_at} ends"),
            format!("{} liveness +", kill_at + 4),
        ];
        assert_eq!(told(&story), expected, "{case}");
    }
}

#[test]
fn a_container_that_is_being_ended_is_asked_for_its_readiness_only() {
    let spec = container(json!({
        "livenessProbe": {"periodSeconds": 2, "failureThreshold": 1},
        "readinessProbe": {"periodSeconds": 2, "failureThreshold": 1},
    }));
    let mut story = Story::begin(spec, &[(Liveness, &["-", "+"]), (Readiness, &["+-", "+"])]);
    story.until(at(6_000));
    assert_eq!(
        told(&story),
        [
            "0 liveness - killed by 5",
            "0 readiness + ready",
            "2 readiness - started",
            "4 readiness -",
            "5 ends",
            "5 liveness +",
            "5 readiness + ready",
        ]
    );
}

#[test]
fn readiness_counts_in_a_row_and_a_new_attempt_is_not_ready() {
    let spec = container(json!({
        "readinessProbe": {
            "periodSeconds": 1, "initialDelaySeconds": 1, "successThreshold": 2, "failureThreshold": 3,
        },
    }));
    let mut story = Story::begin(spec, &[(Readiness, &["++--+---+", "?++"])]);
    story.until(at(9_500));
    story.crash(at(9_600));
    story.start(at(10_000));
    story.until(at(12_000));
    assert_eq!(
        told(&story),
        [
            "1 readiness +",
            "1.1 readiness + ready",
            "2.1 readiness -",
            "3.1 readiness -",
            "4.1 readiness +",
            "5.1 readiness -",
            "6.1 readiness -",
            "7.1 readiness - started",
            "8.1 readiness +",
            "9.1 readiness + ready",
            "9.6 ends",
            "11 readiness ?",
            "11.1 readiness +",
            "11.3 readiness + ready",
        ]
    );
}

#[test]
fn a_pod_that_is_deleted_is_not_asked_whether_it_lives() {
    let spec = container(json!({
        "livenessProbe": {"periodSeconds": 3, "failureThreshold": 1},
        "readinessProbe": {"periodSeconds": 3, "failureThreshold": 1},
    }));
    let mut story = Story::begin(spec, &[(Liveness, &["+-"]), (Readiness, &["+-"])]);
    story.until(at(1_000));
    story.delete(at(1_000));
    story.until(at(7_000));
    assert_eq!(
        told(&story),
        [
            "0 liveness +",
            "0 readiness + ready",
            "1 deleted",
            "3 readiness - started",
            "6 readiness -",
        ]
    );
}

#[test]
fn readiness_and_start_survive_a_restart_of_this_process() {
    let spec = container(json!({
        "startupProbe": {"periodSeconds": 1},
        "readinessProbe": {"periodSeconds": 10, "failureThreshold": 2},
    }));
    let mut story = Story::begin(spec, &[(Startup, &["+"]), (Readiness, &["-+-"])]);
    story.until(at(1_000));
    let ready = |story: &Story| story.record.container("c").is_ready(&story.pod.main()[0]);
    assert!(ready(&story));
    story.resume(at(20_000), 0.3);
    assert!(ready(&story), "nobody has said otherwise");
    story.until(at(50_000));
    assert_eq!(
        told(&story),
        [
            "0 startup + started",
            "0 readiness -",
            "0.1 readiness + ready",
            "20 resumed",
            "23 readiness -",
            "33 readiness +",
            "43 readiness -",
        ]
    );
    assert!(ready(&story), "one failure is too few");
}

#[test]
fn a_verdict_about_an_earlier_attempt_does_not_count() {
    let spec = container(json!({"readinessProbe": {}, "livenessProbe": {}}));
    let mut story = Story::begin(spec, &[(Readiness, &["+"]), (Liveness, &["+"])]);
    story.crash(at(1_000));
    story.start(at(2_000));
    for (purpose, good) in [(Readiness, true), (Liveness, false)] {
        let late = Verdict {
            container: "c".to_owned(),
            attempt: 0,
            purpose,
            good,
        };
        enter(&late, &story.pod, &mut story.record, at(3_000));
    }
    let container = story.record.container("c");
    assert!(!container.readiness_passed && container.doom.is_none());
}

#[test]
fn what_a_failed_probe_means_is_said_in_the_kubelets_words() {
    let cases = [
        (
            "Always",
            Liveness,
            "Container c failed liveness probe, will be restarted",
        ),
        (
            "OnFailure",
            Startup,
            "Container c failed startup probe, will be restarted",
        ),
        ("Never", Liveness, "Container c failed liveness probe"),
    ];
    for (policy, purpose, expected) in cases {
        let mut spec = container(json!({"livenessProbe": {}, "startupProbe": {}}));
        spec["restartPolicy"] = json!(policy);
        let mut story = Story::begin(spec, &[]);
        let verdict = Verdict {
            container: "c".to_owned(),
            attempt: 0,
            purpose,
            good: false,
        };
        enter(&verdict, &story.pod, &mut story.record, at(1_000));
        let doom = story.record.container("c").doom.clone().unwrap();
        assert_eq!(doom.message, expected);
    }
}

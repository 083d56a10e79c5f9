//! Answers by time, and what must follow, with a clock that is a number.

use serde_json::{Value, json};

use super::*;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(1_000_000 + millis).unwrap()
}

fn rhythm(fields: Value) -> Rhythm {
    Rhythm::of(&serde_json::from_value(fields).unwrap())
}

/// Plays answers, `+`, `-` or `?` for none, from the start on; each as `SECONDS:WHAT FOLLOWS`.
fn play(purpose: Purpose, fields: Value, verdict: bool, answers: &str) -> String {
    let mut prober = Prober::new(purpose, rhythm(fields), at(0), verdict);
    let mut now = prober.first(at(0), None);
    let mut told = Vec::new();
    for answer in answers.chars() {
        let given = (answer != '?').then_some(answer == '+');
        let follows = prober.take(given, now);
        let word = match (follows.verdict, follows.tell) {
            (Some(true), _) => "good",
            (Some(false), true) => "bad, told",
            (Some(false), false) => "bad",
            (None, true) => "told",
            (None, false) => "-",
        };
        let seconds = now.duration_since(at(0)).as_secs_f64();
        told.push(format!("{seconds}:{word}"));
        now = prober.next(now);
    }
    told.join(" ")
}

#[test]
fn the_api_says_nothing_and_the_defaults_hold() {
    let expected = Rhythm {
        initial_delay: Duration::ZERO,
        period: Duration::from_secs(10),
        timeout: Duration::from_secs(1),
        successes: 1,
        failures: 3,
    };
    assert_eq!(rhythm(json!({})), expected);
    assert_eq!(
        rhythm(json!({"periodSeconds": 0, "failureThreshold": -1})),
        expected
    );
}

#[test]
fn verdicts_need_as_many_answers_as_the_thresholds_say() {
    use Purpose::{Liveness, Readiness, Startup};
    let cases = [
        (
            "liveness fails after three in a row, and goes on failing",
            Liveness,
            json!({"periodSeconds": 5}),
            true,
            "+--+----",
            "0:- 5:told 10:told 15:- 20:told 25:told 30:bad, told 35:bad, told",
        ),
        (
            "the initial delay comes first",
            Liveness,
            json!({"initialDelaySeconds": 7, "failureThreshold": 1}),
            true,
            "+-",
            "7:- 17:bad, told",
        ),
        (
            "startup passes once",
            Startup,
            json!({"periodSeconds": 2, "failureThreshold": 30}),
            false,
            "--+",
            "0:told 2:told 4:good",
        ),
        (
            "startup fails",
            Startup,
            json!({"periodSeconds": 2, "failureThreshold": 2}),
            false,
            "--",
            "0:told 2:bad, told",
        ),
        (
            "readiness comes and goes",
            Readiness,
            json!({"periodSeconds": 1, "failureThreshold": 2, "successThreshold": 2}),
            true,
            "+--++",
            "0:- 1:told 2:bad, told 3:- 4:good",
        ),
        (
            "no answer changes nothing, and does not interrupt a row",
            Liveness,
            json!({"periodSeconds": 5, "failureThreshold": 2}),
            true,
            "-?-",
            "0:told 5:told 10:bad, told",
        ),
        (
            "no answer makes nobody ready",
            Readiness,
            json!({"initialDelaySeconds": 1, "periodSeconds": 1}),
            true,
            "???+",
            "1:told 2:told 3:told 4:-",
        ),
    ];
    for (case, purpose, fields, verdict, answers, expected) in cases {
        assert_eq!(play(purpose, fields, verdict, answers), expected, "{case}");
    }
}

#[test]
fn readiness_is_asked_for_often_within_the_first_period_only() {
    let fields = json!({"periodSeconds": 3});
    let played = play(Purpose::Readiness, fields.clone(), false, "---+--");
    assert_eq!(played, "0:- 0.1:- 0.3:- 0.7:good 3.7:told 6.7:told");
    let played = play(Purpose::Readiness, fields, false, "--------+");
    let expected = "0:- 0.1:- 0.3:- 0.7:- 1.5:- 3.1:told 6.1:told 9.1:told 12.1:good";
    assert_eq!(played, expected);
}

#[test]
fn after_a_restart_of_this_process_questions_are_spread_over_a_period() {
    let prober = |fields: Value| Prober::new(Purpose::Liveness, rhythm(fields), at(0), true);
    let now = at(100_000);
    let cases = [
        (None, 100_000),
        (Some(0.0), 100_000),
        (Some(0.25), 101_000),
        (Some(1.0), 104_000),
        (Some(7.0), 104_000),
    ];
    for (share, expected) in cases {
        let first = prober(json!({"periodSeconds": 4})).first(now, share);
        assert_eq!(first, at(expected), "{share:?}");
    }
    let delayed = json!({"periodSeconds": 4, "initialDelaySeconds": 200});
    assert_eq!(prober(delayed).first(now, Some(0.5)), at(200_000));
}

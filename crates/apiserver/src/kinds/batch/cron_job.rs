//! CronJob.

use k8s_openapi::api::batch::v1 as batch;
use sealane_cron::Schedule;
use serde_json::Value;

use super::{
    items,
    job::{self, complete_template, validate_shared},
    text,
};
use crate::{
    check::{self, Check, Findings, Rule},
    kinds::{
        Generation, Kind, PLAIN, Warnings,
        column::{AGE, Cell, Column, NAME, NONE, column, number, since, wide},
        pod::of_pod_spec,
        typed,
    },
    object,
};

/// The names of its Jobs end in a number of eleven letters.
const NAME_MAX: usize = 52;

pub static CRON_JOB: Kind = Kind {
    group: "batch",
    kind: "CronJob",
    plural: "cronjobs",
    singular: "cronjob",
    short_names: &["cj"],
    categories: &["all"],
    status: true,
    decode: typed::<batch::CronJob>,
    complete: |object| complete_template(&mut object["spec"]["jobTemplate"]["spec"]["template"]),
    defaults: &[
        ("spec.concurrencyPolicy", "\"Allow\""),
        ("spec.suspend", "false"),
        ("spec.successfulJobsHistoryLimit", "3"),
        ("spec.failedJobsHistoryLimit", "1"),
        ("status", "{}"),
    ],
    rules: &[
        Rule("spec.schedule", Check::Required),
        Rule(
            "spec.concurrencyPolicy",
            Check::OneOf(&["Allow", "Forbid", "Replace"]),
        ),
        Rule("spec.startingDeadlineSeconds", Check::NonNegative),
        Rule("spec.successfulJobsHistoryLimit", Check::NonNegative),
        Rule("spec.failedJobsHistoryLimit", Check::NonNegative),
        Rule("spec.jobTemplate", Check::Required),
    ],
    validate,
    columns: &[
        NAME,
        column("Schedule", Cell::Path("spec.schedule"), "When it runs."),
        column(
            "Timezone",
            Cell::Path("spec.timeZone"),
            "By the clocks of which zone.",
        ),
        column(
            "Suspend",
            Cell::Of(|object, _| suspended(object).into()),
            "Whether it makes no Jobs.",
        ),
        number(
            "Active",
            Cell::Count("status.active"),
            "Its Jobs that are running.",
        ),
        column(
            "Last Schedule",
            Cell::Of(|object, now| {
                let time = object["status"]["lastScheduleTime"].as_str();
                time.map_or(NONE.into(), |time| since(Some(time), now).into())
            }),
            "Time since a Job was last made.",
        ),
        AGE,
        of_containers("Containers", Cell::Of(|object, _| joined(object, "name"))),
        of_containers("Images", Cell::Of(|object, _| joined(object, "image"))),
        wide(
            "Selector",
            Cell::Of(|_, _| NONE.into()),
            "None: each Job has its own.",
        ),
    ],
    generation: Generation::Spec,
    warnings: Warnings::Always(|object, said| {
        let pod = &object["spec"]["jobTemplate"]["spec"]["template"]["spec"];
        of_pod_spec("spec.jobTemplate.spec.template.spec", pod, said);
    }),
    ..PLAIN
};

const fn of_containers(name: &'static str, cell: Cell) -> Column {
    wide(name, cell, "Of the template of its Jobs.")
}

fn joined(object: &Value, field: &str) -> Value {
    let pod = &object["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    let texts = items(&pod["containers"]).iter();
    let texts: Vec<&str> = texts.map(|container| text(&container[field])).collect();
    texts.join(",").into()
}

fn suspended(object: &Value) -> &'static str {
    match object["spec"]["suspend"].as_bool() {
        Some(true) => "True",
        Some(false) => "False",
        None => "<unset>",
    }
}

fn validate(object: &Value, findings: &mut Findings) {
    if object::name(object).len() > NAME_MAX {
        let why = format!("must be no more than {NAME_MAX} characters");
        findings.invalid("metadata.name", &object["metadata"]["name"], why);
    }
    schedule(&object["spec"], findings);
    let template = &object["spec"]["jobTemplate"];
    if !template["spec"].is_object() {
        return;
    }
    let mut found = Findings::default();
    check::labels(
        "metadata.labels",
        &template["metadata"]["labels"],
        &mut found,
    );
    check::run(job::RULES, template, &mut found);
    validate_shared(template, &mut found);
    if template["spec"]["manualSelector"] == Value::Bool(true) {
        let why = "the Jobs of a CronJob select their own pods";
        found.invalid("spec.manualSelector", &Value::Bool(true), why);
    }
    findings.take_under("spec.jobTemplate", found);
}

fn schedule(spec: &Value, findings: &mut Findings) {
    let (schedule, zone) = (text(&spec["schedule"]), &spec["timeZone"]);
    if schedule.contains("TZ") {
        let why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        findings.invalid("spec.schedule", &spec["schedule"], why);
    } else if let Some(Err(error)) = (!schedule.is_empty()).then(|| Schedule::parse(schedule)) {
        findings.invalid("spec.schedule", &spec["schedule"], error.to_string());
    }
    let why = match zone.as_str() {
        None => return,
        Some("") => "timeZone must be nil or non-empty string".to_owned(),
        Some(local) if local.eq_ignore_ascii_case("local") => {
            "timeZone must be an explicit time zone as defined in \
             https://www.iana.org/time-zones"
                .to_owned()
        }
        Some(name) if sealane_cron::zone(name).is_none() => format!("unknown time zone {name}"),
        Some(_) => return,
    };
    findings.invalid("spec.timeZone", zone, why);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(spec: Value) -> String {
        let mut object = json!({"metadata": {"name": "c"}, "spec": {
            "schedule": "@hourly",
            "jobTemplate": {"spec": {"template": {"spec": {
                "restartPolicy": "OnFailure", "containers": [{"name": "c", "image": "i"}],
            }}}},
        }});
        let more = spec.as_object().unwrap().clone();
        object["spec"].as_object_mut().unwrap().extend(more);
        (CRON_JOB.complete)(&mut object);
        let mut findings = Findings::default();
        check::run(CRON_JOB.rules, &object, &mut findings);
        validate(&object, &mut findings);
        findings.to_string()
    }

    #[test]
    fn schedules_and_zones_are_judged() {
        for (spec, expected) in [
            (json!({}), "[]"),
            (
                json!({"schedule": "*/5 * * * 1-5", "timeZone": "Europe/Berlin"}),
                "[]",
            ),
            (json!({"timeZone": "Etc/UTC"}), "[]"),
            (json!({"schedule": ""}), "spec.schedule: Required value"),
            (
                json!({"schedule": "* * *"}),
                "spec.schedule: Invalid value: \"* * *\": expected exactly 5 fields, found 3: [\"*\", \"*\", \"*\"]",
            ),
            (
                json!({"schedule": "CRON_TZ=UTC 0 * * * *"}),
                "spec.schedule: Invalid value: \"CRON_TZ=UTC 0 * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
            ),
            (
                json!({"timeZone": "Mars/Olympus"}),
                "spec.timeZone: Invalid value: \"Mars/Olympus\": unknown time zone Mars/Olympus",
            ),
            (
                json!({"timeZone": "Local"}),
                "spec.timeZone: Invalid value: \"Local\": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
            ),
            (
                json!({"concurrencyPolicy": "Sometimes"}),
                "spec.concurrencyPolicy: Unsupported value: \"Sometimes\": supported values: \"Allow\", \"Forbid\", \"Replace\"",
            ),
            (
                json!({"jobTemplate": {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}}}),
                "spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
            ),
        ] {
            assert_eq!(found(spec.clone()), expected, "{spec}");
        }
    }
}

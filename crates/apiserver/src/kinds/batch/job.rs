//! Job.
//!
//! Unless `manualSelector` says otherwise, a Job selects its pods by its own uid, and the template gets the
//! label. Both are made here, as only the server knows the uid.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1 as batch;
use serde_json::{Value, json};

use super::{failure_policy, is_true, items, success_policy, text};
use crate::{
    check::{Check, Findings, Rule, format},
    kinds::{
        Dependents, Generation, Kind, PLAIN, Warnings,
        apps::{CONTAINERS, IMAGES, SELECTOR},
        column::{AGE, Cell, NAME, column, duration},
        label_selector,
        pod::{self, of_workload},
        typed,
    },
    object,
};

/// The labels that tell a Job's pods, the newer and the older form.
const UID_LABELS: [&str; 2] = ["batch.kubernetes.io/controller-uid", "controller-uid"];
const NAME_LABELS: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];
/// Pods of an indexed Job at once, at most.
const INDEXED_PARALLELISM: i64 = 100_000;
const INDEXED: &str = "Indexed";

pub static JOB: Kind = Kind {
    group: "batch",
    kind: "Job",
    plural: "jobs",
    singular: "job",
    categories: &["all"],
    status: true,
    decode: typed::<batch::Job>,
    complete,
    defaults: &[
        ("spec.parallelism", "1"),
        ("spec.completionMode", "\"NonIndexed\""),
        ("spec.manualSelector", "false"),
        ("spec.suspend", "false"),
        (
            "spec.podFailurePolicy.rules[].onPodConditions[].status",
            "\"True\"",
        ),
        ("status", "{}"),
    ],
    rules: RULES,
    validate,
    validate_update,
    fields: &[("status.successful", "status.succeeded")],
    columns: &[
        NAME,
        column(
            "Status",
            Cell::Of(|job, _| state(job).into()),
            "What has become of it.",
        ),
        column(
            "Completions",
            Cell::Of(|job, _| completions(job).into()),
            "Pods that have succeeded, of all that should.",
        ),
        column(
            "Duration",
            Cell::Of(|job, now| taken(job, now).into()),
            "Time that it took, or has taken so far.",
        ),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    generation: Generation::Spec,
    warnings: Warnings::Always(of_workload),
    dependents: Dependents::Orphaned,
    ..PLAIN
};

/// What must hold of a Job and of the template of one.
pub const RULES: &[Rule] = &[
    Rule("spec.parallelism", Check::NonNegative),
    Rule("spec.completions", Check::NonNegative),
    Rule("spec.activeDeadlineSeconds", Check::NonNegative),
    Rule("spec.backoffLimit", Check::NonNegative),
    Rule("spec.backoffLimitPerIndex", Check::NonNegative),
    Rule("spec.maxFailedIndexes", Check::NonNegative),
    Rule("spec.ttlSecondsAfterFinished", Check::NonNegative),
    Rule("spec.template", Check::Required),
    Rule(
        "spec.completionMode",
        Check::OneOf(&["Indexed", "NonIndexed"]),
    ),
    Rule(
        "spec.podReplacementPolicy",
        Check::OneOf(&["Failed", "TerminatingOrFailed"]),
    ),
    Rule("spec.managedBy", Check::Format(managed_by)),
];

fn complete(job: &mut Value) {
    if !job["spec"].is_object() {
        return;
    }
    complete_template(&mut job["spec"]["template"]);
    let spec = &mut job["spec"];
    if spec["completions"].is_null() && spec["parallelism"].is_null() {
        spec["completions"] = json!(1);
    }
    if spec["backoffLimit"].is_null() {
        let by_index = !spec["backoffLimitPerIndex"].is_null();
        spec["backoffLimit"] = if by_index { json!(i32::MAX) } else { json!(6) };
    }
    if spec["podReplacementPolicy"].is_null() {
        let only_failed = !spec["podFailurePolicy"].is_null();
        let policy = if only_failed {
            "Failed"
        } else {
            "TerminatingOrFailed"
        };
        spec["podReplacementPolicy"] = policy.into();
    }
    if spec["manualSelector"] != json!(true) {
        select_own(job);
    }
    let labels = job["spec"]["template"]["metadata"]["labels"].clone();
    let has_own = job["metadata"]["labels"]
        .as_object()
        .is_some_and(|own| !own.is_empty());
    if labels.is_object() && !has_own {
        object::metadata_mut(job).insert("labels".into(), labels);
    }
}

/// Completes the template of a Job; one that is not there stays so.
pub fn complete_template(template: &mut Value) {
    if template.is_object() {
        pod::complete_template(template);
    }
}

/// What it says already is left, for validation to judge.
fn select_own(job: &mut Value) {
    let (uid, name) = (object::meta(job, "uid"), object::name(job));
    // A name that is still to be generated will be in the labels.
    if uid.is_empty() || name.is_empty() || !job["spec"]["template"].is_object() {
        return;
    }
    let (uid, name) = (json!(uid), json!(name));
    let set = |map: &mut Value, key: &str, value: &Value| {
        if map[key].is_null() {
            map[key] = value.clone();
        }
    };
    let labels = &mut job["spec"]["template"]["metadata"]["labels"];
    UID_LABELS.iter().for_each(|key| set(labels, key, &uid));
    NAME_LABELS.iter().for_each(|key| set(labels, key, &name));
    let selector = &mut job["spec"]["selector"]["matchLabels"];
    set(selector, UID_LABELS[0], &uid);
}

fn validate(job: &Value, findings: &mut Findings) {
    validate_shared(job, findings);
    let (spec, metadata) = (&job["spec"], &job["metadata"]);
    let (selector, labels) = (&spec["selector"], &spec["template"]["metadata"]["labels"]);
    if label_selector::is_empty(selector) {
        return findings.required("spec.selector", "");
    }
    label_selector::validate("spec.selector", selector, findings);
    if spec["manualSelector"] != json!(true) {
        own_labels(metadata, labels, findings);
        let expected = json!({ "matchLabels": { UID_LABELS[0]: metadata["uid"] } });
        if *selector != expected {
            findings.invalid("spec.selector", selector, "`selector` not auto-generated");
        }
    }
    if !label_selector::matches(selector, labels) {
        let why = "`selector` does not match template `labels`";
        findings.invalid("spec.template.metadata.labels", labels, why);
    }
    host_names(job, findings);
}

fn own_labels(metadata: &Value, labels: &Value, findings: &mut Findings) {
    let uids = UID_LABELS.map(|key| (key, &metadata["uid"]));
    let names = NAME_LABELS.map(|key| (key, &metadata["name"]));
    for (key, expected) in uids.into_iter().chain(names) {
        if labels[key] != *expected {
            let at = format!("spec.template.metadata.labels[{key}]");
            findings.invalid(at, &labels[key], format!("must be '{}'", text(expected)));
        }
    }
}

/// Pods of an indexed Job have its name and their index for a host name.
fn host_names(job: &Value, findings: &mut Findings) {
    let spec = &job["spec"];
    let last = spec["completions"].as_i64().unwrap_or(0) - 1;
    if spec["completionMode"] != INDEXED || last < 0 {
        return;
    }
    let host = format!("{}-{last}", object::name(job));
    for why in format::dns_label(&host) {
        let why = format!("will not able to create pod with invalid DNS label: {host}: {why}");
        findings.invalid("metadata.name", &job["metadata"]["name"], why);
    }
}

/// Checks what a Job and the template of one share.
pub fn validate_shared(job: &Value, findings: &mut Findings) {
    let spec = &job["spec"];
    if !spec["template"].is_object() {
        return;
    }
    pod::validate_template("spec.template", &spec["template"], findings);
    let policy = &spec["template"]["spec"]["restartPolicy"];
    if policy == "Always" {
        let why = "valid values: \"OnFailure\", \"Never\"";
        findings.required("spec.template.spec.restartPolicy", why);
    }
    for by in ["podFailurePolicy", "backoffLimitPerIndex"] {
        if !spec[by].is_null() && policy != "Never" {
            let why = format!("only \"Never\" is supported when {by} is specified");
            findings.invalid("spec.template.spec.restartPolicy", policy, why);
        }
    }
    by_index(spec, findings);
    failure_policy::validate(spec, findings);
    success_policy::validate(spec, findings);
}

fn by_index(spec: &Value, findings: &mut Findings) {
    let indexed = spec["completionMode"] == INDEXED;
    let (limit, most) = (&spec["backoffLimitPerIndex"], &spec["maxFailedIndexes"]);
    if indexed {
        if spec["completions"].is_null() {
            let why = format!("when completion mode is {INDEXED}");
            findings.required("spec.completions", &why);
        }
        let parallelism = &spec["parallelism"];
        if parallelism.as_i64() > Some(INDEXED_PARALLELISM) {
            let why = format!(
                "must be less than or equal to {INDEXED_PARALLELISM} when completion mode is {INDEXED}"
            );
            findings.invalid("spec.parallelism", parallelism, why);
        }
    }
    if !limit.is_null() && !indexed {
        let why = "requires indexed completion mode";
        findings.invalid("spec.backoffLimitPerIndex", limit, why);
    }
    if !most.is_null() && limit.is_null() {
        let why = "when maxFailedIndexes is specified";
        findings.required("spec.backoffLimitPerIndex", why);
    }
    if most.as_i64() > spec["completions"].as_i64() {
        let why = "must be less than or equal to completions";
        findings.invalid("spec.maxFailedIndexes", most, why);
    }
    if spec["podReplacementPolicy"] == "TerminatingOrFailed" && !spec["podFailurePolicy"].is_null()
    {
        let policy = &spec["podReplacementPolicy"];
        findings.unsupported("spec.podReplacementPolicy", policy, &["Failed"]);
    }
}

fn managed_by(said: &str) -> Vec<String> {
    let mut wrong = match said.split_once('/') {
        Some((domain, path)) if !domain.is_empty() && !path.is_empty() => {
            format::dns_subdomain(domain)
        }
        _ => vec!["must be a domain-prefixed path (such as \"acme.io/foo\")".into()],
    };
    if said.len() > 63 {
        wrong.push("must be no more than 63 bytes".into());
    }
    wrong
}

/// Fields of the spec that stay as they are.
const FIXED: [&str; 6] = [
    "selector",
    "completionMode",
    "podFailurePolicy",
    "backoffLimitPerIndex",
    "managedBy",
    "successPolicy",
];
/// What of a template may change while no pod has been made of it.
const PLACING: [&str; 4] = ["nodeSelector", "affinity", "tolerations", "schedulingGates"];

fn validate_update(new: &Value, old: &Value, findings: &mut Findings) {
    let (is, was) = (&new["spec"], &old["spec"]);
    for field in FIXED {
        if is[field] != was[field] {
            let at = format!("spec.{field}");
            findings.invalid(at, &is[field], "field is immutable");
        }
    }
    if is["completions"] != was["completions"] {
        let (at, value) = ("spec.completions", &is["completions"]);
        if is["completionMode"] != INDEXED || value.is_null() || was["completions"].is_null() {
            findings.invalid(at, value, "field is immutable");
        } else if *value != is["parallelism"] {
            let why = "can only be modified in tandem with spec.parallelism";
            findings.invalid(at, value, why);
        }
    }
    let begun = was["suspend"] != json!(true) || !old["status"]["startTime"].is_null();
    let fixed = |spec: &Value| {
        let mut template = spec["template"].clone();
        if !begun {
            for (part, fields) in [
                ("spec", &PLACING[..]),
                ("metadata", &["labels", "annotations"]),
            ] {
                if let Some(part) = template[part].as_object_mut() {
                    fields.iter().for_each(|field| drop(part.remove(*field)));
                }
            }
        }
        template
    };
    if fixed(is) != fixed(was) {
        findings.invalid("spec.template", &is["template"], "field is immutable");
    }
}

/// What has become of a Job, in one word.
fn state(job: &Value) -> &'static str {
    let ended = ["Complete", "Failed"].into_iter();
    if let Some(end) = ended.into_iter().find(|end| is_true(job, end)) {
        return end;
    }
    if object::is_deleting(job) {
        return "Terminating";
    }
    let meanwhile = ["Suspended", "FailureTarget", "SuccessCriteriaMet"].into_iter();
    let mut meanwhile = meanwhile.filter(|state| is_true(job, state));
    meanwhile.next().unwrap_or("Running")
}

fn completions(job: &Value) -> String {
    let succeeded = job["status"]["succeeded"].as_i64().unwrap_or(0);
    let (spec, parallelism) = (&job["spec"], job["spec"]["parallelism"].as_i64());
    match (spec["completions"].as_i64(), parallelism) {
        (Some(all), _) => format!("{succeeded}/{all}"),
        (None, Some(several)) if several > 1 => format!("{succeeded}/1 of {several}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

/// From its start to its end; to now while it runs.
fn taken(job: &Value, now: Timestamp) -> String {
    let status = &job["status"];
    let moment = |value: &Value| text(value).parse::<Timestamp>().ok();
    let Some(start) = moment(&status["startTime"]) else {
        return String::new();
    };
    let failed = items(&status["conditions"])
        .iter()
        .find(|one| one["type"] == "Failed" && one["status"] == "True");
    let failed = failed.and_then(|one| moment(&one["lastTransitionTime"]));
    let end = moment(&status["completionTime"]).or(failed).unwrap_or(now);
    duration(end.as_second() - start.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check;
    use crate::kinds::fill;

    fn job(spec: Value) -> Value {
        let mut job = json!({
            "metadata": {"name": "j", "uid": "u"},
            "spec": {"template": {"spec": {
                "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}],
            }}},
        });
        let more = spec.as_object().unwrap().clone();
        job["spec"].as_object_mut().unwrap().extend(more);
        complete(&mut job);
        fill(JOB.defaults, &mut job);
        job
    }

    fn found(job: &Value) -> String {
        let mut findings = Findings::default();
        check::run(RULES, job, &mut findings);
        validate(job, &mut findings);
        if findings.is_empty() {
            String::new()
        } else {
            findings.to_string()
        }
    }

    #[test]
    fn a_job_selects_its_own_pods() {
        let plain = job(json!({}));
        assert_eq!(found(&plain), "");
        let spec = &plain["spec"];
        assert_eq!(
            spec["selector"]["matchLabels"],
            json!({"batch.kubernetes.io/controller-uid": "u"})
        );
        assert_eq!(
            spec["template"]["metadata"]["labels"],
            json!({
                "batch.kubernetes.io/controller-uid": "u", "controller-uid": "u",
                "batch.kubernetes.io/job-name": "j", "job-name": "j",
            })
        );
        assert_eq!(
            plain["metadata"]["labels"],
            spec["template"]["metadata"]["labels"]
        );
        let numbers = ["completions", "parallelism", "backoffLimit"].map(|field| &spec[field]);
        assert_eq!(numbers, [1, 1, 6].map(|n| json!(n)).each_ref());
        assert_eq!(spec["podReplacementPolicy"], "TerminatingOrFailed");
        let mut twice = plain.clone();
        complete(&mut twice);
        fill(JOB.defaults, &mut twice);
        assert_eq!(twice, plain);
        let several = job(json!({"parallelism": 3}));
        assert_eq!(several["spec"].get("completions"), None);
    }

    #[test]
    fn jobs_are_judged() {
        let indexed = |spec: Value| {
            let mut all = json!({"completionMode": "Indexed", "completions": 3});
            let more = spec.as_object().unwrap().clone();
            all.as_object_mut().unwrap().extend(more);
            job(all)
        };
        let manual = json!({"matchLabels": {"a": "b"}});
        let always = json!({"spec": {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Always"}});
        for (job, expected) in [
            (
                job(json!({"template": always})),
                "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
            ),
            (job(json!({"completionMode": "Indexed"})), ""),
            (
                job(json!({"completionMode": "Indexed", "parallelism": 2})),
                "spec.completions: Required value: when completion mode is Indexed",
            ),
            (
                job(json!({"backoffLimitPerIndex": 1})),
                "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode",
            ),
            (
                indexed(json!({"maxFailedIndexes": 1})),
                "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
            ),
            (
                indexed(json!({"backoffLimitPerIndex": 1, "maxFailedIndexes": 4})),
                "spec.maxFailedIndexes: Invalid value: 4: must be less than or equal to completions",
            ),
            (
                job(json!({"parallelism": -1})),
                "spec.parallelism: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                job(json!({"manualSelector": true})),
                "spec.selector: Required value",
            ),
            (
                job(json!({"manualSelector": true, "selector": manual})),
                "spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`",
            ),
            (
                job(json!({"managedBy": "me"})),
                "spec.managedBy: Invalid value: \"me\": must be a domain-prefixed path (such as \"acme.io/foo\")",
            ),
        ] {
            assert_eq!(found(&job), expected, "{job}");
        }
        let own = found(&job(json!({"selector": manual})));
        assert!(own.contains("`selector` not auto-generated"), "{own}");
    }

    #[test]
    fn only_some_fields_change() {
        let changed = |new: &Value, old: &Value| {
            let mut findings = Findings::default();
            validate_update(new, old, &mut findings);
            findings.to_string()
        };
        let plain = job(json!({}));
        let more = job(json!({"parallelism": 4, "completions": 1, "suspend": true}));
        assert_eq!(changed(&more, &plain), "[]");
        let longer = job(json!({"completions": 2}));
        assert_eq!(
            changed(&longer, &plain),
            "spec.completions: Invalid value: 2: field is immutable"
        );
        let indexed =
            |n| job(json!({"completionMode": "Indexed", "completions": n, "parallelism": 3}));
        assert_eq!(changed(&indexed(3), &indexed(2)), "[]");
        assert!(changed(&indexed(4), &indexed(2)).contains("in tandem with spec.parallelism"));
        let mut placed = job(json!({"suspend": true}));
        let waiting = placed.clone();
        placed["spec"]["template"]["spec"]["nodeSelector"] = json!({"zone": "a"});
        assert_eq!(changed(&placed, &waiting), "[]");
        let mut begun = waiting.clone();
        begun["status"]["startTime"] = json!("2026-01-01T00:00:00Z");
        assert!(changed(&placed, &begun).starts_with("spec.template: Invalid value"));
    }

    #[test]
    fn what_kubectl_shows() {
        let now = "2026-01-01T00:02:00Z".parse().unwrap();
        let with = |status: Value| json!({"spec": {"completions": 2}, "status": status});
        let start = "2026-01-01T00:00:00Z";
        let condition = |kind: &str| json!([{"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:07Z"}]);
        for (status, expected) in [
            (json!({}), ["Running", "0/2", ""]),
            (
                json!({"startTime": start, "succeeded": 1}),
                ["Running", "1/2", "2m"],
            ),
            (
                json!({"startTime": start, "succeeded": 2, "conditions": condition("Complete"),
                       "completionTime": "2026-01-01T00:00:05Z"}),
                ["Complete", "2/2", "5s"],
            ),
            (
                json!({"startTime": start, "conditions": condition("Failed")}),
                ["Failed", "0/2", "7s"],
            ),
            (
                json!({"conditions": condition("Suspended")}),
                ["Suspended", "0/2", ""],
            ),
        ] {
            let job = with(status);
            let shown = [state(&job), &completions(&job), &taken(&job, now)];
            assert_eq!(shown, expected, "{job}");
        }
        let any = json!({"spec": {"parallelism": 3}});
        assert_eq!(completions(&any), "0/1 of 3");
    }
}

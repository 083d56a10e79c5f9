//! Event, in both groups: stored once, as the core group has it.

use jiff::Timestamp;
use k8s_openapi::api::{core::v1 as core, events::v1 as events};
use serde_json::{Value, json};

use super::{
    Dependents, Kind, PLAIN, StoredAs,
    column::{Cell, Column, column, since, wide},
    typed,
};

const TTL_SECONDS: i64 = 3600;

const COLUMNS: &[Column] = &[
    column(
        "Last Seen",
        Cell::Of(|event, now| json!(last_seen(event, now))),
        "When it happened last.",
    ),
    column("Type", Cell::Path("type"), "Normal or Warning."),
    column("Reason", Cell::Path("reason"), "Why, in one word."),
    column(
        "Object",
        Cell::Of(|event, _| json!(object(event))),
        "What it is about.",
    ),
    wide(
        "Subobject",
        Cell::Of(|event, _| text(&event["involvedObject"]["fieldPath"])),
        "Which part of it.",
    ),
    wide(
        "Source",
        Cell::Of(|event, _| json!(source(event))),
        "Who says so.",
    ),
    column(
        "Message",
        Cell::Of(|event, _| json!(event["message"].as_str().unwrap_or("").trim())),
        "What happened.",
    ),
    wide(
        "First Seen",
        Cell::Of(|event, now| json!(first_seen(event, now))),
        "When it happened first.",
    ),
    wide(
        "Count",
        Cell::Of(|event, _| json!(count(event))),
        "How often.",
    ),
    wide("Name", Cell::Name, "Name of the event."),
];

pub static EVENT: Kind = Kind {
    kind: "Event",
    plural: "events",
    singular: "event",
    short_names: &["ev"],
    decode: typed::<core::Event>,
    complete: |event| {
        // The reporter is said in one of two places; selectors look at one.
        if event["reportingComponent"].is_null() {
            event["reportingComponent"] =
                json!(event["source"]["component"].as_str().unwrap_or(""));
        }
    },
    defaults: &[
        ("reportingComponent", "\"\""),
        ("reportingInstance", "\"\""),
    ],
    validate: |event, findings| {
        let about = event["involvedObject"]["namespace"].as_str().unwrap_or("");
        let within = crate::object::namespace(event);
        // Events about cluster-scoped objects go to the default namespace.
        if about.is_empty() {
            if within != "default" && within != "kube-system" {
                let why = "does not match event.namespace";
                findings.invalid("involvedObject.namespace", &json!(about), why);
            }
        } else if about != within {
            let why = "does not match event.namespace";
            findings.invalid("involvedObject.namespace", &json!(about), why);
        }
    },
    fields: &[
        ("involvedObject.kind", "involvedObject.kind"),
        ("involvedObject.namespace", "involvedObject.namespace"),
        ("involvedObject.name", "involvedObject.name"),
        ("involvedObject.uid", "involvedObject.uid"),
        ("involvedObject.apiVersion", "involvedObject.apiVersion"),
        (
            "involvedObject.resourceVersion",
            "involvedObject.resourceVersion",
        ),
        ("involvedObject.fieldPath", "involvedObject.fieldPath"),
        ("reason", "reason"),
        ("reportingComponent", "reportingComponent"),
        ("source", "source.component"),
        ("type", "type"),
    ],
    columns: COLUMNS,
    create_on_update: true,
    ttl_seconds: Some(TTL_SECONDS),
    dependents: Dependents::None,
    ..PLAIN
};

pub static EVENTS_EVENT: Kind = Kind {
    group: "events.k8s.io",
    decode: typed::<events::Event>,
    fields: &[("reason", "reason"), ("type", "type")],
    stored_as: Some(StoredAs {
        kind: &EVENT,
        renames: &[
            ("message", "note"),
            ("involvedObject", "regarding"),
            ("reportingComponent", "reportingController"),
            ("source", "deprecatedSource"),
            ("firstTimestamp", "deprecatedFirstTimestamp"),
            ("lastTimestamp", "deprecatedLastTimestamp"),
            ("count", "deprecatedCount"),
        ],
        reshape: None,
    }),
    complete: EVENT.complete,
    validate: EVENT.validate,
    kind: "Event",
    plural: "events",
    singular: "event",
    short_names: &["ev"],
    columns: COLUMNS,
    create_on_update: true,
    ttl_seconds: Some(TTL_SECONDS),
    dependents: Dependents::None,
    ..PLAIN
};

fn object(event: &Value) -> String {
    let about = &event["involvedObject"];
    let kind = about["kind"].as_str().unwrap_or("").to_lowercase();
    format!("{kind}/{}", about["name"].as_str().unwrap_or(""))
}

fn source(event: &Value) -> String {
    let component = event["source"]["component"]
        .as_str()
        .filter(|text| !text.is_empty());
    let component = component
        .or(event["reportingComponent"].as_str())
        .unwrap_or("");
    let host = event["source"]["host"]
        .as_str()
        .filter(|text| !text.is_empty());
    match host
        .or(event["reportingInstance"].as_str())
        .filter(|text| !text.is_empty())
    {
        Some(host) => format!("{component}, {host}"),
        None => component.into(),
    }
}

fn text(value: &Value) -> Value {
    value.as_str().unwrap_or("").into()
}

fn count(event: &Value) -> i64 {
    let series = event["series"]["count"].as_i64();
    series.or(event["count"].as_i64()).unwrap_or(1).max(1)
}

fn first_seen(event: &Value, now: Timestamp) -> String {
    let first = event["firstTimestamp"]
        .as_str()
        .or(event["eventTime"].as_str());
    since(first, now)
}

fn last_seen(event: &Value, now: Timestamp) -> String {
    let last = [
        &event["series"]["lastObservedTime"],
        &event["lastTimestamp"],
        &event["eventTime"],
    ];
    let last = last.into_iter().find_map(Value::as_str);
    since(last.or(event["firstTimestamp"].as_str()), now)
}

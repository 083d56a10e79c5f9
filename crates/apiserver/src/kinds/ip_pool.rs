//! IPPool of `sealane.io`: named pools of pod addresses, our own kind. Elsewhere deploy/crds.yaml serves it.

use std::collections::BTreeMap;

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, ObjectMeta};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Generation, Kind, PLAIN,
    column::{AGE, Cell, NAME, column},
    label_selector, typed,
};
use crate::check::{Check, Findings, Rule, format};

pub static IP_POOL: Kind = Kind {
    group: "sealane.io",
    version: "v1alpha1",
    kind: "IPPool",
    plural: "ippools",
    singular: "ippool",
    namespaced: false,
    status: true,
    decode: typed::<IpPool>,
    rules: &[
        Rule("spec", Check::Required),
        Rule("spec.ranges", Check::Required),
        Rule("spec.ranges", Check::MaxItems(64)),
        Rule("spec.ranges[]", Check::Format(format::cidr)),
        Rule("spec.blockSizes.ipv4", Check::Range(0, 32)),
        Rule("spec.blockSizes.ipv6", Check::Range(0, 128)),
    ],
    validate,
    columns: &[
        NAME,
        column(
            "Ranges",
            Cell::Of(|pool, _| texts(&pool["spec"]["ranges"]).join(",").into()),
            "Ranges of addresses.",
        ),
        column(
            "Ready",
            Cell::Of(|pool, _| ready(pool).into()),
            "Whether pods get addresses of it.",
        ),
        column(
            "Nodes",
            Cell::Count("status.blocks"),
            "How many nodes have blocks of it.",
        ),
        AGE,
    ],
    generation: Generation::Spec,
    ..PLAIN
};

/// The types of its fields.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct IpPool {
    #[serde(skip_serializing_if = "Option::is_none")]
    api_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(skip_serializing_if = "Option::is_none")]
    spec: Option<Spec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ranges: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block_sizes: Option<BlockSizes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace_selector: Option<LabelSelector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod_selector: Option<LabelSelector>,
}

#[derive(Deserialize, Serialize)]
struct BlockSizes {
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv4: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv6: Option<i32>,
}

#[derive(Deserialize, Serialize)]
struct Status {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    blocks: BTreeMap<String, Vec<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<Condition>,
}

fn ready(pool: &Value) -> &str {
    let conditions = pool["status"]["conditions"].as_array();
    let mut conditions = conditions.map_or(&[][..], Vec::as_slice).iter();
    let ready = conditions.find(|each| each["type"] == "Ready");
    ready
        .and_then(|ready| ready["status"].as_str())
        .unwrap_or("Unknown")
}

fn texts(list: &Value) -> Vec<&str> {
    let items = list.as_array().map_or(&[][..], Vec::as_slice);
    items.iter().filter_map(Value::as_str).collect()
}

fn validate(pool: &Value, findings: &mut Findings) {
    let spec = &pool["spec"];
    let mut seen: Vec<IpNet> = Vec::new();
    for (index, text) in texts(&spec["ranges"]).into_iter().enumerate() {
        let Ok(range) = text.parse::<IpNet>() else {
            continue;
        };
        let overlaps = |other: &&IpNet| other.contains(&range) || range.contains(*other);
        if let Some(other) = seen.iter().find(overlaps) {
            let why = format!("overlaps {other}, which is in the list before it");
            findings.invalid(format!("spec.ranges[{index}]"), &json!(text), why);
        }
        seen.push(range);
    }
    for field in ["namespaceSelector", "podSelector"] {
        if !spec[field].is_null() {
            label_selector::validate(&format!("spec.{field}"), &spec[field], findings);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_selectors_are_judged() {
        let found = |spec: Value| {
            let mut findings = Findings::default();
            validate(&json!({"spec": spec}), &mut findings);
            if findings.is_empty() {
                String::new()
            } else {
                findings.to_string()
            }
        };
        let good = json!({"ranges": ["10.99.0.0/24", "fd00:99::/64"], "podSelector": {}});
        assert_eq!(found(good), "");
        let twice = found(json!({"ranges": ["10.99.0.0/24", "10.99.0.128/25"]}));
        assert!(
            twice.starts_with("spec.ranges[1]: Invalid value"),
            "{twice}"
        );
        let expressions = json!([{"key": "a", "operator": "Maybe"}]);
        let bad = found(json!({"ranges": [], "podSelector": {"matchExpressions": expressions}}));
        assert!(
            bad.contains("spec.podSelector.matchExpressions[0].operator"),
            "{bad}"
        );
    }
}

//! Node.

use k8s_openapi::api::core::v1 as core;
use serde_json::{Value, json};

use super::{
    Kind, PLAIN,
    column::{AGE, Cell, NAME, NONE, column, wide},
    typed,
};
use crate::{
    check::{Check, Findings, Rule, format},
    object,
};

pub static NODE: Kind = Kind {
    kind: "Node",
    plural: "nodes",
    singular: "node",
    short_names: &["no"],
    namespaced: false,
    status: true,
    status_on_create: true,
    decode: typed::<core::Node>,
    rules: &[
        Rule("spec.podCIDRs[]", Check::Format(format::cidr)),
        Rule("spec.taints[].key", Check::Required),
        Rule("spec.taints[].key", Check::Format(format::qualified_name)),
        Rule("spec.taints[].effect", Check::Required),
        Rule(
            "spec.taints[].effect",
            Check::OneOf(&["NoExecute", "NoSchedule", "PreferNoSchedule"]),
        ),
        Rule("status.addresses[].address", Check::Required),
    ],
    complete: |node| {
        for list in ["capacity", "allocatable"] {
            if let Some(list) = node
                .get_mut("status")
                .and_then(|status| status.get_mut(list))
            {
                object::normalize(list);
            }
        }
        // The older field is the first of the list; either may be given.
        let (one, many) = (&node["spec"]["podCIDR"], &node["spec"]["podCIDRs"]);
        match (one.as_str().unwrap_or(""), many[0].as_str().unwrap_or("")) {
            ("", "") => {}
            (one, "") => node["spec"]["podCIDRs"] = json!([one]),
            (_, first) => node["spec"]["podCIDR"] = json!(first),
        }
    },
    validate: |node, findings| {
        let cidrs = node["spec"]["podCIDRs"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        let is_v6 = |cidr: &&Value| cidr.as_str().is_some_and(|cidr| cidr.contains(':'));
        let six = cidrs.iter().filter(is_v6).count();
        if cidrs.len() > 2 || (cidrs.len() == 2 && six != 1) {
            let why = "may specify no more than one CIDR for each IP family";
            findings.invalid("spec.podCIDRs", &node["spec"]["podCIDRs"], why);
        }
    },
    validate_update: |new: &Value, old: &Value, findings: &mut Findings| {
        let before = &old["spec"]["podCIDRs"];
        if !before.is_null() && *before != new["spec"]["podCIDRs"] {
            let why = "node updates may not change podCIDR except from \"\" to valid";
            findings.forbidden("spec.podCIDRs", why);
        }
    },
    immutable: &["spec.providerID"],
    fields: &[("spec.unschedulable", "spec.unschedulable")],
    columns: &[
        NAME,
        column(
            "Status",
            Cell::Of(|node, _| json!(status(node))),
            "Ready, NotReady or Unknown.",
        ),
        column(
            "Roles",
            Cell::Of(|node, _| json!(roles(node))),
            "Roles that labels give it.",
        ),
        AGE,
        column(
            "Version",
            Cell::Path("status.nodeInfo.kubeletVersion"),
            "Version of its node process.",
        ),
        wide(
            "Internal-IP",
            Cell::Of(|node, _| json!(address(node, "InternalIP"))),
            "Address within the cluster.",
        ),
        wide(
            "External-IP",
            Cell::Of(|node, _| json!(address(node, "ExternalIP"))),
            "Address from outside.",
        ),
        wide(
            "OS-Image",
            Cell::Path("status.nodeInfo.osImage"),
            "Operating system.",
        ),
        wide(
            "Kernel-Version",
            Cell::Path("status.nodeInfo.kernelVersion"),
            "Kernel.",
        ),
        wide(
            "Container-Runtime",
            Cell::Path("status.nodeInfo.containerRuntimeVersion"),
            "What runs containers.",
        ),
    ],
    ..PLAIN
};

fn status(node: &Value) -> String {
    let mut conditions = node["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten();
    let ready = conditions.rfind(|condition| condition["type"] == "Ready");
    let word = match ready.map(|condition| &condition["status"]) {
        Some(status) if *status == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let cordoned = node["spec"]["unschedulable"] == json!(true);
    format!(
        "{word}{}",
        if cordoned { ",SchedulingDisabled" } else { "" }
    )
}

fn roles(node: &Value) -> String {
    let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
    let roles: Vec<&str> = labels
        .filter_map(
            |(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
                None if key == "kubernetes.io/role" => value.as_str(),
                role => role,
            },
        )
        .filter(|role| !role.is_empty())
        .collect();
    if roles.is_empty() {
        NONE.into()
    } else {
        roles.join(",")
    }
}

/// The first address of a kind.
fn address(node: &Value, kind: &str) -> String {
    let addresses = node["status"]["addresses"].as_array().into_iter().flatten();
    let found = addresses
        .filter(|address| address["type"] == kind)
        .find_map(|a| a["address"].as_str());
    found.unwrap_or(NONE).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_in_words() {
        let node = json!({
            "metadata": {"labels": {"node-role.kubernetes.io/control-plane": "", "x": "y"}},
            "spec": {"unschedulable": true},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "10.0.0.1"}],
            },
        });
        assert_eq!(status(&node), "Ready,SchedulingDisabled");
        assert_eq!(roles(&node), "control-plane");
        assert_eq!(address(&node, "InternalIP"), "10.0.0.1");
        assert_eq!(address(&node, "ExternalIP"), "<none>");
        assert_eq!(
            (status(&json!({})), roles(&json!({}))),
            ("Unknown".into(), "<none>".into())
        );
    }
}

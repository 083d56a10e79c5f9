//! What must hold of a pod.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{container, volumes};
use crate::{
    check::{Check, FieldPath, Findings, Rule, format},
    object::Quantity,
};

/// Rules of a pod's spec.
pub const RULES: &[Rule] = &[
    Rule("spec.containers", Check::Required),
    Rule("spec.{containers,initContainers}[].name", Check::Required),
    Rule(
        "spec.{containers,initContainers}[].name",
        Check::Format(format::dns_label),
    ),
    Rule("spec.containers[].image", Check::Required),
    Rule("spec.initContainers[].image", Check::Required),
    Rule(
        "spec.{containers,initContainers}[].imagePullPolicy",
        Check::OneOf(&["Always", "IfNotPresent", "Never"]),
    ),
    Rule(
        "spec.{containers,initContainers}[].terminationMessagePolicy",
        Check::OneOf(&["FallbackToLogsOnError", "File"]),
    ),
    Rule(
        "spec.{containers,initContainers}[].ports[].containerPort",
        Check::Required,
    ),
    Rule(
        "spec.{containers,initContainers}[].ports[].containerPort",
        Check::Range(1, 65535),
    ),
    Rule(
        "spec.{containers,initContainers}[].ports[].hostPort",
        Check::Range(0, 65535),
    ),
    Rule(
        "spec.{containers,initContainers}[].ports[].protocol",
        Check::OneOf(&["SCTP", "TCP", "UDP"]),
    ),
    Rule(
        "spec.{containers,initContainers}[].ports[].name",
        Check::Format(format::port_name),
    ),
    Rule(
        "spec.{containers,initContainers}[].ports[].name",
        Check::Unique,
    ),
    Rule(
        "spec.{containers,initContainers}[].env[].name",
        Check::Required,
    ),
    Rule(
        "spec.{containers,initContainers}[].env[].name",
        Check::Format(format::env_name),
    ),
    Rule(
        "spec.{containers,initContainers}[].volumeMounts[].name",
        Check::Required,
    ),
    Rule(
        "spec.{containers,initContainers}[].volumeMounts[].mountPath",
        Check::Required,
    ),
    Rule(
        "spec.{containers,initContainers}[].volumeMounts[].mountPath",
        Check::Unique,
    ),
    Rule(
        "spec.{containers,initContainers}[].volumeMounts[].subPath",
        Check::Format(format::no_backsteps),
    ),
    Rule(
        "spec.{containers,initContainers}[].resources.{limits,requests}[*]",
        Check::Quantity,
    ),
    Rule(
        "spec.{containers,initContainers}[].{livenessProbe,readinessProbe,startupProbe}.{initialDelaySeconds,timeoutSeconds,periodSeconds,successThreshold,failureThreshold}",
        Check::NonNegative,
    ),
    Rule(
        "spec.{containers,initContainers}[].{livenessProbe,readinessProbe,startupProbe}.httpGet.scheme",
        Check::OneOf(&["HTTP", "HTTPS"]),
    ),
    Rule(
        "spec.restartPolicy",
        Check::OneOf(&["Always", "OnFailure", "Never"]),
    ),
    Rule(
        "spec.dnsPolicy",
        Check::OneOf(&["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]),
    ),
    Rule(
        "spec.preemptionPolicy",
        Check::OneOf(&["Never", "PreemptLowerPriority"]),
    ),
    Rule("spec.terminationGracePeriodSeconds", Check::NonNegative),
    Rule(
        "spec.activeDeadlineSeconds",
        Check::Range(1, i32::MAX as i64),
    ),
    Rule("spec.hostname", Check::Format(format::dns_label)),
    Rule("spec.subdomain", Check::Format(format::dns_label)),
    Rule("spec.nodeName", Check::Format(format::dns_subdomain)),
    Rule(
        "spec.serviceAccountName",
        Check::Format(format::dns_subdomain),
    ),
    Rule("spec.schedulerName", Check::Format(format::dns_subdomain)),
    Rule("spec.dnsConfig.nameservers", Check::MaxItems(3)),
    Rule(
        "spec.dnsConfig.nameservers[]",
        Check::Format(format::ip_address),
    ),
    Rule("spec.hostAliases[].ip", Check::Format(format::ip_address)),
    Rule(
        "spec.hostAliases[].hostnames[]",
        Check::Format(format::dns_subdomain),
    ),
    Rule(
        "spec.tolerations[].operator",
        Check::OneOf(&["Equal", "Exists"]),
    ),
    Rule(
        "spec.tolerations[].effect",
        Check::OneOf(&["NoExecute", "NoSchedule", "PreferNoSchedule"]),
    ),
    Rule("spec.volumes[].name", Check::Required),
    Rule("spec.volumes[].name", Check::Format(format::dns_label)),
    Rule("spec.volumes[].name", Check::Unique),
    Rule("spec.volumes[].hostPath.path", Check::Required),
    Rule(
        "spec.volumes[].hostPath.path",
        Check::Format(format::no_backsteps),
    ),
    Rule("spec.volumes[].secret.secretName", Check::Required),
    Rule("spec.volumes[].configMap.name", Check::Required),
    Rule("spec.volumes[].emptyDir.sizeLimit", Check::Quantity),
];

const CONTAINER_LISTS: [&str; 2] = ["containers", "initContainers"];

/// Checks what several fields of a pod say together.
pub fn validate(pod: &Value, findings: &mut Findings) {
    if pod["spec"].is_null() {
        return findings.required("spec.containers", "");
    }
    let spec = &pod["spec"];
    let volumes: BTreeSet<&str> = items(&spec["volumes"])
        .iter()
        .filter_map(|volume| volume["name"].as_str())
        .collect();
    let mut names = BTreeSet::new();
    for part in CONTAINER_LISTS {
        for (index, container) in items(&spec[part]).iter().enumerate() {
            let at = format!("spec.{part}[{index}]");
            let name = container["name"].as_str().unwrap_or("");
            if !name.is_empty() && !names.insert(name) {
                findings.duplicate(format!("{at}.name"), &container["name"]);
            }
            mounts(&at, container, &volumes, findings);
            environment(&at, container, findings);
            limits(&at, container, findings);
            container::validate(&at, container, part == "initContainers", findings);
        }
    }
    sources(spec, findings);
    tolerations(spec, findings);
    if spec["dnsPolicy"] == "None" && items(&spec["dnsConfig"]["nameservers"]).is_empty() {
        let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        findings.required("spec.dnsConfig.nameservers", why);
    }
    super::super::service::selector_labels("spec.nodeSelector", &spec["nodeSelector"], findings);
}

fn mounts(at: &str, container: &Value, volumes: &BTreeSet<&str>, findings: &mut Findings) {
    for (index, mount) in items(&container["volumeMounts"]).iter().enumerate() {
        let name = mount["name"].as_str().unwrap_or("");
        if !name.is_empty() && !volumes.contains(name) {
            findings.not_found(format!("{at}.volumeMounts[{index}].name"), &mount["name"]);
        }
    }
}

fn environment(at: &str, container: &Value, findings: &mut Findings) {
    for (index, variable) in items(&container["env"]).iter().enumerate() {
        let value = variable["value"].as_str().unwrap_or("");
        let sources = variable["valueFrom"].as_object().map(|from| from.len());
        let field = format!("{at}.env[{index}].valueFrom");
        match sources {
            Some(0) => findings.invalid(
                field,
                &json!(""),
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
            ),
            Some(_) if !value.is_empty() => {
                findings.invalid(field, &json!(""), "may not be specified when `value` is not empty");
            }
            Some(2..) => {
                findings.invalid(field, &json!(""), "may not have more than one field specified at a time");
            }
            _ => {}
        }
    }
}

/// A request above its limit can never be had.
fn limits(at: &str, container: &Value, findings: &mut Findings) {
    let resources = &container["resources"];
    for (name, request) in resources["requests"].as_object().into_iter().flatten() {
        let limit = &resources["limits"][name];
        let (Some(asked), Some(most)) = (amount(request), amount(limit)) else {
            continue;
        };
        if asked > most {
            let why = format!(
                "must be less than or equal to {name} limit of {}",
                text(limit)
            );
            findings.invalid(format!("{at}.resources.requests"), request, why);
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

/// An amount, to compare.
fn amount(quantity: &Value) -> Option<i128> {
    Quantity::parse(quantity.as_str()?).map(|quantity| quantity.milli)
}

fn tolerations(spec: &Value, findings: &mut Findings) {
    for (index, toleration) in items(&spec["tolerations"]).iter().enumerate() {
        let at = format!("spec.tolerations[{index}]");
        let (key, operator) = (text(&toleration["key"]), text(&toleration["operator"]));
        for why in Some(key)
            .filter(|key| !key.is_empty())
            .into_iter()
            .flat_map(format::qualified_name)
        {
            findings.invalid(format!("{at}.key"), &toleration["key"], why);
        }
        if key.is_empty() && operator != "Exists" {
            let why = "operator must be Exists when `key` is empty, which means \"match all \
                       values and all keys\"";
            findings.invalid(format!("{at}.operator"), &json!(operator), why);
        }
        if operator == "Exists" && !text(&toleration["value"]).is_empty() {
            let why = "value must be empty when `operator` is 'Exists'";
            findings.invalid(format!("{at}.operator"), &toleration["value"], why);
        }
        if !toleration["tolerationSeconds"].is_null() && toleration["effect"] != "NoExecute" {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            findings.invalid(
                format!("{at}.effect"),
                &json!(text(&toleration["effect"])),
                why,
            );
        }
    }
}

fn sources(spec: &Value, findings: &mut Findings) {
    for (index, volume) in items(&spec["volumes"]).iter().enumerate() {
        let sources = volume
            .as_object()
            .map_or(0, |volume| volume.len().saturating_sub(1));
        let at = format!("spec.volumes[{index}]");
        volumes::validate(&at, volume, findings);
        if sources > 1 {
            let why = "may not specify more than 1 volume type";
            findings.forbidden(at, why);
        }
    }
}

/// The fields of a spec that an update may change.
const MUTABLE: &[&str] = &[
    "spec.{containers,initContainers}[].image",
    "spec.activeDeadlineSeconds",
    "spec.terminationGracePeriodSeconds",
    "spec.tolerations",
    "spec.schedulingGates",
];

const IMMUTABLE: &str = "pod updates may not change fields other than \
    `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
    `spec.tolerations` (only additions to existing tolerations),\
    `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Checks what an update of a pod changes.
pub fn validate_update(new: &Value, old: &Value, findings: &mut Findings) {
    let count = |pod: &Value, part: &str| items(&pod["spec"][part]).len();
    for part in CONTAINER_LISTS {
        if count(new, part) != count(old, part) {
            let why = "pod updates may not add or remove containers";
            return findings.forbidden(format!("spec.{part}"), why);
        }
    }
    let fixed = |pod: &Value| {
        let mut pod = pod.clone();
        for path in MUTABLE {
            FieldPath::of(path).visit_mut(&mut pod, |map, name| {
                map.remove(name);
            });
        }
        pod["spec"].take()
    };
    if fixed(new) != fixed(old) {
        findings.forbidden("spec", IMMUTABLE);
    }
    let kept = |toleration: &Value| items(&new["spec"]["tolerations"]).contains(toleration);
    if !items(&old["spec"]["tolerations"]).iter().all(kept) {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        findings.forbidden("spec.tolerations", why);
    }
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check;

    fn found(spec: Value) -> String {
        let pod = json!({"metadata": {"name": "p"}, "spec": spec});
        let mut findings = Findings::default();
        check::run(RULES, &pod, &mut findings);
        validate(&pod, &mut findings);
        if findings.is_empty() {
            String::new()
        } else {
            findings.to_string()
        }
    }

    #[test]
    fn pods_are_judged() {
        let c = |more: Value| {
            let mut container = json!({"name": "c", "image": "i"});
            container
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            json!({"containers": [container]})
        };
        for (spec, expected) in [
            (c(json!({})), ""),
            (json!({}), "spec.containers: Required value"),
            (
                json!({"containers": [{"name": "c"}]}),
                "spec.containers[0].image: Required value",
            ),
            (
                json!({"containers": [{"name": "a", "image": "i"}, {"name": "a", "image": "i"}]}),
                "spec.containers[1].name: Duplicate value: \"a\"",
            ),
            (
                c(json!({"ports": [{"containerPort": 70000}]})),
                "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            ),
            (
                c(json!({"volumeMounts": [{"name": "v", "mountPath": "/x"}]})),
                "spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
            ),
            (
                c(json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}}})),
                "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1500m",
            ),
            (
                c(
                    json!({"env": [{"name": "A", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}),
                ),
                "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
            ),
        ] {
            assert_eq!(found(spec.clone()), expected, "{spec}");
        }
    }

    #[test]
    fn only_some_fields_may_change() {
        let pod = |image: &str, policy: &str| {
            json!({"spec": {
                "containers": [{"name": "c", "image": image}], "restartPolicy": policy,
            }})
        };
        let mut findings = Findings::default();
        validate_update(&pod("b", "Always"), &pod("a", "Always"), &mut findings);
        assert!(findings.is_empty(), "{findings}");
        validate_update(&pod("a", "Never"), &pod("a", "Always"), &mut findings);
        assert!(
            findings
                .to_string()
                .starts_with("spec: Forbidden: pod updates may not change")
        );
    }
}

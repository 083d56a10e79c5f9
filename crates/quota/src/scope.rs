//! Which pods a ResourceQuota is about: its scopes.

use serde_json::Value;

use crate::pod::{items, text};

/// Whether a quota's scopes and scope selector choose a pod; those of a quota without any choose all.
pub fn chooses_pod(quota: &Value, pod: &Value) -> bool {
    requirements(quota).all(|one| one.holds(pod))
}

/// Whether a quota has any scope: then it is about pods alone.
pub fn any(quota: &Value) -> bool {
    requirements(quota).next().is_some()
}

struct Requirement<'a> {
    scope: &'a str,
    operator: &'a str,
    values: &'a [Value],
}

fn requirements(quota: &Value) -> impl Iterator<Item = Requirement<'_>> {
    let spec = &quota["spec"];
    let scopes = items(&spec["scopes"]).iter().map(|scope| Requirement {
        scope: text(scope),
        operator: "Exists",
        values: &[],
    });
    let selected = items(&spec["scopeSelector"]["matchExpressions"]).iter();
    scopes.chain(selected.map(|one| Requirement {
        scope: text(&one["scopeName"]),
        operator: text(&one["operator"]),
        values: items(&one["values"]),
    }))
}

impl Requirement<'_> {
    fn holds(&self, pod: &Value) -> bool {
        let spec = &pod["spec"];
        let ends = spec["activeDeadlineSeconds"]
            .as_i64()
            .is_some_and(|limit| limit >= 0);
        let best_effort = pod["status"]["qosClass"] == "BestEffort";
        match self.scope {
            "Terminating" => ends,
            "NotTerminating" => !ends,
            "BestEffort" => best_effort,
            "NotBestEffort" => !best_effort,
            "PriorityClass" => self.names(text(&spec["priorityClassName"])),
            "CrossNamespacePodAffinity" => crosses_namespaces(&spec["affinity"]),
            _ => false,
        }
    }

    fn names(&self, class: &str) -> bool {
        let among = self.values.iter().any(|value| value == class);
        match self.operator {
            "In" => !class.is_empty() && among,
            "NotIn" => !among,
            "DoesNotExist" => class.is_empty(),
            _ => !class.is_empty(),
        }
    }
}

fn crosses_namespaces(affinity: &Value) -> bool {
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let of = &affinity[*kind];
        let required = items(&of["requiredDuringSchedulingIgnoredDuringExecution"]).iter();
        let preferred = items(&of["preferredDuringSchedulingIgnoredDuringExecution"]).iter();
        let mut terms = required.chain(preferred.map(|one| &one["podAffinityTerm"]));
        terms.any(|term| {
            !items(&term["namespaces"]).is_empty() || !term["namespaceSelector"].is_null()
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scopes_choose_pods() {
        let pod = json!({"spec": {"activeDeadlineSeconds": 5, "priorityClassName": "high"}, "status": {"qosClass": "Burstable"}});
        let plain = json!({"spec": {}, "status": {"qosClass": "BestEffort"}});
        let across = json!({"spec": {"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"podAffinityTerm": {"namespaces": ["x"]}}]}}}});
        let scopes = |scopes: Value| json!({"spec": {"scopes": scopes}});
        let selector = |operator: &str, values: Value| json!({"spec": {"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": operator, "values": values}]}}});
        for (quota, pod, expected) in [
            (json!({}), &pod, true),
            (scopes(json!(["Terminating"])), &pod, true),
            (scopes(json!(["Terminating", "BestEffort"])), &pod, false),
            (
                scopes(json!(["NotTerminating", "BestEffort"])),
                &plain,
                true,
            ),
            (scopes(json!(["NotBestEffort"])), &plain, false),
            (scopes(json!(["PriorityClass"])), &pod, true),
            (scopes(json!(["PriorityClass"])), &plain, false),
            (scopes(json!(["CrossNamespacePodAffinity"])), &across, true),
            (scopes(json!(["CrossNamespacePodAffinity"])), &pod, false),
            (selector("In", json!(["low", "high"])), &pod, true),
            (selector("In", json!(["low"])), &pod, false),
            (selector("NotIn", json!(["low"])), &plain, true),
            (selector("Exists", json!([])), &plain, false),
            (selector("DoesNotExist", json!([])), &plain, true),
        ] {
            assert_eq!(chooses_pod(&quota, pod), expected, "{quota} {pod}");
        }
    }
}

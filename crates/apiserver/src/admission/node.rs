//! What a node may write, looking at the object.

use serde_json::Value;

use crate::{authn::Reference, kinds::POD, object, server::Context, status::ApiError};

/// Labels by which pods are kept off nodes that are not trusted; an administrator's alone.
const RESTRICTED: &str = "node-restriction.kubernetes.io";
/// Domains whose labels are Kubernetes' own.
const KUBERNETES: [&str; 2] = ["kubernetes.io", "k8s.io"];
/// Those of them that a node may give itself, besides all of the domains below.
const OWN_LABELS: &[&str] = &[
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
];
const OWN_DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

/// Refuses what `node` may not make of `old`.
pub fn check(
    context: &Context,
    node: &str,
    new: Option<&Value>,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    let kind = &*context.kind;
    let refuse = |why: String| {
        let name = new.or(old).map_or("", object::name);
        Err(ApiError::forbidden(kind, name, why))
    };
    let said = match (kind.group, kind.plural) {
        ("", "nodes") if context.target.subresource == "status" => own_status(node, new, old),
        ("", "nodes") => own_node(node, new, old),
        ("", "pods") => own_pod(node, &context.target.subresource, new, old),
        ("coordination.k8s.io", "leases") => match new {
            Some(lease) if object::name(lease) != node => Err(
                "can only access node lease with the same name as the requesting node".to_owned(),
            ),
            _ => Ok(()),
        },
        _ => Ok(()),
    };
    said.or_else(refuse)
}

fn own_node(node: &str, new: Option<&Value>, old: Option<&Value>) -> Result<(), String> {
    let Some(new) = new else {
        return Ok(());
    };
    let name = object::name(new);
    if name != node {
        return Err(format!(
            "node {node:?} is not allowed to modify node {name:?}"
        ));
    }
    let Some(old) = old else {
        let labels = foreign_labels(&Value::Null, &new["metadata"]["labels"]);
        if !labels.is_empty() {
            return Err(format!(
                "node {node:?} is not allowed to set the following labels: {}",
                labels.join(", ")
            ));
        }
        return Ok(());
    };
    let labels = foreign_labels(&old["metadata"]["labels"], &new["metadata"]["labels"]);
    if !labels.is_empty() {
        let labels = labels.join(", ");
        return Err(format!("is not allowed to modify labels: {labels}"));
    }
    for (part, of) in [("taints", "spec"), ("ownerReferences", "metadata")] {
        if is_other(&old[of][part], &new[of][part]) {
            return Err(format!("node {node:?} is not allowed to modify {part}"));
        }
    }
    Ok(())
}

/// The status of its Node, with which come labels, but no spec.
fn own_status(node: &str, new: Option<&Value>, old: Option<&Value>) -> Result<(), String> {
    let labels = |object: &Value| object["metadata"]["labels"].clone();
    match (new, old) {
        (Some(new), Some(old)) if !labels(new).is_null() && labels(new) != labels(old) => {
            let mut relabelled = old.clone();
            relabelled["metadata"]["labels"] = labels(new);
            own_node(node, Some(&relabelled), Some(old))
        }
        _ => Ok(()),
    }
}

/// Whether two lists differ; none is as good as an empty one.
fn is_other(old: &Value, new: &Value) -> bool {
    let items = |list: &'_ Value| list.as_array().cloned().unwrap_or_default();
    items(old) != items(new)
}

/// The labels that differ and are not a node's to set.
fn foreign_labels<'a>(old: &'a Value, new: &'a Value) -> Vec<&'a str> {
    let keys = |labels: &'a Value| labels.as_object().into_iter().flat_map(|map| map.keys());
    let mut foreign: Vec<&str> = keys(old)
        .chain(keys(new))
        .map(String::as_str)
        .filter(|key| old[*key] != new[*key] && !is_own(key))
        .collect();
    foreign.sort_unstable();
    foreign.dedup();
    foreign
}

fn is_own(label: &str) -> bool {
    let domain = label.split_once('/').map_or("", |(domain, _)| domain);
    let is_in = |of: &str| domain == of || domain.ends_with(&format!(".{of}"));
    if is_in(RESTRICTED) {
        return false;
    }
    let kubernetes = KUBERNETES.into_iter().any(is_in);
    !kubernetes || OWN_LABELS.contains(&label) || OWN_DOMAINS.into_iter().any(is_in)
}

fn own_pod(
    node: &str,
    subresource: &str,
    new: Option<&Value>,
    old: Option<&Value>,
) -> Result<(), String> {
    let is_own = |pod: &Value| pod["spec"]["nodeName"] == node;
    match (new, old) {
        (None, Some(old)) if !is_own(old) => Err(format!(
            "node {node:?} can only delete pods with spec.nodeName set to itself"
        )),
        (Some(new), Some(old)) if subresource == "status" => {
            if !is_own(old) {
                return Err(format!(
                    "node {node:?} can only update pod status for pods with spec.nodeName set to \
                     itself"
                ));
            }
            let (was, is) = (&old["metadata"]["labels"], &new["metadata"]["labels"]);
            if !is.is_null() && was != is {
                return Err(format!(
                    "node {node:?} cannot update labels through pod status"
                ));
            }
            Ok(())
        }
        (None, _) => Ok(()),
        _ => Err(format!(
            "unexpected pod subresource {subresource:?}, only 'status' is supported"
        )),
    }
}

/// Refuses a token that is not bound to one of the node's own pods.
pub fn token(
    context: &Context,
    node: &str,
    spec: &Value,
    pod: Option<&Reference>,
) -> Result<(), ApiError> {
    let target = &context.target;
    let refuse = |why: String| Err(ApiError::forbidden(&context.kind, &target.name, why));
    let Some(pod) = pod else {
        return refuse("node requested token not bound to a pod".into());
    };
    if spec["boundObjectRef"]["uid"]
        .as_str()
        .unwrap_or("")
        .is_empty()
    {
        return refuse("node requested token with a pod binding without a uid".into());
    }
    let found = context
        .server
        .store
        .get(&POD.key(&target.namespace, &pod.name));
    let Some(entry) = found else {
        return Err(ApiError::not_found(&POD, &pod.name));
    };
    if entry.attributes.field("spec.nodeName") != Some(node) {
        return refuse("node requested token bound to a pod scheduled on a different node".into());
    }
    let pod: Value = serde_json::from_slice(&entry.object.unpack()).map_err(ApiError::internal)?;
    let api = context
        .server
        .issuer
        .as_ref()
        .map_or("", |issuer| issuer.audience());
    let audiences = spec["audiences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    for audience in audiences {
        if audience != api && !is_mounted(&pod, audience) {
            return refuse(format!(
                "audience {audience:?} not found in pod spec volume"
            ));
        }
    }
    Ok(())
}

/// Whether a volume of the pod asks for a token for this audience.
fn is_mounted(pod: &Value, audience: &str) -> bool {
    let items = |list: &Value| list.as_array().cloned().unwrap_or_default();
    items(&pod["spec"]["volumes"])
        .iter()
        .flat_map(|volume| items(&volume["projected"]["sources"]))
        .any(|source| source["serviceAccountToken"]["audience"] == audience)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_changes_what_is_its_own() {
        let node = |labels: Value, taints: Value| json!({"metadata": {"name": "n", "labels": labels}, "spec": {"taints": taints}});
        let plain = node(json!({"kubernetes.io/hostname": "n"}), json!([]));
        let taint = json!([{"key": "a", "effect": "NoSchedule"}]);
        for (new, old, expected) in [
            (plain.clone(), None, ""),
            (plain.clone(), Some(&plain), ""),
            (node(json!({"team": "x"}), Value::Null), Some(&plain), ""),
            (
                node(json!({"node.kubernetes.io/x": "y"}), Value::Null),
                Some(&plain),
                "",
            ),
            (
                json!({"metadata": {"name": "m"}}),
                None,
                "node \"n\" is not allowed to modify node \"m\"",
            ),
            (
                node(
                    json!({"node-restriction.kubernetes.io/safe": "1", "x.k8s.io/y": "1"}),
                    json!([]),
                ),
                None,
                "node \"n\" is not allowed to set the following labels: \
                 node-restriction.kubernetes.io/safe, x.k8s.io/y",
            ),
            (
                node(
                    json!({"node-role.kubernetes.io/control-plane": ""}),
                    json!([]),
                ),
                Some(&plain),
                "is not allowed to modify labels: node-role.kubernetes.io/control-plane",
            ),
            (
                node(json!({"kubernetes.io/hostname": "n"}), taint),
                Some(&plain),
                "node \"n\" is not allowed to modify taints",
            ),
        ] {
            assert_eq!(
                own_node("n", Some(&new), old).err().unwrap_or_default(),
                expected,
                "{new}"
            );
        }
    }

    #[test]
    fn a_node_tells_of_its_own_pods() {
        let pod = |node: &str| json!({"metadata": {"name": "p", "labels": {"a": "b"}}, "spec": {"nodeName": node}});
        let (own, other) = (pod("n"), pod("m"));
        let relabelled =
            json!({"metadata": {"name": "p", "labels": {"a": "c"}}, "spec": {"nodeName": "n"}});
        for (subresource, new, old, expected) in [
            ("status", Some(&own), &own, ""),
            (
                "status",
                Some(&other),
                &other,
                "node \"n\" can only update pod status for pods with spec.nodeName set to itself",
            ),
            (
                "status",
                Some(&relabelled),
                &own,
                "node \"n\" cannot update labels through pod status",
            ),
            ("", None, &own, ""),
            (
                "",
                None,
                &other,
                "node \"n\" can only delete pods with spec.nodeName set to itself",
            ),
            (
                "",
                Some(&own),
                &own,
                "unexpected pod subresource \"\", only 'status' is supported",
            ),
        ] {
            let said = own_pod("n", subresource, new, Some(old));
            assert_eq!(
                said.err().unwrap_or_default(),
                expected,
                "{subresource} {new:?}"
            );
        }
    }
}

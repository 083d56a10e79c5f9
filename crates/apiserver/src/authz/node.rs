//! What a node may do: look after its own Node, its Lease and its pods, and read what those pods
//! refer to. A node that is taken over gives away what it runs, and no other node.
//!
//! The rules are those of Kubernetes' node authorizer. References are read off the node's pods
//! when they are asked for: pods of one node in one namespace are few, and a graph that is kept
//! up to date can be wrong.

use sealane_store::Store;
use serde_json::Value;

use super::{Attributes, Object, Resource, references::references};
use crate::{authn::User, kinds::POD};

/// The group of nodes, and how their names begin.
const NODES: &str = "system:nodes";
const NODE: &str = "system:node:";
/// Where the Leases of nodes are.
const LEASES: &str = "kube-node-lease";
/// In which of a token's extras the node stands.
pub const NODE_OF_TOKEN: &str = "authentication.kubernetes.io/node-name";

/// The name of the node that a user is.
pub fn node_of(user: &User) -> Option<&str> {
    user.name
        .strip_prefix(NODE)
        .filter(|node| !node.is_empty() && user.is_in(NODES))
}

/// What has to be known of pods.
pub trait Pods {
    /// The node's own pods in a namespace.
    fn here(&self, namespace: &str) -> Vec<Value>;
    /// Whether there is such a pod and it is not the node's own.
    fn elsewhere(&self, namespace: &str, name: &str) -> bool;
}

/// Whether a node may do this. Not allowed here does not mean forbidden: a role may allow it; the
/// reason, if there is one, is then not told.
pub fn decide(node: &str, asked: &Attributes<'_>, pods: &impl Pods) -> Result<(), Option<String>> {
    let Object::Resource(of) = &asked.object else {
        return Err(None);
    };
    let verb = asked.verb;
    match (of.group, of.resource) {
        ("", "nodes") => own_object(node, verb, of),
        ("", "pods") => own_pods(node, verb, of, pods),
        ("coordination.k8s.io", "leases") => own_lease(node, verb, of),
        ("", "serviceaccounts") if of.subresource == "token" => {
            if verb != "create" || of.name.is_empty() {
                return refuse("can only create tokens for individual service accounts");
            }
            related(node, of, pods)
        }
        ("", "configmaps" | "secrets" | "serviceaccounts" | "persistentvolumeclaims") => {
            if !matches!(verb, "get" | "list" | "watch") {
                return refuse("can only read resources of this type");
            }
            if !of.subresource.is_empty() {
                return refuse("cannot read subresource");
            }
            if of.namespace.is_empty() {
                return refuse("can only read namespaced object of this type");
            }
            related(node, of, pods)
        }
        ("" | "events.k8s.io", "events") => among(verb, of, &["create", "patch", "update"]),
        ("", "services") => among(verb, of, &["get", "list", "watch"]),
        _ => Err(None),
    }
}

fn refuse(why: &str) -> Result<(), Option<String>> {
    Err(Some(why.to_owned()))
}

fn among(verb: &str, of: &Resource<'_>, verbs: &[&str]) -> Result<(), Option<String>> {
    if of.subresource.is_empty() && verbs.contains(&verb) {
        Ok(())
    } else {
        Err(None)
    }
}

/// Its own Node. What it may change of it, admission decides; creating names it only in the body.
fn own_object(node: &str, verb: &str, of: &Resource<'_>) -> Result<(), Option<String>> {
    match (verb, of.subresource) {
        ("create", "") => Ok(()),
        ("get" | "list" | "watch", "" | "status") if of.name == node => Ok(()),
        ("get" | "list" | "watch", _) => Err(Some(format!(
            "node '{node}' cannot read '{}', only its own Node object",
            of.name
        ))),
        ("update" | "patch", "" | "status") if of.name == node => Ok(()),
        ("update" | "patch", "" | "status") => Err(Some(format!(
            "node '{node}' cannot change '{}', only its own Node object",
            of.name
        ))),
        _ => Err(None),
    }
}

/// Its own pods; and that one is gone it may learn, too. At what is written, admission looks once
/// more.
fn own_pods(
    node: &str,
    verb: &str,
    of: &Resource<'_>,
    pods: &impl Pods,
) -> Result<(), Option<String>> {
    match (verb, of.subresource) {
        ("get", "" | "status") | ("delete", "") | ("update" | "patch", "status") => {
            if pods.elsewhere(of.namespace, of.name) {
                return Err(Some(no_relation(node)));
            }
            Ok(())
        }
        ("list" | "watch", "") => match of.on_node.as_deref() {
            Some(selected) if selected == node => Ok(()),
            _ => refuse("can only list/watch pods with spec.nodeName field selector"),
        },
        _ => Err(None),
    }
}

fn own_lease(node: &str, verb: &str, of: &Resource<'_>) -> Result<(), Option<String>> {
    if !matches!(verb, "get" | "create" | "update" | "patch" | "delete") {
        return refuse("can only get, create, update, patch, or delete a node lease");
    }
    if of.namespace != LEASES {
        return Err(Some(format!(
            "can only access leases in the {LEASES:?} system namespace"
        )));
    }
    if verb != "create" && of.name != node {
        return refuse("can only access node lease with the same name as the requesting node");
    }
    Ok(())
}

/// An object to which one of the node's pods refers.
fn related(node: &str, of: &Resource<'_>, pods: &impl Pods) -> Result<(), Option<String>> {
    if of.name.is_empty() {
        return refuse("No Object name found");
    }
    let is_related = |pod: &Value| references(pod, of.resource, of.name);
    if pods.here(of.namespace).iter().any(is_related) {
        return Ok(());
    }
    Err(Some(no_relation(node)))
}

fn no_relation(node: &str) -> String {
    format!("no relationship found between node '{node}' and this object")
}

/// The pods in a store, as a node sees them.
pub struct Stored<'a> {
    /// The store.
    pub store: &'a Store,
    /// The node.
    pub node: &'a str,
}

impl Pods for Stored<'_> {
    fn here(&self, namespace: &str) -> Vec<Value> {
        let here = self.store.list(&POD.bucket(), Some(namespace), |entry| {
            entry.attributes.field("spec.nodeName") == Some(self.node)
        });
        let objects = here
            .entries
            .iter()
            .map(|entry| serde_json::from_slice(&entry.object.unpack()));
        objects.filter_map(Result::ok).collect()
    }

    fn elsewhere(&self, namespace: &str, name: &str) -> bool {
        let found = self.store.get(&POD.key(namespace, name));
        found.is_some_and(|pod| pod.attributes.field("spec.nodeName") != Some(self.node))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Value {
        json!({
            "metadata": {"name": "web"},
            "spec": {
                "serviceAccountName": "robot",
                "volumes": [{"configMap": {"name": "site"}}, {"secret": {"secretName": "tls"}}],
            },
        })
    }

    /// Node `n` runs `web` in `shop`; `other` is another's.
    struct Shop;

    impl Pods for Shop {
        fn here(&self, namespace: &str) -> Vec<Value> {
            if namespace == "shop" {
                vec![pod()]
            } else {
                vec![]
            }
        }

        fn elsewhere(&self, _namespace: &str, name: &str) -> bool {
            name == "other"
        }
    }

    /// What node `n` with that pod in `shop` is told.
    fn told(verb: &str, place: &str, namespace: &str, name: &str, on_node: &str) -> String {
        let (resource, subresource) = place.split_once('/').unwrap_or((place, ""));
        let group = if resource == "leases" {
            "coordination.k8s.io"
        } else {
            ""
        };
        let on_node = Some(on_node)
            .filter(|node| !node.is_empty())
            .map(Into::into);
        let of = Resource {
            group,
            resource,
            subresource,
            namespace,
            name,
            on_node,
        };
        let asked = Attributes {
            verb,
            object: Object::Resource(of),
        };
        match decide("n", &asked, &Shop) {
            Ok(()) => "yes".into(),
            Err(why) => why.unwrap_or_else(|| "no".into()),
        }
    }

    #[test]
    fn a_node_reaches_its_own_and_no_more() {
        let unrelated = "no relationship found between node 'n' and this object";
        for (question, expected) in [
            (("get", "nodes", "", "n", ""), "yes"),
            (("watch", "nodes", "", "n", ""), "yes"),
            (("create", "nodes", "", "", ""), "yes"),
            (("patch", "nodes/status", "", "n", ""), "yes"),
            (
                ("patch", "nodes/status", "", "m", ""),
                "node 'n' cannot change 'm', only its own Node object",
            ),
            (
                ("list", "nodes", "", "", ""),
                "node 'n' cannot read '', only its own Node object",
            ),
            (("delete", "nodes", "", "n", ""), "no"),
            (("list", "pods", "", "", "n"), "yes"),
            (("watch", "pods", "shop", "", "n"), "yes"),
            (
                ("watch", "pods", "", "", "m"),
                "can only list/watch pods with spec.nodeName field selector",
            ),
            (
                ("list", "pods", "", "", ""),
                "can only list/watch pods with spec.nodeName field selector",
            ),
            (("get", "pods", "shop", "web", ""), "yes"),
            (("get", "pods", "shop", "other", ""), unrelated),
            (("patch", "pods/status", "shop", "web", ""), "yes"),
            (("patch", "pods", "shop", "web", ""), "no"),
            (("create", "pods", "shop", "", ""), "no"),
            (("create", "pods/exec", "shop", "web", ""), "no"),
            (("delete", "pods", "shop", "web", ""), "yes"),
            (("delete", "pods", "shop", "other", ""), unrelated),
            (("get", "pods", "shop", "gone", ""), "yes"),
            (("get", "leases", "kube-node-lease", "n", ""), "yes"),
            (("create", "leases", "kube-node-lease", "", ""), "yes"),
            (
                ("patch", "leases", "kube-node-lease", "m", ""),
                "can only access node lease with the same name as the requesting node",
            ),
            (
                ("get", "leases", "shop", "n", ""),
                "can only access leases in the \"kube-node-lease\" system namespace",
            ),
            (("create", "events", "shop", "", ""), "yes"),
            (("list", "events", "shop", "", ""), "no"),
            (
                ("create", "serviceaccounts/token", "shop", "robot", ""),
                "yes",
            ),
            (
                ("create", "serviceaccounts/token", "shop", "other", ""),
                unrelated,
            ),
            (("get", "serviceaccounts", "shop", "robot", ""), "yes"),
            (("list", "services", "", "", ""), "yes"),
            (("create", "pods/binding", "shop", "web", ""), "no"),
            (
                ("get", "secrets", "", "tls", ""),
                "can only read namespaced object of this type",
            ),
            (("list", "secrets", "shop", "", ""), "No Object name found"),
            (
                ("update", "secrets", "shop", "tls", ""),
                "can only read resources of this type",
            ),
            (("get", "roles", "shop", "r", ""), "no"),
        ] {
            let (verb, place, namespace, name, on_node) = question;
            assert_eq!(
                told(verb, place, namespace, name, on_node),
                expected,
                "{question:?}"
            );
        }
    }
}

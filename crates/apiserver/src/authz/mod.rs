//! Who may do what.
//!
//! ```text
//!   system:masters ──────────────────────────────────────────► allowed
//!   a node (system:node:NAME) ──► node ── has no say ──┐
//!   an agent, of another node's pods ──► denied        ├──► policy (roles and bindings) ──► allowed
//!   everybody else ────────────────────────────────────┘                    └────────────► denied
//! ```
//!
//! [`Policy`] is compiled from the objects in the store and kept until one of them changes; what
//! decides is pure. What cannot be seen in the request alone but only in the object that is
//! written is checked later, in [`crate::admission`].

pub mod aggregate;
mod attributes;
mod node;
mod own_node;
mod policy;
mod references;
mod rule;
pub mod system;

use std::sync::{Arc, Mutex, PoisonError};

use sealane_store::{Bucket, Store};
use serde_json::Value;

pub use attributes::{Asked, Attributes, Object, Resource};
pub use node::node_of;
pub use policy::{Policy, Sources, rules_of};
pub use rule::Rule;

use crate::{
    authn::User,
    kinds::{CLUSTER_ROLE, CLUSTER_ROLE_BINDING, Kind, ROLE, ROLE_BINDING},
    status::ApiError,
};

/// What came of a question. The reason may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may be done.
    Allow(String),
    /// It may not.
    Deny(String),
}

/// Decides, by the objects in a store.
pub struct Authorizer {
    store: Store,
    buckets: [Bucket; 4],
    compiled: Mutex<Option<Compiled>>,
}

struct Compiled {
    /// The revision of the last change of each kind.
    changed: [u64; 4],
    policy: Arc<Policy>,
}

impl Authorizer {
    /// Decides by the objects in `store`.
    pub fn new(store: Store) -> Self {
        let kinds: [&Kind; 4] = [&ROLE, &CLUSTER_ROLE, &ROLE_BINDING, &CLUSTER_ROLE_BINDING];
        Self {
            store,
            buckets: kinds.map(Kind::bucket),
            compiled: Mutex::default(),
        }
    }

    /// What roles and bindings say now.
    pub fn policy(&self) -> Arc<Policy> {
        let changed = self
            .buckets
            .each_ref()
            .map(|bucket| self.store.changed(bucket));
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(compiled) = compiled
            .as_ref()
            .filter(|compiled| compiled.changed == changed)
        {
            return compiled.policy.clone();
        }
        let [roles, cluster_roles, role_bindings, cluster_role_bindings] =
            self.buckets.each_ref().map(|bucket| self.objects(bucket));
        let policy = Arc::new(Policy::compile(&Sources {
            roles,
            cluster_roles,
            role_bindings,
            cluster_role_bindings,
        }));
        *compiled = Some(Compiled {
            changed,
            policy: policy.clone(),
        });
        policy
    }

    /// The rules of a ClusterRole or Role, with those that it takes in.
    pub fn effective_rules(&self, role: &Value) -> Vec<Rule> {
        aggregate::rules(role, &self.objects(&self.buckets[1]))
    }

    fn objects(&self, bucket: &Bucket) -> Vec<Value> {
        let entries = self.store.list(bucket, None, |_| true).entries;
        entries
            .iter()
            .filter_map(|entry| serde_json::from_slice(&entry.object.unpack()).ok())
            .collect()
    }

    /// Whether `user` may do this, and why or why not.
    pub fn decide(&self, user: &User, asked: &Attributes<'_>) -> Decision {
        if user.is_master() {
            return Decision::Allow(String::new());
        }
        let mut reasons = Vec::new();
        if let Some(node) = node_of(user) {
            match node::decide(
                node,
                asked,
                &node::Stored {
                    store: &self.store,
                    node,
                },
            ) {
                Ok(()) => return Decision::Allow(String::new()),
                Err(why) => reasons.extend(why),
            }
        }
        if let Err(why) = own_node::check(user, asked) {
            return Decision::Deny(why);
        }
        let policy = self.policy();
        if let Some(grant) = policy.allows(user, asked) {
            return Decision::Allow(grant.reason());
        }
        let namespace = match &asked.object {
            Object::Resource(of) => of.namespace,
            Object::Path(_) => "",
        };
        match policy.missing(user, namespace).as_slice() {
            [] => {}
            [one] => reasons.push(format!("RBAC: {one}")),
            many => reasons.push(format!("RBAC: [{}]", many.join(", "))),
        }
        Decision::Deny(reasons.join("\n"))
    }

    /// Refuses what `user` may not do.
    ///
    /// # Errors
    ///
    /// 403, in the words of kube-apiserver.
    pub fn check(&self, user: &User, asked: &Attributes<'_>) -> Result<(), ApiError> {
        match self.decide(user, asked) {
            Decision::Allow(_) => Ok(()),
            Decision::Deny(reason) => Err(forbidden(user, asked, &reason)),
        }
    }
}

/// The error for what a user may not do.
fn forbidden(user: &User, asked: &Attributes<'_>, reason: &str) -> ApiError {
    let mut why = format!("User {:?} cannot {asked}", user.name);
    if !reason.is_empty() {
        why = format!("{why}: {reason}");
    }
    match &asked.object {
        Object::Path(_) => ApiError::forbidden_path(&why),
        Object::Resource(of) => ApiError::forbidden_resource(of.group, of.resource, of.name, &why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_read_as_in_kubernetes() {
        let user = User {
            name: "u".into(),
            ..User::default()
        };
        let pods = Resource {
            resource: "pods",
            namespace: "default",
            name: "x",
            ..Resource::default()
        };
        let leases = Resource {
            group: "coordination.k8s.io",
            resource: "leases",
            ..Resource::default()
        };
        for (verb, object, reason, expected) in [
            (
                "get",
                Object::Resource(pods),
                "",
                r#"pods "x" is forbidden: User "u" cannot get resource "pods" in API group "" in the namespace "default""#,
            ),
            (
                "list",
                Object::Resource(leases),
                "because",
                r#"leases.coordination.k8s.io is forbidden: User "u" cannot list resource "leases" in API group "coordination.k8s.io" at the cluster scope: because"#,
            ),
            (
                "get",
                Object::Path("/x"),
                "",
                r#"forbidden: User "u" cannot get path "/x""#,
            ),
        ] {
            let error = forbidden(&user, &Attributes { verb, object }, reason);
            assert_eq!(
                (error.message.as_str(), error.reason),
                (expected, "Forbidden")
            );
        }
    }
}

//! Roles and bindings, compiled: who holds which rules, found by name and group of the user.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::{Attributes, Object, Rule, aggregate};
use crate::{
    authn::{User, service_account},
    object,
};

/// Everything that roles and bindings say at one moment.
#[derive(Debug, Default)]
pub struct Policy {
    /// What is granted everywhere.
    cluster: Grants,
    /// What is granted in each namespace.
    namespaces: HashMap<String, Grants>,
}

/// The objects that a policy is compiled from.
#[derive(Debug, Default)]
pub struct Sources {
    /// Roles.
    pub roles: Vec<Value>,
    /// ClusterRoles.
    pub cluster_roles: Vec<Value>,
    /// RoleBindings.
    pub role_bindings: Vec<Value>,
    /// ClusterRoleBindings.
    pub cluster_role_bindings: Vec<Value>,
}

#[derive(Debug, Default)]
struct Grants {
    of_user: HashMap<String, Vec<Grant>>,
    of_group: HashMap<String, Vec<Grant>>,
}

/// A role that a binding gives to a subject.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The role's rules, or that it does not exist.
    rules: Result<Arc<[Rule]>, Arc<str>>,
    /// Binding, role and subject, in words.
    source: String,
}

impl Grant {
    /// Why something is allowed, as kube-apiserver says it.
    pub fn reason(&self) -> String {
        format!("RBAC: allowed by {}", self.source)
    }
}

/// Rules by namespace (empty for ClusterRoles) and name.
type Roles<'a> = HashMap<(&'a str, &'a str), Arc<[Rule]>>;

impl Policy {
    /// Compiles roles and bindings.
    pub fn compile(sources: &Sources) -> Self {
        let mut roles = Roles::new();
        for role in &sources.roles {
            roles.insert(
                (object::namespace(role), object::name(role)),
                rules_of(role).into(),
            );
        }
        for role in &sources.cluster_roles {
            let rules = aggregate::rules(role, &sources.cluster_roles);
            roles.insert(("", object::name(role)), rules.into());
        }
        let mut policy = Self::default();
        for binding in &sources.cluster_role_bindings {
            policy.cluster.add(binding, &roles);
        }
        for binding in &sources.role_bindings {
            let namespace = object::namespace(binding).to_owned();
            policy
                .namespaces
                .entry(namespace)
                .or_default()
                .add(binding, &roles);
        }
        policy
    }

    /// The grant by which a user may do this, if any.
    pub fn allows<'a>(&'a self, user: &'a User, asked: &Attributes<'_>) -> Option<&'a Grant> {
        let namespace = match &asked.object {
            Object::Resource(of) => of.namespace,
            Object::Path(_) => "",
        };
        self.grants(user, namespace)
            .find(|grant| match &grant.rules {
                Ok(rules) => rules.iter().any(|rule| rule.allows(asked)),
                Err(_) => false,
            })
    }

    /// All rules that a user holds in a namespace, with those that hold everywhere.
    pub fn rules<'a>(&'a self, user: &'a User, namespace: &str) -> impl Iterator<Item = &'a Rule> {
        let grants = self.grants(user, namespace);
        grants
            .filter_map(|grant| grant.rules.as_ref().ok())
            .flat_map(|rules| rules.iter())
    }

    /// The roles that are given to a user but do not exist.
    pub fn missing<'a>(&'a self, user: &'a User, namespace: &str) -> Vec<&'a str> {
        let grants = self.grants(user, namespace);
        grants
            .filter_map(|grant| grant.rules.as_ref().err())
            .map(|why| &**why)
            .collect()
    }

    fn grants<'a>(&'a self, user: &'a User, namespace: &str) -> impl Iterator<Item = &'a Grant> {
        let here = self.namespaces.get(namespace);
        std::iter::once(&self.cluster)
            .chain(here)
            .flat_map(|grants| grants.held_by(user))
    }
}

impl Grants {
    fn add(&mut self, binding: &Value, roles: &Roles<'_>) {
        let role = &binding["roleRef"];
        let word = |of: &Value, part: &str| of[part].as_str().unwrap_or("").to_owned();
        let (kind, name) = (word(role, "kind"), word(role, "name"));
        let namespace = if kind == "Role" {
            object::namespace(binding)
        } else {
            ""
        };
        let found = roles.get(&(namespace, name.as_str())).cloned();
        let rules = found.ok_or_else(|| {
            let resource = kind.to_lowercase();
            format!("{resource}.rbac.authorization.k8s.io {name:?} not found").into()
        });
        for subject in binding["subjects"].as_array().into_iter().flatten() {
            let (of, who) = (word(subject, "kind"), word(subject, "name"));
            let (holders, key, shown) = match of.as_str() {
                "User" => (&mut self.of_user, who.clone(), who),
                "Group" => (&mut self.of_group, who.clone(), who),
                "ServiceAccount" => {
                    let namespace = word(subject, "namespace");
                    let shown = format!("{who}/{namespace}");
                    (&mut self.of_user, service_account(&namespace, &who), shown)
                }
                _ => continue,
            };
            let binding = match object::namespace(binding) {
                "" => format!("ClusterRoleBinding {:?}", object::name(binding)),
                namespace => format!("RoleBinding \"{}/{namespace}\"", object::name(binding)),
            };
            let source = format!("{binding} of {kind} {name:?} to {of} {shown:?}");
            let rules = rules.clone();
            holders
                .entry(key)
                .or_default()
                .push(Grant { rules, source });
        }
    }

    fn held_by<'a>(&'a self, user: &'a User) -> impl Iterator<Item = &'a Grant> {
        let groups = user
            .groups
            .iter()
            .filter_map(|group| self.of_group.get(group));
        self.of_user
            .get(&user.name)
            .into_iter()
            .chain(groups)
            .flatten()
    }
}

/// The rules that stand in a role.
pub fn rules_of(role: &Value) -> Vec<Rule> {
    let rules = role["rules"].as_array().into_iter().flatten();
    rules
        .filter_map(|rule| serde_json::from_value(rule.clone()).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::authz::Resource;

    fn user(name: &str, groups: &[&str]) -> User {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        User {
            name: name.into(),
            groups,
            ..User::default()
        }
    }

    fn policy() -> Policy {
        let read = json!([{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}]);
        let binding = |name: &str, namespace: &str, kind: &str, role: &str, subject: Value| {
            json!({
                "metadata": {"name": name, "namespace": namespace},
                "roleRef": {"kind": kind, "name": role}, "subjects": [subject],
            })
        };
        let alice = json!({"kind": "User", "name": "alice"});
        let robot = json!({"kind": "ServiceAccount", "name": "robot", "namespace": "shop"});
        Policy::compile(&Sources {
            roles: vec![json!({"metadata": {"name": "read", "namespace": "shop"}, "rules": read})],
            cluster_roles: vec![json!({"metadata": {"name": "read"}, "rules": read})],
            role_bindings: vec![
                binding("a", "shop", "Role", "read", alice.clone()),
                binding("b", "shop", "ClusterRole", "read", robot),
                binding("c", "shop", "Role", "gone", alice),
            ],
            cluster_role_bindings: vec![binding(
                "d",
                "",
                "ClusterRole",
                "read",
                json!({"kind": "Group", "name": "ops"}),
            )],
        })
    }

    #[test]
    fn roles_hold_where_they_are_given() {
        let policy = policy();
        let robot = "system:serviceaccount:shop:robot";
        for (who, namespace, reason) in [
            (
                user("alice", &[]),
                "shop",
                r#"RBAC: allowed by RoleBinding "a/shop" of Role "read" to User "alice""#,
            ),
            (user("alice", &[]), "other", ""),
            (user("alice", &[]), "", ""),
            (
                user(robot, &[]),
                "shop",
                r#"RBAC: allowed by RoleBinding "b/shop" of ClusterRole "read" to ServiceAccount "robot/shop""#,
            ),
            (user(robot, &[]), "other", ""),
            (
                user("bob", &["ops"]),
                "",
                r#"RBAC: allowed by ClusterRoleBinding "d" of ClusterRole "read" to Group "ops""#,
            ),
            (
                user("bob", &["ops"]),
                "any",
                r#"RBAC: allowed by ClusterRoleBinding "d" of ClusterRole "read" to Group "ops""#,
            ),
            (user("ops", &[]), "", ""),
        ] {
            let of = Resource {
                resource: "pods",
                namespace,
                ..Resource::default()
            };
            let asked = Attributes {
                verb: "list",
                object: Object::Resource(of),
            };
            let grant = policy.allows(&who, &asked);
            assert_eq!(
                grant.map(Grant::reason).unwrap_or_default(),
                reason,
                "{} {namespace}",
                who.name
            );
        }
    }

    #[test]
    fn roles_that_do_not_exist_are_named() {
        let missing = policy();
        assert_eq!(
            missing.missing(&user("alice", &[]), "shop"),
            ["role.rbac.authorization.k8s.io \"gone\" not found"]
        );
    }
}

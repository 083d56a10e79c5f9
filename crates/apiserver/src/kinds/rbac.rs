//! Role, ClusterRole, RoleBinding, ClusterRoleBinding: who may do what.

use k8s_openapi::api::rbac::v1 as rbac;
use serde_json::{Value, json};

use super::{
    Kind, PLAIN,
    column::{AGE, Cell, NAME, NAME_AND_AGE, column, wide},
    typed,
};
use crate::check::{Findings, NameRule, format};

/// The group of these kinds, and of users and groups as subjects.
pub const GROUP: &str = "rbac.authorization.k8s.io";

pub static ROLE: Kind = Kind {
    group: GROUP,
    kind: "Role",
    plural: "roles",
    singular: "role",
    names: NameRule::PathSegment,
    decode: typed::<rbac::Role>,
    validate: |role, findings| rules(role, true, findings),
    columns: NAME_AND_AGE,
    ..PLAIN
};

pub static CLUSTER_ROLE: Kind = Kind {
    group: GROUP,
    kind: "ClusterRole",
    plural: "clusterroles",
    singular: "clusterrole",
    namespaced: false,
    names: NameRule::PathSegment,
    decode: typed::<rbac::ClusterRole>,
    validate: |role, findings| {
        rules(role, false, findings);
        let aggregation = &role["aggregationRule"];
        if !aggregation.is_null() && list(&aggregation["clusterRoleSelectors"]).is_empty() {
            findings.required(
                "aggregationRule.clusterRoleSelectors",
                "at least one clusterRoleSelector required if aggregationRule is non-nil",
            );
        }
    },
    columns: NAME_AND_AGE,
    ..PLAIN
};

pub static ROLE_BINDING: Kind = Kind {
    group: GROUP,
    kind: "RoleBinding",
    plural: "rolebindings",
    singular: "rolebinding",
    names: NameRule::PathSegment,
    decode: typed::<rbac::RoleBinding>,
    complete: name_groups,
    validate: |binding, findings| {
        role_ref(binding, &["ClusterRole", "Role"], findings);
        subjects(binding, findings);
    },
    validate_update: same_role,
    columns: BINDING_COLUMNS,
    ..PLAIN
};

pub static CLUSTER_ROLE_BINDING: Kind = Kind {
    group: GROUP,
    kind: "ClusterRoleBinding",
    plural: "clusterrolebindings",
    singular: "clusterrolebinding",
    namespaced: false,
    names: NameRule::PathSegment,
    decode: typed::<rbac::ClusterRoleBinding>,
    complete: name_groups,
    validate: |binding, findings| {
        role_ref(binding, &["ClusterRole"], findings);
        subjects(binding, findings);
    },
    validate_update: same_role,
    columns: BINDING_COLUMNS,
    ..PLAIN
};

const BINDING_COLUMNS: &[super::Column] = &[
    NAME,
    column(
        "Role",
        Cell::Of(|binding, _| {
            let word = |part: &str| binding["roleRef"][part].as_str().unwrap_or("").to_owned();
            format!("{}/{}", word("kind"), word("name")).into()
        }),
        "The role that is given.",
    ),
    AGE,
    wide(
        "Users",
        Cell::Of(|binding, _| named(binding, "User")),
        "Users that have it.",
    ),
    wide(
        "Groups",
        Cell::Of(|binding, _| named(binding, "Group")),
        "Groups that have it.",
    ),
    wide(
        "ServiceAccounts",
        Cell::Of(|binding, _| named(binding, "ServiceAccount")),
        "Service accounts that have it.",
    ),
];

/// The subjects of one kind, in one text.
fn named(binding: &Value, kind: &str) -> Value {
    let names: Vec<String> = list(&binding["subjects"])
        .iter()
        .filter(|subject| subject["kind"] == kind)
        .map(|subject| {
            let name = subject["name"].as_str().unwrap_or("");
            match subject["namespace"].as_str() {
                Some(namespace) => format!("{namespace}/{name}"),
                None => name.to_owned(),
            }
        })
        .collect();
    names.join(", ").into()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn rules(role: &Value, namespaced: bool, findings: &mut Findings) {
    for (index, rule) in list(&role["rules"]).iter().enumerate() {
        let field = |name: &str| format!("rules[{index}].{name}");
        let has = |name: &str| !list(&rule[name]).is_empty();
        if !has("verbs") {
            findings.required(field("verbs"), "verbs must contain at least one value");
        }
        if has("nonResourceURLs") {
            let urls = &rule["nonResourceURLs"];
            if namespaced {
                let why = "namespaced rules cannot apply to non-resource URLs";
                findings.invalid(field("nonResourceURLs"), urls, why);
            } else if has("apiGroups") || has("resources") || has("resourceNames") {
                let why = "rules cannot apply to both regular resources and non-resource URLs";
                findings.invalid(field("nonResourceURLs"), urls, why);
            }
            continue;
        }
        if !has("apiGroups") {
            findings.required(
                field("apiGroups"),
                "resource rules must supply at least one api group",
            );
        }
        if !has("resources") {
            findings.required(
                field("resources"),
                "resource rules must supply at least one resource",
            );
        }
    }
}

/// Subjects and the role belong to a group of kinds that need not be said.
fn name_groups(binding: &mut Value) {
    let of_role = &mut binding["roleRef"]["apiGroup"];
    if of_role.as_str().unwrap_or("").is_empty() {
        *of_role = GROUP.into();
    }
    for subject in crate::object::elements_mut(binding, "subjects") {
        let unsaid = subject["apiGroup"].as_str().unwrap_or("").is_empty();
        if unsaid && (subject["kind"] == "User" || subject["kind"] == "Group") {
            subject["apiGroup"] = GROUP.into();
        }
    }
}

fn role_ref(binding: &Value, kinds: &[&str], findings: &mut Findings) {
    let role = &binding["roleRef"];
    if role["apiGroup"] != GROUP {
        findings.unsupported("roleRef.apiGroup", &role["apiGroup"], &[GROUP]);
    }
    if !kinds.iter().any(|kind| role["kind"] == *kind) {
        findings.unsupported("roleRef.kind", &role["kind"], kinds);
    }
    match role["name"].as_str().unwrap_or("") {
        "" => findings.required("roleRef.name", ""),
        name => format::path_segment(name)
            .into_iter()
            .for_each(|why| findings.invalid("roleRef.name", &role["name"], why)),
    }
}

fn subjects(binding: &Value, findings: &mut Findings) {
    for (index, subject) in list(&binding["subjects"]).iter().enumerate() {
        let field = |name: &str| format!("subjects[{index}].{name}");
        let text = |name: &str| subject[name].as_str().unwrap_or("");
        if text("name").is_empty() {
            findings.required(field("name"), "");
        }
        let group = match text("kind") {
            "ServiceAccount" => {
                if !text("name").is_empty() {
                    let wrong = format::dns_subdomain(text("name"));
                    wrong
                        .into_iter()
                        .for_each(|why| findings.invalid(field("name"), &subject["name"], why));
                }
                if text("namespace").is_empty() {
                    findings.required(field("namespace"), "");
                }
                ""
            }
            "User" | "Group" => GROUP,
            _ => {
                let known = &["Group", "ServiceAccount", "User"];
                findings.unsupported(field("kind"), &subject["kind"], known);
                continue;
            }
        };
        if text("apiGroup") != group {
            findings.unsupported(field("apiGroup"), &json!(text("apiGroup")), &[group]);
        }
    }
}

/// A binding that gives another role would turn every right to edit it into that role.
fn same_role(new: &Value, old: &Value, findings: &mut Findings) {
    if new["roleRef"] != old["roleRef"] {
        findings.invalid("roleRef", &new["roleRef"], "cannot change roleRef");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(kind: &Kind, mut object: Value) -> String {
        let mut findings = Findings::default();
        (kind.complete)(&mut object);
        (kind.validate)(&object, &mut findings);
        if findings.is_empty() {
            String::new()
        } else {
            findings.to_string()
        }
    }

    #[test]
    fn rules_are_judged() {
        let pods = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]});
        let health = json!({"nonResourceURLs": ["/healthz"], "verbs": ["get"]});
        let role = |rule: &Value| json!({ "rules": [rule] });
        assert_eq!(wrong(&ROLE, role(&pods)), "");
        assert_eq!(wrong(&CLUSTER_ROLE, role(&health)), "");
        assert_eq!(
            wrong(&ROLE, role(&health)),
            "rules[0].nonResourceURLs: Invalid value: [\"/healthz\"]: namespaced rules cannot apply \
             to non-resource URLs"
        );
        assert_eq!(
            wrong(&ROLE, json!({"rules": [{"verbs": []}]})),
            "[rules[0].verbs: Required value: verbs must contain at least one value, \
             rules[0].apiGroups: Required value: resource rules must supply at least one api group, \
             rules[0].resources: Required value: resource rules must supply at least one resource]"
        );
    }

    #[test]
    fn bindings_are_completed_and_judged() {
        let binding = |kind: &str, subject: Value| json!({"roleRef": {"kind": kind, "name": "r"}, "subjects": [subject]});
        let alice = json!({"kind": "User", "name": "alice"});
        let robot = json!({"kind": "ServiceAccount", "name": "robot", "namespace": "x"});
        assert_eq!(wrong(&ROLE_BINDING, binding("Role", alice.clone())), "");
        assert_eq!(
            wrong(&CLUSTER_ROLE_BINDING, binding("ClusterRole", robot)),
            ""
        );
        assert_eq!(
            wrong(&CLUSTER_ROLE_BINDING, binding("Role", alice)),
            "roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\""
        );
        let stray = json!({"kind": "ServiceAccount", "name": "robot"});
        assert_eq!(
            wrong(&ROLE_BINDING, binding("Role", stray)),
            "subjects[0].namespace: Required value"
        );
    }

    #[test]
    fn the_role_of_a_binding_stays() {
        let mut findings = Findings::default();
        let (old, new) = (
            json!({"roleRef": {"name": "a"}}),
            json!({"roleRef": {"name": "b"}}),
        );
        (ROLE_BINDING.validate_update)(&new, &old, &mut findings);
        assert!(
            findings.to_string().ends_with("cannot change roleRef"),
            "{findings}"
        );
    }
}

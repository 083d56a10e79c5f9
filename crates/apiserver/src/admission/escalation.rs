//! Nobody gives more than they have.
//!
//! Who may write roles could otherwise write one with everything in it. So the rules of a role, and
//! those of a role that is bound, must be covered by rules that the writer holds in that place; or
//! the writer holds the verb `escalate` of the role, or `bind`.

use serde_json::Value;

use crate::{
    authz::{Attributes, Decision, Object, Resource, Rule, rules_of},
    kinds::{CLUSTER_ROLE, Kind, ROLE, rbac::GROUP},
    object,
    server::Context,
    status::ApiError,
};

/// Whether a kind gives rights.
pub fn concerns(kind: &Kind) -> bool {
    kind.group == GROUP
}

/// Refuses rights that the writer does not hold.
pub fn check(context: &Context, new: &Value, old: Option<&Value>) -> Result<(), ApiError> {
    if !concerns(&context.kind) {
        return Ok(());
    }
    let is_role = matches!(context.kind.plural, "roles" | "clusterroles");
    let what = |object: &Value| {
        if is_role {
            (object["rules"].clone(), object["aggregationRule"].clone())
        } else {
            (object["roleRef"].clone(), object["subjects"].clone())
        }
    };
    if old.is_some_and(|old| what(old) == what(new)) {
        return Ok(());
    }
    let role = &new["roleRef"];
    let bound: &Kind = if role["kind"] == ROLE.kind {
        &ROLE
    } else {
        &CLUSTER_ROLE
    };
    let bound_name = role["name"].as_str().unwrap_or("");
    let (verb, resource, name) = if is_role {
        ("escalate", context.kind.plural, object::name(new))
    } else {
        ("bind", bound.plural, bound_name)
    };
    let object = Object::Resource(Resource {
        group: GROUP,
        resource,
        name,
        namespace: &context.target.namespace,
        ..Resource::default()
    });
    let asked = Attributes { verb, object };
    if let Decision::Allow(_) = context.server.authorizer.decide(&context.user, &asked) {
        return Ok(());
    }
    let given = if is_role {
        rules_of(new)
    } else {
        bound_rules(context, bound, bound_name)?
    };
    let lacks = lacking(context, &given);
    if !lacks.is_empty() {
        let lines = lines(&lacks);
        return Err(refusal(context, object::name(new), &lines));
    }
    let aggregates = is_role && !new["aggregationRule"].is_null();
    if aggregates && !lacking(context, &everything()).is_empty() {
        // It can gather anything.
        let why = "must have cluster-admin privileges to use the aggregationRule";
        let name = object::name(new);
        return Err(ApiError::forbidden(&context.kind, name, why));
    }
    Ok(())
}

/// The rules of a role that is to be bound. One that is not there can be bound by those alone who
/// may bind anything, since it may be made later.
fn bound_rules(context: &Context, kind: &Kind, name: &str) -> Result<Vec<Rule>, ApiError> {
    let namespace = if kind.namespaced {
        context.target.namespace.as_str()
    } else {
        ""
    };
    let Some(entry) = context.server.store.get(&kind.key(namespace, name)) else {
        return Err(ApiError::not_found(kind, name));
    };
    let role: Value = serde_json::from_slice(&entry.object.unpack()).map_err(ApiError::internal)?;
    Ok(context.server.authorizer.effective_rules(&role))
}

/// Every right that there is.
fn everything() -> [Rule; 2] {
    let all = || vec!["*".to_owned()];
    let resources = Rule {
        verbs: all(),
        api_groups: all(),
        resources: all(),
        ..Rule::default()
    };
    let paths = Rule {
        verbs: all(),
        paths: all(),
        ..Rule::default()
    };
    [resources, paths]
}

/// What of the given rules the writer does not hold.
fn lacking(context: &Context, given: &[Rule]) -> Vec<Rule> {
    let policy = context.server.authorizer.policy();
    let held: Vec<&Rule> = policy
        .rules(&context.user, &context.target.namespace)
        .collect();
    let mut singles: Vec<Rule> = given.iter().flat_map(Rule::single).collect();
    singles.retain(|single| !held.iter().any(|rule| rule.covers(single)));
    singles
}

/// One line for each resource, name or path, with all the verbs that are lacking.
fn lines(lacking: &[Rule]) -> Vec<String> {
    let mut compact: Vec<Rule> = Vec::new();
    for single in lacking {
        let same = |one: &&mut Rule| {
            (
                &one.api_groups,
                &one.resources,
                &one.resource_names,
                &one.paths,
            ) == (
                &single.api_groups,
                &single.resources,
                &single.resource_names,
                &single.paths,
            )
        };
        match compact.iter_mut().find(same) {
            Some(found) => found.verbs.extend(single.verbs.iter().cloned()),
            None => compact.push(single.clone()),
        }
    }
    let mut lines: Vec<String> = compact.iter().map(shown).collect();
    lines.sort_unstable();
    lines.dedup();
    lines
}

fn refusal(context: &Context, name: &str, lines: &[String]) -> ApiError {
    let user = &context.user;
    ApiError::forbidden(
        &context.kind,
        name,
        format!(
            "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
            user.name,
            quoted(&user.groups),
            lines.join("\n")
        ),
    )
}

/// `{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}`, as Kubernetes writes a rule.
fn shown(rule: &Rule) -> String {
    let parts = [
        ("APIGroups", &rule.api_groups),
        ("Resources", &rule.resources),
        ("NonResourceURLs", &rule.paths),
        ("ResourceNames", &rule.resource_names),
        ("Verbs", &rule.verbs),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(name, list)| format!("{name}:{}", quoted(list)))
        .collect();
    format!("{{{}}}", parts.join(", "))
}

/// `["get" "list"]`.
fn quoted(list: &[String]) -> String {
    let quoted: Vec<String> = list.iter().map(|one| format!("{one:?}")).collect();
    format!("[{}]", quoted.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_told_in_few_lines() {
        let rule = Rule {
            verbs: vec!["get".into(), "list".into()],
            api_groups: vec![String::new()],
            resources: vec!["pods".into(), "nodes".into()],
            ..Rule::default()
        };
        let health = Rule {
            verbs: vec!["get".into()],
            paths: vec!["/healthz".into()],
            ..Rule::default()
        };
        let singles: Vec<Rule> = [rule, health].iter().flat_map(Rule::single).collect();
        assert_eq!(
            lines(&singles),
            [
                r#"{APIGroups:[""], Resources:["nodes"], Verbs:["get" "list"]}"#,
                r#"{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}"#,
                r#"{NonResourceURLs:["/healthz"], Verbs:["get"]}"#,
            ]
        );
    }
}

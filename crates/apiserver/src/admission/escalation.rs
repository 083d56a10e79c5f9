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
    let (given, verb, of) = if is_role {
        (
            rules_of(new),
            "escalate",
            Resource {
                resource: context.kind.plural,
                name: object::name(new),
                ..Resource::default()
            },
        )
    } else {
        let role = &new["roleRef"];
        let kind: &Kind = if role["kind"] == ROLE.kind {
            &ROLE
        } else {
            &CLUSTER_ROLE
        };
        let name = role["name"].as_str().unwrap_or("");
        (
            bound_rules(context, kind, name)?,
            "bind",
            Resource {
                resource: kind.plural,
                name,
                ..Resource::default()
            },
        )
    };
    let namespace = context.target.namespace.as_str();
    let object = Object::Resource(Resource {
        group: GROUP,
        namespace,
        ..of
    });
    let asked = Attributes { verb, object };
    if let Decision::Allow(_) = context.server.authorizer.decide(&context.user, &asked) {
        return Ok(());
    }
    let aggregates = is_role && !new["aggregationRule"].is_null();
    let lacking = lacking(context, &given, aggregates);
    if lacking.is_empty() {
        return Ok(());
    }
    Err(refusal(context, object::name(new), &lacking))
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
        return Ok(vec![everything()]);
    };
    let role: Value = serde_json::from_slice(&entry.object).map_err(ApiError::internal)?;
    Ok(context.server.authorizer.effective_rules(&role))
}

fn everything() -> Rule {
    let all = || vec!["*".to_owned()];
    Rule {
        verbs: all(),
        api_groups: all(),
        resources: all(),
        ..Rule::default()
    }
}

/// What of the given rules the writer does not hold; of a role that takes in others, everything.
fn lacking(context: &Context, given: &[Rule], aggregates: bool) -> Vec<Rule> {
    let policy = context.server.authorizer.policy();
    let held: Vec<&Rule> = policy
        .rules(&context.user, &context.target.namespace)
        .collect();
    let mut singles: Vec<Rule> = given.iter().flat_map(Rule::single).collect();
    if aggregates {
        singles.push(everything());
    }
    singles.retain(|single| !held.iter().any(|rule| rule.covers(single)));
    singles
}

fn refusal(context: &Context, name: &str, lacking: &[Rule]) -> ApiError {
    let user = &context.user;
    let lines: Vec<String> = lacking.iter().map(shown).collect();
    ApiError::forbidden(
        &context.kind,
        name,
        format!(
            "user {:?} (groups={:?}) is attempting to grant RBAC permissions not currently held:\n{}",
            user.name,
            user.groups,
            lines.join("\n")
        ),
    )
}

/// `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`, as Kubernetes writes a rule.
fn shown(rule: &Rule) -> String {
    let parts = [
        ("APIGroups", &rule.api_groups),
        ("Resources", &rule.resources),
        ("ResourceNames", &rule.resource_names),
        ("NonResourceURLs", &rule.paths),
        ("Verbs", &rule.verbs),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(name, list)| format!("{name}:{list:?}"))
        .collect();
    format!("{{{}}}", parts.join(", "))
}

//! May this user do that?

use serde_json::{Value, json};

use super::invalid;
use crate::{
    authn::User,
    authz::{Attributes, Decision, Object, Resource},
    check::Findings,
    server::Context,
    status::ApiError,
};

/// What the asker may do.
pub fn of_self(context: &Context, review: &Value) -> Result<Value, ApiError> {
    let mut findings = Findings::default();
    check_question(&review["spec"], &mut findings);
    invalid(context, &findings)?;
    Ok(decided(context, &context.user, &review["spec"]))
}

/// What somebody else may do; in `namespace` only, if one is given.
pub fn of_subject(
    context: &Context,
    review: &Value,
    namespace: Option<&str>,
) -> Result<Value, ApiError> {
    let spec = &review["spec"];
    let mut findings = Findings::default();
    check_question(spec, &mut findings);
    let user = subject(spec);
    if user.name.is_empty() && user.groups.is_empty() {
        findings.invalid(
            "spec.user",
            &json!(""),
            "at least one of user or group must be specified",
        );
    }
    if let Some(namespace) = namespace {
        if spec["resourceAttributes"]["namespace"] != namespace {
            let field = "spec.resourceAttributes.namespace";
            let why = "must match metadata.namespace";
            findings.invalid(field, &spec["resourceAttributes"]["namespace"], why);
        }
        if !spec["nonResourceAttributes"].is_null() {
            let why = "disallowed on this kind of request";
            findings.invalid(
                "spec.nonResourceAttributes",
                &spec["nonResourceAttributes"],
                why,
            );
        }
    }
    invalid(context, &findings)?;
    Ok(decided(context, &user, spec))
}

fn check_question(spec: &Value, findings: &mut Findings) {
    let given = ["resourceAttributes", "nonResourceAttributes"].map(|part| !spec[part].is_null());
    match given {
        [true, true] => findings.invalid(
            "spec.nonResourceAttributes",
            &spec["nonResourceAttributes"],
            "cannot be specified in combination with resourceAttributes",
        ),
        [false, false] => findings.invalid(
            "spec.resourceAttributes",
            &Value::Null,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ),
        _ => {}
    }
}

fn subject(spec: &Value) -> User {
    let texts = |list: &Value| -> Vec<String> {
        let texts = list.as_array().into_iter().flatten();
        texts.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let extra = spec["extra"].as_object().into_iter().flatten();
    User {
        name: spec["user"].as_str().unwrap_or("").into(),
        uid: spec["uid"].as_str().unwrap_or("").into(),
        groups: texts(&spec["groups"]),
        extra: extra
            .map(|(name, values)| (name.to_lowercase(), texts(values)))
            .collect(),
    }
}

fn decided(context: &Context, user: &User, spec: &Value) -> Value {
    match context.server.authorizer.decide(user, &question(spec)) {
        Decision::Allow(reason) => verdict(true, &reason),
        Decision::Deny(reason) => verdict(false, &reason),
    }
}

fn verdict(allowed: bool, reason: &str) -> Value {
    let mut status = json!({ "allowed": allowed });
    if !reason.is_empty() {
        status["reason"] = reason.into();
    }
    status
}

fn question(spec: &Value) -> Attributes<'_> {
    let text = |of: &'_ str, part: &str| spec[of][part].as_str().unwrap_or("");
    if !spec["nonResourceAttributes"].is_null() {
        let of = "nonResourceAttributes";
        return Attributes {
            verb: text(of, "verb"),
            object: Object::Path(text(of, "path")),
        };
    }
    let of = "resourceAttributes";
    let resource = Resource {
        group: text(of, "group"),
        resource: text(of, "resource"),
        subresource: text(of, "subresource"),
        namespace: text(of, "namespace"),
        name: text(of, "name"),
        on_node: selected_node(&spec[of]["fieldSelector"]).map(Into::into),
    };
    Attributes {
        verb: text(of, "verb"),
        object: Object::Resource(resource),
    }
}

fn selected_node(selector: &Value) -> Option<&str> {
    let mut requirements = selector["requirements"].as_array()?.iter();
    let only = requirements.find(|one| one["key"] == "spec.nodeName" && one["operator"] == "In")?;
    match only["values"].as_array()?.as_slice() {
        [node] => node.as_str(),
        _ => None,
    }
}

//! What may the asker do in a namespace? For `kubectl auth can-i --list`.

use serde_json::{Value, json};

use crate::{authz::node_of, server::Context, status::ApiError};

/// All rules that the asker holds there.
pub fn status(context: &Context, review: &Value) -> Result<Value, ApiError> {
    let namespace = review["spec"]["namespace"].as_str().unwrap_or("");
    if namespace.is_empty() {
        return Err(ApiError::bad_request("no namespace on request"));
    }
    let policy = context.server.authorizer.policy();
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    for rule in policy.rules(&context.user, namespace) {
        let (list, value) = if rule.paths.is_empty() {
            (&mut resources, json!(rule))
        } else {
            (&mut paths, json!(rule))
        };
        if !list.contains(&value) {
            list.push(value);
        }
    }
    let mut status = json!({
        "resourceRules": resources, "nonResourceRules": paths, "incomplete": false,
    });
    if node_of(&context.user).is_some() {
        status["incomplete"] = true.into();
        status["evaluationError"] = "node authorizer does not support user rule resolution".into();
    }
    Ok(status)
}

//! What our own controllers may do with custom objects: find them, and collect those whose owners
//! are gone.
//!
//! Roles cannot say "of each kind the objects and none of the subresources", and names of kinds that
//! are yet to be described are known to nobody, so the server keeps a role with those that there are.
//! It is there once there was a definition.

use serde_json::{Value, json};

use super::Definition;
use crate::{
    kinds::{CLUSTER_ROLE, CLUSTER_ROLE_BINDING, Kind},
    owners::Writing,
    server::Server,
    status::ApiError,
    verbs::{Part, create_object, replace},
};

/// The role and its binding.
const NAME: &str = "sealane-custom-resources";
/// Who collects.
const CONTROLLERS: &str = "system:sealane:controllers";

/// Has the role speak of these definitions.
pub async fn allow<'a>(
    server: &Server,
    definitions: impl Iterator<Item = &'a Definition>,
) -> Result<(), ApiError> {
    let rules: Vec<Value> = definitions.map(rule).collect();
    let found = server.store.get(&CLUSTER_ROLE.key("", NAME));
    let Some(current) = found else {
        if rules.is_empty() {
            return Ok(());
        }
        let role = json!({ "metadata": { "name": NAME }, "rules": rules });
        make(server, &CLUSTER_ROLE, role).await?;
        return make(server, &CLUSTER_ROLE_BINDING, binding()).await;
    };
    let mut role: Value =
        serde_json::from_slice(&current.object.unpack()).map_err(ApiError::internal)?;
    if role["rules"] == json!(rules) {
        return Ok(());
    }
    role["rules"] = json!(rules);
    let written = replace(
        server,
        &CLUSTER_ROLE,
        Part::Main,
        role,
        &current,
        &Writing::ours(),
    )
    .await;
    written.map(drop).or_else(is_settled)
}

fn rule(definition: &Definition) -> Value {
    json!({
        "apiGroups": [definition.group],
        "resources": [definition.plural],
        "verbs": ["get", "list", "watch", "patch", "update", "delete"],
    })
}

fn binding() -> Value {
    json!({
        "metadata": { "name": NAME },
        "roleRef": {
            "apiGroup": CLUSTER_ROLE.group, "kind": CLUSTER_ROLE.kind, "name": NAME,
        },
        "subjects": [{ "apiGroup": CLUSTER_ROLE.group, "kind": "User", "name": CONTROLLERS }],
    })
}

async fn make(server: &Server, kind: &Kind, mut object: Value) -> Result<(), ApiError> {
    object["apiVersion"] = kind.api_version().into();
    object["kind"] = kind.kind.into();
    let made = create_object(server, kind, "", object, &Writing::ours()).await;
    made.map(drop).or_else(is_settled)
}

/// Somebody was faster; the next change of a definition leads to another look.
fn is_settled(error: ApiError) -> Result<(), ApiError> {
    match error.reason {
        "AlreadyExists" | "Conflict" | "NotFound" => Ok(()),
        _ => Err(error),
    }
}

//! What may be written by whom, where that depends on the object and not on the request alone.
//!
//! * A node changes of its own Node what it knows best, and of its pods what it has seen
//!   ([`node`]; NodeRestriction in Kubernetes).
//! * Nobody gives more than they have: roles with rules, or bindings of roles, that their maker does
//!   not hold are refused ([`escalation`]).

mod escalation;
mod node;

use serde_json::Value;

use crate::{
    authn::Reference,
    authz::{Attributes, Object, Resource, node_of},
    server::Context,
    status::ApiError,
};

/// Refuses what this user may not make of `old`; `None` for what is not there. Both are complete
/// objects as far as the write goes; on a deletion there is no `new`.
///
/// # Errors
///
/// 403.
pub fn check(context: &Context, new: Option<&Value>, old: Option<&Value>) -> Result<(), ApiError> {
    let user = &context.user;
    if user.is_master() {
        return Ok(());
    }
    if let Some(node) = node_of(user) {
        node::check(context, node, new, old)?;
    }
    match new {
        Some(new) => escalation::check(context, new, old),
        None => Ok(()),
    }
}

/// Refuses an update that creates, unless the user may create.
///
/// # Errors
///
/// 403.
pub fn check_create(context: &Context) -> Result<(), ApiError> {
    let target = &context.target;
    let of = Resource {
        group: &target.group,
        resource: &target.resource,
        namespace: &target.namespace,
        name: &target.name,
        ..Resource::default()
    };
    let asked = Attributes {
        verb: "create",
        object: Object::Resource(of),
    };
    context.server.authorizer.check(&context.user, &asked)
}

/// Whether the user's writes have to be checked at all.
pub fn is_needed(context: &Context) -> bool {
    !context.user.is_master()
        && (node_of(&context.user).is_some() || escalation::concerns(&context.kind))
}

/// Refuses a token that a node may not have: it gets those of its own pods, bound to them.
///
/// # Errors
///
/// 403.
pub fn token(context: &Context, spec: &Value, pod: Option<&Reference>) -> Result<(), ApiError> {
    match node_of(&context.user) {
        Some(node) if !context.user.is_master() => node::token(context, node, spec, pod),
        _ => Ok(()),
    }
}

//! Questions about access, and tokens: what is created is answered and not kept.

mod access;
mod rules;
mod token_request;
mod token_review;

use http::{Response, StatusCode};
use serde_json::{Value, json};

pub use token_request::request_token;

use crate::{
    answer::{self, Body},
    check::Findings,
    kinds::Review,
    object,
    request::{Accept, Form, Payload, WriteOptions, read_value},
    server::Context,
    status::ApiError,
    verbs::{Incoming, cannot, decode, judge},
};

/// Answers a review.
///
/// # Errors
///
/// 400 and 422 for a question that is none.
pub fn review(
    context: &Context,
    review: Review,
    payload: &Payload,
) -> Result<Response<Body>, ApiError> {
    let kind = &*context.kind;
    let options = WriteOptions::parse(&context.query, "CreateOptions")?;
    let Incoming {
        mut object,
        problems,
    } = decode(kind, read_value(payload)?, |why| cannot(kind, why))?;
    let warnings = judge(problems, options.field_validation, |why| cannot(kind, &why))?;
    object::metadata_mut(&mut object);
    object["status"] = match review {
        Review::Token => token_review::status(context, &object)?,
        Review::SelfSubject => json!({ "userInfo": context.user.info() }),
        Review::Access => access::of_subject(context, &object, None)?,
        Review::LocalAccess => {
            access::of_subject(context, &object, Some(&context.target.namespace))?
        }
        Review::SelfAccess => access::of_self(context, &object)?,
        Review::SelfRules => rules::status(context, &object)?,
    };
    Ok(answer::warn(created(context, &object), &warnings))
}

/// The answer to what is created and not kept; it has no columns.
fn created(context: &Context, object: &Value) -> Response<Body> {
    let accept = Accept {
        form: Form::Object,
        ..context.accept
    };
    answer::value(StatusCode::CREATED, accept, object)
}

/// The error for a question that is none.
fn invalid(context: &Context, findings: &Findings) -> Result<(), ApiError> {
    if findings.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid(
        context.kind.kind,
        context.kind.group,
        "",
        findings,
    ))
}

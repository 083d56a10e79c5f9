//! Patch: a change to whatever the object is now.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{
    decode::{decode, judge},
    update::{ATTEMPTS, Part, replace},
};
use crate::{
    admission,
    answer::Body,
    check::Findings,
    kinds::Kind,
    object::{self, Input},
    patch::{Patch, PatchError},
    request::{Payload, WriteOptions},
    schema::Type,
    server::Context,
    status::ApiError,
};

/// Applies the patch in the body.
///
/// # Errors
///
/// As Kubernetes: 400, 404, 409, 415, 422.
pub async fn patch(context: &Context, payload: Payload) -> Result<Response<Body>, ApiError> {
    let (kind, target) = (&*context.kind, &context.target);
    let options = WriteOptions::parse(&context.query, "PatchOptions")?;
    let patch = read(kind, &payload)?;
    let part = Part::of(context);
    for attempt in 1.. {
        let found = context
            .server
            .store
            .get(&kind.key(&target.namespace, &target.name));
        let current = found.ok_or_else(|| ApiError::not_found(kind, &target.name))?;
        let old = kind.read(&current).map_err(ApiError::internal)?;
        let patched = apply(&patch, kind, kind.to_served(old.clone()))?;
        let input = Input {
            value: patched,
            duplicates: patch.duplicates().to_vec(),
        };
        let decoded = decode(kind, input, |why| refuse(&payload, why))?;
        let warnings = judge(decoded.problems, options.field_validation, |why| {
            refuse(&payload, &why)
        })?;
        let mut new = decoded.object;
        check_name(context, &new)?;
        admission::check(context, Some(&new), Some(&old))?;
        let versioned = object::resource_version(&new) != object::resource_version(&old);
        if !versioned {
            object::metadata_mut(&mut new).remove("resourceVersion");
        }
        let written = replace(&context.server, kind, part, new, &current, options.dry_run).await;
        match written {
            Ok(outcome) => return Ok(outcome.answer(context, StatusCode::OK, &warnings)),
            Err(error) if error.reason == "Conflict" && !versioned && attempt < ATTEMPTS => {}
            Err(error) => return Err(error),
        }
    }
    unreachable!("the last attempt returns")
}

/// Reads a patch.
///
/// # Errors
///
/// 415 for a media type that is none of ours, 400 for what cannot be read.
pub fn read(kind: &Kind, payload: &Payload) -> Result<Patch, ApiError> {
    // How lists of custom kinds merge is known to server-side apply alone.
    let media = match kind.custom {
        Some(_) => Patch::CUSTOM_MEDIA,
        None => Patch::MEDIA,
    };
    if !media.contains(&payload.media.as_str()) {
        return Err(ApiError::unsupported_media_type(media));
    }
    Patch::parse(&payload.media, &payload.bytes).map_err(|cause| match cause {
        PatchError::Media => ApiError::unsupported_media_type(media),
        cause => ApiError::bad_request(format!("error decoding patch: {cause}")),
    })
}

/// An object of this kind with the change of a patch.
///
/// # Errors
///
/// 422 for a patch that does not fit it.
pub fn apply(patch: &Patch, kind: &Kind, object: Value) -> Result<Value, ApiError> {
    let of = Type::of_kind(kind.group, kind.version, kind.kind);
    patch.apply(object, of).map_err(|cause| {
        let code = StatusCode::UNPROCESSABLE_ENTITY;
        let message =
            format!("the server rejected our request due to an error in our request: {cause}");
        ApiError::new(code, "Invalid", message)
    })
}

/// The error for a patch whose result has wrong types or, for a strict client, unknown fields.
pub fn refuse(payload: &Payload, why: &str) -> ApiError {
    let mut findings = Findings::default();
    let patch = String::from_utf8_lossy(&payload.bytes);
    findings.invalid("patch", &json!(patch), why);
    ApiError::invalid("", "", "", &findings)
}

fn check_name(context: &Context, new: &Value) -> Result<(), ApiError> {
    let (name, namespace) = (object::name(new), object::namespace(new));
    if name != context.target.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            context.target.name
        )));
    }
    if context.kind.namespaced && namespace != context.target.namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

//! Patch: a change to whatever the object is now.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{
    apply,
    decode::{decode, judge},
    update::{ATTEMPTS, Part},
};
use crate::{
    admission,
    answer::Body,
    check::Findings,
    kinds::Kind,
    object::{self, Input},
    owners::{Writing, take_entries},
    patch::{Patch, PatchError},
    request::{Payload, WriteOptions},
    schema::Type,
    server::Context,
    status::ApiError,
    webhooks,
};

/// Applies the patch in the body.
///
/// # Errors
///
/// As Kubernetes: 400, 404, 409, 415, 422.
pub async fn patch(context: &Context, payload: Payload) -> Result<Response<Body>, ApiError> {
    let (kind, target) = (&*context.kind, &context.target);
    if payload.media == apply::MEDIA {
        return apply::apply(context, payload).await;
    }
    let options = WriteOptions::parse(&context.query, "PatchOptions")?;
    refuse_force(&options)?;
    let patch = read(kind, &payload)?;
    let part = Part::of(context);
    let writing = Writing::of(context, &payload, &options);
    // Few patches do, and entries are long.
    let edits_owners = mentions(&payload.bytes, b"managedFields");
    for attempt in 1.. {
        let found = context
            .server
            .store
            .get(&kind.key(&target.namespace, &target.name));
        let current = found.ok_or_else(|| ApiError::not_found(kind, &target.name))?;
        let mut old = kind.read(&current).map_err(ApiError::internal)?;
        if !edits_owners {
            take_entries(&mut old);
        }
        let patched = patched(&patch, kind, kind.to_served(old.clone()))?;
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
        let written = webhooks::replace(context, part, new, &current, &writing).await;
        match written {
            Ok((outcome, said)) => {
                let warnings = [warnings, said].concat();
                return Ok(outcome.answer(context, StatusCode::OK, &warnings));
            }
            Err(error) if error.reason == "Conflict" && !versioned && attempt < ATTEMPTS => {}
            Err(error) => return Err(error),
        }
    }
    unreachable!("the last attempt returns")
}

/// The error for an option that only an apply has.
///
/// # Errors
///
/// 422 if it is there.
pub fn refuse_force(options: &WriteOptions) -> Result<(), ApiError> {
    if options.force.is_none() {
        return Ok(());
    }
    let mut findings = Findings::default();
    findings.forbidden("force", "may not be specified for non-apply patch");
    Err(ApiError::invalid(
        "PatchOptions",
        "meta.k8s.io",
        "",
        &findings,
    ))
}

fn mentions(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
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
    let refuse = || ApiError::unsupported_media_type(&[media, &[apply::MEDIA]].concat());
    if !media.contains(&payload.media.as_str()) {
        return Err(refuse());
    }
    Patch::parse(&payload.media, &payload.bytes).map_err(|cause| match cause {
        PatchError::Media => refuse(),
        cause => ApiError::bad_request(format!("error decoding patch: {cause}")),
    })
}

/// An object of this kind with the change of a patch.
///
/// # Errors
///
/// 422 for a patch that does not fit it.
pub fn patched(patch: &Patch, kind: &Kind, object: Value) -> Result<Value, ApiError> {
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

/// Whether an object has the name and the namespace of the path.
///
/// # Errors
///
/// 400 if not.
pub fn check_name(context: &Context, new: &Value) -> Result<(), ApiError> {
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

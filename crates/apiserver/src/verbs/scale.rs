//! The subresource `scale`: one number of an object, in the same form for all kinds.

use std::sync::Arc;

use http::{Method, Response, StatusCode};
use sealane_store::Entry;
use serde_json::{Value, json};

use super::{
    apply::{self, Configuration},
    decode::{cannot, decode, judge},
    finish::{Outcome, prepare},
    patch::{self, refuse_force},
    update::{ATTEMPTS, Part},
};
use crate::{
    answer::{self, Body},
    custom::Custom,
    kinds::{SCALE, scale_of, set_replicas},
    object::{self, Input},
    owners::Writing,
    patch::Patch,
    request::{Payload, WriteOptions, read_value},
    server::Context,
    status::ApiError,
    webhooks,
};

/// Shows, replaces or patches how an object is scaled.
///
/// # Errors
///
/// As Kubernetes: 400, 404, 405, 409, 415, 422.
pub async fn scale(
    context: &Context,
    method: &Method,
    payload: Payload,
) -> Result<Response<Body>, ApiError> {
    match *method {
        Method::GET => {
            let object = context.kind.read(&*current(context)?);
            let object = object.map_err(ApiError::internal)?;
            check_has_replicas(context, &object)?;
            answer(context, &object, &[])
        }
        Method::PUT => update(context, payload).await,
        Method::PATCH => patch(context, payload).await,
        _ => Err(ApiError::method_not_allowed()),
    }
}

async fn update(context: &Context, payload: Payload) -> Result<Response<Body>, ApiError> {
    let options = WriteOptions::parse(&context.query, "UpdateOptions")?;
    let refuse = |why: &str| cannot(&SCALE, why);
    let decoded = decode(&SCALE, read_value(&payload)?, refuse)?;
    let warnings = judge(decoded.problems, options.field_validation, |why| {
        refuse(&why)
    })?;
    let change = |_: &Value| Ok(decoded.object.clone());
    let writing = Writing::of(context, &payload, &options);
    write(context, change, &writing, &warnings).await
}

async fn patch(context: &Context, payload: Payload) -> Result<Response<Body>, ApiError> {
    if payload.media == apply::MEDIA {
        return apply_replicas(context, payload).await;
    }
    let options = WriteOptions::parse(&context.query, "PatchOptions")?;
    refuse_force(&options)?;
    let patch = patch::read(&SCALE, &payload)?;
    // What a patch leaves as it is, it does not ask for.
    let change = |scale: &Value| {
        let mut new = patched(&patch, &payload, scale)?;
        if object::resource_version(&new) == object::resource_version(scale) {
            object::metadata_mut(&mut new).remove("resourceVersion");
        }
        Ok(new)
    };
    let writing = Writing::of(context, &payload, &options);
    write(context, change, &writing, &[]).await
}

/// Applies the replicas of a scale: what is applied is that field of the object.
async fn apply_replicas(context: &Context, payload: Payload) -> Result<Response<Body>, ApiError> {
    let mut applied = Configuration::read(context, &payload)?;
    apply::check_kind(&SCALE, &applied.value)?;
    let input = Input {
        value: applied.value.take(),
        duplicates: Vec::new(),
    };
    let mut scale = decode(&SCALE, input, |why| cannot(&SCALE, why))?.object;
    check(context, &mut scale)?;
    let kind = &*context.kind;
    let metadata = ["name", "namespace", "resourceVersion", "uid"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), scale["metadata"].get(name)?.clone())));
    let metadata: serde_json::Map<String, Value> = metadata.collect();
    applied.value = json!({
        "apiVersion": kind.api_version(), "kind": kind.kind, "metadata": metadata,
    });
    set_replicas(kind, &mut applied.value, scale["spec"]["replicas"].take());
    let (outcome, ..) = applied.write(context, Part::Main).await?;
    let object = match outcome {
        Outcome::Tried(object) => object,
        Outcome::Written(entry) => kind.read(&entry).map_err(ApiError::internal)?,
    };
    answer(context, &object, &applied.warnings)
}

fn patched(patch: &Patch, payload: &Payload, scale: &Value) -> Result<Value, ApiError> {
    let input = Input {
        value: patch::patched(patch, &SCALE, scale.clone())?,
        duplicates: patch.duplicates().to_vec(),
    };
    let decoded = decode(&SCALE, input, |why| patch::refuse(payload, why))?;
    Ok(decoded.object)
}

/// Writes the replicas of the scale that `change` makes of the present one.
async fn write(
    context: &Context,
    change: impl Fn(&Value) -> Result<Value, ApiError>,
    writing: &Writing,
    warnings: &[String],
) -> Result<Response<Body>, ApiError> {
    for attempt in 1.. {
        let current = current(context)?;
        let kind = &*context.kind;
        let mut object = kind.read(&current).map_err(ApiError::internal)?;
        let mut scale = change(&scale_of(kind, &object))?;
        check(context, &mut scale)?;
        set_replicas(kind, &mut object, scale["spec"]["replicas"].clone());
        let version = scale["metadata"]["resourceVersion"].take();
        let versioned = version.as_str().is_some_and(|version| !version.is_empty());
        if versioned {
            object["metadata"]["resourceVersion"] = version;
        }
        let uid = object::meta(&scale, "uid");
        if !uid.is_empty() {
            object["metadata"]["uid"] = json!(uid);
        }
        match webhooks::replace(context, Part::Main, object, &current, writing).await {
            Ok((outcome, said)) => {
                let object = match outcome {
                    Outcome::Tried(object) => object,
                    Outcome::Written(entry) => kind.read(&entry).map_err(ApiError::internal)?,
                };
                return answer(context, &object, &[warnings, &said].concat());
            }
            Err(error) if error.reason == "Conflict" && !versioned && attempt < ATTEMPTS => {}
            Err(error) => return Err(error),
        }
    }
    unreachable!("the last attempt returns")
}

/// Whether it is the scale of this object, and one that can be.
fn check(context: &Context, scale: &mut Value) -> Result<(), ApiError> {
    let target = &context.target;
    let name = object::name(scale);
    if name != target.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            target.name
        )));
    }
    if let Some(paths) = context.kind.custom.as_ref().and_then(Custom::scale)
        && scale["spec"]["replicas"].is_null()
    {
        return Err(ApiError::bad_request(format!(
            "the spec replicas field {:?} cannot be empty",
            paths.spec_replicas_path
        )));
    }
    prepare(&context.server, &SCALE, scale, None).map(drop)
}

/// An object of a custom kind may not say how many there should be.
fn check_has_replicas(context: &Context, object: &Value) -> Result<(), ApiError> {
    match context.kind.custom.as_ref().and_then(Custom::scale) {
        Some(paths) if paths.wanted(object).is_none() => Err(ApiError::internal(format!(
            "the spec replicas field {:?} does not exist",
            paths.spec_replicas_path
        ))),
        _ => Ok(()),
    }
}

fn current(context: &Context) -> Result<Arc<Entry>, ApiError> {
    let (kind, target) = (&*context.kind, &context.target);
    let found = context
        .server
        .store
        .get(&kind.key(&target.namespace, &target.name));
    found.ok_or_else(|| ApiError::not_found(kind, &target.name))
}

fn answer(
    context: &Context,
    object: &Value,
    warnings: &[String],
) -> Result<Response<Body>, ApiError> {
    let shaped = answer::shape(&SCALE, context.accept, scale_of(&context.kind, object));
    let response = answer::value(StatusCode::OK, context.accept, &shaped);
    Ok(answer::warn(response, warnings))
}

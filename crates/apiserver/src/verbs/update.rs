//! Update: the whole object, its status alone, or a namespace's finalizers.

use http::{Response, StatusCode};
use sealane_store::Entry;
use serde_json::{Value, json};

use super::{
    decode::{self, Incoming, cannot, decode, judge},
    delete::remove,
    finish::{Outcome, commit, settle},
};
use crate::{
    admission,
    answer::Body,
    check::Findings,
    kinds::{Deletion, Generation, Kind},
    object,
    owners::{Writing, put_entries, take_entries},
    request::{Payload, WriteOptions},
    server::{Context, Server},
    status::ApiError,
    webhooks,
};

/// How often a write without a resource version is tried again after somebody was faster.
pub const ATTEMPTS: usize = 16;

/// Which part of an object a write is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All but the status.
    Main,
    /// The status, and labels and annotations.
    Status,
    /// The finalizers in the spec of a namespace.
    Finalizers,
}

impl Part {
    /// The part that a path names.
    pub fn of(context: &Context) -> Self {
        match context.target.subresource.as_str() {
            "status" => Self::Status,
            "finalize" => Self::Finalizers,
            _ => Self::Main,
        }
    }
}

/// Replaces the object by that in the body.
///
/// # Errors
///
/// As Kubernetes: 400, 404, 409, 415, 422.
pub async fn update(context: &Context, payload: Payload) -> Result<Response<Body>, ApiError> {
    let (kind, target) = (&*context.kind, &context.target);
    let options = WriteOptions::parse(&context.query, "UpdateOptions")?;
    let Incoming {
        mut object,
        problems,
    } = decode(kind, decode::read(kind, &payload)?, |why| cannot(kind, why))?;
    let warnings = judge(problems, options.field_validation, |why| cannot(kind, &why))?;
    let name = object::name(&object);
    if name != target.name {
        let message = match name {
            "" => "name must be provided".to_owned(),
            name => format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                target.name
            ),
        };
        return Err(ApiError::bad_request(message));
    }
    locate(kind, &target.namespace, &mut object)?;
    check_names_version(kind, &object)?;
    let part = Part::of(context);
    let writing = Writing::of(context, &payload, &options);
    let key = kind.key(&target.namespace, &target.name);
    for attempt in 1.. {
        let Some(current) = context.server.store.get(&key) else {
            if !kind.create_on_update || part != Part::Main {
                return Err(ApiError::not_found(kind, &target.name));
            }
            object::metadata_mut(&mut object).remove("resourceVersion");
            admission::check_create(context)?;
            admission::check(context, Some(&object), None)?;
            let (made, said) = webhooks::create(context, object, &writing).await?;
            let warnings = [warnings, said].concat();
            return Ok(made.answer(context, StatusCode::CREATED, &warnings));
        };
        if admission::is_needed(context) {
            let old = kind.read(&current).map_err(ApiError::internal)?;
            admission::check(context, Some(&object), Some(&old))?;
        }
        let written = webhooks::replace(context, part, object.clone(), &current, &writing).await;
        match written {
            Ok((outcome, said)) => {
                let warnings = [warnings, said].concat();
                return Ok(outcome.answer(context, StatusCode::OK, &warnings));
            }
            Err(error) if may_retry(&error, &object) && attempt < ATTEMPTS => {}
            Err(error) => return Err(error),
        }
    }
    unreachable!("the last attempt returns")
}

/// Whether a write that came too late may be tried on the newer state: it named none.
pub fn may_retry(error: &ApiError, object: &Value) -> bool {
    error.reason == "Conflict" && object::resource_version(object).is_empty()
}

fn check_names_version(kind: &Kind, object: &Value) -> Result<(), ApiError> {
    if !kind.names_version || !object::resource_version(object).is_empty() {
        return Ok(());
    }
    let mut findings = Findings::default();
    let why = "must be specified for an update";
    findings.invalid("metadata.resourceVersion", &0.into(), why);
    let name = object::name(object);
    Err(ApiError::invalid(kind.kind, kind.group, name, &findings))
}

fn locate(kind: &Kind, namespace: &str, object: &mut Value) -> Result<(), ApiError> {
    let said = object::namespace(object);
    if !kind.namespaced {
        object::metadata_mut(object).remove("namespace");
    } else if said.is_empty() {
        object::metadata_mut(object).insert("namespace".into(), namespace.into());
    } else if said != namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// Writes `new` over `current`, as far as `part` goes.
pub async fn replace(
    server: &Server,
    kind: &Kind,
    part: Part,
    mut new: Value,
    current: &Entry,
    writing: &Writing,
) -> Result<Outcome, ApiError> {
    let mut old = kind.read(current).map_err(ApiError::internal)?;
    check_version(kind, &new, &old)?;
    let (stored, given) = (take_entries(&mut old), take_entries(&mut new));
    keep_ours(kind, part, &mut new, &old);
    kind.storage().fill_in(&mut new);
    new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
    // What the server adds from here on, nobody owns.
    let owners = writing.owners(kind, (&old, &stored), (&new, &given));
    let reservation = settle(server, kind.storage(), &mut new, Some(&old))?;
    if part == Part::Main && is_new_generation(kind, &new, &old) {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        new["metadata"]["generation"] = generation.into();
    }
    let changes_nothing = new == old && owners == stored;
    put_entries(&mut new, owners);
    if writing.dry_run {
        return Ok(Outcome::Tried(new));
    }
    if is_finished(kind, &new) {
        return Ok(Outcome::Written(remove(server, kind, &new, current).await?));
    }
    if changes_nothing {
        let key = current.key.clone();
        let entry = server
            .store
            .get(&key)
            .filter(|entry| entry.revision == current.revision);
        return entry
            .map(Outcome::Written)
            .ok_or_else(|| ApiError::stale(kind, key.name()));
    }
    Ok(Outcome::Written(
        commit(server, kind, &new, Some(current), reservation).await?,
    ))
}

fn is_new_generation(kind: &Kind, new: &Value, old: &Value) -> bool {
    let annotations = |object: &Value| object["metadata"]["annotations"].clone();
    match kind.generation {
        Generation::None => false,
        Generation::Spec => new["spec"] != old["spec"],
        Generation::SpecAndAnnotations => {
            new["spec"] != old["spec"] || annotations(new) != annotations(old)
        }
        Generation::AllButMetadata => {
            let counted = |object: &Value| {
                let mut object = object.clone();
                for part in ["apiVersion", "metadata"] {
                    object[part].take();
                }
                if kind.status {
                    object["status"].take();
                }
                object
            };
            counted(new) != counted(old)
        }
    }
}

fn check_version(kind: &Kind, new: &Value, old: &Value) -> Result<(), ApiError> {
    let (uid, was) = (object::meta(new, "uid"), object::meta(old, "uid"));
    let name = object::name(old);
    if !uid.is_empty() && uid != was {
        let why =
            format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {was}");
        return Err(ApiError::conflict(kind, name, &why));
    }
    let version = object::resource_version(new);
    if !version.is_empty() && version != "0" && version != object::resource_version(old) {
        return Err(ApiError::stale(kind, name));
    }
    Ok(())
}

/// Takes from `old` what the write is not about and what only the server decides.
fn keep_ours(kind: &Kind, part: Part, new: &mut Value, old: &Value) {
    match part {
        Part::Main => {
            if kind.status {
                object::copy_part(new, old, "status");
            }
            if kind.deletion == Deletion::Contents {
                object::copy_part(new, old, "spec");
            }
        }
        Part::Status => {
            let status = new["status"].take();
            let metadata = new["metadata"].take();
            *new = old.clone();
            new["status"] = status;
            // The status of a custom kind comes alone.
            for field in ["labels", "annotations"] {
                if kind.custom.is_none() && !metadata[field].is_null() {
                    new["metadata"][field] = metadata[field].clone();
                }
            }
        }
        Part::Finalizers => {
            let finalizers = new["spec"]["finalizers"].take();
            *new = old.clone();
            new["spec"]["finalizers"] = if finalizers.is_null() {
                json!([])
            } else {
                finalizers
            };
        }
    }
    let metadata = object::metadata_mut(new);
    for ours in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
    ] {
        match &old["metadata"][ours] {
            Value::Null => metadata.remove(ours),
            value => metadata.insert(ours.into(), value.clone()),
        };
    }
    metadata.remove("selfLink");
}

/// Whether nothing holds back the deletion of an object any longer.
pub fn is_finished(kind: &Kind, object: &Value) -> bool {
    let waits = match kind.deletion {
        Deletion::AtOnce | Deletion::Instances => false,
        Deletion::Graceful => object["metadata"]["deletionGracePeriodSeconds"] != json!(0),
        Deletion::Contents => object["spec"]["finalizers"]
            .as_array()
            .is_some_and(|list| !list.is_empty()),
    };
    object::is_deleting(object) && !object::has_finalizers(object) && !waits
}

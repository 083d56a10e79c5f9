//! Create.

use http::{Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    decode::{self, Incoming, cannot, decode, judge},
    finish::{Outcome, commit, prepare},
};
use crate::{
    admission,
    answer::Body,
    kinds::{self, Admission, Deletion, Generation, Kind},
    object,
    owners::{Writing, put_entries},
    priority, quota,
    request::{Payload, WriteOptions},
    server::{Context, Server},
    service_account,
    status::ApiError,
    webhooks,
};

/// Names that are tried when a generated one is taken.
const NAMES_TRIED: usize = 8;
/// Length of the generated end of a name, and its letters: no vowels, so no words.
const SUFFIX: usize = 5;
const SUFFIX_LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// The longest stem of a generated name.
const STEM_MAX: usize = 63 - SUFFIX;

/// Creates the object in the body.
///
/// # Errors
///
/// As Kubernetes: 400, 404 (namespace), 409, 415, 422.
pub async fn create(context: &Context, payload: Payload) -> Result<Response<Body>, ApiError> {
    let kind = &*context.kind;
    let options = WriteOptions::parse(&context.query, "CreateOptions")?;
    let Incoming { object, problems } =
        decode(kind, decode::read(kind, &payload)?, |why| cannot(kind, why))?;
    let warnings = judge(problems, options.field_validation, |why| cannot(kind, &why))?;
    admission::check(context, Some(&object), None)?;
    let writing = Writing::of(context, &payload, &options);
    let (outcome, said) = webhooks::create(context, object, &writing).await?;
    let warnings = [warnings, said].concat();
    Ok(outcome.answer(context, StatusCode::CREATED, &warnings))
}

/// Creates `object` in `namespace`.
pub async fn create_object(
    server: &Server,
    kind: &Kind,
    namespace: &str,
    mut object: Value,
    writing: &Writing,
) -> Result<Outcome, ApiError> {
    if !object::resource_version(&object).is_empty() {
        let why = "resourceVersion should not be set on objects to be created";
        return Err(ApiError::bad_request(why));
    }
    place(kind, namespace, &mut object)?;
    begin(kind, &mut object);
    if kind.admission == Admission::Pod {
        quota::fill(server, namespace, &mut object);
    }
    // What the server adds from here on, nobody owns.
    kind.storage().fill_in(&mut object);
    let owners = writing.first_owners(kind, &object);
    put_entries(&mut object, owners);
    if kind.admission == Admission::Pod {
        check_namespace(server, kind, namespace, object::name(&object))?;
        service_account::admit(server, namespace, &mut object).await?;
        priority::admit(server, &mut object)?;
    }
    let generated = object::name(&object).is_empty();
    let stem: String = object::meta(&object, "generateName")
        .chars()
        .take(STEM_MAX)
        .collect();
    for attempt in 1.. {
        if generated && !stem.is_empty() {
            object["metadata"]["name"] = format!("{stem}{}", suffix()).into();
        }
        let reservation = prepare(server, kind.storage(), &mut object, None)?;
        if kind.namespaced {
            check_namespace(server, kind, namespace, object::name(&object))?;
        }
        if kind.admission == Admission::Pod {
            quota::check(server, namespace, &object)?;
        }
        if writing.dry_run {
            let taken = kind.key(namespace, object::name(&object));
            if server.store.get(&taken).is_some() {
                return Err(ApiError::already_exists(kind, object::name(&object)));
            }
            quota::charge(server, kind, &object, None).await?;
            return Ok(Outcome::Tried(object));
        }
        match commit(server, kind, &object, None, reservation).await {
            Ok(entry) => return Ok(Outcome::Written(entry)),
            Err(taken) if generated && taken.reason == "AlreadyExists" && attempt < NAMES_TRIED => {
            }
            Err(error) => return Err(error),
        }
    }
    unreachable!("the last attempt returns")
}

/// Puts the object where the path says; its own word must not differ.
fn place(kind: &Kind, namespace: &str, object: &mut Value) -> Result<(), ApiError> {
    let said = object::namespace(object);
    if !kind.namespaced {
        object::metadata_mut(object).remove("namespace");
        return Ok(());
    }
    if !said.is_empty() && said != namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    object::metadata_mut(object).insert("namespace".into(), namespace.into());
    Ok(())
}

/// Gives a new object what only the server decides.
fn begin(kind: &Kind, object: &mut Value) {
    if kind.status
        && !kind.status_on_create
        && let Some(map) = object.as_object_mut()
    {
        map.remove("status");
    }
    let metadata = object::metadata_mut(object);
    for ours in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "managedFields",
        "resourceVersion",
        "selfLink",
    ] {
        metadata.remove(ours);
    }
    metadata.insert("uid".into(), Uuid::new_v4().to_string().into());
    metadata.insert(
        "creationTimestamp".into(),
        object::time(Timestamp::now()).into(),
    );
    if kind.generation != Generation::None {
        metadata.insert("generation".into(), 1.into());
    }
}

/// The random end of a generated name.
pub fn suffix() -> String {
    let random = Uuid::new_v4();
    let letter = |byte: &u8| char::from(SUFFIX_LETTERS[usize::from(*byte) % SUFFIX_LETTERS.len()]);
    // The last bytes of a version 4 UUID are all random.
    random.as_bytes()[10..10 + SUFFIX]
        .iter()
        .map(letter)
        .collect()
}

/// Nothing is made in a namespace that is not there or is going.
fn check_namespace(
    server: &Server,
    kind: &Kind,
    namespace: &str,
    name: &str,
) -> Result<(), ApiError> {
    let Some(found) = server.store.get(&kinds::NAMESPACE.key("", namespace)) else {
        return Err(ApiError::not_found(&kinds::NAMESPACE, namespace));
    };
    debug_assert_eq!(kinds::NAMESPACE.deletion, Deletion::Contents);
    if found.attributes.field("status.phase") != Some("Terminating") {
        return Ok(());
    }
    let why = format!(
        "unable to create new content in namespace {namespace} because it is being terminated"
    );
    let mut error = ApiError::forbidden(kind, name, why);
    error.details["causes"] = json!([{
        "reason": "NamespaceTerminating",
        "message": format!("namespace {namespace} is being terminated"),
        "field": "metadata.namespace",
    }]);
    Err(error)
}

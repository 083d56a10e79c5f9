//! From a body to an object whose types are right.

use serde_json::Value;

use crate::{
    kinds::Kind,
    object::{self, Input},
    request::{FieldValidation, PROTOBUF, Payload, read_value},
    status::ApiError,
};

/// An object out of a body.
pub struct Incoming {
    /// The object, as it is stored.
    pub object: Value,
    /// Unknown and doubled fields, in the API's words.
    pub problems: Vec<String>,
}

/// Reads an object of this kind out of a body.
///
/// # Errors
///
/// 415 for a type that we do not read: protobuf, of a kind that has no such form. 400 for a body
/// that is not what its type says.
pub fn read(kind: &Kind, payload: &Payload) -> Result<Input, ApiError> {
    if kind.custom.is_some() && payload.media == PROTOBUF {
        return Err(ApiError::unsupported_media_type(&[
            "application/json",
            "application/yaml",
        ]));
    }
    read_value(payload)
}

/// Checks kind and types of an object.
///
/// # Errors
///
/// 400 for another kind's, and what `refuse` makes of a wrong type.
pub fn decode(
    kind: &Kind,
    input: Input,
    refuse: impl FnOnce(&str) -> ApiError,
) -> Result<Incoming, ApiError> {
    let Input {
        mut value,
        duplicates,
    } = input;
    if !value.is_object() {
        return Err(ApiError::bad_request(
            "the object provided is unrecognized (must be of type Object)",
        ));
    }
    check_kind(kind, &value)?;
    value["apiVersion"] = kind.api_version().into();
    value["kind"] = kind.kind.into();
    let decoded = kind
        .take(&value)
        .map_err(|cause| refuse(&cause.to_string()))?;
    let unknown = decoded
        .unknown
        .iter()
        .map(|path| format!("unknown field {path:?}"));
    let doubled = duplicates
        .iter()
        .map(|path| format!("duplicate field {path:?}"));
    let problems = doubled.chain(unknown).collect();
    let mut object = decoded.value;
    drop_empty(&mut object);
    Ok(Incoming {
        object: kind.to_stored(object),
        problems,
    })
}

/// Leaves out metadata that says nothing, as Kubernetes does: kubectl compares what it sent with
/// what it gets.
fn drop_empty(object: &mut Value) {
    let metadata = object::metadata_mut(object);
    for field in ["annotations", "finalizers", "labels", "ownerReferences"] {
        let empty = match &metadata.get(field) {
            Some(Value::Array(items)) => items.is_empty(),
            Some(Value::Object(fields)) => fields.is_empty(),
            _ => false,
        };
        if empty {
            metadata.remove(field);
        }
    }
}

fn check_kind(kind: &Kind, value: &Value) -> Result<(), ApiError> {
    let said = |part: &str| value[part].as_str().unwrap_or("").to_owned();
    let (version, name) = (said("apiVersion"), said("kind"));
    let expected = kind.api_version();
    if !version.is_empty() && version != expected {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version \
             ({expected})"
        )));
    }
    if !name.is_empty() && name != kind.kind {
        return Err(ApiError::bad_request(format!(
            "the kind in the data ({name}) does not match the expected kind ({})",
            kind.kind
        )));
    }
    Ok(())
}

/// The error for an object that cannot be one of its kind.
pub fn cannot(kind: &Kind, cause: &str) -> ApiError {
    let (name, version) = (kind.kind, kind.version);
    ApiError::bad_request(format!(
        "{name} in version {version:?} cannot be handled as a {name}: {cause}"
    ))
}

/// Unknown and doubled fields: an error if the client is strict, else warnings.
///
/// # Errors
///
/// What `refuse` makes of the API's words.
pub fn judge(
    problems: Vec<String>,
    validation: FieldValidation,
    refuse: impl FnOnce(String) -> ApiError,
) -> Result<Vec<String>, ApiError> {
    match validation {
        _ if problems.is_empty() => Ok(Vec::new()),
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Warn => Ok(problems),
        FieldValidation::Strict => Err(refuse(format!(
            "strict decoding error: {}",
            problems.join(", ")
        ))),
    }
}

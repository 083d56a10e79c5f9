//! Patches: JSON patch (RFC 6902), merge patch (RFC 7386), strategic merge patch.

mod json_patch;
mod merge;
mod strategic;

use serde_json::Value;

use crate::{object::parse_json, schema::Type};

/// A patch.
#[derive(Debug)]
pub struct Patch {
    form: Form,
    duplicates: Vec<String>,
}

#[derive(Debug)]
enum Form {
    Json(Vec<json_patch::Operation>),
    Merge(Value),
    Strategic(Value),
}

/// A patch that cannot be read or applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// Its media type is none of ours.
    #[error("unknown media type")]
    Media,
    /// It cannot be read.
    #[error("{0}")]
    Malformed(String),
    /// It does not fit the object.
    #[error("{0}")]
    Unfit(String),
}

impl Patch {
    /// The media types that are understood.
    pub const MEDIA: &[&str] = &[
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
    ];

    /// Those of them that do for objects of custom kinds.
    pub const CUSTOM_MEDIA: &[&str] = &[
        "application/json-patch+json",
        "application/merge-patch+json",
    ];

    /// Reads a patch.
    ///
    /// # Errors
    ///
    /// [`PatchError::Media`] or [`PatchError::Malformed`].
    pub fn parse(media: &str, body: &[u8]) -> Result<Self, PatchError> {
        if !Self::MEDIA.contains(&media) {
            return Err(PatchError::Media);
        }
        let input = parse_json(body).map_err(|cause| PatchError::Malformed(cause.to_string()))?;
        let (value, duplicates) = (input.value, input.duplicates);
        let form = match media {
            "application/json-patch+json" => Form::Json(json_patch::parse(value)?),
            _ if !value.is_object() => {
                let why = format!(
                    "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
                    go_name(&value)
                );
                return Err(PatchError::Malformed(why));
            }
            "application/merge-patch+json" => Form::Merge(value),
            _ => Form::Strategic(value),
        };
        Ok(Self { form, duplicates })
    }

    /// Fields that are there twice in the patch.
    pub fn duplicates(&self) -> &[String] {
        &self.duplicates
    }

    /// The object, of type `of`, with this change.
    ///
    /// # Errors
    ///
    /// [`PatchError::Unfit`].
    pub fn apply(&self, object: Value, of: Option<&Type>) -> Result<Value, PatchError> {
        match &self.form {
            Form::Json(operations) => json_patch::apply(operations, object),
            Form::Merge(patch) => Ok(merge::apply(object, patch)),
            Form::Strategic(patch) => strategic::apply(object, patch, of),
        }
    }
}

/// What clients of Kubernetes are told that a JSON value is.
fn go_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_patch_is_read_by_its_media_type() {
        let apply = |media: &str, patch: Value| {
            let patch = Patch::parse(media, patch.to_string().as_bytes())?;
            patch.apply(json!({"a": [1], "b": 2}), None)
        };
        assert_eq!(
            apply("application/merge-patch+json", json!({"a": [2], "b": null})).unwrap(),
            json!({"a": [2]})
        );
        assert_eq!(
            apply(
                "application/json-patch+json",
                json!([{"op": "remove", "path": "/b"}])
            )
            .unwrap(),
            json!({"a": [1]})
        );
        assert_eq!(
            apply("application/apply-patch+yaml", json!({})),
            Err(PatchError::Media)
        );
        for bad in [json!([]), json!(1)] {
            let refused = apply("application/strategic-merge-patch+json", bad);
            assert!(matches!(refused, Err(PatchError::Malformed(_))));
        }
    }
}

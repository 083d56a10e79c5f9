//! Sets of paths as JSON: `fieldsV1`.
//!
//! ```text
//! {"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:image": {}}}}}
//! ```
//!
//! `.` says that the path up to here is in the set too; a path with nothing below is.

use serde_json::{Map, Value};

use crate::{
    FieldSet,
    element::{Element, ElementError},
};

/// Steps within each other; objects are far flatter.
const DEPTH_MAX: usize = 100;

/// JSON that is no set of paths.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FieldsError(String);

impl FieldSet {
    /// Reads `fieldsV1`.
    ///
    /// # Errors
    ///
    /// When a key is no step of a path, or a value no object.
    pub fn parse(fields: &Value) -> Result<Self, FieldsError> {
        match fields {
            Value::Null => Ok(Self::default()),
            fields => parse(fields, 0).map(|(set, _)| set),
        }
    }

    /// As `fieldsV1`.
    pub fn to_fields_v1(&self) -> Value {
        Value::Object(self.to_map(false))
    }

    fn to_map(&self, member: bool) -> Map<String, Value> {
        let mut map = Map::new();
        if member && !self.is_empty() {
            map.insert(".".into(), Map::new().into());
        }
        for node in &self.nodes {
            let below = node.below.to_map(node.member);
            map.insert(node.element.to_key(), below.into());
        }
        map
    }
}

/// The set below a step, and whether the step itself ends a path.
fn parse(fields: &Value, depth: usize) -> Result<(FieldSet, bool), FieldsError> {
    let Value::Object(fields) = fields else {
        return Err(FieldsError(format!("not an object: {fields}")));
    };
    if depth > DEPTH_MAX {
        return Err(FieldsError("too many steps within each other".into()));
    }
    let (mut set, mut member) = (FieldSet::default(), fields.is_empty());
    for (key, below) in fields {
        if key == "." {
            member = true;
            continue;
        }
        let element = match Element::parse(key) {
            Ok(element) => element,
            // A later version may know it.
            Err(ElementError::Unknown) => continue,
            Err(cause) => return Err(FieldsError(cause.to_string())),
        };
        let (below, ends) = parse(below, depth + 1)?;
        set.push(element, ends, below);
    }
    member |= set.is_empty();
    Ok((set, member))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::testing::{any_set, set};

    #[test]
    fn fields_are_read_and_written_as_kubernetes_does() {
        for (fields, paths) in [
            (json!({}), &[][..]),
            (json!({"f:a": {}}), &["a"]),
            (json!({"f:a": {".": {}, "f:b": {}}}), &["a", "a.b"]),
            (json!({"f:a": {"f:b": {"f:c": {}}}}), &["a.b.c"]),
        ] {
            assert_eq!(FieldSet::parse(&fields).unwrap(), set(paths));
            assert_eq!(set(paths).to_fields_v1(), fields);
        }
        // Another order or form of a key is the same key.
        let odd = json!({"f:a": {"k:{\"y\":1, \"x\":\"\\u003c\"}": {}, "f:b": {"x:later": {}}}});
        assert_eq!(
            FieldSet::parse(&odd).unwrap().to_fields_v1(),
            json!({"f:a": {"k:{\"x\":\"<\",\"y\":1}": {}, "f:b": {}}})
        );
        assert_eq!(FieldSet::parse(&Value::Null).unwrap(), FieldSet::default());
    }

    #[test]
    fn what_is_no_set_is_refused() {
        let deep = (0..200).fold(json!({}), |below, _| json!({"f:a": below}));
        for bad in [
            json!([]),
            json!({"a": {}}),
            json!({"f:a": 1}),
            json!({"k:1": {}}),
            deep,
        ] {
            assert!(FieldSet::parse(&bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(set in any_set()) {
            let fields = set.to_fields_v1();
            prop_assert_eq!(FieldSet::parse(&fields).unwrap(), set);
        }
    }
}

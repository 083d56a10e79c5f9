//! Which fields a configuration speaks of.

use serde_json::Value;

use crate::{FieldSet, Form, Listing, Of, Shape, list::grouped};

/// The paths of all leaves of a value, and of the elements of lists and the entries of maps.
pub fn fields<'a, S: Shape<'a>>(of: Of<S>, value: &Value) -> FieldSet {
    walk(of, value).1
}

/// Whether the value itself is a leaf, and the paths below it.
fn walk<'a, S: Shape<'a>>(of: Of<S>, value: &Value) -> (bool, FieldSet) {
    let mut below = FieldSet::default();
    match (of.form(value), value) {
        (Form::Map { whole: false }, Value::Object(members)) => {
            for (name, value) in members {
                let member = of.member(name);
                let (leaf, inner) = walk(member.of, value);
                let bare = value.is_null() || value.as_object().is_some_and(|map| map.is_empty());
                let owned = leaf || bare || !member.declared;
                below.push(crate::Element::field(name), owned, inner);
            }
            (false, below)
        }
        (Form::List(listing @ (Listing::Keys | Listing::Values)), Value::Array(items)) => {
            for (element, same) in grouped(of, listing, items) {
                // What is there twice is owned as one.
                let inner = match same.as_slice() {
                    [one] => walk(of.element(), one).1,
                    _ => FieldSet::default(),
                };
                below.push(element, true, inner);
            }
            (false, below)
        }
        (Form::Map { whole: false } | Form::List(Listing::Keys | Listing::Values), Value::Null) => {
            (false, below)
        }
        _ => (true, below),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::THING;

    #[test]
    fn leaves_elements_and_entries_are_owned() {
        for (value, expected) in [
            (json!({"text": "a"}), json!({"f:text": {}})),
            (
                json!({"labels": {"a": "b"}}),
                json!({"f:labels": {"f:a": {}}}),
            ),
            (json!({"labels": {}}), json!({"f:labels": {}})),
            (json!({"items": []}), json!({})),
            (json!({"items": null}), json!({"f:items": {}})),
            (json!({"whole": {"x": 1}}), json!({"f:whole": {}})),
            (json!({"list": [1, 2]}), json!({"f:list": {}})),
            (
                json!({"tags": ["b", "a"]}),
                json!({"f:tags": {"v:\"a\"": {}, "v:\"b\"": {}}}),
            ),
            (
                json!({"items": [{"name": "a", "value": 1}]}),
                json!({"f:items": {"k:{\"name\":\"a\"}": {".": {}, "f:name": {}, "f:value": {}}}}),
            ),
            (
                json!({"ports": [{"port": 1}]}),
                json!({"f:ports": {"k:{\"port\":1,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}}}),
            ),
            (
                json!({"anything": {"a": {"b": [1]}}}),
                json!({"f:anything": {"f:a": {".": {}, "f:b": {}}}}),
            ),
            (
                json!({"inner": {"text": "x", "inner": {"text": "y"}}}),
                json!({"f:inner": {"f:inner": {"f:text": {}}, "f:text": {}}}),
            ),
        ] {
            assert_eq!(fields(THING, &value).to_fields_v1(), expected, "{value}");
        }
    }
}

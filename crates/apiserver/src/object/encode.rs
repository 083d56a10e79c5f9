//! How objects are stored: the JSON that clients get, with a gap for the resource version, and
//! beside it what selectors ask for.

use sealane_store::{Attributes, Template};
use serde_json::Value;

use crate::check::FieldPath;

const GAP: &str = "\"metadata\":{\"resourceVersion\":\"";

/// Encodes an object; the store fills in the resource version when it is known.
pub fn template(object: &Value) -> Template {
    let mut head = b"{".to_vec();
    for part in ["apiVersion", "kind"] {
        head.extend(format!("\"{part}\":{},", object[part]).bytes());
    }
    head.extend_from_slice(GAP.as_bytes());
    let mut tail = b"\"".to_vec();
    put_members(&mut tail, &object["metadata"], &["resourceVersion"]);
    tail.push(b'}');
    put_members(&mut tail, object, &["apiVersion", "kind", "metadata"]);
    tail.push(b'}');
    Template { head, tail }
}

/// Writes `,"name":value` for each member of `object` but those in `without`.
fn put_members(to: &mut Vec<u8>, object: &Value, without: &[&str]) {
    for (name, value) in object.as_object().into_iter().flatten() {
        if !without.contains(&name.as_str()) {
            to.extend(format!(",{}:{value}", Value::from(name.as_str())).bytes());
        }
    }
}

/// What selectors see of an object: its labels and these fields, by name and path.
pub fn describe(fields: &[(&'static str, &'static str)], object: &Value) -> Attributes {
    let labels = object["metadata"]["labels"]
        .as_object()
        .into_iter()
        .flatten();
    let labels = labels.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    let fields: Vec<(&str, String)> = fields
        .iter()
        .map(|(name, path)| {
            let value = FieldPath::of(path)
                .get(object)
                .map(text)
                .unwrap_or_default();
            (*name, value)
        })
        .collect();
    Attributes::new(
        labels,
        fields.iter().map(|(name, value)| (*name, value.as_str())),
    )
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_revision_goes_into_the_metadata() {
        let object = json!({
            "kind": "ConfigMap", "apiVersion": "v1", "data": {"a\"b": "ü\n"},
            "metadata": {"name": "x", "resourceVersion": "3"},
        });
        let encoded = template(&object).fill(42);
        let mut expected = object;
        expected["metadata"]["resourceVersion"] = "42".into();
        assert_eq!(serde_json::from_slice::<Value>(&encoded).unwrap(), expected);
    }
}

//! Reading of an object only what selectors ask for, which is many times as fast as all of it: a
//! server with ten thousand objects starts by describing each.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The labels, and the fields at `paths` (names with dots between them), in their places; other
/// members are left out.
///
/// # Errors
///
/// When it is not JSON.
pub fn outline(object: &[u8], paths: &[(&str, &str)]) -> serde_json::Result<Value> {
    let labels = vec!["metadata", "labels"];
    let fields = paths.iter().map(|(_, path)| path.split('.').collect());
    let wanted: Vec<Vec<&str>> = fields.chain([labels]).collect();
    let mut from = serde_json::Deserializer::from_slice(object);
    let part = Part(wanted.iter().map(Vec::as_slice).collect()).deserialize(&mut from)?;
    from.end()?;
    Ok(part)
}

/// What is wanted of one value: the rests of the paths that lead into it.
struct Part<'a>(Vec<&'a [&'a str]>);

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        if self.0.iter().any(|path| path.is_empty()) {
            return serde::Deserialize::deserialize(from);
        }
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut kept = Map::new();
        while let Some(name) = members.next_key::<std::borrow::Cow<'de, str>>()? {
            let inner = self.0.iter().filter_map(|path| match path.split_first() {
                Some((first, rest)) if *first == name => Some(rest),
                _ => None,
            });
            let inner: Vec<_> = inner.collect();
            if inner.is_empty() {
                members.next_value::<IgnoredAny>()?;
            } else {
                let value = members.next_value_seed(Part(inner))?;
                kept.insert(name.into_owned(), value);
            }
        }
        Ok(Value::Object(kept))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_str<E>(self, _: &str) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{kinds::KINDS, object::describe};

    #[test]
    fn an_outline_has_what_is_wanted_and_nothing_else() {
        let object = json!({
            "kind": "Pod", "metadata": {"name": "a", "labels": {"a\u{fc}": "b"}, "uid": "u"},
            "spec": {"nodeName": "n", "hostNetwork": true, "containers": [{"name": "c"}], "x": 1},
            "status": "odd", "reason": {"whole": [1, 2]},
        });
        let paths = [
            "spec.nodeName",
            "spec.hostNetwork",
            "status.phase",
            "reason",
        ];
        let found = outline(
            object.to_string().as_bytes(),
            &paths.map(|path| (path, path)),
        );
        let expected = json!({
            "metadata": {"labels": {"a\u{fc}": "b"}},
            "spec": {"nodeName": "n", "hostNetwork": true},
            "status": null, "reason": {"whole": [1, 2]},
        });
        assert_eq!(found.unwrap(), expected);
        assert!(outline(b"{\"a\":", &[]).is_err());
        assert!(outline(b"{} {}", &[]).is_err());
    }

    #[test]
    fn an_outline_is_described_as_the_whole_for_every_kind() {
        let leaf = json!("x");
        for kind in KINDS {
            let mut object = json!({"metadata": {"labels": {"l": "v"}, "name": "n"}});
            for (_, path) in kind.fields {
                let pointer = path.split('.').fold(&mut object, |at, name| &mut at[name]);
                *pointer = leaf.clone();
            }
            let outlined = outline(object.to_string().as_bytes(), kind.fields).unwrap();
            assert_eq!(
                describe(kind.fields, &outlined),
                describe(kind.fields, &object),
                "{}",
                kind.kind
            );
        }
    }
}

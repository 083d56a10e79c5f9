//! Request bodies: JSON or YAML to a value, noticing fields that are there twice.

use std::{cell::RefCell, fmt};

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Brackets that may be open at once in a YAML body.
const OPEN_MAX: usize = 1000;

/// A body that was read.
#[derive(Debug, Default, PartialEq)]
pub struct Input {
    /// What it says; of a field that is there twice, the last.
    pub value: Value,
    /// The paths of fields that are there twice.
    pub duplicates: Vec<String>,
}

/// A body that is not what its content type says.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InputError(pub(super) String);

impl InputError {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// Reads JSON.
///
/// # Errors
///
/// What is wrong and where.
pub fn parse_json(body: &[u8]) -> Result<Input, InputError> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let input = read(&mut deserializer)?;
    deserializer
        .end()
        .map_err(|cause| InputError(cause.to_string()))?;
    Ok(input)
}

/// Reads one YAML document.
///
/// # Errors
///
/// What is wrong and where.
pub fn parse_yaml(body: &[u8]) -> Result<Input, InputError> {
    check_depth(body)?;
    read(serde_yaml_ng::Deserializer::from_slice(body))
}

/// The parser's time grows with the square of how deep flow collections (`[[[…`) stand within
/// each other, so bodies that open far more than they close are not even tried.
fn check_depth(yaml: &[u8]) -> Result<(), InputError> {
    let mut open = 0usize;
    for byte in yaml {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        if open > OPEN_MAX {
            return Err(InputError::new(format!(
                "more than {OPEN_MAX} brackets are open"
            )));
        }
    }
    Ok(())
}

fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Input, InputError> {
    let duplicates = RefCell::default();
    let reader = Reader {
        at: At::Root,
        duplicates: &duplicates,
    };
    let value = reader
        .deserialize(deserializer)
        .map_err(|cause| InputError(cause.to_string()))?;
    Ok(Input {
        value,
        duplicates: duplicates.into_inner(),
    })
}

/// Where in the body we are.
#[derive(Clone, Copy)]
enum At<'a> {
    Root,
    Field(&'a At<'a>, &'a str),
    Item(&'a At<'a>, usize),
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Root => Ok(()),
            At::Field(At::Root, name) => f.write_str(name),
            At::Field(parent, name) => write!(f, "{parent}.{name}"),
            At::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    at: At<'a>,
    duplicates: &'a RefCell<Vec<String>>,
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).map(Value::Number);
        number.ok_or_else(|| E::custom("not a number that JSON can hold"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(Reader {
            at: At::Item(&self.at, items.len()),
            ..self
        })? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let at = At::Field(&self.at, &name);
            let value = access.next_value_seed(Reader { at, ..self })?;
            if map.contains_key(&name) {
                self.duplicates.borrow_mut().push(at.to_string());
            }
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_that_are_there_twice_are_named() {
        let body = br#"{"a": 1, "b": [{"c": 1, "c": 2}], "a": 3}"#;
        let input = parse_json(body).unwrap();
        assert_eq!(input.value, json!({"a": 3, "b": [{"c": 2}]}));
        assert_eq!(input.duplicates, ["b[0].c", "a"]);
    }

    #[test]
    fn yaml_reads_as_json_does() {
        let input = parse_yaml(b"a: 1\nb: [x, true, 1.5, null]\na: 2\n").unwrap();
        assert_eq!(input.value, json!({"a": 2, "b": ["x", true, 1.5, null]}));
        assert_eq!(input.duplicates, ["a"]);
    }

    #[test]
    fn what_is_neither_is_refused_with_its_place() {
        let error = parse_json(b"{\"a\": }").unwrap_err().to_string();
        assert!(error.contains("line 1 column 7"), "{error}");
        assert!(parse_json(b"{} x").is_err());
        assert!(parse_yaml(b"a: [").is_err());
        let deep = "[".repeat(100_000);
        assert!(parse_json(deep.as_bytes()).is_err());
        assert!(parse_yaml(deep.as_bytes()).is_err());
    }
}

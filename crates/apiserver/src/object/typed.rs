//! Types of fields: a value is decoded as the Kubernetes type of its kind and encoded again.
//!
//! What comes back has no field that the type does not know, no nulls, quantities as texts and
//! times as Kubernetes writes them. The deserializer is our own, since it is told the name and
//! the fields of each type on the way: so unknown fields are noticed, and errors read as those of
//! the Go programs that users know (`json: cannot unmarshal string into Go struct field
//! PodSpec.spec.hostNetwork of type bool`). As in Go, null stands for the empty value.

use std::{cell::RefCell, fmt};

use serde::{
    Serialize,
    de::{
        self, DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer,
        Unexpected, Visitor,
    },
    forward_to_deserialize_any,
};
use serde_json::{Map, Value};

/// A value whose types are right.
#[derive(Debug, PartialEq)]
pub struct Decoded {
    /// The value in its normal form.
    pub value: Value,
    /// The paths of fields that its type does not have, which are gone from the value.
    pub unknown: Vec<String>,
}

/// A value of the wrong type.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct TypeError(String);

impl de::Error for TypeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(in_go_words(message.to_string()))
    }
}

/// What Go says of bytes that are no base64, which is what clients know.
fn in_go_words(message: String) -> String {
    let not_base64 = [
        "Invalid symbol ",
        "Invalid last symbol ",
        "Invalid padding",
        "Invalid input length",
    ];
    if !not_base64.iter().any(|begin| message.starts_with(begin)) {
        return message;
    }
    let place = message
        .rsplit_once("offset ")
        .map_or("", |(_, place)| place);
    match place.trim_end_matches('.') {
        "" => "illegal base64 data".into(),
        place => format!("illegal base64 data at input byte {place}"),
    }
}

/// Decodes `value` as a `T`.
///
/// # Errors
///
/// The first field of a wrong type.
pub fn decode<T: DeserializeOwned + Serialize>(value: &Value) -> Result<Decoded, TypeError> {
    let unknown = RefCell::default();
    let typed = T::deserialize(Typed {
        value,
        at: &At::root(),
        unknown: &unknown,
    })?;
    let value = serde_json::to_value(typed).map_err(TypeError::custom)?;
    Ok(Decoded {
        value,
        unknown: unknown.into_inner(),
    })
}

/// Where we are: the path with its indices, and the type that holds this field.
struct At<'a> {
    parent: Option<&'a At<'a>>,
    step: Step<'a>,
    holder: &'static str,
}

enum Step<'a> {
    Root,
    Field(&'a str),
    Item(usize),
}

impl At<'_> {
    fn root() -> At<'static> {
        At {
            parent: None,
            step: Step::Root,
            holder: "",
        }
    }

    /// The path; with indices for people, without as Go's JSON errors have it.
    fn path(&self, indices: bool) -> String {
        let parent = self
            .parent
            .map(|parent| parent.path(indices))
            .unwrap_or_default();
        match self.step {
            Step::Root => parent,
            Step::Field(name) if parent.is_empty() => name.into(),
            Step::Field(name) => format!("{parent}.{name}"),
            Step::Item(index) if indices => format!("{parent}[{index}]"),
            Step::Item(_) => parent,
        }
    }
}

#[derive(Clone, Copy)]
struct Typed<'v, 'p> {
    value: &'v Value,
    at: &'p At<'p>,
    unknown: &'p RefCell<Vec<String>>,
}

impl<'v, 'p> Typed<'v, 'p> {
    /// The error that Go's decoder gives for this value where a `wanted` should be.
    fn wrong(&self, wanted: &str) -> TypeError {
        let found = match self.value {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(number) => return self.mismatch(&format!("number {number}"), wanted),
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        self.mismatch(found, wanted)
    }

    fn mismatch(&self, found: &str, wanted: &str) -> TypeError {
        let found = if wanted == "string" || wanted == "bool" {
            found.split(' ').next().unwrap_or(found)
        } else {
            found
        };
        let place = match self.at.path(false) {
            path if path.is_empty() => "Go value".into(),
            path => format!("Go struct field {}.{path}", self.at.holder),
        };
        TypeError(format!(
            "json: cannot unmarshal {found} into {place} of type {wanted}"
        ))
    }

    /// Adds the place to what a type itself said of its value.
    fn placed<T>(&self, result: Result<T, TypeError>) -> Result<T, TypeError> {
        result.map_err(|TypeError(message)| match self.at.path(true) {
            path if path.is_empty() => TypeError(message),
            path => TypeError(format!("{path}: {message}")),
        })
    }

    fn integer(&self, wanted: &str, low: i64, high: i64) -> Result<i64, TypeError> {
        match self.value {
            Value::Null => Ok(0),
            Value::Number(number) => {
                let whole = number.as_i64().filter(|whole| (low..=high).contains(whole));
                whole.ok_or_else(|| self.wrong(wanted))
            }
            _ => Err(self.wrong(wanted)),
        }
    }

    fn members<V: Visitor<'v>>(
        self,
        map: &'v Map<String, Value>,
        holder: &'static str,
        visitor: V,
    ) -> Result<V::Value, TypeError> {
        visitor.visit_map(Members {
            outer: self,
            holder,
            members: map.iter(),
            next: None,
        })
    }
}

impl<'de> Deserializer<'de> for Typed<'de, '_> {
    type Error = TypeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => self.placed(visitor.visit_bool(*value)),
            Value::Number(number) => self.placed(if let Some(whole) = number.as_i64() {
                visitor.visit_i64(whole)
            } else if let Some(whole) = number.as_u64() {
                visitor.visit_u64(whole)
            } else {
                visitor.visit_f64(number.as_f64().unwrap_or_default())
            }),
            Value::String(text) => self.placed(visitor.visit_str(text)),
            Value::Array(_) => self.deserialize_seq(visitor),
            Value::Object(map) => self.members(map, self.at.holder, visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match self.value {
            Value::Null => visitor.visit_bool(false),
            Value::Bool(value) => visitor.visit_bool(*value),
            _ => Err(self.wrong("bool")),
        }
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        let whole = self.integer("int32", i32::MIN.into(), i32::MAX.into())?;
        visitor.visit_i32(i32::try_from(whole).map_err(TypeError::custom)?)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        visitor.visit_i64(self.integer("int64", i64::MIN, i64::MAX)?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match self.value {
            Value::Null => visitor.visit_f64(0.0),
            Value::Number(number) => visitor.visit_f64(number.as_f64().unwrap_or_default()),
            _ => Err(self.wrong("float64")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match self.value {
            Value::Null => self.placed(visitor.visit_str("")),
            Value::String(text) => self.placed(visitor.visit_str(text)),
            _ => Err(self.wrong("string")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, TypeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        let items = match self.value {
            Value::Null => &[],
            Value::Array(items) => items.as_slice(),
            _ => return Err(self.wrong("[]")),
        };
        visitor.visit_seq(Items {
            outer: self,
            items: items.iter().enumerate(),
        })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match self.value {
            Value::Null => visitor.visit_map(Members::none(self)),
            Value::Object(map) => self.members(map, self.at.holder, visitor),
            _ => Err(self.wrong("map")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TypeError> {
        match self.value {
            Value::Null => visitor.visit_map(Members::none(self)),
            Value::Object(map) => {
                for key in map.keys().filter(|key| !fields.contains(&key.as_str())) {
                    let step = Step::Field(key);
                    let at = At {
                        parent: Some(self.at),
                        step,
                        holder: name,
                    };
                    self.unknown.borrow_mut().push(at.path(true));
                }
                self.members(map, name, visitor)
            }
            _ => Err(self.wrong(name)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i8 i16 i128 u8 u16 u32 u64 u128 f32 char bytes byte_buf unit unit_struct tuple
        tuple_struct enum identifier
    }
}

struct Items<'v, 'p> {
    outer: Typed<'v, 'p>,
    items: std::iter::Enumerate<std::slice::Iter<'v, Value>>,
}

impl<'v> de::SeqAccess<'v> for Items<'v, '_> {
    type Error = TypeError;

    fn next_element_seed<T: DeserializeSeed<'v>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, TypeError> {
        let Some((index, value)) = self.items.next() else {
            return Ok(None);
        };
        let Typed { at, unknown, .. } = self.outer;
        let at = At {
            parent: Some(at),
            step: Step::Item(index),
            holder: at.holder,
        };
        seed.deserialize(Typed {
            value,
            at: &at,
            unknown,
        })
        .map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Members<'v, 'p> {
    outer: Typed<'v, 'p>,
    holder: &'static str,
    members: serde_json::map::Iter<'v>,
    next: Option<(&'v str, &'v Value)>,
}

impl<'v, 'p> Members<'v, 'p> {
    fn none(outer: Typed<'v, 'p>) -> Self {
        static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
        Members {
            outer,
            holder: "",
            members: NONE.iter(),
            next: None,
        }
    }
}

impl<'v> de::MapAccess<'v> for Members<'v, '_> {
    type Error = TypeError;

    fn next_key_seed<K: DeserializeSeed<'v>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, TypeError> {
        let Some((key, value)) = self.members.next() else {
            return Ok(None);
        };
        self.next = Some((key, value));
        seed.deserialize(key.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'v>>(&mut self, seed: V) -> Result<V::Value, TypeError> {
        let Some((key, value)) = self.next.take() else {
            return Err(TypeError::invalid_type(
                Unexpected::Map,
                &"a value after each key",
            ));
        };
        let Typed { at, unknown, .. } = self.outer;
        let at = At {
            parent: Some(at),
            step: Step::Field(key),
            holder: self.holder,
        };
        seed.deserialize(Typed {
            value,
            at: &at,
            unknown,
        })
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Pod, Secret};
    use serde_json::json;

    use super::*;

    fn wrong(pod: Value) -> String {
        decode::<Pod>(&pod).unwrap_err().to_string()
    }

    #[test]
    fn unknown_fields_are_named_and_removed() {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "nme": "b"},
            "spec": {"containers": [{"name": "c", "imag": "x"}], "restartPolicy": null},
            "spek": {},
        });
        let decoded = decode::<Pod>(&pod).unwrap();
        assert_eq!(
            decoded.unknown,
            ["spek", "metadata.nme", "spec.containers[0].imag"]
        );
        let expected = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
            "spec": {"containers": [{"name": "c"}]},
        });
        assert_eq!(decoded.value, expected);
    }

    #[test]
    fn wrong_types_read_as_in_go() {
        assert_eq!(
            wrong(json!({"spec": {"hostNetwork": "yes", "containers": []}})),
            "json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool"
        );
        assert_eq!(
            wrong(json!({"spec": {"containers": [{"ports": [{"containerPort": "80"}]}]}})),
            "json: cannot unmarshal string into Go struct field \
             ContainerPort.spec.containers.ports.containerPort of type int32"
        );
        assert_eq!(
            wrong(json!({"metadata": {"name": 5}})),
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string"
        );
        assert_eq!(
            wrong(json!({"spec": {"containers": [{"ports": [{"containerPort": 8000000000i64}]}]}})),
            "json: cannot unmarshal number 8000000000 into Go struct field \
             ContainerPort.spec.containers.ports.containerPort of type int32"
        );
    }

    #[test]
    fn texts_that_are_no_values_are_refused_with_their_place() {
        let time = wrong(json!({"metadata": {"creationTimestamp": "yesterday"}}));
        assert!(time.starts_with("metadata.creationTimestamp: "), "{time}");
        let secret = json!({"data": {"a": "%%"}});
        let data = decode::<Secret>(&secret).unwrap_err().to_string();
        assert!(data.starts_with("data.a: "), "{data}");
    }

    #[test]
    fn quantities_and_times_become_normal() {
        let pod = json!({
            "metadata": {"creationTimestamp": "2026-01-02T03:04:05.678+01:00"},
            "spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": 2, "memory": "1Gi"}}}]},
        });
        let value = decode::<Pod>(&pod).unwrap().value;
        assert_eq!(
            value["metadata"]["creationTimestamp"],
            "2026-01-02T02:04:05Z"
        );
        let limits = &value["spec"]["containers"][0]["resources"]["limits"];
        assert_eq!(*limits, json!({"cpu": "2", "memory": "1Gi"}));
    }

    #[test]
    fn null_is_the_empty_value() {
        let pod = json!({"metadata": {"labels": {"a": null}}, "spec": {"containers": null}});
        let value = decode::<Pod>(&pod).unwrap().value;
        assert_eq!(value["metadata"]["labels"], json!({"a": ""}));
        assert_eq!(value["spec"], json!({"containers": []}));
    }
}

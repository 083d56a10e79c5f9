//! The shape of Kubernetes' types beyond what `k8s-openapi` tells: their fields' numbers in
//! protobuf, and how strategic merge patches merge their lists.
//!
//! Read from `schema/kubernetes.txt`, which is derived from Kubernetes' own definitions.

use std::{collections::HashMap, sync::LazyLock};

const SOURCE: &str = include_str!("../schema/kubernetes.txt");

static TYPES: LazyLock<HashMap<&'static str, Type>> = LazyLock::new(|| read(SOURCE));

/// A type with fields.
#[derive(Debug)]
pub struct Type {
    /// Its name, as `core.v1.PodSpec`.
    pub name: &'static str,
    /// Its fields.
    pub fields: Box<[Field]>,
}

/// A field of a type.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// Its number in protobuf.
    pub number: u32,
    /// Its name in JSON.
    pub name: &'static str,
    /// The type of its value, or of its elements.
    pub value: &'static str,
    /// How many values it has.
    pub many: Many,
    /// Whether an empty value differs from none (a pointer in Go).
    pub pointer: bool,
    /// Whether the fields of its value are the outer type's in JSON.
    pub inline: bool,
}

/// How many values a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Many {
    /// One.
    One,
    /// A map from texts.
    Map,
    /// A list that a strategic merge patch replaces.
    List,
    /// A list whose elements it merges by the value of this field.
    By(&'static str),
    /// A list of texts or numbers that it merges as a set.
    Set,
}

impl Type {
    /// Finds a type by its name.
    pub fn find(name: &str) -> Option<&'static Self> {
        TYPES.get(name)
    }

    /// The type of a kind.
    pub fn of_kind(group: &str, version: &str, kind: &str) -> Option<&'static Self> {
        let group = match group {
            "" => "core",
            group => group
                .trim_end_matches(".k8s.io")
                .trim_end_matches(".authorization"),
        };
        Self::find(&format!("{group}.{version}.{kind}"))
    }

    /// The field with this number.
    pub fn numbered(&self, number: u32) -> Option<&Field> {
        self.fields.iter().find(|field| field.number == number)
    }

    /// The field with this name in JSON, also of inlined types.
    pub fn named(&self, name: &str) -> Option<&Field> {
        let own = self
            .fields
            .iter()
            .find(|field| field.name == name && !field.inline);
        own.or_else(|| {
            let inlined = self.fields.iter().filter(|field| field.inline);
            inlined
                .filter_map(|field| Self::find(field.value))
                .find_map(|inner| inner.named(name))
        })
    }
}

fn read(source: &'static str) -> HashMap<&'static str, Type> {
    let mut types = HashMap::new();
    let plain = source.lines().filter(|line| !line.starts_with('#'));
    let (mut name, mut fields) = ("", Vec::new());
    for line in plain.chain([""]) {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            [] => {
                let fields = std::mem::take(&mut fields).into();
                types.insert(name, Type { name, fields });
            }
            [of] => name = of,
            [number, field, value, rest @ ..] => fields.push(Field {
                number: number.parse().unwrap_or_default(),
                name: field,
                value,
                many: many(rest),
                pointer: rest.contains(&"pointer"),
                inline: rest.contains(&"inline"),
            }),
            _ => {}
        }
    }
    types
}

fn many(words: &[&'static str]) -> Many {
    let key = words.iter().find_map(|word| word.strip_prefix("by="));
    match words.first() {
        Some(&"map") => Many::Map,
        Some(&"list") if words.contains(&"set") => Many::Set,
        Some(&"list") => key.map_or(Many::List, Many::By),
        _ => Many::One,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::KINDS;

    #[test]
    fn every_kind_has_a_type_and_every_value_too() {
        // Our own is served as custom resources are: in JSON, without strategic merge patches.
        for kind in KINDS.iter().filter(|kind| kind.group != "sealane.io") {
            assert!(
                Type::of_kind(kind.group, kind.version, kind.kind).is_some(),
                "{kind:?}"
            );
        }
        let scalars = ["text", "bytes", "bool", "int", "double"];
        for of in TYPES.values() {
            for field in &of.fields {
                assert!(field.number > 0, "{} {field:?}", of.name);
                let known = scalars.contains(&field.value)
                    || Type::find(field.value).is_some()
                    || field.value == "meta.v1.ManagedFieldsEntry";
                assert!(known, "{} {field:?}", of.name);
            }
        }
    }

    #[test]
    fn fields_are_found_through_inlined_types() {
        let volume = Type::find("core.v1.Volume").unwrap();
        assert_eq!(
            volume.named("hostPath").unwrap().value,
            "core.v1.HostPathVolumeSource"
        );
        assert_eq!(volume.named("volumeSource"), None);
        let pod = Type::find("core.v1.PodSpec").unwrap();
        assert_eq!(pod.named("containers").unwrap().many, Many::By("name"));
        assert_eq!(pod.named("tolerations").unwrap().many, Many::List);
        assert_eq!(pod.numbered(7).unwrap().many, Many::Map);
    }
}

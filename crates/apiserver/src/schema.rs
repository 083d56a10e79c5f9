//! The shape of Kubernetes' types beyond what `k8s-openapi` tells: their fields' numbers in
//! protobuf, how strategic merge patches merge their lists, and how appliers share their fields.
//!
//! Read from `schema/kubernetes.txt`, which is derived from Kubernetes' own definitions: at first
//! only where each type stands in it, then a type when it is asked for.

use std::{
    collections::HashMap,
    sync::{LazyLock, OnceLock},
};

const SOURCE: &str = include_str!("../schema/kubernetes.txt");

static TYPES: LazyLock<HashMap<&'static str, Entry>> = LazyLock::new(index);

/// A type in the source: its text, and what was read of it.
struct Entry {
    text: &'static str,
    read: OnceLock<Type>,
}

/// A type with fields.
#[derive(Debug)]
pub struct Type {
    /// Its name, as `core.v1.PodSpec`.
    pub name: &'static str,
    /// Its fields.
    pub fields: Box<[Field]>,
    /// Whether its fields have one owner, wherever it stands.
    pub atomic: bool,
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
    /// Whether a strategic merge patch names the only fields of it that stay (`$retainKeys`).
    pub retain: bool,
    /// Whether there is always one, maybe an empty one (as Go encodes it).
    pub kept: bool,
    /// What of it can have owners of its own.
    pub owned: Owned,
    /// The JSON that stands for it in an element of a list whose key it is, if it is left out.
    pub default: Option<&'static str>,
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

/// What of a field can have owners of its own, in server-side apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owned {
    /// Nothing: it is owned as a whole.
    Whole,
    /// What is in it: the members of a map, the fields of a struct that is not [`Type::atomic`].
    Members,
    /// The elements of a list that these fields tell apart.
    Keys(Keys),
    /// The elements of a list that are told apart by their values.
    Values,
}

/// Names of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys(&'static str);

impl Keys {
    /// The names, in the order of the source.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        self.0.split(',')
    }
}

impl Type {
    /// Finds a type by its name.
    pub fn find(name: &str) -> Option<&'static Self> {
        let (name, entry) = TYPES.get_key_value(name)?;
        Some(entry.read.get_or_init(|| read(name, entry.text)))
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

/// Where each type stands: a line with its name, then its fields up to an empty line.
fn index() -> HashMap<&'static str, Entry> {
    let paragraphs = SOURCE.split("\n\n").filter(|text| !text.starts_with('#'));
    paragraphs
        .map(|text| {
            let name = text.split_ascii_whitespace().next().unwrap_or_default();
            let read = OnceLock::new();
            (name, Entry { text, read })
        })
        .collect()
}

fn read(name: &'static str, text: &'static str) -> Type {
    let mut lines = text.lines().map(str::split_ascii_whitespace);
    let mut head = lines.next().into_iter().flatten();
    Type {
        name,
        atomic: head.any(|word| word == "atomic"),
        fields: lines.filter_map(field).collect(),
    }
}

fn field(mut words: impl Iterator<Item = &'static str>) -> Option<Field> {
    let mut field = Field {
        number: words.next()?.parse().ok()?,
        name: words.next()?,
        value: words.next()?,
        many: Many::One,
        pointer: false,
        inline: false,
        retain: false,
        kept: false,
        owned: Owned::Members,
        default: None,
    };
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("pointer", _) => field.pointer = true,
            ("inline", _) => field.inline = true,
            ("retain", _) => field.retain = true,
            ("kept", _) => field.kept = true,
            ("map", _) => field.many = Many::Map,
            ("list", _) => (field.many, field.owned) = (Many::List, Owned::Whole),
            ("by", key) => field.many = Many::By(key),
            ("set", _) => field.many = Many::Set,
            ("keys", keys) => field.owned = Owned::Keys(Keys(keys)),
            ("unique", _) => field.owned = Owned::Values,
            ("atomic", _) => field.owned = Owned::Whole,
            ("default", json) => field.default = Some(json),
            _ => {}
        }
    }
    Some(field)
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
        for (name, entry) in TYPES.iter() {
            let of = Type::find(name).unwrap();
            assert_eq!(of.fields.len(), entry.text.trim().lines().count() - 1);
            for field in &of.fields {
                assert!(field.number > 0, "{name} {field:?}");
                let known = scalars.contains(&field.value) || Type::find(field.value).is_some();
                assert!(known, "{name} {field:?}");
            }
        }
    }

    #[test]
    fn fields_are_owned_as_their_markers_say() {
        let owned = |of: &str, field: &str| Type::find(of).unwrap().named(field).unwrap().owned;
        for (of, field, expected) in [
            ("core.v1.PodSpec", "hostNetwork", Owned::Members),
            ("core.v1.PodSpec", "nodeSelector", Owned::Whole),
            ("core.v1.PodSpec", "tolerations", Owned::Whole),
            ("core.v1.PodSpec", "containers", Owned::Keys(Keys("name"))),
            (
                "core.v1.Container",
                "ports",
                Owned::Keys(Keys("containerPort,protocol")),
            ),
            ("core.v1.ConfigMap", "data", Owned::Members),
            ("meta.v1.ObjectMeta", "finalizers", Owned::Values),
        ] {
            assert_eq!(owned(of, field), expected, "{of}.{field}");
        }
        assert!(Type::find("meta.v1.LabelSelector").unwrap().atomic);
        assert!(!Type::find("core.v1.PodSpec").unwrap().atomic);
        let port = Type::find("core.v1.ContainerPort").unwrap();
        assert_eq!(port.named("protocol").unwrap().default, Some("\"TCP\""));
        assert_eq!(port.named("hostIP").unwrap().default, None);
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

//! How the values of the kinds that are served merge.
//!
//! Of built-in kinds the markers in Kubernetes' own types tell it (see [`crate::schema`]), of
//! custom kinds their schema.

use sealane_ownership::{Form, Listing, Member, Of, Scalar, Shape};
use sealane_structural::{Additional, List, Node, Type as Kinds};
use serde_json::Value;

use crate::{
    kinds::Kind,
    schema::{Field, Many, Owned, Type},
};

/// A place in an object.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// A single value.
    Single(Scalar),
    /// A struct of Kubernetes; owned as a whole where it stands, or wherever it does.
    Struct { of: &'static Type, whole: bool },
    /// A map or a list in a struct of Kubernetes.
    Many(&'static Field),
    /// A place in a custom object.
    Custom(&'a Node),
    /// An object of which only the metadata are known.
    Free,
}

/// The shape of objects of this kind.
pub fn shape_of(kind: &Kind) -> Of<Place<'_>> {
    if let Some(custom) = &kind.custom {
        return Of::Known(Place::Custom(custom.schema().root()));
    }
    let of = Type::of_kind(kind.group, kind.version, kind.kind);
    Of::Known(of.map_or(Place::Free, structure))
}

fn structure<'a>(of: &'static Type) -> Place<'a> {
    let whole = of.atomic;
    Place::Struct { of, whole }
}

/// One value of a field: itself, or an element or entry of it.
fn value_of<'a>(field: &'static Field) -> Of<Place<'a>> {
    let single = |scalar| Of::Known(Place::Single(scalar));
    match field.value {
        "text" | "bytes" => single(Scalar::Text),
        "bool" => single(Scalar::Bool),
        "int" | "double" => single(Scalar::Number),
        "api.resource.Quantity"
        | "meta.v1.Duration"
        | "meta.v1.MicroTime"
        | "meta.v1.Time"
        | "util.intstr.IntOrString" => single(Scalar::Any),
        "meta.v1.FieldsV1" | "runtime.RawExtension" => Of::Opaque,
        "apiextensions.v1.JSON"
        | "apiextensions.v1.JSONSchemaPropsOrArray"
        | "apiextensions.v1.JSONSchemaPropsOrBool"
        | "apiextensions.v1.JSONSchemaPropsOrStringArray" => Of::Any,
        name => Type::find(name).map_or(Of::Any, |of| {
            let whole = of.atomic || (field.many == Many::One && field.owned == Owned::Whole);
            Of::Known(Place::Struct { of, whole })
        }),
    }
}

fn field<'a>(field: &'static Field) -> Member<Place<'a>> {
    let (of, is_struct) = match field.many {
        Many::One => {
            let of = value_of(field);
            (of, matches!(of, Of::Known(Place::Struct { .. })))
        }
        _ => (Of::Known(Place::Many(field)), false),
    };
    Member {
        of,
        declared: true,
        // Go always has a struct that is no pointer.
        kept: field.kept || (is_struct && !field.pointer),
    }
}

fn declared(of: Of<Place<'_>>) -> Member<Place<'_>> {
    Member {
        of,
        declared: true,
        kept: false,
    }
}

/// What every object has besides its fields in protobuf.
fn type_field<'a>(name: &str) -> Option<Member<Place<'a>>> {
    let is_one = matches!(name, "apiVersion" | "kind");
    is_one.then_some(declared(Of::Known(Place::Single(Scalar::Text))))
}

fn metadata<'a>() -> Member<Place<'a>> {
    let of = Type::find("meta.v1.ObjectMeta");
    declared(of.map_or(Of::Any, |of| Of::Known(structure(of))))
}

/// A place in a custom object, which may be one that may be anything.
fn custom(node: &Node) -> Of<Place<'_>> {
    match node.kind {
        None if !node.int_or_string => Of::Any,
        _ => Of::Known(Place::Custom(node)),
    }
}

fn custom_form(node: &Node) -> Form {
    match (node.kind, &node.list) {
        (Some(Kinds::Object), _) => Form::Map {
            whole: node.atomic_map,
        },
        (Some(Kinds::Array), List::Atomic) => Form::List(Listing::Whole),
        (Some(Kinds::Array), List::Set) => Form::List(Listing::Values),
        (Some(Kinds::Array), List::Map(_)) => Form::List(Listing::Keys),
        (Some(Kinds::String), _) => Form::Scalar(Scalar::Text),
        (Some(Kinds::Integer | Kinds::Number), _) => Form::Scalar(Scalar::Number),
        (Some(Kinds::Boolean), _) => Form::Scalar(Scalar::Bool),
        (None, _) => Form::Scalar(Scalar::Any),
    }
}

fn custom_member<'a>(node: &'a Node, name: &str) -> Option<Member<Place<'a>>> {
    if node.root || node.embedded {
        if name == "metadata" {
            return Some(metadata());
        }
        if let Some(member) = type_field(name) {
            return Some(member);
        }
    }
    if let Some(field) = node.properties.get(name) {
        return Some(declared(custom(field)));
    }
    match &node.additional {
        Some(Additional::Schema(entry)) => Some(Member::entry(custom(entry))),
        Some(Additional::Allowed(true)) => Some(Member::entry(Of::Any)),
        _ => node.preserves_unknown.then_some(Member::entry(Of::Any)),
    }
}

impl<'a> Shape<'a> for Place<'a> {
    fn form(self) -> Form {
        match self {
            Self::Single(scalar) => Form::Scalar(scalar),
            Self::Struct { whole, .. } => Form::Map { whole },
            Self::Many(field) if field.many == Many::Map => Form::Map {
                whole: field.owned == Owned::Whole,
            },
            Self::Many(field) => Form::List(match field.owned {
                Owned::Keys(_) => Listing::Keys,
                Owned::Values => Listing::Values,
                Owned::Whole | Owned::Members => Listing::Whole,
            }),
            Self::Custom(node) => custom_form(node),
            Self::Free => Form::Map { whole: false },
        }
    }

    fn member(self, name: &str) -> Option<Member<Self>> {
        match self {
            Self::Struct { of, .. } => {
                let found = of.named(name).map(field);
                found.or_else(|| of.named("metadata").and_then(|_| type_field(name)))
            }
            Self::Many(field) => Some(Member::entry(value_of(field))),
            Self::Free if name == "metadata" => Some(metadata()),
            Self::Free => Some(type_field(name).unwrap_or(declared(Of::Any))),
            Self::Custom(node) => custom_member(node, name),
            Self::Single(_) => None,
        }
    }

    fn element(self) -> Of<Self> {
        match self {
            Self::Many(field) => value_of(field),
            Self::Custom(node) => node.items.as_deref().map_or(Of::Any, custom),
            _ => Of::Any,
        }
    }

    fn keys(self) -> Vec<&'a str> {
        match self {
            Self::Many(Field {
                owned: Owned::Keys(keys),
                ..
            }) => keys.names().collect(),
            Self::Custom(Node {
                list: List::Map(keys),
                ..
            }) => keys.iter().map(|key| &**key).collect(),
            _ => Vec::new(),
        }
    }

    fn default_of(self, name: &str) -> Option<Value> {
        match self {
            Self::Struct { of, .. } => {
                let default = of.named(name)?.default?;
                serde_json::from_str(default).ok()
            }
            Self::Custom(node) => node.properties.get(name)?.default.clone(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use sealane_ownership::{compare, fields};
    use serde_json::json;

    use super::*;
    use crate::kinds::{CONFIG_MAP, POD, SERVICE};

    #[test]
    fn a_pod_is_owned_as_in_kubernetes() {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a", "labels": {"l": "1"}, "finalizers": ["x"]},
            "spec": {
                "containers": [{
                    "name": "c", "image": "i", "ports": [{"containerPort": 80}],
                    "env": [{"name": "E", "valueFrom": {"fieldRef": {"fieldPath": "p"}}}],
                    "resources": {"limits": {"cpu": 1}},
                }],
                "nodeSelector": {"a": "b"}, "tolerations": [{"key": "t"}],
            },
        });
        let container = json!({
            ".": {}, "f:name": {}, "f:image": {},
            "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
            "f:env": {"k:{\"name\":\"E\"}": {".": {}, "f:name": {}, "f:valueFrom": {"f:fieldRef": {}}}},
            "f:resources": {"f:limits": {"f:cpu": {}}},
        });
        assert_eq!(
            fields(shape_of(&POD), &pod).to_fields_v1(),
            json!({
                "f:apiVersion": {}, "f:kind": {},
                "f:metadata": {
                    "f:name": {}, "f:labels": {"f:l": {}}, "f:finalizers": {"v:\"x\"": {}},
                },
                "f:spec": {
                    "f:containers": {"k:{\"name\":\"c\"}": container},
                    "f:nodeSelector": {}, "f:tolerations": {},
                },
            })
        );
    }

    /// As kube-apiserver records what `kubectl create` made: structs and lists that Go always has
    /// are nobody's own, pointers and what may be left out are.
    #[test]
    fn what_is_always_there_has_no_owner() {
        let new = json!({
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "livenessProbe": {"tcpSocket": {"port": 1}}}]},
        });
        let change = compare(shape_of(&POD), &json!({}), &new);
        let probe = json!({".": {}, "f:tcpSocket": {".": {}, "f:port": {}}});
        assert_eq!(
            change.added.to_fields_v1(),
            json!({
                "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
                "f:spec": {
                    "f:containers": {"k:{\"name\":\"c\"}": {
                        ".": {}, "f:name": {}, "f:livenessProbe": probe,
                    }},
                },
            })
        );
        let service =
            json!({"spec": {"ports": [{"port": 80, "targetPort": 1}], "selector": {"a": "b"}}});
        let change = compare(shape_of(&SERVICE), &json!({}), &service);
        assert_eq!(
            change.added.to_fields_v1(),
            json!({"f:spec": {
                "f:ports": {".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": {
                    ".": {}, "f:port": {}, "f:targetPort": {},
                }},
                "f:selector": {},
            }})
        );
        let map = compare(
            shape_of(&CONFIG_MAP),
            &json!({}),
            &json!({"data": {"a": "b"}}),
        );
        assert_eq!(
            map.added.to_fields_v1(),
            json!({"f:data": {".": {}, "f:a": {}}})
        );
    }
}

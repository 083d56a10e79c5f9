//! The kinds of this server as `sealane_openapi` wants to know them.

use sealane_openapi::{Carries, Facts, Part, Resource, Schema};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::merging;
use crate::{
    custom::Custom,
    discovery,
    kinds::{Kind, KindRef, NodeStream, Subresource},
    patch::Patch,
    verbs::APPLY,
};

/// The definitions of our own kinds, which other Kubernetes clusters are given.
const OWN: &str = include_str!("../../../../deploy/crds.yaml");
/// The group of our own kinds.
const OWN_GROUP: &str = "sealane.io";
/// The group of what is measured, which the library does not have.
const METRICS_GROUP: &str = "metrics.k8s.io";

/// A kind and its subresources.
pub fn resource(kind: &Kind) -> Resource<'_> {
    let is_own = kind.custom.is_some() || [OWN_GROUP, METRICS_GROUP].contains(&kind.group);
    // What is not in the library has no keys to merge lists by, either.
    let patches = if is_own {
        Patch::CUSTOM_MEDIA
    } else {
        Patch::MEDIA
    };
    Resource {
        group: kind.group,
        version: kind.version,
        kind: kind.kind,
        list_kind: kind.list_kind(),
        plural: kind.plural,
        namespaced: kind.namespaced,
        verbs: discovery::verbs(kind),
        patches: std::iter::once(APPLY)
            .chain(patches.iter().copied())
            .collect(),
        schema: if is_own { Schema::Own } else { Schema::Library },
        parts: discovery::parts(kind).map(part).collect(),
    }
}

fn part(of: discovery::Part) -> Part<'static> {
    Part {
        name: of.name,
        kind: [of.group, of.version, of.kind],
        verbs: of.verbs,
        carries: match of.of {
            Some(Subresource::Node(stream)) => Carries::Stream(parameters(stream)),
            Some(Subresource::Proxy(_)) => Carries::Stream(&[]),
            _ => Carries::Objects,
        },
    }
}

/// The parameters of a stream.
fn parameters(stream: NodeStream) -> &'static [(&'static str, &'static str)] {
    const STREAMS: [(&str, &str); 5] = [
        ("container", "string"),
        ("stderr", "boolean"),
        ("stdin", "boolean"),
        ("stdout", "boolean"),
        ("tty", "boolean"),
    ];
    match stream {
        NodeStream::Log => &[
            ("container", "string"),
            ("follow", "boolean"),
            ("limitBytes", "integer"),
            ("previous", "boolean"),
            ("sinceSeconds", "integer"),
            ("sinceTime", "string"),
            ("tailLines", "integer"),
            ("timestamps", "boolean"),
        ],
        NodeStream::Exec => &[
            ("command", "string"),
            STREAMS[0],
            STREAMS[1],
            STREAMS[2],
            STREAMS[3],
            STREAMS[4],
        ],
        NodeStream::Attach => &STREAMS,
        NodeStream::PortForward => &[("ports", "integer")],
    }
}

/// What is known of these kinds beyond the library.
pub struct Known<'a>(pub &'a [KindRef]);

impl Facts for Known<'_> {
    fn extensions(&self, definition: &str, field: Option<&str>) -> Vec<(&'static str, Value)> {
        merging::extensions(definition, field)
    }

    fn schema(&self, of: &Resource<'_>) -> Value {
        let same = |kind: &&KindRef| {
            (kind.group, kind.version, kind.kind) == (of.group, of.version, of.kind)
        };
        let custom = self
            .0
            .iter()
            .find(same)
            .and_then(|kind| kind.custom.as_ref());
        custom.map_or_else(|| own(of), Custom::written_schema)
    }
}

/// The schema of a kind of our own.
fn own(of: &Resource<'_>) -> Value {
    if of.group == METRICS_GROUP {
        return metrics(of.kind);
    }
    let definitions = serde_yaml_ng::Deserializer::from_str(OWN);
    let mut definitions = definitions.filter_map(|one| Value::deserialize(one).ok());
    let definition = definitions.find(|one| one["spec"]["names"]["kind"] == of.kind);
    let versions = definition.map(|mut one| one["spec"]["versions"].take());
    let versions = versions.as_ref().and_then(Value::as_array);
    let version = versions
        .into_iter()
        .flatten()
        .find(|one| one["name"] == of.version);
    version.map_or(Value::Null, |version| {
        version["schema"]["openAPIV3Schema"].clone()
    })
}

/// The schema of what a node or a pod takes.
fn metrics(kind: &str) -> Value {
    let usage = json!({
        "type": "object", "description": "How much of each resource is taken.",
        "additionalProperties": { "type": "string" },
    });
    let mut schema = json!({
        "type": "object", "description": "What is taken of each resource, as measured.",
        "properties": {
            "timestamp": {
                "type": "string", "format": "date-time", "description": "When the measurement ended.",
            },
            "window": { "type": "string", "description": "How long it went on." },
        },
    });
    if kind == "PodMetrics" {
        let name = json!({ "type": "string", "description": "The name of the container." });
        schema["properties"]["containers"] = json!({
            "type": "array", "description": "What each container takes.",
            "items": { "type": "object", "properties": { "name": name, "usage": usage } },
        });
    } else {
        schema["properties"]["usage"] = usage;
    }
    schema
}

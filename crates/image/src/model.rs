//! The documents that an image is made of, as far as we read them: OCI image
//! spec 1.1, and Docker's own forms (schema 2), which differ in their media types.
//!
//! Own types of a hundred lines instead of `oci-spec`: that crate brings a dozen
//! more for its builders, and refuses what registries really hold (`null` lists,
//! unknown architectures).

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::Digest;
use crate::platform::Platform;

/// Media type of an OCI image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an OCI image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI image's configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Docker's form of an index.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's form of a manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1";

/// Points to content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    #[serde(default)]
    pub media_type: String,
    /// What it is called.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Whom it is for, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Further facts.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// One image for several platforms, or the table of contents of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    #[serde(default)]
    pub schema_version: u32,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What it lists.
    #[serde(default, deserialize_with = "or_default")]
    pub manifests: Vec<Descriptor>,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            schema_version: 2,
            media_type: Some(INDEX.to_owned()),
            manifests: Vec::new(),
        }
    }
}

/// One image for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    #[serde(default)]
    pub schema_version: u32,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// Layers, lowest first.
    #[serde(default, deserialize_with = "or_default")]
    pub layers: Vec<Descriptor>,
}

/// An image's configuration blob.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFile {
    /// Of the machine, in Go's words: `amd64`.
    #[serde(default)]
    pub architecture: String,
    /// Operating system: `linux`.
    #[serde(default)]
    pub os: String,
    /// When it was made.
    #[serde(default)]
    pub created: Option<String>,
    /// How containers run.
    #[serde(default, deserialize_with = "or_default")]
    pub config: Config,
    /// What the layers are once decompressed.
    #[serde(default, deserialize_with = "or_default")]
    pub rootfs: RootFs,
}

/// What the layers of an image are once decompressed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Digests of the plain tars, lowest first.
    #[serde(default, deserialize_with = "or_default")]
    pub diff_ids: Vec<Digest>,
}

/// How containers of an image run, unless told otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Config {
    /// `USER`, `UID`, `USER:GROUP`, `UID:GID`, in any mixture; empty is root.
    #[serde(deserialize_with = "or_default")]
    pub user: String,
    /// `80/tcp`, `53/udp`, sorted.
    #[serde(deserialize_with = "keys")]
    pub exposed_ports: Vec<String>,
    /// `NAME=VALUE`.
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<String>,
    /// The program and its first arguments.
    #[serde(deserialize_with = "words")]
    pub entrypoint: Vec<String>,
    /// Arguments of the entry point, or the command where there is none.
    #[serde(deserialize_with = "words")]
    pub cmd: Vec<String>,
    /// Paths that want a volume, sorted.
    #[serde(deserialize_with = "keys")]
    pub volumes: Vec<String>,
    /// Empty is `/`.
    #[serde(deserialize_with = "or_default")]
    pub working_dir: String,
    /// Labels.
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// `SIGTERM`, `15`; empty is SIGTERM.
    #[serde(deserialize_with = "or_default")]
    pub stop_signal: String,
}

/// What a manifest-like document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Index,
    Manifest,
    /// Docker's form of before 2016.
    Schema1,
}

impl Kind {
    /// By media type, else by its fields: the field is optional in a document, and the header may be anything.
    pub(crate) fn of(media_type: &str, bytes: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Fields {
            #[serde(default)]
            media_type: Option<String>,
            #[serde(default)]
            schema_version: u32,
            manifests: Option<serde::de::IgnoredAny>,
            config: Option<serde::de::IgnoredAny>,
        }
        let fields: Fields = serde_json::from_slice(bytes).ok()?;
        let stated = fields.media_type.as_deref().unwrap_or(media_type);
        match stated.split(';').next().unwrap_or_default().trim() {
            INDEX | DOCKER_LIST => Some(Self::Index),
            MANIFEST | DOCKER_MANIFEST => Some(Self::Manifest),
            other if other.starts_with(DOCKER_SCHEMA_1) => Some(Self::Schema1),
            _ if fields.schema_version == 1 => Some(Self::Schema1),
            _ if fields.manifests.is_some() => Some(Self::Index),
            _ if fields.config.is_some() => Some(Self::Manifest),
            _ => None,
        }
    }
}

impl Manifest {
    /// What else than a container image it is, if it says so: charts, signatures and the like.
    pub(crate) fn artifact(&self) -> Option<&str> {
        let stated = self.config.media_type.as_str();
        (!matches!(
            stated,
            "" | CONFIG | DOCKER_CONFIG | "application/octet-stream"
        ))
        .then_some(stated)
    }
}

/// Go writes `null` for an empty list.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A set, which Go writes as a map to nothing; ours is a list.
fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Map(BTreeMap<String, serde::de::IgnoredAny>),
        List(Vec<String>),
    }
    Ok(match Option::deserialize(deserializer)? {
        None => Vec::new(),
        Some(Form::Map(map)) => map.into_keys().collect(),
        Some(Form::List(list)) => list,
    })
}

/// A list; old images have a single text, which was meant for a shell.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Many(Vec<String>),
        One(String),
    }
    Ok(match Option::deserialize(deserializer)? {
        None => Vec::new(),
        Some(Form::Many(words)) => words,
        Some(Form::One(text)) => vec!["/bin/sh".to_owned(), "-c".to_owned(), text],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_writes_null_for_what_is_empty() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Env":null,"Cmd":["a"],
            "Entrypoint":null,"ExposedPorts":{"80/tcp":{},"53/udp":{}},"Volumes":null,"Labels":null},
            "rootfs":{"type":"layers","diff_ids":null},"history":null}"#;
        let file: ConfigFile = serde_json::from_str(text).unwrap();
        assert_eq!(file.config.cmd, ["a"]);
        assert_eq!(file.config.exposed_ports, ["53/udp", "80/tcp"]);
        assert!(file.config.env.is_empty());
        let file: ConfigFile = serde_json::from_str(r#"{"config":null,"rootfs":null}"#).unwrap();
        assert_eq!(file, ConfigFile::default());
    }

    #[test]
    fn a_document_is_known_by_its_type_or_its_fields() {
        let cases = [
            (INDEX, "{}", Some(Kind::Index)),
            (DOCKER_MANIFEST, "{}", Some(Kind::Manifest)),
            ("", r#"{"manifests":[]}"#, Some(Kind::Index)),
            ("text/plain", r#"{"config":{}}"#, Some(Kind::Manifest)),
            ("", r#"{"schemaVersion":1}"#, Some(Kind::Schema1)),
            ("", "{}", None),
            ("", "<html>", None),
        ];
        for (media_type, bytes, kind) in cases {
            assert_eq!(Kind::of(media_type, bytes.as_bytes()), kind, "{bytes}");
        }
    }
}

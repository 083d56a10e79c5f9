//! The API objects that a pod takes values from: ConfigMaps, Secrets, and the Services
//! whose addresses its containers find in their environment.
//!
//! Here is what a pod refers to and what is known of it, pure; [`follow`] keeps it
//! up to date. Each object is followed by itself, never a whole namespace of
//! Secrets: a node is allowed to read what its pods refer to and nothing else.

pub mod follow;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::{ConfigMap, Container, PodSpec, ProjectedVolumeSource, Secret};

use crate::env::links::Link;

/// A kind of object that pods take values from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
    /// All Services of the namespace.
    Services,
}

impl Kind {
    /// The kind in Kubernetes' messages.
    fn word(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmap",
            Self::Secret => "secret",
            Self::Services => "services",
        }
    }
}

/// One object, or for Services all of the namespace, whose name is then empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// Which kind.
    pub kind: Kind,
    /// Its name; the namespace is the pod's.
    pub name: String,
}

/// What is known of an object.
#[derive(Clone, Debug, Default)]
pub enum Known {
    /// The API has not been heard yet.
    #[default]
    Unread,
    /// There is none.
    Absent,
    /// The values of a ConfigMap or Secret.
    Present(Arc<Data>),
    /// The Services that have an address, kept up to date in place: one that changes among
    /// thousands costs one, and only a container that starts looks at all.
    Services(Services),
}

/// Services by name.
pub type Services = Arc<Mutex<BTreeMap<String, Link>>>;

/// Values by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Data {
    /// Those that are fit for variables.
    pub plain: BTreeMap<String, Vec<u8>>,
    /// A ConfigMap's `binaryData`: for files alone.
    pub binary: BTreeMap<String, Vec<u8>>,
}

impl Data {
    /// The value for a file.
    pub fn file(&self, key: &str) -> Option<&Vec<u8>> {
        self.plain.get(key).or_else(|| self.binary.get(key))
    }

    /// All values for files.
    pub fn files(&self) -> impl Iterator<Item = (&String, &Vec<u8>)> {
        self.plain.iter().chain(&self.binary)
    }
}

impl From<ConfigMap> for Data {
    fn from(map: ConfigMap) -> Self {
        let texts = map.data.unwrap_or_default().into_iter();
        let bytes = map.binary_data.unwrap_or_default().into_iter();
        Self {
            plain: texts.map(|(key, text)| (key, text.into_bytes())).collect(),
            binary: bytes.map(|(key, bytes)| (key, bytes.0)).collect(),
        }
    }
}

impl From<Secret> for Data {
    fn from(secret: Secret) -> Self {
        let bytes = secret.data.unwrap_or_default().into_iter();
        Self {
            plain: bytes.map(|(key, bytes)| (key, bytes.0)).collect(),
            binary: BTreeMap::new(),
        }
    }
}

/// An object that is needed and cannot be had, in the kubelet's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// There is none.
    #[error("{} {name:?} not found", kind.word())]
    Absent {
        /// Which kind.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// The API did not tell in time.
    #[error("failed to sync {} cache: timed out waiting for the condition", .0.word())]
    Unread(Kind),
}

/// What was known at one moment of everything that a pod refers to.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    known: BTreeMap<Reference, Known>,
}

impl Snapshot {
    /// A snapshot of these.
    pub fn new(known: impl IntoIterator<Item = (Reference, Known)>) -> Self {
        Self {
            known: known.into_iter().collect(),
        }
    }

    /// An object's data; `None` when it is absent and `optional`.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn data(&self, kind: Kind, name: &str, optional: bool) -> Result<Option<&Data>, Missing> {
        let name = name.to_owned();
        let reference = Reference { kind, name };
        match self.known.get(&reference) {
            Some(Known::Present(data)) => Ok(Some(data)),
            Some(Known::Services(_)) => Ok(None),
            Some(Known::Absent) if optional => Ok(None),
            Some(Known::Absent) => Err(Missing::Absent {
                kind,
                name: reference.name,
            }),
            Some(Known::Unread) | None => Err(Missing::Unread(kind)),
        }
    }

    /// The namespace's Services; none for a pod that does not ask for them.
    ///
    /// # Errors
    /// When the API has not told them yet.
    pub fn services(&self) -> Result<Vec<Link>, Missing> {
        match self.known.get(&services()) {
            Some(Known::Services(services)) => {
                let services = services.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(services.values().cloned().collect())
            }
            Some(Known::Unread) => Err(Missing::Unread(Kind::Services)),
            Some(Known::Present(_) | Known::Absent) | None => Ok(Vec::new()),
        }
    }

    /// Whether the API has been heard about all of them.
    pub fn is_read(&self) -> bool {
        let unread = |known: &Known| matches!(known, Known::Unread);
        !self.known.values().any(unread)
    }
}

fn services() -> Reference {
    Reference {
        kind: Kind::Services,
        name: String::new(),
    }
}

/// Everything that a pod refers to.
pub fn references(spec: &PodSpec) -> BTreeSet<Reference> {
    let mut found = Found(BTreeSet::new());
    if spec.enable_service_links != Some(false) {
        found.0.insert(services());
    }
    for volume in spec.volumes.iter().flatten() {
        if let Some(source) = &volume.config_map {
            found.add(Kind::ConfigMap, Some(&source.name));
        }
        if let Some(source) = &volume.secret {
            found.add(Kind::Secret, source.secret_name.as_ref());
        }
        if let Some(source) = &volume.projected {
            found.projected(source);
        }
    }
    for secret in spec.image_pull_secrets.iter().flatten() {
        found.add(Kind::Secret, Some(&secret.name));
    }
    for container in spec
        .init_containers
        .iter()
        .flatten()
        .chain(&spec.containers)
    {
        found.container(container);
    }
    found.0
}

struct Found(BTreeSet<Reference>);

impl Found {
    fn add(&mut self, kind: Kind, name: Option<&String>) {
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            let name = name.clone();
            self.0.insert(Reference { kind, name });
        }
    }

    fn projected(&mut self, volume: &ProjectedVolumeSource) {
        for source in volume.sources.iter().flatten() {
            self.add(Kind::ConfigMap, source.config_map.as_ref().map(|s| &s.name));
            self.add(Kind::Secret, source.secret.as_ref().map(|s| &s.name));
        }
    }

    fn container(&mut self, container: &Container) {
        let sources = container.env.iter().flatten();
        for source in sources.filter_map(|variable| variable.value_from.as_ref()) {
            let map = source.config_map_key_ref.as_ref();
            self.add(Kind::ConfigMap, map.map(|key| &key.name));
            let secret = source.secret_key_ref.as_ref();
            self.add(Kind::Secret, secret.map(|key| &key.name));
        }
        for source in container.env_from.iter().flatten() {
            let map = source.config_map_ref.as_ref();
            self.add(Kind::ConfigMap, map.map(|map| &map.name));
            let secret = source.secret_ref.as_ref();
            self.add(Kind::Secret, secret.map(|secret| &secret.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_refers_to_what_it_names_anywhere() {
        let spec = serde_json::from_value(json!({
            "volumes": [
                {"name": "a", "configMap": {"name": "m1"}},
                {"name": "b", "secret": {"secretName": "s1"}},
                {"name": "c", "projected": {"sources": [
                    {"configMap": {"name": "m2"}}, {"secret": {"name": "s2"}},
                    {"serviceAccountToken": {"path": "token"}},
                ]}},
            ],
            "initContainers": [{"name": "i", "envFrom": [
                {"configMapRef": {"name": "m3"}}, {"secretRef": {"name": "s3"}},
            ]}],
            "containers": [{"name": "c", "env": [
                {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m4", "key": "k"}}},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s1", "key": "k"}}},
            ]}],
            "enableServiceLinks": false,
            "imagePullSecrets": [{"name": "s4"}],
        }));
        let found = references(&spec.unwrap());
        let words: Vec<_> = found
            .iter()
            .map(|r| format!("{} {}", r.kind.word(), r.name))
            .collect();
        assert_eq!(
            words.join(", "),
            "configmap m1, configmap m2, configmap m3, configmap m4, secret s1, secret s2, secret s3, secret s4"
        );
        assert_eq!(references(&PodSpec::default()), [services()].into());
    }

    #[test]
    fn what_is_missing_is_named() {
        let reference = |name: &str| Reference {
            kind: Kind::Secret,
            name: name.into(),
        };
        let snapshot = Snapshot::new([
            (reference("gone"), Known::Absent),
            (reference("unread"), Known::Unread),
        ]);
        let missing = |name| {
            snapshot
                .data(Kind::Secret, name, false)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(missing("gone"), "secret \"gone\" not found");
        let unread = "failed to sync secret cache: timed out waiting for the condition";
        assert_eq!(missing("unread"), unread);
        assert_eq!(snapshot.data(Kind::Secret, "gone", true), Ok(None));
        assert!(snapshot.data(Kind::Secret, "unread", true).is_err());
        assert!(!snapshot.is_read());
    }
}

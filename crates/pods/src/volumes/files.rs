//! The files of configMap, secret, downwardAPI and projected volumes: pure.
//!
//! Sources: Kubernetes API `Volume`, and the kubelet's `volume/configmap`,
//! `volume/secret`, `volume/projected`, whose words the errors are.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, KeyToPath, PodSpec, ProjectedVolumeSource, VolumeProjection,
};

use super::Content;
use crate::downward::{self, DownwardError, Facts};
use crate::sources::{Kind, Missing, Snapshot};
use crate::tokens::{Tokens, Wanted};

/// Mode of a file when nobody says.
const MODE: u32 = 0o644;
/// Mode of a token that belongs to somebody.
const PRIVATE: u32 = 0o600;

/// Files of a volume, by path.
pub type Files = BTreeMap<String, File>;

/// A file to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// What is in it.
    pub data: Vec<u8>,
    /// Its permissions.
    pub mode: u32,
    /// Its owner, if not root.
    pub owner: Option<u32>,
}

/// What files are made from.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    /// The pod and what is around it.
    pub facts: Facts<'a>,
    /// The objects that it refers to.
    pub sources: &'a Snapshot,
    /// Its tokens.
    pub tokens: &'a Tokens,
}

/// Why files cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilesError {
    /// An object that is not there.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// A key that a ConfigMap does not have.
    #[error("configmap references non-existent config key: {0}")]
    ConfigKey(String),
    /// A key that a Secret does not have.
    #[error("references non-existent secret key: {0}")]
    SecretKey(String),
    /// The downward API does not have it.
    #[error(transparent)]
    Downward(#[from] DownwardError),
    /// No token yet.
    #[error("failed to fetch token: {0}")]
    Token(String),
    /// A path that would leave the volume.
    #[error("path {0:?}: expected a relative path without `..`")]
    Path(String),
}

/// The files of a volume.
///
/// # Errors
/// The first file that cannot be had.
pub fn compile(content: &Content, origin: Origin<'_>) -> Result<Files, FilesError> {
    let files = match content {
        Content::ConfigMap(source) => data(
            Of {
                kind: Kind::ConfigMap,
                name: &source.name,
                items: source.items.as_deref(),
                mode: mode(source.default_mode),
                optional: source.optional,
            },
            origin,
        ),
        Content::Secret(source) => data(
            Of {
                kind: Kind::Secret,
                name: source.secret_name.as_deref().unwrap_or_default(),
                items: source.items.as_deref(),
                mode: mode(source.default_mode),
                optional: source.optional,
            },
            origin,
        ),
        Content::Downward(source) => {
            let items = source.items.as_deref().unwrap_or_default();
            downward_files(items, mode(source.default_mode), origin)
        }
        Content::Projected(source) => projected(source, origin),
    }?;
    match files.keys().find(|path| !stays_within(path)) {
        Some(path) => Err(FilesError::Path(path.clone())),
        None => Ok(files),
    }
}

/// The API has checked paths, and is not trusted that far: `..data` is ours.
fn stays_within(path: &str) -> bool {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    !path.is_empty() && !path.starts_with("..") && Path::new(path).components().all(plain)
}

fn mode(mode: Option<i32>) -> u32 {
    mode.and_then(|mode| u32::try_from(mode).ok())
        .map_or(MODE, |mode| mode & 0o777)
}

fn file(data: Vec<u8>, own_mode: Option<i32>, default: u32) -> File {
    File {
        data,
        mode: own_mode.map_or(default, |own| mode(Some(own))),
        owner: None,
    }
}

/// A part of a volume that shows an object's data.
struct Of<'a> {
    kind: Kind,
    name: &'a str,
    items: Option<&'a [KeyToPath]>,
    mode: u32,
    optional: Option<bool>,
}

fn data(of: Of<'_>, origin: Origin<'_>) -> Result<Files, FilesError> {
    let optional = of.optional.unwrap_or(false);
    let Some(data) = origin.sources.data(of.kind, of.name, optional)? else {
        return Ok(Files::new());
    };
    let Some(items) = of.items.filter(|items| !items.is_empty()) else {
        let all = data.files();
        return Ok(all
            .map(|(key, bytes)| (key.clone(), file(bytes.clone(), None, of.mode)))
            .collect());
    };
    let mut files = Files::new();
    for item in items {
        match data.file(&item.key) {
            Some(bytes) => {
                let file = file(bytes.clone(), item.mode, of.mode);
                files.insert(item.path.clone(), file);
            }
            None if optional => {}
            None if of.kind == Kind::Secret => {
                return Err(FilesError::SecretKey(item.key.clone()));
            }
            None => return Err(FilesError::ConfigKey(item.key.clone())),
        }
    }
    Ok(files)
}

fn downward_files(
    items: &[DownwardAPIVolumeFile],
    default: u32,
    origin: Origin<'_>,
) -> Result<Files, FilesError> {
    let mut files = Files::new();
    for item in items {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => downward::field(field, origin.facts)?,
            (None, Some(resource)) => downward::resource(resource, None, origin.facts)?,
            (None, None) => String::new(),
        };
        let file = file(text.into_bytes(), item.mode, default);
        files.insert(item.path.clone(), file);
    }
    Ok(files)
}

fn projected(source: &ProjectedVolumeSource, origin: Origin<'_>) -> Result<Files, FilesError> {
    let default = mode(source.default_mode);
    let mut files = Files::new();
    for part in source.sources.iter().flatten() {
        files.extend(projection(part, default, origin)?);
    }
    Ok(files)
}

fn projection(part: &VolumeProjection, mode: u32, origin: Origin<'_>) -> Result<Files, FilesError> {
    if let Some(source) = &part.config_map {
        let of = Of {
            kind: Kind::ConfigMap,
            name: &source.name,
            items: source.items.as_deref(),
            mode,
            optional: source.optional,
        };
        return data(of, origin);
    }
    if let Some(source) = &part.secret {
        let of = Of {
            kind: Kind::Secret,
            name: &source.name,
            items: source.items.as_deref(),
            mode,
            optional: source.optional,
        };
        return data(of, origin);
    }
    if let Some(source) = &part.downward_api {
        let items = source.items.as_deref().unwrap_or_default();
        return downward_files(items, mode, origin);
    }
    let Some(source) = &part.service_account_token else {
        return Ok(Files::new());
    };
    let token = origin.tokens.get(&Wanted::of(source));
    let token = token.map_err(|why| FilesError::Token(why.to_owned()))?;
    let spec = origin.facts.pod.spec();
    let owner = owner(spec);
    let file = File {
        data: token.as_bytes().to_vec(),
        mode: match owner.or(super::group(spec)) {
            Some(_) => PRIVATE,
            None => mode,
        },
        owner,
    };
    Ok([(source.path.clone(), file)].into())
}

/// The user that all containers run as, if the pod says so and all are the same: a token can then
/// be theirs alone.
fn owner(spec: &PodSpec) -> Option<u32> {
    let pod = spec.security_context.as_ref().and_then(|c| c.run_as_user);
    let containers = spec
        .init_containers
        .iter()
        .flatten()
        .chain(&spec.containers);
    let mut users = containers.map(|container| {
        let own = container.security_context.as_ref();
        own.and_then(|own| own.run_as_user).or(pod)
    });
    let first = users.next()??;
    let same = users.all(|user| user == Some(first));
    u32::try_from(first).ok().filter(|_| same)
}

#[cfg(test)]
mod tests;

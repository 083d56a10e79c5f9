//! A container's environment, and `$(VAR)` in its command: pure.
//!
//! Order matters: Services come first, then `envFrom`, then `env`, each of which may
//! refer to those defined before it, and a later definition of a name replaces the
//! earlier one. Sources: Kubernetes docs "Define Dependent Environment Variables";
//! `third_party/forked/golang/expansion`.

pub mod links;

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{Container, EnvFromSource, EnvVar, EnvVarSource};

use crate::downward::{self, DownwardError, Facts};
use crate::sources::{Data, Kind, Missing, Snapshot};
use links::Link;

/// What variables are made from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The pod and what is around it.
    pub facts: Facts<'a>,
    /// The objects that it refers to.
    pub sources: &'a Snapshot,
    /// Where the API server is.
    pub api_server: Option<&'a Link>,
}

/// Why a variable has no value, in the kubelet's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// A source that is not honoured.
    #[error("env {name}: valueFrom.{kind} is not supported yet")]
    Source {
        /// The variable.
        name: String,
        /// The kind of source.
        kind: &'static str,
    },
    /// The downward API does not have it.
    #[error("env {name}: {source}")]
    Downward {
        /// The variable.
        name: String,
        /// Why not.
        source: DownwardError,
    },
    /// An object that is not there.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// A key that an object does not have.
    #[error("couldn't find key {key} in {object}")]
    Key {
        /// The key.
        key: String,
        /// `ConfigMap NAMESPACE/NAME`.
        object: String,
    },
}

/// Variables in order of first definition.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    list: Vec<(String, String)>,
    places: HashMap<String, usize>,
}

impl Variables {
    fn set(&mut self, name: &str, value: String) {
        match self.places.get(name) {
            Some(place) => self.list[*place].1 = value,
            None => {
                self.places.insert(name.to_owned(), self.list.len());
                self.list.push((name.to_owned(), value));
            }
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.places
            .get(name)
            .map(|place| self.list[*place].1.as_str())
    }

    /// As a list.
    pub fn into_list(self) -> Vec<(String, String)> {
        self.list
    }

    /// Replaces `$(VAR)` in each word of a command; unknown names stay as they are, `$$` is a
    /// dollar.
    pub fn expand_all(&self, words: Option<&[String]>) -> Vec<String> {
        let words = words.unwrap_or_default().iter();
        words.map(|word| expand(word, self)).collect()
    }

    /// A path with its `$(VAR)` replaced; the name of one that is not defined as error.
    ///
    /// # Errors
    /// The variable's name.
    pub fn expand_strictly(&self, path: &str) -> Result<String, String> {
        let mut unknown = None;
        let text = replace(path, |name| {
            let value = self.get(name);
            if value.is_none() {
                unknown.get_or_insert_with(|| name.to_owned());
            }
            value
        });
        unknown.map_or(Ok(text), Err)
    }
}

/// A container's variables.
///
/// # Errors
/// When a variable has a source that we do not honour, or whose object is not there.
pub fn variables(container: &Container, origin: Origin<'_>) -> Result<Variables, EnvError> {
    let mut defined = Variables::default();
    defined.set("HOSTNAME", origin.facts.hostname.to_owned());
    let namespace = origin.facts.pod.namespace();
    let services = origin.sources.services()?;
    for (name, value) in links::variables(namespace, &services, origin.api_server) {
        defined.set(&name, value);
    }
    for source in container.env_from.iter().flatten() {
        import(source, origin, &mut defined)?;
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value(variable, container, &defined, origin)? {
            defined.set(&variable.name, value);
        }
    }
    Ok(defined)
}

/// All values of one object as variables.
fn import(
    source: &EnvFromSource,
    origin: Origin<'_>,
    defined: &mut Variables,
) -> Result<(), EnvError> {
    let map = source.config_map_ref.as_ref();
    let secret = source.secret_ref.as_ref();
    let found = match (map, secret) {
        (Some(map), _) => object(origin, Kind::ConfigMap, &map.name, map.optional)?,
        (None, Some(secret)) => object(origin, Kind::Secret, &secret.name, secret.optional)?,
        (None, None) => None,
    };
    let prefix = source.prefix.as_deref().unwrap_or_default();
    for (key, value) in found.into_iter().flat_map(|data| &data.plain) {
        defined.set(&format!("{prefix}{key}"), text(value));
    }
    Ok(())
}

fn object<'a>(
    origin: Origin<'a>,
    kind: Kind,
    name: &str,
    optional: Option<bool>,
) -> Result<Option<&'a Data>, Missing> {
    origin.sources.data(kind, name, optional.unwrap_or(false))
}

/// A variable is text; bytes that are none cannot be one, and are shown as such.
fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

/// A variable's value; none when its source is optional and absent.
fn value(
    variable: &EnvVar,
    container: &Container,
    defined: &Variables,
    origin: Origin<'_>,
) -> Result<Option<String>, EnvError> {
    let Some(source) = &variable.value_from else {
        let value = variable.value.as_deref().unwrap_or_default();
        return Ok(Some(expand(value, defined)));
    };
    let named = |source| EnvError::Downward {
        name: variable.name.clone(),
        source,
    };
    match source {
        EnvVarSource {
            field_ref: Some(field),
            ..
        } => downward::field(field, origin.facts)
            .map(Some)
            .map_err(named),
        EnvVarSource {
            resource_field_ref: Some(resource),
            ..
        } => downward::resource(resource, Some(container), origin.facts)
            .map(Some)
            .map_err(named),
        EnvVarSource {
            config_map_key_ref: Some(key),
            ..
        } => of_key(origin, Kind::ConfigMap, &key.name, &key.key, key.optional),
        EnvVarSource {
            secret_key_ref: Some(key),
            ..
        } => of_key(origin, Kind::Secret, &key.name, &key.key, key.optional),
        _ => Err(EnvError::Source {
            name: variable.name.clone(),
            kind: "fileKeyRef",
        }),
    }
}

fn of_key(
    origin: Origin<'_>,
    kind: Kind,
    name: &str,
    key: &str,
    optional: Option<bool>,
) -> Result<Option<String>, EnvError> {
    let Some(data) = object(origin, kind, name, optional)? else {
        return Ok(None);
    };
    match data.plain.get(key) {
        Some(value) => Ok(Some(text(value))),
        None if optional == Some(true) => Ok(None),
        None => {
            let kind = if kind == Kind::Secret {
                "Secret"
            } else {
                "ConfigMap"
            };
            let namespace = origin.facts.pod.namespace();
            Err(EnvError::Key {
                key: key.to_owned(),
                object: format!("{kind} {namespace}/{name}"),
            })
        }
    }
}

/// One word with its references replaced.
fn expand(word: &str, variables: &Variables) -> String {
    replace(word, |name| variables.get(name))
}

fn replace<'a>(word: &str, mut value: impl FnMut(&str) -> Option<&'a str>) -> String {
    let mut out = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|r| r.split_once(')')) {
            match value(name) {
                Some(value) => out.push_str(value),
                None => out.extend(["$(", name, ")"]),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests;

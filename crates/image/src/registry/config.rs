//! What is said about registries: mirrors, plain HTTP, authorities.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// All that is said, by the registry as references write it: `docker.io`, `registry.local:5000`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Registries {
    /// By registry.
    #[serde(default)]
    pub registries: BTreeMap<String, Registry>,
    /// Authorities that are trusted for all of them, beside this machine's.
    #[serde(default)]
    pub ca: Vec<PathBuf>,
}

/// What is said about one registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Registry {
    /// Asked first, in this order: `https://mirror.local:5000`.
    #[serde(default)]
    pub mirrors: Vec<String>,
    /// Plain HTTP will do, and so will a certificate of anybody.
    #[serde(default)]
    pub insecure: bool,
    /// Authorities that are trusted for this one, beside this machine's.
    #[serde(default)]
    pub ca: Vec<PathBuf>,
}

impl Registries {
    /// What is said about a registry, perhaps nothing.
    pub(crate) fn of(&self, registry: &str) -> Registry {
        self.registries.get(registry).cloned().unwrap_or_default()
    }

    /// What is said about one, to add to it.
    pub fn entry(&mut self, registry: &str) -> &mut Registry {
        self.registries.entry(registry.to_owned()).or_default()
    }
}

//! What is said about registries: for good in a file, for once in flags.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use sealane_image::Registries;

const DEFAULT: &str = "/etc/sealane/registries.yaml";

/// Mirrors, plain HTTP and authorities.
#[derive(Debug, clap::Args)]
pub struct RegistryFlags {
    /// Ask this server first, then the registry itself; may be repeated.
    #[arg(long, value_name = "REGISTRY=URL", value_parser = mirror)]
    registry_mirror: Vec<(String, String)>,

    /// Speak plain HTTP to this registry if it does, and accept any certificate; may be repeated.
    #[arg(long, value_name = "HOST[:PORT]")]
    insecure_registry: Vec<String>,

    /// Trust this authority too, a file in PEM form; may be repeated. Those in
    /// /etc/docker/certs.d/HOST are trusted for that host in any case.
    #[arg(long, value_name = "FILE")]
    registry_ca: Vec<PathBuf>,

    /// Settings of registries [default: /etc/sealane/registries.yaml, if there is one].
    #[arg(long, value_name = "FILE")]
    registries: Option<PathBuf>,
}

impl RegistryFlags {
    /// The file, and the flags on top of it.
    pub fn read(&self) -> anyhow::Result<Registries> {
        let mut registries = self.file()?;
        for (registry, url) in &self.registry_mirror {
            registries.entry(registry).mirrors.push(url.clone());
        }
        for registry in &self.insecure_registry {
            registries.entry(registry).insecure = true;
        }
        registries.ca.extend(self.registry_ca.iter().cloned());
        Ok(registries)
    }

    fn file(&self) -> anyhow::Result<Registries> {
        let path = self.registries.as_deref().unwrap_or(Path::new(DEFAULT));
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.registries.is_none() => {
                return Ok(Registries::default());
            }
            text => {
                text.with_context(|| format!("read settings of registries {}", path.display()))?
            }
        };
        serde_yaml_ng::from_str(&text)
            .with_context(|| format!("read settings of registries {}", path.display()))
    }
}

fn mirror(text: &str) -> anyhow::Result<(String, String)> {
    match text.split_once('=') {
        Some((registry, url)) if !registry.is_empty() && !url.is_empty() => {
            Ok((registry.to_owned(), url.to_owned()))
        }
        _ => bail!("expected is REGISTRY=URL, such as docker.io=https://mirror.local:5000"),
    }
}

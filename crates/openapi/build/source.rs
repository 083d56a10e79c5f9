//! Where the library is, and which types are in it.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::literal;

/// The folder of the Kubernetes version that the workspace has chosen (feature `v1_36`).
const VERSION: &str = "v1_36";
/// What introduces a schema, and what its text begins with.
const SCHEMA: &str = "crate::schemars::JsonSchema for ";
const LITERAL: &str = "crate::schemars::json_schema!(";

/// A type of the library.
pub struct Type {
    /// `io.k8s.api.core.v1.Pod`.
    pub name: String,
    /// Its JSON schema; what it refers to is in `#/definitions/`.
    pub schema: Value,
    /// Group, version and kind, if it is one.
    pub kind: Option<[String; 3]>,
}

/// A type whose schema is still text.
struct Found {
    name: String,
    text: String,
    kind: Option<[String; 3]>,
}

/// The folder with the types of the chosen version.
pub fn folder() -> Result<PathBuf, Box<dyn Error>> {
    let offline = metadata(&["--offline"]);
    let metadata = offline.or_else(|_| metadata(&[]))?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let manifest = packages
        .filter(|package| package["name"] == "k8s-openapi")
        .filter_map(|package| package["manifest_path"].as_str())
        .map(|manifest| Path::new(manifest).with_file_name("src").join(VERSION))
        .find(|folder| folder.is_dir());
    manifest.ok_or_else(|| format!("no k8s-openapi in the workspace has src/{VERSION}").into())
}

/// What cargo says of the workspace and its dependencies on this platform.
fn metadata(how: &[&str]) -> Result<Value, Box<dyn Error>> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["metadata", "--format-version=1", "--locked"]);
    cargo
        .args(["--filter-platform", &env::var("TARGET")?])
        .args(how);
    let output = cargo.output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{cargo:?}: {}: {said}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// All types that have a schema.
pub fn types(folder: &Path) -> Result<Vec<Type>, Box<dyn Error>> {
    let mut found = BTreeMap::new();
    gather(folder, "crate", &mut found)?;
    if found.is_empty() {
        return Err(format!(
            "no schemas in {}: has their form changed?",
            folder.display()
        )
        .into());
    }
    let name = |path: &str| found.get(path).map(|found: &Found| found.name.clone());
    found
        .values()
        .map(|found| {
            let schema = literal::read(&found.text, &name)
                .map_err(|cause| format!("schema of {}: {cause}", found.name))?;
            let (name, kind) = (found.name.clone(), found.kind.clone());
            Ok(Type { name, schema, kind })
        })
        .collect()
}

/// Reads all files below `folder`, the module `path`; types are found by their Rust path.
fn gather(
    folder: &Path,
    path: &str,
    found: &mut BTreeMap<String, Found>,
) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?.path();
        if entry.is_dir() {
            let name = entry.file_name().unwrap_or_default().to_string_lossy();
            gather(&entry, &format!("{path}::{name}"), found)?;
            continue;
        }
        let source = fs::read_to_string(&entry)?;
        if let Some((name, one)) = one(&source) {
            found.insert(format!("{path}::{name}"), one);
        }
    }
    Ok(())
}

/// The type in a file, by its name in Rust.
fn one(source: &str) -> Option<(&str, Found)> {
    let (_, implementation) = source.split_once(SCHEMA)?;
    let rust_name = implementation.split([' ', '<']).next()?;
    let (head, text) = implementation.split_once(LITERAL)?;
    let name = head.split('"').nth(1)?.to_owned();
    let found = Found {
        name,
        text: text.to_owned(),
        kind: kind(source),
    };
    Some((rust_name, found))
}

fn kind(source: &str) -> Option<[String; 3]> {
    let (_, resource) = source.split_once("impl crate::Resource for ")?;
    let constant = |name: &str| {
        let (_, value) = resource.split_once(&format!("const {name}: &'static str = \""))?;
        Some(value.split('"').next()?.to_owned())
    };
    Some([constant("GROUP")?, constant("VERSION")?, constant("KIND")?])
}

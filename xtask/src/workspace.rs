//! What `cargo metadata` says of the workspace, as far as the checks need it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::process::Command;

use anyhow::{Context, bail};
use serde::Deserialize;

/// The platform that we ship for; dependencies of others do not count.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// The workspace's crates and everything they depend on.
#[derive(Debug, Default)]
pub struct Workspace {
    pub packages: BTreeMap<String, Package>,
    pub members: BTreeSet<String>,
}

/// One crate; its key is cargo's package id.
#[derive(Debug, Default)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub license: Option<String>,
    pub proc_macro: bool,
    /// What is linked into it: dependencies that are neither for building nor for tests.
    pub links: BTreeSet<String>,
}

impl Workspace {
    /// Asks cargo.
    pub fn read() -> anyhow::Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args([
                "metadata",
                "--format-version=1",
                "--filter-platform",
                PLATFORM,
            ])
            .output()
            .context("run cargo metadata")?;
        if !output.status.success() {
            bail!(
                "cargo metadata: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        let metadata = serde_json::from_slice(&output.stdout).context("read cargo metadata")?;
        Ok(Self::from_metadata(metadata))
    }

    fn from_metadata(metadata: Metadata) -> Self {
        let mut packages: BTreeMap<_, _> = metadata
            .packages
            .into_iter()
            .map(|raw| (raw.id.clone(), raw.into()))
            .collect();
        for node in metadata.resolve.nodes {
            let package: &mut Package = packages.entry(node.id).or_default();
            let linked = node.deps.into_iter().filter(RawDependency::is_linked);
            package.links = linked.map(|dependency| dependency.pkg).collect();
        }
        Self {
            packages,
            members: metadata.workspace_members.into_iter().collect(),
        }
    }

    /// Our own crates, by name.
    pub fn members(&self) -> impl Iterator<Item = (&String, &Package)> {
        self.packages
            .iter()
            .filter(|(id, _)| self.members.contains(*id))
    }

    /// The shortest way along linked crates from `from` to one for which `wanted` holds, by name.
    pub fn way(&self, from: &str, wanted: impl Fn(&Package) -> bool) -> Option<Vec<String>> {
        let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(id) = queue.pop_front() {
            let package = self.packages.get(id)?;
            if id != from && wanted(package) {
                return Some(self.names_back(id, from, &came_from));
            }
            for next in &package.links {
                // A macro runs in the compiler: what it links is not in the program.
                let is_macro = self
                    .packages
                    .get(next)
                    .is_none_or(|package| package.proc_macro);
                if !is_macro && next != from && !came_from.contains_key(next.as_str()) {
                    came_from.insert(next, id);
                    queue.push_back(next);
                }
            }
        }
        None
    }

    fn names_back(&self, to: &str, from: &str, came_from: &BTreeMap<&str, &str>) -> Vec<String> {
        let mut names = vec![self.packages[to].name.clone()];
        let mut at = to;
        while at != from {
            at = came_from[at];
            names.push(self.packages[at].name.clone());
        }
        names.reverse();
        names
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<RawPackage>,
    workspace_members: Vec<String>,
    resolve: RawResolve,
}

#[derive(Deserialize)]
struct RawPackage {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    targets: Vec<RawTarget>,
}

#[derive(Deserialize)]
struct RawTarget {
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct RawResolve {
    nodes: Vec<RawNode>,
}

#[derive(Deserialize)]
struct RawNode {
    id: String,
    deps: Vec<RawDependency>,
}

#[derive(Deserialize)]
struct RawDependency {
    pkg: String,
    dep_kinds: Vec<RawKind>,
}

#[derive(Deserialize)]
struct RawKind {
    /// Nothing for a normal dependency, else `build` or `dev`.
    kind: Option<String>,
}

impl RawDependency {
    fn is_linked(&self) -> bool {
        self.dep_kinds.iter().any(|kind| kind.kind.is_none())
    }
}

impl From<RawPackage> for Package {
    fn from(raw: RawPackage) -> Self {
        Self {
            name: raw.name,
            version: raw.version,
            license: raw.license,
            proc_macro: raw
                .targets
                .iter()
                .any(|t| t.kind.iter().any(|k| k == "proc-macro")),
            links: BTreeSet::new(),
        }
    }
}

#[cfg(test)]
pub mod testing {
    use super::*;

    /// Crates (their id is their name) and what each links; those named `sealane…` are ours.
    pub fn workspace(crates: &[(&str, &[&str])]) -> Workspace {
        let package = |(name, links): &(&str, &[&str])| {
            let package = Package {
                name: (*name).to_owned(),
                version: "1.0.0".to_owned(),
                license: Some("MIT".to_owned()),
                proc_macro: name.ends_with("-derive"),
                links: links.iter().map(|link| (*link).to_owned()).collect(),
            };
            ((*name).to_owned(), package)
        };
        let ours = crates
            .iter()
            .filter(|(name, _)| name.starts_with("sealane"));
        Workspace {
            packages: crates.iter().map(package).collect(),
            members: ours.map(|(name, _)| (*name).to_owned()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::workspace;
    use super::*;

    #[test]
    fn the_way_is_shown_and_macros_are_not_followed() {
        let crates = workspace(&[
            ("sealane-net", &["ipnet", "serde-derive"]),
            ("ipnet", &["serde"]),
            ("serde", &["libc"]),
            ("serde-derive", &["tokio"]),
            ("libc", &[]),
            ("tokio", &[]),
        ]);
        let way = |name: &str| crates.way("sealane-net", |package| package.name == name);
        assert_eq!(
            way("libc").unwrap(),
            ["sealane-net", "ipnet", "serde", "libc"]
        );
        assert_eq!(way("tokio"), None);
        assert_eq!(way("sealane-net"), None);
    }

    #[test]
    fn only_normal_dependencies_are_linked() {
        let metadata = serde_json::json!({
            "packages": [
                {"id": "a", "name": "a", "version": "1.0.0", "license": "MIT", "targets": [{"kind": ["lib"]}]},
                {"id": "m", "name": "m", "version": "1.0.0", "license": null, "targets": [{"kind": ["proc-macro"]}]},
            ],
            "workspace_members": ["a"],
            "resolve": {"nodes": [{"id": "a", "deps": [
                {"pkg": "m", "dep_kinds": [{"kind": null}, {"kind": "dev"}]},
                {"pkg": "t", "dep_kinds": [{"kind": "dev"}]},
                {"pkg": "b", "dep_kinds": [{"kind": "build"}]},
            ]}]},
        });
        let workspace = Workspace::from_metadata(serde_json::from_value(metadata).unwrap());
        assert_eq!(
            workspace.packages["a"].links,
            BTreeSet::from(["m".to_owned()])
        );
        assert!(workspace.packages["m"].proc_macro);
    }
}

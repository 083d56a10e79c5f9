//! What a pod takes of the node's disk, held against what it may take.
//!
//! Counted are `emptyDir` volumes on disk and the logs of containers: the kubelet also counts what
//! a container writes elsewhere, which here is in memory and counts as the container's memory. As
//! with the kubelet, a pod that has taken more is evicted when that is noticed; nothing keeps it
//! from taking more until then. The words are the kubelet's (`eviction_manager.go`).

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::folder::Folder;
use crate::quantity;

/// The resource's name.
pub const RESOURCE: &str = "ephemeral-storage";

/// What a pod may take.
#[derive(Clone, Debug, PartialEq)]
pub struct Quotas {
    /// `emptyDir` volumes with a limit.
    volumes: Vec<Quota>,
    /// Containers with a limit.
    containers: Vec<Quota>,
    /// All volumes and logs, if containers have limits.
    pod: Option<(Vec<PathBuf>, u64)>,
}

#[derive(Clone, Debug, PartialEq)]
struct Quota {
    name: String,
    path: PathBuf,
    limit: u64,
    text: String,
}

fn quota(name: &str, path: PathBuf, limit: Option<&Quantity>) -> Option<Quota> {
    let text = limit?.0.clone();
    let limit = quantity::units(limit?)?;
    // As in the kubelet, nothing is no limit.
    (limit > 0).then(|| Quota {
        name: name.to_owned(),
        path,
        limit,
        text,
    })
}

/// The limits of a pod; `None` when it has none that must be watched.
pub fn quotas(spec: &PodSpec, folder: &Folder) -> Option<Quotas> {
    let on_disk = spec.volumes.iter().flatten().filter_map(|volume| {
        let empty = volume.empty_dir.as_ref()?;
        let disk = empty.medium.as_deref().unwrap_or_default().is_empty();
        disk.then(|| (volume, empty, folder.volumes().join(&volume.name)))
    });
    let on_disk: Vec<_> = on_disk.collect();
    let volumes: Vec<_> = on_disk
        .iter()
        .filter_map(|(volume, empty, path)| {
            quota(&volume.name, path.clone(), empty.size_limit.as_ref())
        })
        .collect();
    let logs = folder.dir().join("logs");
    let limit = |container: &Container| {
        let limits = container.resources.as_ref()?.limits.as_ref()?;
        quota(
            &container.name,
            logs.join(&container.name),
            limits.get(RESOURCE),
        )
    };
    let containers: Vec<_> = spec.containers.iter().filter_map(limit).collect();
    let total = containers.iter().map(|container| container.limit).sum();
    let pod = (!containers.is_empty()).then(|| {
        let mut paths: Vec<_> = on_disk.into_iter().map(|(_, _, path)| path).collect();
        paths.push(logs);
        (paths, total)
    });
    let any = !volumes.is_empty() || pod.is_some();
    any.then_some(Quotas {
        volumes,
        containers,
        pod,
    })
}

impl Quotas {
    /// Why the pod must go, if it has taken too much. Walks through all of its files.
    pub fn excess(&self) -> Option<String> {
        let exceeded = |quota: &&Quota| usage(&[&quota.path]) > quota.limit;
        if let Some(Quota { name, text, .. }) = self.volumes.iter().find(exceeded) {
            return Some(format!(
                "Usage of EmptyDir volume {name:?} exceeds the limit {text:?}. "
            ));
        }
        if let Some((paths, limit)) = &self.pod
            && usage(paths) > *limit
        {
            return Some(format!(
                "Pod ephemeral local storage usage exceeds the total limit of containers {}. ",
                in_words(*limit)
            ));
        }
        let Quota { name, text, .. } = self.containers.iter().find(exceeded)?;
        Some(format!(
            "Container {name} exceeded its local ephemeral storage limit {text:?}. "
        ))
    }
}

/// Bytes as a quantity with a binary suffix, where that is exact.
fn in_words(bytes: u64) -> String {
    let suffixes = [(30, "Gi"), (20, "Mi"), (10, "Ki")];
    let fits = |(shift, _): &&(u32, &str)| bytes > 0 && bytes.trailing_zeros() >= *shift;
    match suffixes.iter().find(fits) {
        Some((shift, suffix)) => format!("{}{suffix}", bytes >> shift),
        None => bytes.to_string(),
    }
}

/// Bytes that files take on disk, each file once. What goes away meanwhile takes nothing.
fn usage(paths: &[impl AsRef<Path>]) -> u64 {
    let mut total = 0;
    let mut seen = HashSet::new();
    for path in paths {
        // An error is that of a file which has gone, or of a disk which has greater troubles.
        let _ = add(path.as_ref(), &mut seen, &mut total);
    }
    total
}

fn add(path: &Path, seen: &mut HashSet<(u64, u64)>, total: &mut u64) -> io::Result<()> {
    let file = fs::symlink_metadata(path)?;
    if file.nlink() < 2 || file.is_dir() || seen.insert((file.dev(), file.ino())) {
        *total += file.blocks() * 512;
    }
    if file.is_dir() {
        for entry in fs::read_dir(path)? {
            let _ = add(&entry?.path(), seen, total);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn excess(dir: &Path, spec: Value) -> Option<String> {
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        quotas(&spec, &Folder::new(dir, dir.join("memory")))?.excess()
    }

    fn write(path: PathBuf, bytes: usize) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![b'x'; bytes]).unwrap();
    }

    #[test]
    fn a_pod_without_limits_is_not_looked_at() {
        let folder = Folder::new("/x", "/y");
        let spec = json!({"volumes": [{"name": "v", "emptyDir": {}}, {"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}],
            "containers": [{"name": "c", "resources": {"limits": {"memory": "1Mi"}}}]});
        assert_eq!(
            quotas(&serde_json::from_value(spec).unwrap(), &folder),
            None
        );
    }

    #[test]
    fn the_first_limit_that_is_exceeded_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        write(dir.join("volumes/v/deep/file"), 100 << 10);
        fs::hard_link(dir.join("volumes/v/deep/file"), dir.join("volumes/v/again")).unwrap();
        write(dir.join("volumes/w/file"), 300 << 10);
        write(dir.join("logs/c/0.log"), 60 << 10);
        let pod = |volume: &str, c: &str, d: &str| {
            json!({
                "volumes": [{"name": "v", "emptyDir": {"sizeLimit": volume}}, {"name": "w", "emptyDir": {}}],
                "containers": [
                    {"name": "c", "resources": {"limits": {RESOURCE: c}}},
                    {"name": "d", "resources": {"limits": {RESOURCE: d}}},
                ],
            })
        };
        for (volume, c, d, expected) in [
            ("150Ki", "1Mi", "1Mi", None),
            ("0", "1Mi", "1Mi", None),
            (
                "90Ki",
                "1Mi",
                "1Mi",
                Some("Usage of EmptyDir volume \"v\" exceeds the limit \"90Ki\". "),
            ),
            (
                "1Mi",
                "256Ki",
                "128Ki",
                Some(
                    "Pod ephemeral local storage usage exceeds the total limit of containers 384Ki. ",
                ),
            ),
            (
                "1Mi",
                "50Ki",
                "1Mi",
                Some("Container c exceeded its local ephemeral storage limit \"50Ki\". "),
            ),
        ] {
            assert_eq!(
                excess(dir, pod(volume, c, d)).as_deref(),
                expected,
                "{volume} {c} {d}"
            );
        }
    }
}

//! What a former process of this node has left, found at start.
//!
//! A pod whose folder can be read gets its worker back. Whatever cannot be put
//! down to such a pod (a folder without a readable `pod.json`, a socket or a
//! CNI result without a folder) is removed: shim, cgroup, addresses, files.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use sealane_cni::invoke::Attachment;
use sealane_runtime::reset;

use crate::node::{Node, uid_of};

/// The start of the node does not wait longer for a plugin that hangs.
const PLUGIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The pods that can be taken up again; the rest is removed.
pub async fn find(node: &Node) -> Vec<Pod> {
    let (mut pods, mut known) = (Vec::new(), BTreeSet::new());
    let mut strays = names(&node.sockets(), ".sock");
    strays.extend(names(&node.memory_folders(), ""));
    for uid in names(&node.folders(), "") {
        match node.folder(&uid).pod() {
            Some(pod) if pod.metadata.uid.as_deref() == Some(&uid) => {
                known.insert(uid);
                pods.push(pod);
            }
            _ => strays.extend([uid]),
        }
    }
    strays.retain(|uid| !known.contains(uid));
    for uid in strays {
        remove(node, &uid).await;
    }
    release(node, &known).await;
    pods
}

/// The names in a folder without their ending; others are left out.
fn names(dir: &Path, ending: &str) -> BTreeSet<String> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return BTreeSet::new(),
        Err(error) => {
            tracing::error!("look for pods in {}: {error}", dir.display());
            return BTreeSet::new();
        }
    };
    let name = |entry: io::Result<fs::DirEntry>| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        name.strip_suffix(ending).map(str::to_owned)
    };
    entries.filter_map(name).collect()
}

async fn remove(node: &Node, uid: &str) {
    tracing::warn!("remove what is left of pod {uid}, of which nothing is known");
    // Kills whatever answers on the socket: of these pods nothing is worth waiting for.
    if let Err(error) = reset(&node.bare_sandbox(uid)) {
        tracing::error!("{error}");
    }
    if let Err(error) = node.folder(uid).remove() {
        tracing::error!("{error}");
    }
}

/// Gives back the addresses of pods that are not here.
async fn release(node: &Node, known: &BTreeSet<String>) {
    if let Err(error) = node.cni.remove_unfinished() {
        tracing::error!("{error}");
    }
    let cached = node.cni.cached().unwrap_or_else(|error| {
        tracing::error!("{error}");
        Vec::new()
    });
    for left in cached {
        if uid_of(&left.container_id).is_some_and(|uid| known.contains(uid)) {
            continue;
        }
        let attachment = Attachment {
            container_id: left.container_id,
            ifname: left.ifname,
            ..Attachment::default()
        };
        let deleted = node.cni.del(Some(&left.network), &attachment);
        match tokio::time::timeout(PLUGIN_TIMEOUT, deleted).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("{error}; tried again at the next start"),
            Err(_) => tracing::warn!("take a former pod's network down: no answer from the plugin"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_without_their_ending() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.sock", "b.sock", "c"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(
            names(dir.path(), ".sock"),
            ["a", "b"].map(str::to_owned).into()
        );
        assert_eq!(names(&dir.path().join("none"), ""), BTreeSet::new());
    }
}

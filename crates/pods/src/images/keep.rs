//! The node's care for the image store: it tells the API which images are here, and has some
//! collected when the disk is full.
//!
//! Others change the store too, by commands and from other nodes of this machine, so it is looked
//! at and not followed: one `stat` every ten seconds, and its contents only when that has changed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use k8s_openapi::api::core::v1::{ContainerImage, Node};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use sealane_image::{Image, Store, Thresholds};
use sealane_kube::explain;
use serde_json::json;
use tokio::process::Command;

/// How often the store is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// Looks between two of the disk, and between two reports of what has not changed: the kubelet's
/// five minutes.
const DISK: u32 = 30;
/// Most images that a Node lists, as the kubelet's `nodeStatusMaxImages`.
const MAX_IMAGES: usize = 50;

/// Takes care of a store for as long as this runtime lives.
pub fn start(client: Client, node: String, store: Store) {
    let keeper = Keeper {
        nodes: Api::all(client),
        node,
        store,
        told: None,
    };
    tokio::spawn(keeper.run());
}

struct Keeper {
    nodes: Api<Node>,
    node: String,
    store: Store,
    /// Of the table of contents when the API was told last.
    told: Option<SystemTime>,
}

impl Keeper {
    async fn run(mut self) {
        let mut looks = tokio::time::interval(LOOK);
        for count in 0_u32.. {
            looks.tick().await;
            if count.is_multiple_of(DISK) {
                self.told = None;
                self.collect().await;
                self.settle().await;
            }
            self.look().await;
        }
    }

    /// Tells the API when the store has changed.
    async fn look(&mut self) {
        let contents = std::fs::metadata(self.store.dir().join("index.json"));
        let Some(changed) = contents.ok().and_then(|file| file.modified().ok()) else {
            // Nothing was ever put into it.
            return;
        };
        if self.told == Some(changed) {
            return;
        }
        let store = self.store.clone();
        let listed = tokio::task::spawn_blocking(move || store.list()).await;
        let images = match listed {
            Ok(Ok(listing)) => shown(&listing.images),
            Ok(Err(error)) => return tracing::warn!("list images: {error}"),
            Err(error) => return tracing::warn!("list images: {error}"),
        };
        let patch = Patch::Merge(json!({"status": {"images": images}}));
        let told = self
            .nodes
            .patch_status(&self.node, &PatchParams::default(), &patch)
            .await;
        match told {
            Ok(_) => self.told = Some(changed),
            // The Node is about to be made, or the API is away: at the next look.
            Err(error) => tracing::debug!("tell images of this node: {}", explain(&error)),
        }
    }

    /// Has the disk take the layers that pulls have unpacked, which no pod had to wait for.
    async fn settle(&self) {
        if !self.store.dir().exists() {
            return;
        }
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || store.settle()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("settle the image store: {error}"),
            Err(error) => tracing::warn!("settle the image store: {error}"),
        }
    }

    /// Starts a collection when the disk is full.
    async fn collect(&self) {
        if !self.store.dir().exists() || !self.store.is_full(&Thresholds::default()) {
            return;
        }
        tracing::info!("the disk of the image store is full: collecting images");
        let ended = Command::new(PathBuf::from("/proc/self/exe"))
            .args(["image", "prune", "--if-full", "--quiet", "--image-dir"])
            .arg(self.store.dir())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .status()
            .await;
        match ended {
            Ok(status) if status.success() => {}
            Ok(status) => tracing::warn!("collect images: {status}"),
            Err(error) => tracing::warn!("collect images: {error}"),
        }
    }
}

/// The largest images, each once with all its names: those by digest first.
fn shown(images: &[Image]) -> Vec<ContainerImage> {
    let mut by_id: BTreeMap<String, &Image> = BTreeMap::new();
    for image in images {
        by_id.entry(image.id.to_string()).or_insert(image);
    }
    let mut images: Vec<&Image> = by_id.into_values().collect();
    images.sort_by_key(|image| std::cmp::Reverse(image.size_bytes));
    images
        .into_iter()
        .take(MAX_IMAGES)
        .map(|image| {
            let names = image.names.iter().map(ToString::to_string);
            ContainerImage {
                names: Some(image.repo_digests.iter().cloned().chain(names).collect()),
                size_bytes: i64::try_from(image.size_bytes).ok(),
            }
        })
        .collect()
}

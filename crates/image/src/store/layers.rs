//! Layers, unpacked.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::hold::files;
use super::{Documents, Store, lock};
use crate::digest::Digest;
use crate::error::Error;
use crate::unpack;

/// How many digits of a chain id name a layer's directory: few, since overlayfs takes all paths of
/// a container in one page, and enough that nobody finds two that are alike. The whole id is in
/// `layer.json`.
const NAME_LEN: usize = 24;

/// A layer of an image, by its three names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayerPlan {
    /// The blob, compressed or not.
    pub(crate) blob: Digest,
    /// Its size.
    pub(crate) size: u64,
    /// The plain tar.
    pub(crate) diff_id: Digest,
    /// The tar upon those below it.
    pub(crate) chain_id: Digest,
}

/// What `layer.json` says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    chain_id: Digest,
    diff_id: Digest,
    boot: String,
}

/// The layers of an image, lowest first.
pub(crate) fn plan_layers(documents: &Documents) -> Result<Vec<LayerPlan>, Error> {
    let blobs = &documents.manifest.layers;
    let diff_ids = &documents.config.rootfs.diff_ids;
    if blobs.len() != diff_ids.len() {
        let reason = format!(
            "it lists {} layers, the configuration {}",
            blobs.len(),
            diff_ids.len()
        );
        return Err(Error::content(
            "manifest",
            &documents.manifest_digest,
            reason,
        ));
    }
    let mut plans: Vec<LayerPlan> = Vec::with_capacity(blobs.len());
    for (blob, diff_id) in blobs.iter().zip(diff_ids) {
        let chain_id = match plans.last() {
            None => diff_id.clone(),
            Some(below) => Digest::of(format!("{} {diff_id}", below.chain_id).as_bytes()),
        };
        plans.push(LayerPlan {
            blob: blob.digest.clone(),
            size: blob.size,
            diff_id: diff_id.clone(),
            chain_id,
        });
    }
    Ok(plans)
}

impl Store {
    pub(super) fn layer_dir(&self, chain_id: &Digest) -> PathBuf {
        self.dir.join("layers").join(&chain_id.hex()[..NAME_LEN])
    }

    /// The directories of these layers; those that are missing are unpacked from their blobs.
    pub(super) fn layers(&self, plan: &[LayerPlan]) -> Result<Vec<PathBuf>, Error> {
        if plan.iter().all(|layer| self.is_unpacked(layer)) {
            let path = |layer: &LayerPlan| self.layer_dir(&layer.chain_id).join("fs");
            return Ok(plan.iter().map(path).collect());
        }
        self.ingest()?.unpack(plan)
    }

    /// Whether a layer can be used.
    pub(crate) fn is_unpacked(&self, layer: &LayerPlan) -> bool {
        let dir = self.layer_dir(&layer.chain_id);
        read_record(&dir).is_some_and(|record| {
            record.chain_id == layer.chain_id
                && (record.boot == boot_id() || dir.join("synced").exists())
                && dir.join("fs").is_dir()
        })
    }

    /// Waits until the disk has the layers that were unpacked since it was last asked to. Not
    /// needed to use them: without it they are unpacked again after the next boot.
    ///
    /// # Errors
    /// When the store cannot be read or the disk fails.
    pub fn settle(&self) -> Result<(), Error> {
        let boot = boot_id();
        let mut fresh = files(&self.dir.join("layers"))?;
        fresh.retain(|dir| {
            let is_of_now = read_record(dir).is_some_and(|record| record.boot == boot);
            is_of_now && !dir.join("synced").exists()
        });
        if fresh.is_empty() {
            return Ok(());
        }
        let disk = fs::File::open(&self.dir).map_err(Error::io("open", &self.dir))?;
        nix::unistd::syncfs(&disk).map_err(Error::io("sync", &self.dir))?;
        for dir in fresh {
            // Without its mark a layer is unpacked again; it may also have been removed meanwhile.
            let _ = fs::write(dir.join("synced"), "");
        }
        Ok(())
    }

    /// Unpacks a layer upon those below it, unless it is there.
    pub(super) fn unpack_layer(
        &self,
        layer: &LayerPlan,
        below: &[PathBuf],
    ) -> Result<PathBuf, Error> {
        let dir = self.layer_dir(&layer.chain_id);
        let root = dir.join("fs");
        if self.is_unpacked(layer) {
            return Ok(root);
        }
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        let stage = self.dir.join("ingest").join(format!("layer-{name}"));
        let _lock = lock::exclusive(&stage.with_extension("lock"))?;
        if self.is_unpacked(layer) {
            return Ok(root);
        }
        clear(&stage)?;
        // One that a loss of power may have damaged.
        clear(&dir)?;
        let fs_stage = stage.join("fs");
        fs::create_dir_all(&fs_stage).map_err(Error::io("make directory", &fs_stage))?;
        let result = self
            .fill_layer(layer, &fs_stage, below)
            .and_then(|()| record(layer, &stage))
            .and_then(|()| fs::rename(&stage, &dir).map_err(Error::io("put in its place", &dir)));
        if result.is_err() {
            let _ = clear(&stage);
        }
        result.map(|()| root)
    }

    fn fill_layer(&self, layer: &LayerPlan, root: &Path, below: &[PathBuf]) -> Result<(), Error> {
        let path = self.blob_path(&layer.blob);
        let file = match fs::File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::content("layer", &layer.blob, "it is missing"));
            }
            opened => opened.map_err(Error::io("read", &path))?,
        };
        let result = unpack::unpack(file, layer, root, below);
        if matches!(result, Err(Error::Content { .. })) {
            self.drop_blob(&layer.blob);
        }
        result
    }
}

fn read_record(dir: &Path) -> Option<Record> {
    serde_json::from_slice(&fs::read(dir.join("layer.json")).ok()?).ok()
}

fn record(layer: &LayerPlan, stage: &Path) -> Result<(), Error> {
    let record = Record {
        chain_id: layer.chain_id.clone(),
        diff_id: layer.diff_id.clone(),
        boot: boot_id(),
    };
    let path = stage.join("layer.json");
    let text = serde_json::to_vec(&record).expect("a record consists of texts");
    fs::write(&path, text).map_err(Error::io("write", &path))
}

fn clear(dir: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove", dir)(error))
        }
        _ => Ok(()),
    }
}

/// Which boot of the machine this is; the same text all along where the kernel does not tell.
fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map(|id| id.trim().to_owned()).unwrap_or_default()
}

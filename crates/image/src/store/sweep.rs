//! Removing content that has no name any more and that nobody holds.
//!
//! It is removed by whoever has `busy` alone, so neither a pull that has not named its content yet
//! nor a pod that is just being given an image loses anything. What is removed is first moved out
//! of its place: a sweep that is killed leaves a rest in `ingest/`, never half a layer.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::hold::files;
use super::{Documents, Store, lock, plan_layers};
use crate::digest::Digest;
use crate::error::Error;
use crate::model::{Descriptor, Index, Kind};
use crate::platform::Platform;

/// For how long a broken pull may be resumed.
const RESUMABLE: Duration = Duration::from_secs(24 * 3600);

/// What is in use.
#[derive(Default)]
struct Marked {
    blobs: BTreeSet<PathBuf>,
    layers: BTreeSet<PathBuf>,
    used: BTreeSet<PathBuf>,
}

impl Store {
    /// Removes content that nothing names and nobody holds; returns its bytes, or `None` when
    /// somebody is adding content just now.
    ///
    /// # Errors
    /// When the store cannot be read. What cannot be removed is left for the next time.
    pub fn sweep(&self) -> Result<Option<u64>, Error> {
        if !self.dir.join("oci-layout").exists() {
            return Ok(Some(0));
        }
        let Some(_busy) = lock::try_exclusive(&self.dir.join("busy"))? else {
            return Ok(None);
        };
        let marked = self.mark()?;
        let mut freed = 0;
        for algorithm in ["sha256", "sha512"] {
            for blob in files(&self.dir.join("blobs").join(algorithm))? {
                if !marked.blobs.contains(&blob) {
                    freed += remove(&blob);
                }
            }
        }
        for layer in files(&self.dir.join("layers"))? {
            if !marked.layers.contains(&layer) {
                freed += self.remove_layer(&layer);
            }
        }
        for used in files(&self.dir.join("used"))? {
            if !marked.used.contains(&used) {
                remove(&used);
            }
        }
        for rest in files(&self.dir.join("ingest"))? {
            if !is_resumable(&rest) {
                freed += remove(&rest);
            }
        }
        Ok(Some(freed))
    }

    fn mark(&self) -> Result<Marked, Error> {
        let mut marked = Marked::default();
        let named = self.index()?.manifests;
        let held = self.held()?.into_iter().map(|digest| Descriptor {
            media_type: String::new(),
            digest,
            size: 0,
            platform: None,
            annotations: Default::default(),
        });
        for top in named.into_iter().chain(held) {
            self.mark_image(&top, &mut marked);
        }
        Ok(marked)
    }

    /// A damaged image keeps what can be read of it.
    fn mark_image(&self, top: &Descriptor, marked: &mut Marked) {
        marked.blobs.insert(self.blob_path(&top.digest));
        let Ok(bytes) = self.document("manifest", &top.digest) else {
            return;
        };
        let mut manifests = vec![top.clone()];
        if Kind::of(&top.media_type, &bytes) == Some(Kind::Index) {
            manifests = serde_json::from_slice::<Index>(&bytes)
                .unwrap_or_default()
                .manifests;
        }
        for manifest in manifests {
            marked.blobs.insert(self.blob_path(&manifest.digest));
            marked.used.insert(self.used_path(&manifest.digest));
            if let Ok(documents) = self.documents(&manifest, &Platform::here()) {
                self.mark_documents(&documents, marked);
            }
        }
    }

    fn mark_documents(&self, documents: &Documents, marked: &mut Marked) {
        let manifest = &documents.manifest;
        for part in std::iter::once(&manifest.config).chain(&manifest.layers) {
            marked.blobs.insert(self.blob_path(&part.digest));
        }
        for layer in plan_layers(documents).unwrap_or_default() {
            marked.layers.insert(self.layer_dir(&layer.chain_id));
        }
    }

    fn remove_layer(&self, layer: &Path) -> u64 {
        let name = layer.file_name().unwrap_or_default().to_string_lossy();
        let gone = self.dir.join("ingest").join(format!("gone-{name}"));
        match fs::rename(layer, &gone) {
            Ok(()) => remove(&gone),
            Err(error) => {
                tracing::warn!("remove layer {}: {error}", layer.display());
                0
            }
        }
    }

    /// Whether the layers of an image are here as they came, too.
    pub(crate) fn has_all_blobs(&self, manifest: &Digest) -> bool {
        let top = Descriptor {
            media_type: String::new(),
            digest: manifest.clone(),
            size: 0,
            platform: None,
            annotations: Default::default(),
        };
        self.documents(&top, &Platform::here())
            .is_ok_and(|documents| {
                let mut layers = documents.manifest.layers.iter();
                layers.all(|layer| self.has_blob(&layer.digest, Some(layer.size)))
            })
    }
}

/// A blob that was being fetched, not long ago.
fn is_resumable(rest: &Path) -> bool {
    let name = rest.file_name().unwrap_or_default().to_string_lossy();
    let age = fs::metadata(rest)
        .and_then(|file| file.modified())
        .ok()
        .and_then(|time| SystemTime::now().duration_since(time).ok());
    let is_blob = name
        .split_once('-')
        .is_some_and(|(algorithm, hex)| format!("{algorithm}:{hex}").parse::<Digest>().is_ok());
    is_blob && age.is_none_or(|age| age < RESUMABLE)
}

/// Removes a file or a tree; returns the bytes that it had on disk.
fn remove(path: &Path) -> u64 {
    let size = disk_usage(path);
    let removed = match fs::symlink_metadata(path) {
        Ok(file) if file.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Ok(()) => size,
        Err(error) => {
            tracing::warn!("remove {}: {error}", path.display());
            0
        }
    }
}

/// Bytes on disk of a file or a tree. Hard links within a layer count once for each name.
fn disk_usage(path: &Path) -> u64 {
    let Ok(file) = fs::symlink_metadata(path) else {
        return 0;
    };
    let own = file.blocks() * 512;
    if !file.is_dir() {
        return own;
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    own + entries.map(|entry| disk_usage(&entry.path())).sum::<u64>()
}

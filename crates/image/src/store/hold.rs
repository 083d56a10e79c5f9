//! What must not be collected: the layers of pods, and the times of use.
//!
//! A hold lasts as long as a directory that its owner names exists, which for a pod is the one
//! with its logs: nobody has to tell that a pod is gone, and a cluster that is removed with all
//! its files holds nothing any more.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{Image, Store, lock};
use crate::digest::Digest;
use crate::error::Error;

/// What `holds/UID.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Hold {
    /// The hold ends with this directory.
    pub(crate) while_exists: PathBuf,
    /// Images, by the digest of their manifest.
    pub(crate) manifests: BTreeSet<Digest>,
}

impl Store {
    /// Keeps an image from being collected for as long as `while_exists` does, or until
    /// [`Store::release`]. A pod may hold several.
    ///
    /// # Errors
    /// [`Error::Content`] when the image was collected since it was found: find or pull it again.
    pub fn hold(&self, uid: &str, while_exists: &Path, image: &Image) -> Result<(), Error> {
        let path = self.hold_path(uid)?;
        let _busy = lock::shared(&self.dir.join("busy"))?;
        if let Some(gone) = image.layers.iter().find(|layer| !layer.is_dir()) {
            let reason = format!("its layer {} was removed meanwhile", gone.display());
            return Err(Error::content("image", &image.id, reason));
        }
        let mut hold = read(&path).unwrap_or_else(|| Hold {
            while_exists: while_exists.to_owned(),
            manifests: BTreeSet::new(),
        });
        let before = hold.clone();
        hold.while_exists = while_exists.to_owned();
        hold.manifests.insert(image.manifest.clone());
        self.touch_used(&image.manifest);
        if hold == before && path.exists() {
            return Ok(());
        }
        let text = serde_json::to_vec(&hold).expect("a hold consists of texts");
        self.replace(&path, &text)
    }

    /// Ends what a pod holds; one that holds nothing is fine.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn release(&self, uid: &str) -> Result<(), Error> {
        let path = self.hold_path(uid)?;
        for manifest in read(&path).iter().flat_map(|hold| &hold.manifests) {
            self.touch_used(manifest);
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Manifests of images that somebody holds. Holds whose owners are gone are dropped.
    pub(crate) fn held(&self) -> Result<BTreeSet<Digest>, Error> {
        let dir = self.dir.join("holds");
        let mut held = BTreeSet::new();
        for path in files(&dir)? {
            let Some(hold) = read(&path) else {
                continue;
            };
            if hold.while_exists.exists() {
                held.extend(hold.manifests);
                continue;
            }
            hold.manifests
                .iter()
                .for_each(|manifest| self.touch_used(manifest));
            // If that fails it is tried at the next time.
            let _ = fs::remove_file(&path);
        }
        Ok(held)
    }

    /// When an image was used last.
    pub(crate) fn used(&self, manifest: &Digest) -> SystemTime {
        let time = fs::metadata(self.used_path(manifest)).and_then(|file| file.modified());
        time.unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Notes that an image is being used. Merely a hint for the collection, so failures do not matter.
    pub(super) fn touch_used(&self, manifest: &Digest) {
        if let Ok(file) = File::create(self.used_path(manifest)) {
            let _ = file.set_modified(SystemTime::now());
        }
    }

    pub(super) fn used_path(&self, manifest: &Digest) -> PathBuf {
        self.dir.join("used").join(manifest.hex())
    }

    fn hold_path(&self, uid: &str) -> Result<PathBuf, Error> {
        let path = self.dir.join("holds").join(format!("{uid}.json"));
        if uid.is_empty() || uid.starts_with('.') || uid.contains(['/', '\0']) {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "this is no UID of a pod");
            return Err(Error::io("use as a name", &path)(error));
        }
        Ok(path)
    }
}

fn read(path: &Path) -> Option<Hold> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// The files of a directory; none where there is no directory.
pub(super) fn files(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io("read", dir))?,
    };
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

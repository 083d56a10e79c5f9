//! `index.json`: which names stand for what.
//!
//! Names are whole references in the annotation that OCI gives for them; how and when an image
//! came are annotations of ours. Entries that other tools made without a name are left alone.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::{Store, lock};
use crate::error::Error;
use crate::model::{Descriptor, Index};
use crate::reference::Reference;

/// The name of an image in a layout.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
const ORIGIN: &str = "io.sealane.image.origin";
const ADDED: &str = "io.sealane.image.added";
const DIRS: [&str; 7] = [
    "",
    "blobs/sha256",
    "blobs/sha512",
    "layers",
    "holds",
    "used",
    "ingest",
];
const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// How an image came into the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// From a registry, from which it can be had again.
    Pull,
    /// By hand: it is never collected as garbage.
    Import,
}

/// A name and what it stands for.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) reference: Reference,
    pub(crate) descriptor: Descriptor,
    pub(crate) origin: Origin,
    pub(crate) added: String,
}

impl Entry {
    pub(crate) fn now(reference: Reference, descriptor: Descriptor, origin: Origin) -> Self {
        // To the second, as Kubernetes writes times.
        let now = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second());
        Self {
            reference,
            descriptor,
            origin,
            added: now.unwrap_or_default().to_string(),
        }
    }

    fn read(descriptor: &Descriptor) -> Option<Self> {
        let annotation = |key| descriptor.annotations.get(key);
        Some(Self {
            reference: annotation(REF_NAME)?.parse().ok()?,
            origin: match annotation(ORIGIN).map(String::as_str) {
                Some("pull") => Origin::Pull,
                _ => Origin::Import,
            },
            added: annotation(ADDED).cloned().unwrap_or_default(),
            descriptor: descriptor.clone(),
        })
    }

    fn write(self) -> Descriptor {
        let mut descriptor = self.descriptor;
        let origin = match self.origin {
            Origin::Pull => "pull",
            Origin::Import => "import",
        };
        for (key, value) in [
            (REF_NAME, self.reference.canonical()),
            (ORIGIN, origin.to_owned()),
            (ADDED, self.added),
        ] {
            descriptor.annotations.insert(key.to_owned(), value);
        }
        descriptor
    }
}

impl Store {
    /// All names.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>, Error> {
        Ok(self
            .index()?
            .manifests
            .iter()
            .filter_map(Entry::read)
            .collect())
    }

    /// The table as it stands, empty where there is none.
    pub(super) fn index(&self) -> Result<Index, Error> {
        let path = self.dir.join("index.json");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Index::default()),
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        serde_json::from_slice(&bytes).map_err(|error| Error::Store {
            path,
            reason: format!("it is damaged: {error}"),
        })
    }

    /// Changes the table as its only writer; the caller has `busy`, so that nobody sweeps.
    pub(super) fn change(&self, change: impl FnOnce(&mut Vec<Entry>)) -> Result<(), Error> {
        let _lock = lock::exclusive(&self.dir.join("lock"))?;
        let mut index = self.index()?;
        let foreign: Vec<Descriptor> = index
            .manifests
            .iter()
            .filter(|d| Entry::read(d).is_none())
            .cloned()
            .collect();
        let mut entries: Vec<Entry> = index.manifests.iter().filter_map(Entry::read).collect();
        change(&mut entries);
        index.manifests = entries
            .into_iter()
            .map(Entry::write)
            .chain(foreign)
            .collect();
        let text = serde_json::to_vec_pretty(&index)
            .expect("an index has no map with other keys than texts");
        self.replace(&self.dir.join("index.json"), &text)
    }

    /// Makes the layout, on the first addition.
    pub(super) fn make_dirs(&self) -> Result<(), Error> {
        let mark = self.dir.join("oci-layout");
        if mark.exists() {
            return Ok(());
        }
        // Layers hold programs that are set-user-ID, and devices: nobody else may enter.
        let mut private = fs::DirBuilder::new();
        private.recursive(true).mode(0o700);
        for name in DIRS {
            let path = self.dir.join(name);
            private
                .create(&path)
                .map_err(Error::io("make directory", &path))?;
        }
        let _lock = lock::exclusive(&self.dir.join("lock"))?;
        if mark.exists() {
            // Somebody else was first, and may be sweeping by now.
            return Ok(());
        }
        let index = self.dir.join("index.json");
        if !index.exists() {
            let empty =
                serde_json::to_vec(&Index::default()).expect("an empty index can be written");
            self.replace(&index, &empty)?;
        }
        self.replace(&mark, LAYOUT.as_bytes())
    }

    /// Puts a small file in its place, whole and on disk, or not at all.
    pub(super) fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let stage = self.stage("file");
        let write = || {
            let mut file = File::create(&stage)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&stage, path)
        };
        write().map_err(|error| {
            // If that fails it is swept.
            let _ = fs::remove_file(&stage);
            Error::io("write", path)(error)
        })
    }

    /// A name in `ingest/` that nobody else has.
    pub(super) fn stage(&self, kind: &str) -> PathBuf {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{kind}-{}-{number}", std::process::id());
        self.dir.join("ingest").join(name)
    }
}

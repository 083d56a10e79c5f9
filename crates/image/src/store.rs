//! The content store: images of this machine, on disk.
//!
//! ```text
//! DIR/
//!   oci-layout, index.json    an OCI image layout: other tools can read it (skopeo copy oci:DIR:NAME …)
//!   blobs/ALGORITHM/HEX       manifests, configurations, layers as they came, by digest
//!   layers/HEX/fs/            a layer unpacked in overlayfs form; HEX are 24 digits of its chain id
//!   layers/HEX/layer.json     the whole chain id, and in which boot it was written
//!   layers/HEX/synced         the disk has it
//!   holds/UID.json            which layers a pod uses
//!   used/HEX                  when an image (by the digest of its manifest) was last used: the file's time
//!   ingest/                   what is being fetched or unpacked; a rest is resumed or swept
//!   lock                      flock: one writer of index.json
//!   busy                      flock: shared by those who add content, alone for who removes some
//! ```
//!
//! **Nothing is there before it is whole.** Blobs, layers and `index.json` are made beside their
//! place and renamed into it, so a process that is killed leaves a rest in `ingest/` and nothing
//! else. A layer is not synced to disk before it is used, which would cost more than unpacking it, but
//! later ([`Store::settle`]).
//! After a loss of power, which `layer.json` tells by the boot id, a layer that was not synced yet
//! is unpacked again, from a blob whose digest says whether it survived.
//!
//! **Content is verified when it is written**, documents each time they are read, layers when they
//! are unpacked; a container's start then costs some `stat` calls.
//!
//! **Chain ids, not diff ids,** name the unpacked layers: a directory that a layer uses without
//! stating it takes its mode and owner from the layers below, so the same tar over other layers
//! unpacks differently.

mod blob;
mod collect;
mod hold;
mod index;
mod ingest;
mod layers;
mod lock;
mod sweep;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(crate) use blob::{Partial, Slot};
pub use collect::{Collected, Prune, Thresholds};
pub use index::Origin;
pub(crate) use ingest::Ingest;
pub(crate) use layers::{LayerPlan, plan_layers};

use crate::digest::Digest;
use crate::error::Error;
use crate::model::{Config, ConfigFile, Descriptor, Index, Kind, Manifest};
use crate::platform::{self, Platform};
use crate::reference::Reference;
use index::Entry;

/// The largest document that is read into memory.
pub(crate) const MAX_DOCUMENT: u64 = 8 << 20;

/// A content store; cheap to open and to clone, and usable by any number of processes at once.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

/// An image that is complete: containers can run from its layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// The name under which it was found.
    pub reference: Reference,
    /// Digest of the configuration, which is what Docker and Kubernetes call the image's id.
    pub id: Digest,
    /// What the name stands for: the digest of a manifest, or of an index of manifests.
    pub digest: Digest,
    /// The manifest for this platform.
    pub manifest: Digest,
    /// `REPOSITORY@DIGEST` for each repository that it was pulled from.
    pub repo_digests: Vec<String>,
    /// All names that it has in this store.
    pub names: Vec<Reference>,
    /// Bytes of configuration and layers, as a registry holds them.
    pub size_bytes: u64,
    /// For which machines it is.
    pub platform: Platform,
    /// When it was made, as its maker says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// How it came here.
    pub origin: Origin,
    /// When it came here, RFC 3339.
    pub added: String,
    /// How containers run.
    pub config: Config,
    /// Directories of the unpacked layers, lowest first.
    pub layers: Vec<PathBuf>,
}

/// A name in the store whose image is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// The name.
    pub name: String,
    /// What is wrong.
    pub reason: String,
}

/// Everything in a store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// What can be used, by name.
    pub images: Vec<Image>,
    /// What cannot.
    pub broken: Vec<Broken>,
}

/// An image's documents, read and verified.
pub(crate) struct Documents {
    pub(crate) manifest_digest: Digest,
    pub(crate) manifest: Manifest,
    pub(crate) config: ConfigFile,
}

impl Store {
    /// The store in this directory. Nothing is made before something is added.
    pub fn open(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The image of this name, if it is here.
    ///
    /// A name by digest is also answered by an image of the same repository that was pulled by tag.
    ///
    /// # Errors
    /// [`Error::Content`] when it is here and damaged: pulling or importing it again mends it.
    pub fn find(&self, reference: &Reference) -> Result<Option<Image>, Error> {
        let entries = self.entries()?;
        let Some(entry) = self.lookup(&entries, reference) else {
            return Ok(None);
        };
        let mut image = self.load(entry, &entries)?;
        image.reference = reference.clone();
        Ok(Some(image))
    }

    /// All images, one for each name.
    ///
    /// # Errors
    /// When the table of contents cannot be read. A damaged image is among the broken ones.
    pub fn list(&self) -> Result<Listing, Error> {
        let entries = self.entries()?;
        let mut listing = Listing::default();
        for entry in &entries {
            match self.load(entry, &entries) {
                Ok(image) => listing.images.push(image),
                Err(error) => listing.broken.push(Broken {
                    name: entry.reference.to_string(),
                    reason: error.to_string(),
                }),
            }
        }
        listing.images.sort_by(|a, b| a.reference.cmp(&b.reference));
        Ok(listing)
    }

    /// Takes names away; returns those that were there. Content that nothing names any more goes
    /// with the next [`Store::sweep`].
    ///
    /// # Errors
    /// When the table of contents cannot be written.
    pub fn remove(&self, names: &[Reference]) -> Result<Vec<Reference>, Error> {
        let gone = |entry: &Entry| {
            names
                .iter()
                .any(|name| name.canonical() == entry.reference.canonical())
        };
        let mut removed = Vec::new();
        if self.entries()?.iter().any(gone) {
            let _busy = lock::shared(&self.dir.join("busy"))?;
            self.change(|entries| {
                removed = entries
                    .extract_if(.., |e| gone(e))
                    .map(|e| e.reference)
                    .collect();
            })?;
        }
        Ok(removed)
    }

    fn lookup<'a>(&self, entries: &'a [Entry], reference: &Reference) -> Option<&'a Entry> {
        let name = reference.canonical();
        let by_name = entries
            .iter()
            .find(|entry| entry.reference.canonical() == name);
        let digest = reference.digest();
        by_name.or_else(|| {
            let wanted = digest?;
            let mut same = entries
                .iter()
                .filter(|e| e.reference.name() == reference.name());
            same.find(|entry| entry.descriptor.digest == *wanted || self.leads_to(entry, wanted))
        })
    }

    /// Whether the index behind this entry has that manifest for this platform.
    fn leads_to(&self, entry: &Entry, manifest: &Digest) -> bool {
        let documents = self.documents(&entry.descriptor, &Platform::here());
        documents.is_ok_and(|found| found.manifest_digest == *manifest)
    }

    fn load(&self, entry: &Entry, all: &[Entry]) -> Result<Image, Error> {
        let documents = self.documents(&entry.descriptor, &Platform::here())?;
        let plan = plan_layers(&documents)?;
        let layers = self.layers(&plan)?;
        Ok(describe(entry, all, documents, layers))
    }

    /// Reads what describes an image, down from what its name stands for.
    pub(crate) fn documents(&self, top: &Descriptor, here: &Platform) -> Result<Documents, Error> {
        let bytes = self.document("manifest", &top.digest)?;
        let kind = Kind::of(&top.media_type, &bytes);
        let (manifest_digest, bytes) = match kind {
            Some(Kind::Index) => {
                let index: Index = parse("index", &top.digest, &bytes)?;
                let chosen = here.choose(&index).ok_or_else(|| Error::Platform {
                    wanted: here.clone(),
                    offered: platform::offered(&index),
                })?;
                let bytes = self.document("manifest", &chosen.digest)?;
                (chosen.digest.clone(), bytes)
            }
            Some(Kind::Schema1) => {
                return Err(Error::content("manifest", &top.digest, SCHEMA_1));
            }
            Some(Kind::Manifest) | None => (top.digest.clone(), bytes),
        };
        let manifest: Manifest = parse("manifest", &manifest_digest, &bytes)?;
        if let Some(artifact) = manifest.artifact() {
            let reason = format!("it is no container image but {artifact}");
            return Err(Error::content("manifest", &manifest_digest, reason));
        }
        let digest = &manifest.config.digest;
        let config: ConfigFile = parse(
            "configuration",
            digest,
            &self.document("configuration", digest)?,
        )?;
        Ok(Documents {
            manifest_digest,
            manifest,
            config,
        })
    }

    /// A document by its digest, verified.
    pub(crate) fn document(&self, what: &'static str, digest: &Digest) -> Result<Vec<u8>, Error> {
        let path = self.blob_path(digest);
        let len = match fs::metadata(&path) {
            Ok(file) => file.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::content(what, digest, "it is missing"));
            }
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        if len > MAX_DOCUMENT {
            let reason = format!("it has {len} bytes, more than {MAX_DOCUMENT}");
            return Err(Error::content(what, digest, reason));
        }
        let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
        let found = blob::digest_like(digest, &bytes);
        if found != *digest {
            let reason = format!("the file is damaged, it has {found}");
            return Err(Error::content(what, digest, reason));
        }
        Ok(bytes)
    }
}

pub(crate) const SCHEMA_1: &str = "it is in Docker's schema 1 of before 2016, which no current tool makes: build or push the image anew";

/// A document as what it should be.
pub(crate) fn parse<'a, T: serde::Deserialize<'a>>(
    what: &'static str,
    digest: &Digest,
    bytes: &'a [u8],
) -> Result<T, Error> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::content(what, digest, format!("it cannot be understood: {error}")))
}

fn describe(entry: &Entry, all: &[Entry], documents: Documents, layers: Vec<PathBuf>) -> Image {
    let Documents {
        manifest_digest,
        manifest,
        config,
    } = documents;
    let same = || {
        all.iter()
            .filter(|other| other.descriptor.digest == entry.descriptor.digest)
    };
    let pulled = same().filter(|other| other.origin == Origin::Pull);
    let mut repo_digests: Vec<String> = pulled
        .map(|other| format!("{}@{}", other.reference.name(), other.descriptor.digest))
        .collect();
    repo_digests.sort();
    repo_digests.dedup();
    let mut names: Vec<Reference> = same().map(|other| other.reference.clone()).collect();
    names.sort();
    Image {
        reference: entry.reference.clone(),
        id: manifest.config.digest,
        digest: entry.descriptor.digest.clone(),
        manifest: manifest_digest,
        repo_digests,
        names,
        size_bytes: manifest.config.size + manifest.layers.iter().map(|l| l.size).sum::<u64>(),
        platform: Platform {
            os: config.os,
            architecture: config.architecture,
            variant: None,
        },
        created: config.created,
        origin: entry.origin,
        added: entry.added.clone(),
        config: config.config,
        layers,
    }
}

//! The right to add content, which nobody sweeps away before it has a name.

use std::fs::File;
use std::path::PathBuf;

use super::blob::{Partial, Slot};
use super::index::Entry;
use super::layers::LayerPlan;
use super::{Image, Origin, Store, lock, plan_layers};
use crate::digest::Digest;
use crate::error::Error;
use crate::model::Descriptor;
use crate::platform::Platform;
use crate::reference::Reference;

/// Adds content to a store. While it lives nothing is swept.
pub(crate) struct Ingest {
    store: Store,
    _busy: File,
}

impl Store {
    /// Begins to add content; makes the store if there is none.
    pub(crate) fn ingest(&self) -> Result<Ingest, Error> {
        self.make_dirs()?;
        Ok(Ingest {
            _busy: lock::shared(&self.dir.join("busy"))?,
            store: self.clone(),
        })
    }
}

impl Ingest {
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// A place for a blob of this digest; waits while another process fetches it.
    pub(crate) fn slot(&self, digest: &Digest, size: Option<u64>) -> Result<Slot, Error> {
        self.store.slot(digest, size)
    }

    /// A place for content whose digest is not known yet.
    pub(crate) fn unnamed(&self) -> Result<Partial, Error> {
        self.store.unnamed()
    }

    /// Adds a document; returns what it is called.
    pub(crate) fn put(&self, bytes: &[u8]) -> Result<Digest, Error> {
        let digest = Digest::of(bytes);
        self.put_as(bytes, &digest)?;
        Ok(digest)
    }

    /// Adds a document that has been verified.
    pub(crate) fn put_as(&self, bytes: &[u8], digest: &Digest) -> Result<(), Error> {
        let mut partial = self.unnamed()?;
        partial.restart(digest.algorithm())?;
        partial.write(bytes)?;
        match partial.finish(&self.store, digest)? {
            Ok(()) => Ok(()),
            Err(found) => Err(Error::content(
                "document",
                digest,
                format!("it has {found}"),
            )),
        }
    }

    /// Unpacks layers that are not yet; returns their directories, lowest first.
    pub(crate) fn unpack(&self, layers: &[LayerPlan]) -> Result<Vec<PathBuf>, Error> {
        let mut done: Vec<PathBuf> = Vec::with_capacity(layers.len());
        for layer in layers {
            let path = self.store.unpack_layer(layer, &done)?;
            done.push(path);
        }
        Ok(done)
    }

    /// Gives content names; its documents and layers must be there.
    pub(crate) fn name(
        &self,
        top: &Descriptor,
        names: &[Reference],
        origin: Origin,
    ) -> Result<Vec<Image>, Error> {
        let documents = self.store.documents(top, &Platform::here())?;
        self.store.touch_used(&documents.manifest_digest);
        self.unpack(&plan_layers(&documents)?)?;
        let bare = Descriptor {
            annotations: Default::default(),
            platform: None,
            ..top.clone()
        };
        self.store.change(|entries| {
            for name in names {
                entries.retain(|entry| entry.reference.canonical() != name.canonical());
                entries.push(Entry::now(name.clone(), bare.clone(), origin));
            }
        })?;
        let find = |name: &Reference| {
            self.store
                .find(name)?
                .ok_or_else(|| Error::content("manifest", &top.digest, "it was removed meanwhile"))
        };
        names.iter().map(find).collect()
    }
}

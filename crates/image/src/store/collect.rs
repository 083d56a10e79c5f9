//! Which images go: by hand, or because the disk is full (Kubernetes, garbage collection of images).
//!
//! Never one that a pod holds. By itself, never one that was imported: it could not be had again.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use nix::sys::statvfs::statvfs;
use serde::Serialize;

use super::index::Entry;
use super::{Origin, Store};
use crate::digest::Digest;
use crate::error::Error;
use crate::platform::Platform;
use crate::reference::Reference;

/// When images are collected; by default as the kubelet does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Collection begins when so much of the disk is used.
    pub high_percent: u8,
    /// And ends when no more than this is.
    pub low_percent: u8,
    /// Images that were used more recently stay.
    pub min_age: Duration,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            high_percent: 85,
            low_percent: 80,
            min_age: Duration::from_secs(120),
        }
    }
}

/// Which images that no pod uses are removed by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// Those that were pulled, and can be pulled again.
    Pulled,
    /// Also those that were imported.
    All,
}

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Collected {
    /// Names that are gone.
    pub removed: Vec<Reference>,
    /// Bytes on disk.
    pub freed_bytes: u64,
    /// Somebody was adding images, so the content goes at the next time.
    pub postponed: bool,
}

/// An image that may go, with all its names.
struct Unused {
    names: Vec<Reference>,
    last_used: SystemTime,
}

impl Store {
    /// Removes images that no pod uses, and all content without a name.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub fn prune(&self, which: Prune) -> Result<Collected, Error> {
        let mut collected = Collected::default();
        for image in self.unused(which)? {
            collected.removed.extend(self.remove(&image.names)?);
        }
        self.sweep_into(&mut collected)?;
        Ok(collected)
    }

    /// Whether [`Store::collect`] would do anything: one system call.
    pub fn is_full(&self, thresholds: &Thresholds) -> bool {
        self.disk()
            .is_some_and(|disk| disk.used_percent() >= thresholds.high_percent.into())
    }

    /// Removes images that were pulled and that nobody has used for long, the longest first, until
    /// the disk is as empty as it should be.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub fn collect(&self, thresholds: &Thresholds) -> Result<Collected, Error> {
        let mut collected = Collected::default();
        if !self.is_full(thresholds) {
            return Ok(collected);
        }
        self.sweep_into(&mut collected)?;
        let now = SystemTime::now();
        for image in self.unused(Prune::Pulled)? {
            let low = self
                .disk()
                .is_none_or(|disk| disk.used_percent() <= thresholds.low_percent.into());
            if low || collected.postponed {
                break;
            }
            let age = now.duration_since(image.last_used).unwrap_or_default();
            if age >= thresholds.min_age {
                collected.removed.extend(self.remove(&image.names)?);
                self.sweep_into(&mut collected)?;
            }
        }
        Ok(collected)
    }

    fn sweep_into(&self, collected: &mut Collected) -> Result<(), Error> {
        match self.sweep()? {
            Some(bytes) => collected.freed_bytes += bytes,
            None => collected.postponed = true,
        }
        Ok(())
    }

    /// Names of images that pods hold.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn in_use(&self) -> Result<BTreeSet<Reference>, Error> {
        let held = self.held()?;
        let entries = self.entries()?;
        let is_held = |entry: &&Entry| self.manifest_of(entry).is_some_and(|m| held.contains(&m));
        Ok(entries
            .iter()
            .filter(is_held)
            .map(|entry| entry.reference.clone())
            .collect())
    }

    /// Images without a pod, the longest unused first.
    fn unused(&self, which: Prune) -> Result<Vec<Unused>, Error> {
        let held = self.held()?;
        let entries = self.entries()?;
        let mut images: Vec<(Option<Digest>, Vec<&Entry>)> = Vec::new();
        for entry in &entries {
            let manifest = self.manifest_of(entry);
            match images
                .iter_mut()
                .find(|(other, _)| other.is_some() && *other == manifest)
            {
                Some((_, same)) => same.push(entry),
                None => images.push((manifest, vec![entry])),
            }
        }
        let may_go = |(manifest, entries): &(Option<Digest>, Vec<&Entry>)| {
            let is_held = manifest
                .as_ref()
                .is_some_and(|manifest| held.contains(manifest));
            let imported = entries.iter().any(|entry| entry.origin == Origin::Import);
            !is_held && (which == Prune::All || !imported)
        };
        let mut unused: Vec<Unused> = images
            .into_iter()
            .filter(may_go)
            .map(|(manifest, entries)| Unused {
                last_used: manifest.map_or(SystemTime::UNIX_EPOCH, |manifest| self.used(&manifest)),
                names: entries
                    .into_iter()
                    .map(|entry| entry.reference.clone())
                    .collect(),
            })
            .collect();
        unused.sort_by_key(|image| image.last_used);
        Ok(unused)
    }

    /// `None` for a damaged image.
    fn manifest_of(&self, entry: &Entry) -> Option<Digest> {
        let documents = self.documents(&entry.descriptor, &Platform::here());
        documents.ok().map(|documents| documents.manifest_digest)
    }

    fn disk(&self) -> Option<Disk> {
        let disk = statvfs(&self.dir).ok()?;
        Some(Disk {
            capacity: disk.blocks() * disk.fragment_size(),
            available: disk.blocks_available() * disk.fragment_size(),
        })
    }
}

/// The disk of a store, in bytes.
struct Disk {
    capacity: u64,
    available: u64,
}

impl Disk {
    /// As the kubelet counts: what only root may use counts as used.
    fn used_percent(&self) -> u64 {
        100 - (self.available * 100)
            .checked_div(self.capacity)
            .unwrap_or(100)
            .min(100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_available_is_used() {
        let percent = |capacity, available| {
            Disk {
                capacity,
                available,
            }
            .used_percent()
        };
        assert_eq!(
            (
                percent(100, 15),
                percent(100, 0),
                percent(0, 0),
                percent(1000, 151)
            ),
            (85, 100, 0, 85)
        );
    }
}

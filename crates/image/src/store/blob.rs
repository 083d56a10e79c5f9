//! Blobs: content by digest, and how it gets there.
//!
//! A blob that is being fetched is a file of `ingest/`, named by its digest and locked by whoever
//! writes it. Who comes second waits, and then finds the blob; who comes after a death finds the
//! rest and goes on behind it.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{Store, lock};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::Error;

/// The digest of these bytes by the algorithm of that one.
pub(super) fn digest_like(like: &Digest, bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(like.algorithm());
    hasher.update(bytes);
    hasher.finish()
}

/// Whether a blob is there or has to be written.
pub(crate) enum Slot {
    /// It is there.
    Present,
    /// It is ours to write, perhaps from the middle.
    Missing(Box<Partial>),
}

/// A blob that is being written.
pub(crate) struct Partial {
    file: File,
    path: PathBuf,
    len: u64,
    hasher: Hasher,
}

impl Partial {
    /// Opens the file for a blob, behind what is there of it.
    fn resume(path: PathBuf, file: File, algorithm: Algorithm) -> Result<Self, Error> {
        let mut partial = Self {
            file,
            path,
            len: 0,
            hasher: Hasher::new(algorithm),
        };
        partial.reread().map_err(Error::io("read", &partial.path))?;
        Ok(partial)
    }

    fn reread(&mut self) -> io::Result<()> {
        let mut reader = BufReader::with_capacity(1 << 18, &self.file);
        let mut buffer = vec![0; 1 << 18];
        loop {
            let n = reader.read(&mut buffer)?;
            if n == 0 {
                return Ok(());
            }
            self.hasher.update(&buffer[..n]);
            self.len += n as u64;
        }
    }

    /// Bytes that are there.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Adds bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file
            .write_all(bytes)
            .map_err(Error::io("write", &self.path))?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Starts over.
    pub(crate) fn restart(&mut self, algorithm: Algorithm) -> Result<(), Error> {
        let clear = |file: &mut File| {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0)).map(drop)
        };
        clear(&mut self.file).map_err(Error::io("truncate", &self.path))?;
        self.len = 0;
        self.hasher = Hasher::new(algorithm);
        Ok(())
    }

    /// Puts it in its place if it is what it should be. Otherwise the file goes, and what it is comes back.
    pub(crate) fn finish(
        self,
        store: &Store,
        expected: &Digest,
    ) -> Result<Result<(), Digest>, Error> {
        let found = self.hasher.finish();
        if found != *expected {
            // It would be found damaged again by whoever resumed it.
            fs::remove_file(&self.path).map_err(Error::io("remove", &self.path))?;
            return Ok(Err(found));
        }
        install(&self.path, &store.blob_path(expected))?;
        Ok(Ok(()))
    }

    /// Puts it in its place, whatever it is.
    pub(crate) fn finish_as_found(self, store: &Store) -> Result<(Digest, u64), Error> {
        let found = self.hasher.finish();
        install(&self.path, &store.blob_path(&found))?;
        Ok((found, self.len))
    }
}

fn install(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(Error::io("put in its place", to))
}

impl Store {
    /// Where a blob is, or would be.
    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        let algorithm = digest.algorithm().as_str();
        self.dir.join("blobs").join(algorithm).join(digest.hex())
    }

    /// Whether a blob is there, by its size where it is known.
    pub(crate) fn has_blob(&self, digest: &Digest, size: Option<u64>) -> bool {
        fs::metadata(self.blob_path(digest)).is_ok_and(|file| size.is_none_or(|s| s == file.len()))
    }

    /// Forgets a blob that proved to be damaged.
    pub(crate) fn drop_blob(&self, digest: &Digest) {
        // If that fails it is found damaged again.
        let _ = fs::remove_file(self.blob_path(digest));
    }

    /// A place for a blob of this digest; waits while another process fetches it.
    pub(super) fn slot(&self, digest: &Digest, size: Option<u64>) -> Result<Slot, Error> {
        if self.has_blob(digest, size) {
            return Ok(Slot::Present);
        }
        let name = format!("{}-{}", digest.algorithm().as_str(), digest.hex());
        let path = self.dir.join("ingest").join(name);
        loop {
            let file = lock::exclusive(&path)?;
            if self.has_blob(digest, size) {
                // Whoever had the lock before has put it there; this is a new, empty file.
                let _ = fs::remove_file(&path);
                return Ok(Slot::Present);
            }
            if is_current(&file, &path) {
                return Partial::resume(path, file, digest.algorithm())
                    .map(|partial| Slot::Missing(Box::new(partial)));
            }
        }
    }

    /// A place for content whose digest is not known yet.
    pub(super) fn unnamed(&self) -> Result<Partial, Error> {
        let path = self.stage("unnamed");
        let mut partial = Partial {
            file: lock::exclusive(&path)?,
            path,
            len: 0,
            hasher: Hasher::new(Algorithm::Sha256),
        };
        partial.restart(Algorithm::Sha256)?;
        Ok(partial)
    }
}

/// Whether the locked file is still the one of that name.
fn is_current(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let same = |a: fs::Metadata, b: fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    file.metadata()
        .and_then(|a| Ok(same(a, fs::metadata(path)?)))
        .unwrap_or(false)
}

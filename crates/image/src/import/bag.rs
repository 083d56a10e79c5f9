//! What an archive holds, by path.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::blob_digest;
use crate::compression;
use crate::digest::Digest;
use crate::error::Error;
use crate::model::{Descriptor, Index, Kind as Document, Manifest};
use crate::platform::Platform;
use crate::store::{Ingest, MAX_DOCUMENT, Partial, Slot, parse};
use crate::tarball::{Entry, Kind, Tarball};

/// Bytes of documents that are remembered in all.
const MAX_DOCUMENTS: u64 = 64 << 20;
const BUFFER: usize = 256 << 10;

/// The content of an archive.
#[derive(Default)]
pub(super) struct Bag {
    /// A layout as a directory, whose blobs are taken when they are needed.
    dir: Option<PathBuf>,
    documents: HashMap<String, Vec<u8>>,
    /// Files that are in the store now.
    blobs: HashMap<String, (Digest, u64)>,
    links: HashMap<String, String>,
    /// Blobs that are not what they are called.
    damaged: HashMap<Digest, String>,
}

impl Bag {
    /// The directory of a layout.
    pub(super) fn directory(dir: &Path) -> Result<Self, Error> {
        let mut bag = Self {
            dir: Some(dir.to_owned()),
            ..Self::default()
        };
        for name in ["index.json", "oci-layout"] {
            let path = dir.join(name);
            match fs::read(&path) {
                Ok(bytes) => drop(bag.documents.insert(name.to_owned(), bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("read", &path)(error)),
            }
        }
        Ok(bag)
    }

    /// A tar, compressed or not.
    pub(super) fn tar(stream: Box<dyn Read + Send>, ingest: &Ingest) -> Result<Self, Error> {
        let broken =
            |error: io::Error| Error::Archive(format!("the archive cannot be read: {error}"));
        let input = BufReader::with_capacity(BUFFER, stream);
        let plain = compression::plain(input).map_err(broken)?;
        let mut tarball = Tarball::new(BufReader::with_capacity(BUFFER, plain));
        let mut bag = Self::default();
        let mut remembered = 0;
        while let Some(entry) = tarball.next().map_err(broken)? {
            let path = tidy(&entry.path);
            match entry.kind {
                Kind::File => bag.add_file(path, &entry, &mut tarball, ingest, &mut remembered)?,
                Kind::Symlink => drop(bag.links.insert(path.clone(), beside(&path, &entry.link))),
                Kind::HardLink => drop(bag.links.insert(path, tidy(&entry.link))),
                _ => {}
            }
        }
        Ok(bag)
    }

    fn add_file<R: BufRead>(
        &mut self,
        path: String,
        entry: &Entry,
        data: &mut Tarball<R>,
        ingest: &Ingest,
        remembered: &mut u64,
    ) -> Result<(), Error> {
        if let Some(digest) = blob_digest(&path) {
            return self.add_blob(path, digest, entry.size, data, ingest);
        }
        let is_document = path.ends_with(".json") || path == "repositories" || path == "oci-layout";
        if is_document && entry.size <= MAX_DOCUMENT {
            *remembered += entry.size;
            if *remembered > MAX_DOCUMENTS {
                return Err(Error::Archive(format!(
                    "it holds more than {MAX_DOCUMENTS} bytes of JSON"
                )));
            }
            let mut bytes = Vec::new();
            data.read_to_end(&mut bytes).map_err(unreadable)?;
            self.documents.insert(path, bytes);
            return Ok(());
        }
        if !path.contains(".tar") {
            return Ok(());
        }
        let mut partial = ingest.unnamed()?;
        fill(&mut partial, data)?;
        let found = partial.finish_as_found(ingest.store())?;
        self.blobs.insert(path, found);
        Ok(())
    }

    fn add_blob<R: BufRead>(
        &mut self,
        path: String,
        digest: Digest,
        size: u64,
        data: &mut Tarball<R>,
        ingest: &Ingest,
    ) -> Result<(), Error> {
        if let Slot::Missing(partial) = ingest.slot(&digest, Some(size))? {
            self.verify(*partial, &digest, data, ingest)?;
        }
        self.blobs.insert(path, (digest, size));
        Ok(())
    }

    fn verify(
        &mut self,
        mut partial: Partial,
        digest: &Digest,
        data: &mut impl BufRead,
        ingest: &Ingest,
    ) -> Result<(), Error> {
        partial.restart(digest.algorithm())?;
        fill(&mut partial, data)?;
        if let Err(found) = partial.finish(ingest.store(), digest)? {
            let reason = format!("it is damaged in the archive, it has {found}");
            self.damaged.insert(digest.clone(), reason);
        }
        Ok(())
    }

    /// A document by its path; links are followed.
    pub(super) fn document(&self, path: &str) -> Option<&[u8]> {
        self.documents.get(self.follow(path)).map(Vec::as_slice)
    }

    /// A file that is a blob by its path; links are followed.
    pub(super) fn blob(&self, path: &str) -> Option<(Digest, u64)> {
        let path = self.follow(path);
        self.blobs.get(path).cloned()
    }

    fn follow<'a>(&'a self, path: &'a str) -> &'a str {
        let mut at = path;
        for _ in 0..8 {
            match self.links.get(at) {
                Some(target) => at = target,
                None => break,
            }
        }
        at
    }

    /// Takes the blobs of an image out of a directory; those of a tar are in the store already.
    pub(super) fn bring(&self, ingest: &Ingest, top: &Descriptor) -> Result<(), Error> {
        let Some(dir) = &self.dir else {
            return Ok(());
        };
        self.copy(dir, ingest, &top.digest)?;
        let bytes = ingest.store().document("manifest", &top.digest)?;
        let mut manifest = bytes;
        if Document::of(&top.media_type, &manifest) == Some(Document::Index) {
            let index: Index = parse("index", &top.digest, &manifest)?;
            // Without one for here the store says so later.
            let Some(chosen) = Platform::here().choose(&index) else {
                return Ok(());
            };
            self.copy(dir, ingest, &chosen.digest)?;
            manifest = ingest.store().document("manifest", &chosen.digest)?;
        }
        let manifest: Manifest = parse("manifest", &top.digest, &manifest)?;
        for part in std::iter::once(&manifest.config).chain(&manifest.layers) {
            self.copy(dir, ingest, &part.digest)?;
        }
        Ok(())
    }

    fn copy(&self, dir: &Path, ingest: &Ingest, digest: &Digest) -> Result<(), Error> {
        let path = dir
            .join("blobs")
            .join(digest.algorithm().as_str())
            .join(digest.hex());
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened.map_err(Error::io("read", &path))?,
        };
        let size = file.metadata().map_err(Error::io("read", &path))?.len();
        let Slot::Missing(mut partial) = ingest.slot(digest, Some(size))? else {
            return Ok(());
        };
        partial.restart(digest.algorithm())?;
        fill(&mut partial, &mut BufReader::with_capacity(BUFFER, file))?;
        match partial.finish(ingest.store(), digest)? {
            Ok(()) => Ok(()),
            Err(found) => {
                let reason = format!("{} is damaged, it has {found}", path.display());
                Err(Error::content("blob", digest, reason))
            }
        }
    }

    /// An error about content, with what is known of it from the archive.
    pub(super) fn explain(&self, error: Error) -> Error {
        match error {
            Error::Content {
                what,
                digest,
                reason,
            } => {
                let known = self.damaged.get(&digest).cloned();
                let missing = || match reason.as_str() {
                    "it is missing" => "it is missing in the archive".to_owned(),
                    _ => reason.clone(),
                };
                let reason = known.unwrap_or_else(missing);
                Error::Content {
                    what,
                    digest,
                    reason,
                }
            }
            other => other,
        }
    }
}

fn unreadable(error: io::Error) -> Error {
    Error::Archive(format!("the archive cannot be read: {error}"))
}

fn fill(partial: &mut Partial, data: &mut impl BufRead) -> Result<(), Error> {
    loop {
        let bytes = data.fill_buf().map_err(unreadable)?;
        let n = bytes.len();
        if n == 0 {
            return Ok(());
        }
        partial.write(bytes)?;
        data.consume(n);
    }
}

/// A path as the documents of an archive write it: without `./`. It is a key, never a place on disk.
fn tidy(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    let parts = text.split('/').filter(|part| !matches!(*part, "" | "."));
    parts.collect::<Vec<_>>().join("/")
}

/// Where a symbolic link leads.
fn beside(path: &str, link: &[u8]) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    let link = String::from_utf8_lossy(link);
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_from_their_own_directory() {
        assert_eq!(tidy(b"./a//b"), "a/b");
        assert_eq!(beside("a/layer.tar", b"../b/layer.tar"), "b/layer.tar");
        assert_eq!(beside("layer.tar", b"../../x"), "x");
    }
}

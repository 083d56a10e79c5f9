//! Images from archives: OCI layouts and what `docker save` writes, as tar (plain, gzip, zstd) or,
//! for layouts, as a directory.
//!
//! A tar is read once, from its beginning to its end, so it may come from a pipe: what looks like a
//! blob goes into the store at once, documents are remembered, and only then is it seen which
//! images there are. What they do not use has no name and is swept.
//!
//! Each image succeeds or fails by itself, so one damaged layer does not take the others with it.

mod bag;
mod docker;
mod layout;

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::error::Error;
use crate::model::Descriptor;
use crate::reference::Reference;
use crate::store::{Image, Ingest, Origin, Store};
use bag::Bag;

/// Where an archive comes from.
pub enum Source {
    /// A file, or the directory of an OCI layout.
    Path(PathBuf),
    /// A pipe.
    Stream(Box<dyn Read + Send>),
}

/// What became of the images of an archive.
#[derive(Debug, Default)]
pub struct Imported {
    /// Those that can be used now, one for each name.
    pub images: Vec<Image>,
    /// Those that cannot.
    pub failed: Vec<Failed>,
}

/// An image of an archive that cannot be used.
#[derive(Debug)]
pub struct Failed {
    /// Its name, as the archive writes it.
    pub name: String,
    /// Why it cannot.
    pub error: Error,
}

/// An image that was found in an archive; its content may still prove to be incomplete.
struct Candidate {
    /// Names that the archive gives it.
    names: Vec<String>,
    top: Descriptor,
}

impl Store {
    /// Takes over the images of an archive. `names`, if there are any, replace those that the
    /// archive gives, and then it must hold one image.
    ///
    /// # Errors
    /// [`Error::Archive`] when the source is no archive of images, or is damaged as a whole.
    pub fn import(&self, source: Source, names: &[Reference]) -> Result<Imported, Error> {
        let ingest = self.ingest()?;
        let mut bag = match source {
            Source::Path(path) if path.is_dir() => Bag::directory(&path)?,
            Source::Path(path) => {
                let file = std::fs::File::open(&path).map_err(Error::io("open", &path))?;
                Bag::tar(Box::new(file), &ingest).map_err(|error| within(&path, error))?
            }
            Source::Stream(stream) => Bag::tar(stream, &ingest)?,
        };
        let candidates = match (layout::candidates(&bag)?, docker::is_archive(&bag)) {
            (Some(candidates), _) => candidates,
            (None, true) => docker::candidates(&bag, &ingest)?,
            (None, false) => return Err(Error::Archive(NOT_AN_ARCHIVE.to_owned())),
        };
        take(&ingest, &mut bag, candidates, names)
    }
}

const NOT_AN_ARCHIVE: &str = "it holds no images: expected is an OCI layout (index.json) or what \
    `docker save` writes (manifest.json), as tar, .tar.gz, .tar.zst, or a directory";

fn within(path: &Path, error: Error) -> Error {
    match error {
        Error::Archive(reason) => Error::Archive(format!("{}: {reason}", path.display())),
        other => other,
    }
}

fn take(
    ingest: &Ingest,
    bag: &mut Bag,
    candidates: Vec<Candidate>,
    names: &[Reference],
) -> Result<Imported, Error> {
    if !names.is_empty() && candidates.len() != 1 {
        let count = candidates.len();
        return Err(Error::Archive(format!(
            "it holds {count} images: one name cannot be given to all of them"
        )));
    }
    let mut imported = Imported::default();
    for candidate in candidates {
        let (chosen, mut failed) = choose_names(&candidate, names);
        imported.failed.append(&mut failed);
        if chosen.is_empty() {
            continue;
        }
        match take_one(ingest, bag, &candidate.top, &chosen) {
            Ok(images) => imported.images.extend(images),
            Err(error) => imported.failed.push(Failed {
                name: candidate
                    .names
                    .first()
                    .cloned()
                    .unwrap_or_else(|| chosen[0].to_string()),
                error: bag.explain(error),
            }),
        }
    }
    Ok(imported)
}

fn take_one(
    ingest: &Ingest,
    bag: &Bag,
    top: &Descriptor,
    names: &[Reference],
) -> Result<Vec<Image>, Error> {
    bag.bring(ingest, top)?;
    ingest.name(top, names, Origin::Import)
}

/// The names that an image gets, and those of the archive that are none.
fn choose_names(candidate: &Candidate, given: &[Reference]) -> (Vec<Reference>, Vec<Failed>) {
    if !given.is_empty() {
        return (given.to_vec(), Vec::new());
    }
    let unnamed = |name: String, reason: &str| Failed {
        name,
        error: Error::Archive(format!("{reason}; name it with --tag NAME")),
    };
    if candidate.names.is_empty() {
        let digest = candidate.top.digest.to_string();
        return (
            Vec::new(),
            vec![unnamed(
                digest,
                "the archive does not say what the image is called",
            )],
        );
    }
    let (mut names, mut failed) = (Vec::new(), Vec::new());
    for text in &candidate.names {
        match text.parse::<Reference>() {
            // `1.25` could be a repository, and never is.
            _ if !text.contains([':', '/']) => {
                failed.push(unnamed(text.clone(), "the archive gives only a tag"));
            }
            Ok(name) => names.push(name),
            Err(error) => failed.push(unnamed(text.clone(), &error.to_string())),
        }
    }
    (names, failed)
}

/// A digest that is a path in a layout: `blobs/sha256/HEX`.
fn blob_digest(path: &str) -> Option<Digest> {
    let (algorithm, hex) = path.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}

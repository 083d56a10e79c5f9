//! Why an image cannot be had from here, each variant for another reaction.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::digest::Digest;
use crate::platform::Platform;

/// Why the store cannot do what it was asked for.
#[derive(Debug, Error)]
pub enum Error {
    /// This machine refused.
    #[error("{action} {path}: {source}", path = .path.display())]
    Io {
        /// What was tried: `read`, `make directory`.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The store's table of contents, or its mark, is not what it must be.
    #[error("read image store {path}: {reason}; move the file away to start with an empty store", path = .path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Something that the image consists of is damaged or gone: pull or import it again.
    #[error("{what} {digest}: {reason}")]
    Content {
        /// `layer`, `manifest`, `configuration`.
        what: &'static str,
        /// Its name.
        digest: Digest,
        /// What is wrong with it.
        reason: String,
    },
    /// A layer holds what may not be unpacked.
    #[error("unpack layer {digest}: {reason}")]
    Layer {
        /// The layer, compressed.
        digest: Digest,
        /// What it holds.
        reason: String,
    },
    /// The image is for other machines.
    #[error("no image for {wanted}: there are {offered}")]
    Platform {
        /// What this machine is.
        wanted: Platform,
        /// What there is.
        offered: String,
    },
    /// A file is no archive of images.
    #[error("{0}")]
    Archive(String),
}

impl Error {
    /// For `map_err` of a system call.
    pub(crate) fn io<'a, E: Into<io::Error>>(
        action: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(E) -> Self + 'a {
        move |source| Self::Io {
            action,
            path: path.to_owned(),
            source: source.into(),
        }
    }

    pub(crate) fn content(what: &'static str, digest: &Digest, reason: impl ToString) -> Self {
        Self::Content {
            what,
            digest: digest.clone(),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn layer(digest: &Digest, reason: impl ToString) -> Self {
        Self::Layer {
            digest: digest.clone(),
            reason: reason.to_string(),
        }
    }
}

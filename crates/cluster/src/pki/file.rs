//! Files with a mode and an owner from their first byte on.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use super::PkiError;
use crate::owner::Owner;

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PkiError {
    move |source| PkiError::File {
        verb,
        path: path.to_owned(),
        source,
    }
}

/// Makes a directory with this mode, or gives it to one that exists.
pub fn create_dir(path: &Path, mode: u32) -> Result<(), PkiError> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        .map_err(failed("create directory", path))
}

/// Replaces a file as a whole: a reader sees the old text or the new one.
pub fn write(path: &Path, text: &str, mode: u32, owner: Owner) -> Result<(), PkiError> {
    let new = path.with_extension("new");
    let write = || {
        _ = fs::remove_file(&new);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&new)?;
        if let Some(uid) = owner.uid() {
            fchown(&file, Some(uid), Some(uid))?;
        }
        file.write_all(text.as_bytes())?;
        fs::rename(&new, path)
    };
    write().map_err(failed("write", path))
}

/// As [`fn@write`], unless the file has that text already.
pub fn write_if_changed(path: &Path, text: &str, mode: u32, owner: Owner) -> Result<(), PkiError> {
    if read(path)?.as_deref() == Some(text) {
        return Ok(());
    }
    write(path, text, mode, owner)
}

/// A file's text; `None` when there is none, or it is no text.
pub fn read(path: &Path) -> Result<Option<String>, PkiError> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8(bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

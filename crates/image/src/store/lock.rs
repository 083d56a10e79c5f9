//! Advisory locks (flock(2)), which the kernel releases however their holder ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::Error;

/// Opens a file for locking; its content is left alone.
pub(super) fn open(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(Error::io("open", path))
}

/// Waits until nobody else has it.
pub(super) fn exclusive(path: &Path) -> Result<File, Error> {
    let file = open(path)?;
    file.lock().map_err(Error::io("lock", path))?;
    Ok(file)
}

/// Waits until nobody has it alone.
pub(super) fn shared(path: &Path) -> Result<File, Error> {
    let file = open(path)?;
    file.lock_shared().map_err(Error::io("lock", path))?;
    Ok(file)
}

/// Takes it if nobody has it.
pub(super) fn try_exclusive(path: &Path) -> Result<Option<File>, Error> {
    let file = open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", path)(error)),
    }
}

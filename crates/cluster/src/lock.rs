//! One `up` or `down` of a cluster at a time.
//!
//! A lock is a file with an advisory lock (flock(2)), which the kernel releases
//! however its holder ends. The file itself is removed with the cluster, so
//! whoever got the lock checks that the file it locked is still the one of that
//! name, and otherwise tries again.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thiserror::Error;

/// How often a held lock is tried again.
const RETRY: Duration = Duration::from_millis(5);

/// Why a lock was not had.
#[derive(Debug, Error)]
pub enum LockError {
    /// The file cannot be made or locked.
    #[error("lock {path}: {source}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Somebody has it.
    #[error("lock {path}: held by process {holder}, another `sealane up` or `down`; wait until it is done, or stop it", path = .path.display())]
    Held {
        /// The file.
        path: PathBuf,
        /// Who has it.
        holder: String,
    },
}

/// A lock that is held; dropping it releases it.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Takes the lock, waiting for at most `patience`. Makes the file and its
    /// directory.
    ///
    /// # Errors
    /// [`LockError::Held`] when somebody else has it for that long.
    pub fn acquire(path: &Path, patience: Duration) -> Result<Self, LockError> {
        let deadline = Instant::now() + patience;
        let failed = |source| LockError::File {
            path: path.to_owned(),
            source,
        };
        let mut attempts = 0..10;
        loop {
            let mut file = match open(path) {
                // Its directory was removed, with the last cluster, while we were at it.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !attempts.is_empty() => {
                    attempts.next();
                    continue;
                }
                opened => opened.map_err(failed)?,
            };
            match file.try_lock() {
                Ok(()) if is_current(&file, path) => {
                    note_holder(&mut file).map_err(failed)?;
                    return Ok(Self {
                        path: path.to_owned(),
                        _file: file,
                    });
                }
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(RETRY);
                }
                Err(TryLockError::WouldBlock) => {
                    let holder = holder(&mut file).unwrap_or_else(|_| "unknown".to_owned());
                    return Err(LockError::Held {
                        path: path.to_owned(),
                        holder,
                    });
                }
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
    }

    /// Removes the file while the lock is held, so that nothing is left.
    ///
    /// # Errors
    /// When the file cannot be removed; an absent one is success.
    pub fn remove(self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

fn is_current(file: &File, path: &Path) -> bool {
    let same = |a: fs::Metadata, b: fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    file.metadata()
        .and_then(|a| Ok(same(a, fs::metadata(path)?)))
        .unwrap_or(false)
}

fn note_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn holder(file: &mut File) -> io::Result<String> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/lock");
        let lock = Lock::acquire(&path, Duration::ZERO).unwrap();
        let error = Lock::acquire(&path, Duration::ZERO)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        drop(lock);
        Lock::acquire(&path, Duration::ZERO)
            .unwrap()
            .remove()
            .unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_lock_on_a_file_that_was_removed_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = Lock::acquire(&path, Duration::ZERO).unwrap();
        let waiting = std::thread::spawn({
            let path = path.clone();
            move || Lock::acquire(&path, Duration::from_secs(5)).map(|lock| lock.path.exists())
        });
        first.remove().unwrap();
        assert!(waiting.join().unwrap().unwrap());
    }
}

//! A pod's folder on disk.
//!
//! | path | what | written by |
//! |---|---|---|
//! | `pod.json` | the Pod object as last seen | its worker |
//! | `state.json` | its [`Record`] | its worker |
//! | `etc/{hosts,hostname,resolv.conf}` | mounted into the containers | its worker |
//! | `volumes/NAME` | `emptyDir` and `configMap` volumes | its worker, then the containers |
//! | `logs/CONTAINER/ATTEMPT.log` | output | the shim |
//! | `exits/CONTAINER.ATTEMPT.json` | exit codes | the shim |
//!
//! Volumes with Secrets and tokens are elsewhere, in memory ([`Folder::memory`]).
//!
//! Files are written beside and renamed, so a reader finds the old or the new
//! one. Nothing is synced (see [`crate::record`]).

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::record::Record;
use crate::volumes;

/// Something on disk that could not be done.
#[derive(Debug, thiserror::Error)]
#[error("{verb} {path}: {source}", path = path.display())]
pub struct FolderError {
    verb: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// A pod's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    dir: PathBuf,
    memory: PathBuf,
}

impl Folder {
    /// The folder at this path, whether it exists or not, and its part that is in memory.
    pub fn new(dir: impl Into<PathBuf>, memory: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            memory: memory.into(),
        }
    }

    /// Its path.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where `emptyDir` and `configMap` volumes are.
    pub fn volumes(&self) -> PathBuf {
        self.dir.join("volumes")
    }

    /// Where volumes with Secrets and tokens are.
    pub fn memory(&self) -> &Path {
        &self.memory
    }

    /// Where the files of /etc are.
    pub fn etc(&self) -> PathBuf {
        self.dir.join("etc")
    }

    /// Makes the folder, readable by root alone.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn make(&self) -> Result<(), FolderError> {
        let make = |path: &Path, mode| {
            let made = DirBuilder::new().recursive(true).mode(mode).create(path);
            made.map_err(|source| FolderError {
                verb: "make",
                path: path.to_owned(),
                source,
            })
        };
        make(&self.dir, 0o700)?;
        make(&self.memory, 0o700)?;
        make(&self.volumes(), 0o755)?;
        make(&self.etc(), 0o755)
    }

    /// The pod's state, if it was kept and can be read.
    pub fn record(&self) -> Option<Record> {
        self.load("state.json")
    }

    /// Keeps the pod's state.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep_record(&self, record: &Record) -> Result<(), FolderError> {
        self.store("state.json", record)
    }

    /// The pod as it was last seen.
    pub fn pod(&self) -> Option<Pod> {
        self.load("pod.json")
    }

    /// Keeps the pod as it is seen now.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep_pod(&self, pod: &Pod) -> Result<(), FolderError> {
        self.store("pod.json", pod)
    }

    /// Writes a file of /etc in place, since it may be mounted into a container.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write_etc(&self, name: &str, text: &str) -> Result<(), FolderError> {
        let path = self.etc().join(name);
        let readable = || fs::set_permissions(&path, Permissions::from_mode(0o644));
        let written = fs::write(&path, text).and_then(|()| readable());
        written.map_err(|source| FolderError {
            verb: "write",
            path: path.clone(),
            source,
        })
    }

    /// Removes the folder with everything in it; one that is absent is removed.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove(&self) -> Result<(), FolderError> {
        let failed = |verb, path: PathBuf| move |source| FolderError { verb, path, source };
        volumes::unmount(&self.volumes()).map_err(failed("unmount volumes in", self.volumes()))?;
        // The folder last: what is found at the next start is removed again.
        for dir in [&self.memory, &self.dir] {
            match fs::remove_dir_all(dir) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("remove", dir.clone())(source));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn load<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let path = self.dir.join(name);
        let text = fs::read(&path).ok()?;
        let parsed = serde_json::from_slice(&text);
        parsed
            .inspect_err(|error| tracing::warn!("read {}: {error}", path.display()))
            .ok()
    }

    fn store(&self, name: &str, value: &impl Serialize) -> Result<(), FolderError> {
        let path = self.dir.join(name);
        let beside = self.dir.join(format!(".{name}"));
        let text = serde_json::to_vec(value).map_err(io::Error::from);
        let written = text
            .and_then(|text| fs::write(&beside, text))
            .and_then(|()| fs::rename(&beside, &path));
        written.map_err(|source| FolderError {
            verb: "write",
            path,
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn what_is_kept_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path().join("u-1"), dir.path().join("memory"));
        folder.make().unwrap();
        assert_eq!(folder.record(), None);
        let record = Record::new(Timestamp::from_second(7).unwrap());
        folder.keep_record(&record).unwrap();
        assert_eq!(folder.record(), Some(record));
        let mut pod = Pod::default();
        pod.metadata.name = Some("p".into());
        folder.keep_pod(&pod).unwrap();
        assert_eq!(folder.pod(), Some(pod));
        fs::write(folder.dir().join("state.json"), "{torn").unwrap();
        assert_eq!(folder.record(), None);
    }

    #[test]
    fn removing_is_complete_and_can_be_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path().join("u-1"), dir.path().join("memory"));
        folder.make().unwrap();
        folder.write_etc("hosts", "127.0.0.1 localhost\n").unwrap();
        folder.remove().unwrap();
        assert!(!folder.dir().exists() && !folder.memory().exists());
        folder.remove().unwrap();
    }
}

//! `cluster.json`: what a cluster is, written before anything of it is made.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::plan::Plan;

/// Form of the file. A file with a greater number is another program's.
const VERSION: u32 = 1;

/// Name of a record while it is being written.
pub const UNFINISHED: &str = "cluster.json.new";

/// Why `cluster.json` cannot be used.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The file cannot be read or written.
    #[error("{verb} {path}: {source}", path = .path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The file is not ours, or broken.
    #[error("read {path}: {source}; it is not a cluster of this program, or broken: `sealane down` removes it", path = .path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The file is newer than this program.
    #[error("read {path}: it has version {version}, this program knows {VERSION}: use a newer sealane", path = .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

/// The contents of `cluster.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    /// The cluster's plan.
    pub plan: Plan,
}

impl Record {
    /// A record of this program's version.
    pub fn new(plan: Plan) -> Self {
        Self {
            version: VERSION,
            plan,
        }
    }

    /// Reads a record; `None` when there is none.
    ///
    /// # Errors
    /// When the file exists and cannot be used.
    pub fn read(path: &Path) -> Result<Option<Self>, RecordError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(None);
            }
            Err(source) => {
                return Err(RecordError::File {
                    verb: "read",
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let broken = |source| RecordError::Broken {
            path: path.to_owned(),
            source,
        };
        let Version { version } = serde_json::from_str(&text).map_err(broken)?;
        if version > VERSION {
            return Err(RecordError::Newer {
                path: path.to_owned(),
                version,
            });
        }
        serde_json::from_str(&text).map(Some).map_err(broken)
    }

    /// Writes the record as a whole: a reader sees the old one or the new one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), RecordError> {
        let failed = |source| RecordError::File {
            verb: "write",
            path: path.to_owned(),
            source,
        };
        let text = serde_json::to_string_pretty(self).map_err(|error| failed(error.into()))?;
        let new = path.with_file_name(UNFINISHED);
        fs::write(&new, text + "\n")
            .and_then(|()| fs::rename(&new, path))
            .map_err(failed)
    }
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Asked, Observed, resolve};

    #[test]
    fn what_is_written_is_read_and_what_is_not_ours_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.json");
        assert_eq!(Record::read(&path).unwrap(), None);
        let record = Record::new(resolve(&Asked::default(), &Observed::default()).unwrap());
        record.write(&path).unwrap();
        assert_eq!(Record::read(&path).unwrap(), Some(record));
        for (text, words) in [
            ("", "broken"),
            ("{}", "broken"),
            (r#"{"version": 1}"#, "broken"),
            (r#"{"version": 2, "shape": "new"}"#, "use a newer sealane"),
        ] {
            fs::write(&path, text).unwrap();
            let error = Record::read(&path).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}

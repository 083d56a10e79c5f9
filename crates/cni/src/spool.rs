//! DELs that wait for the agent.
//!
//! A runtime that cannot take a pod's network away cannot take the pod away
//! either, and a node that is being drained, upgraded or removed has an agent
//! that is away. So the plugin leaves such a DEL here and reports success, and
//! the agent carries it out when it starts, before it looks at anything else;
//! until then the address stays leased, so nobody else gets it.
//!
//! One file for each attachment, named by a hash: a DEL that is repeated is
//! one entry. A file is written beside, synced and renamed, so that a crash at
//! any instruction leaves a whole entry or none, and one that was acknowledged
//! is on the disk. There is room for [`ROOM`] entries; a DEL beyond that fails
//! with "try again later", as it would without a spool.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

/// Where the configuration does not name a folder.
pub const DEFAULT_SPOOL: &str = "/var/lib/sealane/agent/spool";
/// How many DELs may wait; a node has a few hundred pods at most.
pub const ROOM: usize = 4096;

const EXTENSION: &str = "del";
/// A file that is being written is renamed within milliseconds.
const ABANDONED: Duration = Duration::from_secs(60);

/// The folder.
#[derive(Clone, Debug)]
pub struct Spool {
    dir: PathBuf,
}

/// An attachment that the runtime wants gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    pub network: String,
    #[serde(rename = "containerID")]
    pub container_id: String,
    pub ifname: String,
}

impl Spool {
    /// The spool in a folder, which is made when it is needed.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Leaves a deletion, durably.
    ///
    /// # Errors
    /// When the folder cannot be made or written to, or [`ROOM`] deletions wait already.
    pub fn put(&self, deletion: &Deletion) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let target = self.file(&deletion.container_id, &deletion.ifname);
        if fs::read_dir(&self.dir)?.count() >= ROOM && !target.exists() {
            return Err(io::Error::other(format!("{ROOM} DELs wait there already")));
        }
        let beside = target.with_extension(format!("{}.new", std::process::id()));
        let text = serde_json::to_vec(deletion).expect("a deletion has only text keys");
        let write = || -> io::Result<()> {
            let mut file = File::options()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&beside)?;
            file.write_all(&text)?;
            file.sync_data()?;
            fs::rename(&beside, &target)?;
            File::open(&self.dir)?.sync_all()
        };
        write().inspect_err(|_| drop(fs::remove_file(&beside)))
    }

    /// Whether a DEL of this attachment waits.
    pub fn contains(&self, container_id: &str, ifname: &str) -> bool {
        self.file(container_id, ifname).exists()
    }

    /// Forgets a deletion that has been carried out; an absent one is success.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn remove(&self, container_id: &str, ifname: &str) -> io::Result<()> {
        absent_is_fine(fs::remove_file(self.file(container_id, ifname)))
    }

    /// What waits; and what in the folder cannot be understood, which is removed.
    ///
    /// # Errors
    /// When the folder exists and cannot be read.
    pub fn list(&self) -> io::Result<(Vec<Deletion>, Vec<PathBuf>)> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Default::default()),
            Err(error) => return Err(error),
        };
        let (mut deletions, mut rubbish) = (Vec::new(), Vec::new());
        for entry in entries {
            let path = entry?.path();
            if path
                .extension()
                .is_none_or(|extension| extension != EXTENSION)
            {
                if is_abandoned(&path) {
                    absent_is_fine(fs::remove_file(&path))?;
                }
                continue;
            }
            match read(&path)? {
                Some(deletion) => deletions.push(deletion),
                None => {
                    absent_is_fine(fs::remove_file(&path))?;
                    rubbish.push(path);
                }
            }
        }
        Ok((deletions, rubbish))
    }

    fn file(&self, container_id: &str, ifname: &str) -> PathBuf {
        let key = [container_id.as_bytes(), b"\0", ifname.as_bytes()].concat();
        let name = format!("{:016x}.{EXTENSION}", sealane_net::fingerprint(&key));
        self.dir.join(name)
    }
}

/// `None` for what is no deletion.
fn read(path: &Path) -> io::Result<Option<Deletion>> {
    match fs::read(path) {
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => Ok(None),
        Err(error) => Err(error),
    }
}

/// Left by a plugin that was killed while it wrote.
fn is_abandoned(path: &Path) -> bool {
    let age = fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .map(|written| SystemTime::now().duration_since(written));
    matches!(age, Ok(Ok(age)) if age > ABANDONED)
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deletion(container: &str) -> Deletion {
        Deletion {
            network: "sealane".into(),
            container_id: container.into(),
            ifname: "eth0".into(),
        }
    }

    #[test]
    fn keeps_each_attachment_once_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::new(dir.path().join("a/spool"));
        assert_eq!(spool.list().unwrap(), (vec![], vec![]));
        spool.put(&deletion("a")).unwrap();
        spool.put(&deletion("a")).unwrap();
        spool.put(&deletion(&"long".repeat(200))).unwrap();
        assert_eq!(spool.list().unwrap().0.len(), 2);
        assert!(spool.contains("a", "eth0") && !spool.contains("a", "eth1"));
        spool.remove("a", "eth0").unwrap();
        spool.remove("a", "eth0").unwrap();
        assert_eq!(spool.list().unwrap().0, [deletion(&"long".repeat(200))]);
    }

    #[test]
    fn rubbish_is_taken_out_and_told_and_what_is_being_written_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::new(dir.path());
        for (name, text) in [
            ("0.del", ""),
            ("1.del", "{\"network\":1}"),
            ("2.17.new", "{"),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let old = dir.path().join("3.18.new");
        let long_ago = SystemTime::now() - 2 * ABANDONED;
        File::create(&old).unwrap().set_modified(long_ago).unwrap();
        let (deletions, rubbish) = spool.list().unwrap();
        assert_eq!((deletions.len(), rubbish.len()), (0, 2));
        let left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left, ["2.17.new"]);
    }

    #[test]
    fn a_full_spool_refuses_the_next_and_takes_the_same_again() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::new(dir.path());
        spool.put(&deletion("a")).unwrap();
        for n in 1..ROOM {
            File::create(dir.path().join(format!("x{n}"))).unwrap();
        }
        let error = spool.put(&deletion("b")).unwrap_err().to_string();
        assert!(error.contains("4096"), "{error}");
        spool.put(&deletion("a")).unwrap();
    }
}

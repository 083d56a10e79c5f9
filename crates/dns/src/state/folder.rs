//! The folder: the keeper makes it and opens it, a worker reads and writes in it as an ordinary user.
//!
//! The descriptor is what a worker has of it, not a path: the folders above may be closed to that user.

use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context, bail};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, renameat};
use nix::sys::stat::{Mode, fchmod, fstat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, unlinkat};

/// What is read at a start.
const NAMES: &str = "names";
/// What a cluster of any size stays below; more is somebody else's.
const LARGEST_BYTES: u64 = 256 << 20;

/// Where what is known is kept.
#[derive(Debug)]
pub struct Folder(OwnedFd);

impl Folder {
    /// Makes it for `user`, if it is not there, and opens it. One that is empty becomes that user's.
    ///
    /// # Errors
    /// When it cannot be made, or is somebody else's.
    pub fn make(path: &Path, user: u32) -> anyhow::Result<OwnedFd> {
        let shown = path.display();
        if let Some(above) = path.parent() {
            std::fs::create_dir_all(above)
                .with_context(|| format!("make folder {}", above.display()))?;
        }
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("make folder {shown}"));
            }
            _ => {}
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let folder = open(path, flags, Mode::empty());
        let folder = folder.with_context(|| format!("open folder {shown}"))?;
        let owner = fstat(&folder)
            .with_context(|| format!("look at folder {shown}"))?
            .st_uid;
        if owner != user {
            let others = entries(&folder).with_context(|| format!("list folder {shown}"))?;
            if !others.is_empty() {
                bail!(
                    "use folder {shown}: it is user {owner}'s and not empty; give another one by --state-dir, or \
                     make it user {user}'s"
                );
            }
            let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
            fchown(&folder, Some(uid), Some(gid)).with_context(|| {
                format!("make folder {shown} user {user}'s, as `chown {user} {shown}` would")
            })?;
            fchmod(&folder, Mode::S_IRWXU)
                .with_context(|| format!("close folder {shown} to others"))?;
        }
        Ok(folder)
    }

    /// Takes over what [`Folder::make`] has opened.
    pub fn taken(folder: OwnedFd) -> Self {
        Self(folder)
    }

    /// What was written last, if anything was. What others have left half-written goes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self) -> io::Result<Option<Vec<u8>>> {
        for name in entries(&self.0)? {
            if name.starts_with("names.") {
                // One that is being written at this moment is written again after the next change.
                _ = unlinkat(&self.0, name.as_str(), UnlinkatFlags::NoRemoveDir);
            }
        }
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let file = match openat(&self.0, NAMES, flags, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(None),
            other => File::from(other?),
        };
        let meta = file.metadata()?;
        if !meta.is_file() || meta.len() > LARGEST_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it is no file of ours",
            ));
        }
        let mut bytes = Vec::with_capacity(meta.len() as usize);
        file.take(LARGEST_BYTES).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Puts what `write` writes in the place of what is there, all of it or nothing.
    ///
    /// # Errors
    /// When there is no room, or the like: then the former one stays.
    pub fn replace(&self, write: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
        let name = format!("names.{}", std::process::id());
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let file = File::from(openat(
            &self.0,
            name.as_str(),
            flags | OFlag::O_CLOEXEC,
            mode,
        )?);
        let done = write(&file)
            .and_then(|()| file.sync_data())
            .and_then(|()| Ok(renameat(&self.0, name.as_str(), &self.0, NAMES)?));
        done.inspect_err(|_| {
            // It may have been the disk that is full.
            _ = unlinkat(&self.0, name.as_str(), UnlinkatFlags::NoRemoveDir);
        })
    }
}

/// The names in a folder.
fn entries(folder: &impl AsFd) -> io::Result<Vec<String>> {
    // A descriptor of its own, since reading moves on in it.
    let again = openat(
        folder,
        ".",
        OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?;
    let mut dir = Dir::from_fd(again)?;
    let mut names = Vec::new();
    for entry in dir.iter() {
        let entry = entry?;
        let name = std::ffi::OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    /// Of whoever runs the tests, so that they need not be root.
    fn made(dir: &Path) -> anyhow::Result<Folder> {
        let user = Uid::effective().as_raw();
        Folder::make(&dir.join("state/dns"), user).map(Folder::taken)
    }

    #[test]
    fn what_replaces_is_whole_and_what_fails_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let folder = made(dir.path()).unwrap();
        assert_eq!(folder.read().unwrap(), None);
        folder.replace(|mut file| file.write_all(b"one")).unwrap();
        assert_eq!(folder.read().unwrap().unwrap(), b"one");
        let failed = folder.replace(|mut file| {
            file.write_all(b"tw")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(failed.is_err());
        let path = dir.path().join("state/dns");
        fs::write(path.join("names.1"), "half").unwrap();
        assert_eq!(folder.read().unwrap().unwrap(), b"one");
        let left: Vec<_> = fs::read_dir(&path).unwrap().flatten().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        let mode = fs::metadata(&path).unwrap().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_folder_with_something_in_it_does_not_become_somebody_elses() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("precious"), "").unwrap();
        let owner = Uid::effective().as_raw();
        let error = Folder::make(dir.path(), owner + 1).unwrap_err().to_string();
        assert!(error.contains("not empty"), "{error}");
        assert_eq!(fs::metadata(dir.path()).unwrap().uid(), owner);
        let file = dir.path().join("precious");
        assert!(Folder::make(&file, owner).is_err());
    }
}

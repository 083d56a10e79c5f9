//! The directory that a layer is unpacked into.
//!
//! Names come from strangers. A path is resolved by the kernel, below the directory's descriptor
//! and never out of it (`openat2`, `RESOLVE_IN_ROOT`): a link that a layer makes to `/etc` leads to
//! the layer's own `etc`, as it will in a container, however the tree changes meanwhile. The last
//! name is never followed.
//!
//! A directory that is used without being stated takes its attributes from the layers below, since
//! in overlayfs the uppermost directory's are the ones that show.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufRead, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{
    FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, fstatat, futimens, makedev,
    mkdirat, mknodat, utimensat,
};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, linkat, symlinkat, unlinkat};

use super::Limits;
use super::place::{
    clean, is_dir, join, open_dir, open_in, refused, remove_tree, reopen, set_opaque, set_xattrs,
    split, time_spec,
};
use super::whiteout::{Meaning, meaning};
use crate::tarball::{Entry, Kind, Tarball};

/// Bytes that are written between two looks at the free space.
const SPACE_CHECK: u64 = 64 << 20;

pub(super) struct Tree<'a> {
    root: OwnedFd,
    path: &'a Path,
    below: &'a [PathBuf],
    limits: Limits,
    entries: u64,
    unchecked: u64,
    /// The directory of the entry before, which is mostly that of the next one too.
    parent: Option<(Vec<u8>, OwnedFd)>,
    /// Directories get their times at the end, when nothing is added to them any more.
    times: Vec<(Vec<u8>, (i64, u32))>,
    /// Names that this layer says are gone; a directory that it makes there hides what is below.
    gone: HashSet<Vec<u8>>,
}

/// The attributes of a file.
struct Attributes {
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: (i64, u32),
}

impl Attributes {
    fn of(entry: &Entry) -> Self {
        Self {
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
        }
    }

    fn like(file: &fs::Metadata) -> Self {
        Self {
            mode: file.mode() & 0o7777,
            uid: file.uid(),
            gid: file.gid(),
            mtime: (file.mtime(), u32::try_from(file.mtime_nsec()).unwrap_or(0)),
        }
    }
}

impl<'a> Tree<'a> {
    /// Takes an empty directory.
    pub(super) fn new(path: &'a Path, below: &'a [PathBuf], limits: Limits) -> io::Result<Self> {
        let mut tree = Self {
            root: OwnedFd::from(File::open(path)?),
            path,
            below,
            limits,
            entries: 0,
            unchecked: SPACE_CHECK,
            parent: None,
            times: Vec::new(),
            gone: HashSet::new(),
        };
        let like = match below.last() {
            Some(top) => Attributes::like(&fs::metadata(top)?),
            None => Attributes {
                mode: 0o755,
                uid: 0,
                gid: 0,
                mtime: (0, 0),
            },
        };
        tree.dress_dir(b"", &like)?;
        Ok(tree)
    }

    /// Makes what an entry states.
    pub(super) fn add<R: BufRead>(
        &mut self,
        entry: &Entry,
        data: &mut Tarball<R>,
    ) -> io::Result<()> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(refused("the layer has more entries than a layer may have"));
        }
        let path = clean(&entry.path)?;
        let (dir, name) = split(&path);
        match meaning(name)? {
            Meaning::Itself if path.is_empty() => self.add_root(entry),
            Meaning::Itself => self.make(entry, &path, data),
            Meaning::Opaque => self.hide_below(dir),
            Meaning::Gone(name) => self.white_out(dir, name),
            Meaning::Nothing => Ok(()),
        }
    }

    /// Sets what could not be set before.
    pub(super) fn finish(mut self) -> io::Result<()> {
        for (path, mtime) in std::mem::take(&mut self.times).into_iter().rev() {
            // It may have been replaced by something else since.
            if let Ok(dir) = self.resolve(&path).and_then(|dir| reopen(&dir)) {
                let time = time_spec(mtime);
                futimens(&dir, &time, &time)?;
            }
        }
        Ok(())
    }

    fn add_root(&mut self, entry: &Entry) -> io::Result<()> {
        if entry.kind != Kind::Directory {
            return Err(refused("it would replace the root directory"));
        }
        self.dress_dir(b"", &Attributes::of(entry))?;
        set_xattrs(&self.root, entry)
    }

    fn make<R: BufRead>(
        &mut self,
        entry: &Entry,
        path: &[u8],
        data: &mut Tarball<R>,
    ) -> io::Result<()> {
        let (dir, name) = split(path);
        let parent = self.take_parent(dir)?;
        match entry.kind {
            Kind::Directory => self.make_dir(entry, path, &parent, name)?,
            Kind::File => self.make_file(entry, &parent, name, data)?,
            Kind::HardLink => self.make_hard_link(entry, path, &parent, name)?,
            Kind::Symlink => {
                self.anew(&parent, name, || {
                    symlinkat(entry.link.as_slice(), &parent, name)
                })?;
                self.dress(entry, &parent, name)?;
            }
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => {
                let kind = match entry.kind {
                    Kind::CharDevice => SFlag::S_IFCHR,
                    Kind::BlockDevice => SFlag::S_IFBLK,
                    _ => SFlag::S_IFIFO,
                };
                let device = makedev(entry.device.0.into(), entry.device.1.into());
                let mode = Mode::from_bits_truncate(entry.mode);
                self.anew(&parent, name, || mknodat(&parent, name, kind, mode, device))?;
                self.dress(entry, &parent, name)?;
            }
        }
        self.parent = Some((dir.to_vec(), parent));
        Ok(())
    }

    fn make_dir(
        &mut self,
        entry: &Entry,
        path: &[u8],
        parent: &OwnedFd,
        name: &[u8],
    ) -> io::Result<()> {
        let made = match mkdirat(parent, name, Mode::S_IRWXU) {
            Err(Errno::EEXIST) if is_dir(parent, name)? => false,
            Err(Errno::EEXIST) => {
                self.clear(parent, name)?;
                mkdirat(parent, name, Mode::S_IRWXU)?;
                true
            }
            result => {
                result?;
                true
            }
        };
        self.dress_dir(path, &Attributes::of(entry))?;
        let dir = open_dir(parent, name)?;
        if made && self.gone.contains(path) {
            set_opaque(&dir)?;
        }
        set_xattrs(&dir, entry)
    }

    fn make_file<R: BufRead>(
        &mut self,
        entry: &Entry,
        parent: &OwnedFd,
        name: &[u8],
        data: &mut Tarball<R>,
    ) -> io::Result<()> {
        let flags =
            OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let file = self.anew(parent, name, || openat(parent, name, flags, mode))?;
        let mut file = File::from(file);
        self.copy(data, &mut file)?;
        let attributes = Attributes::of(entry);
        fchown(
            &file,
            Some(Uid::from_raw(attributes.uid)),
            Some(Gid::from_raw(attributes.gid)),
        )?;
        fchmod(&file, Mode::from_bits_truncate(attributes.mode))?;
        // After the owner: a change of it takes capabilities away.
        set_xattrs(&file, entry)?;
        let time = time_spec(attributes.mtime);
        futimens(&file, &time, &time)?;
        Ok(())
    }

    fn copy<R: BufRead>(&mut self, data: &mut Tarball<R>, file: &mut File) -> io::Result<()> {
        loop {
            let bytes = data.fill_buf()?;
            let n = bytes.len();
            if n == 0 {
                return Ok(());
            }
            file.write_all(bytes)?;
            data.consume(n);
            self.unchecked += n as u64;
            if self.unchecked >= SPACE_CHECK {
                self.unchecked = 0;
                self.check_space()?;
            }
        }
    }

    /// A layer that is larger than it looked must not fill the disk for everybody.
    fn check_space(&self) -> io::Result<()> {
        let disk = nix::sys::statvfs::fstatvfs(&self.root)?;
        let free = disk.blocks_available() * disk.fragment_size();
        if free < self.limits.spare_bytes + SPACE_CHECK {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!(
                    "there are {} MiB left for {}",
                    free >> 20,
                    self.path.display()
                ),
            ));
        }
        Ok(())
    }

    fn make_hard_link(
        &mut self,
        entry: &Entry,
        path: &[u8],
        parent: &OwnedFd,
        name: &[u8],
    ) -> io::Result<()> {
        let target = clean(&entry.link)?;
        if target == path {
            return Ok(());
        }
        let (target_dir, target_name) = split(&target);
        let shown = String::from_utf8_lossy(&entry.link).into_owned();
        let lost = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => refused(format!(
                "a hard link to {shown:?}, which is not in this layer"
            )),
            _ => error,
        };
        let source = self.resolve(target_dir).map_err(lost)?;
        let link = || linkat(&source, target_name, parent, name, AtFlags::empty());
        // Before the place is cleared, so that a link to what was there is not lost silently.
        fstatat(&source, target_name, AtFlags::AT_SYMLINK_NOFOLLOW)
            .map_err(|error| lost(error.into()))?;
        self.anew(parent, name, link).map_err(lost)
    }

    /// Does it, after removing what is in its place.
    fn anew<T>(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        make: impl Fn() -> nix::Result<T>,
    ) -> io::Result<T> {
        match make() {
            Err(Errno::EEXIST) => {
                self.clear(parent, name)?;
                Ok(make()?)
            }
            result => Ok(result?),
        }
    }

    fn clear(&mut self, parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
        // A directory that was resolved before may be below it.
        self.parent = None;
        match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
            Err(Errno::EISDIR) => remove_tree(parent, name),
            result => Ok(result?),
        }
    }

    /// Nothing of the layers below shows in this directory.
    fn hide_below(&mut self, dir: &[u8]) -> io::Result<()> {
        if self.below.is_empty() {
            return Ok(());
        }
        let dir = self.ensure(dir)?;
        set_opaque(&reopen(&dir)?)
    }

    /// This name does not exist, whatever is below. What the layer itself puts there stays.
    fn white_out(&mut self, dir: &[u8], name: &[u8]) -> io::Result<()> {
        if self.below.is_empty() {
            return Ok(());
        }
        let path = join(dir, name);
        let parent = self.take_parent(dir)?;
        match mknodat(&parent, name, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0)) {
            Err(Errno::EEXIST) if is_dir(&parent, name)? => set_opaque(&open_dir(&parent, name)?)?,
            Err(Errno::EEXIST) => {}
            result => result?,
        }
        self.gone.insert(path);
        self.parent = Some((dir.to_vec(), parent));
        Ok(())
    }

    /// The directory of an entry, made where it is missing. Give it back to `self.parent`.
    fn take_parent(&mut self, dir: &[u8]) -> io::Result<OwnedFd> {
        match self.parent.take() {
            Some((path, fd)) if path == dir => Ok(fd),
            _ => self.ensure(dir),
        }
    }

    fn ensure(&mut self, dir: &[u8]) -> io::Result<OwnedFd> {
        match self.resolve(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !dir.is_empty() => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(refused("its directory is a file"));
            }
            result => return result,
        }
        let (above, name) = split(dir);
        let parent = self.ensure(above)?;
        match mkdirat(&parent, name, Mode::S_IRWXU) {
            Err(Errno::EEXIST) => {
                return Err(refused("its directory is a link that leads to nothing"));
            }
            result => result?,
        }
        let like = self.attributes_below(dir);
        self.dress_dir(dir, &like)?;
        self.resolve(dir)
    }

    /// How the layers below show a directory that this one uses without stating it.
    fn attributes_below(&self, dir: &[u8]) -> Attributes {
        let found = self.below.iter().rev().find_map(|layer| {
            let root = File::open(layer).ok()?;
            match open_in(root.as_fd(), dir) {
                Ok(found) => Some(File::from(found).metadata().ok()),
                Err(Errno::ENOENT) => None,
                // Something that is no directory hides what is further down.
                Err(_) => Some(None),
            }
        });
        match found.flatten() {
            Some(metadata) => Attributes::like(&metadata),
            None => Attributes {
                mode: 0o755,
                uid: 0,
                gid: 0,
                mtime: (0, 0),
            },
        }
    }

    /// A directory of this layer, by the links of this layer.
    fn resolve(&self, dir: &[u8]) -> io::Result<OwnedFd> {
        if dir.is_empty() {
            return self.root.try_clone();
        }
        Ok(open_in(self.root.as_fd(), dir)?)
    }

    fn dress_dir(&mut self, path: &[u8], attributes: &Attributes) -> io::Result<()> {
        let dir = reopen(&self.resolve(path)?)?;
        fchown(
            &dir,
            Some(Uid::from_raw(attributes.uid)),
            Some(Gid::from_raw(attributes.gid)),
        )?;
        fchmod(&dir, Mode::from_bits_truncate(attributes.mode))?;
        self.times.push((path.to_vec(), attributes.mtime));
        Ok(())
    }

    /// Attributes of what is neither a file nor a directory.
    fn dress(&self, entry: &Entry, parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
        let owner = (
            Some(Uid::from_raw(entry.uid)),
            Some(Gid::from_raw(entry.gid)),
        );
        fchownat(parent, name, owner.0, owner.1, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        if entry.kind != Kind::Symlink {
            let mode = Mode::from_bits_truncate(entry.mode);
            fchmodat(parent, name, mode, FchmodatFlags::FollowSymlink)?;
        }
        let time = time_spec(entry.mtime);
        utimensat(parent, name, &time, &time, UtimensatFlags::NoFollowSymlink)?;
        Ok(())
    }
}

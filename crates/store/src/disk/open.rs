//! Opening: a file that is made, found whole, brought back after a loss of power, or refused.
//!
//! redb's check of every page runs once at each start, whether the file was closed or not: redb is
//! made to distrust what it noted when it was closed (see [`seal`]), and so neither checks twice
//! after a kill nor too little after a close. A state that does not match its checksums is
//! replaced by the one before only when the machine has stopped since it was written; otherwise
//! the file is refused and left as it is.
//!
//! A new store is made beside its place and moved there when it is complete, so an empty or
//! half-made file is never taken for a new one.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use nix::fcntl::{OFlag, PosixFadviseAdvice, posix_fadvise};
use redb::{Database, DatabaseError, StorageBackend, backends::FileBackend};

use super::{
    backend::{Backend, Unsynced},
    seal::{self, Boot, SEALED, Seal},
};
use crate::OpenError;

/// Pages that redb may keep in memory. The index answers reads, so this serves only commits.
const CACHE_BYTES: usize = 4 << 20;
/// How far redb says it is when it has found that the newest state does not match its checksums:
/// it says 0 first, 0.3 only then, 0.6 and 0.9 afterwards.
const NEWEST_IS_DAMAGED: std::ops::Range<f64> = 0.2..0.5;

/// How the store reaches its file. Tests put a disk that fails in its place.
#[derive(Clone)]
pub(crate) struct Medium {
    /// This run of the machine.
    pub boot: Boot,
    /// Stands between redb and the file.
    pub through: Through,
}

pub(crate) type Through =
    Arc<dyn Fn(File) -> Result<Box<dyn StorageBackend>, DatabaseError> + Send + Sync>;

impl Medium {
    /// A file of this machine.
    pub fn file() -> Self {
        Self {
            boot: Boot::current(),
            through: Arc::new(|file| Ok(Box::new(FileBackend::new(file)?))),
        }
    }
}

/// Opens a store that exists.
pub(crate) fn existing(
    path: &Path,
    medium: &Medium,
    unsynced: &Unsynced,
) -> Result<Database, OpenError> {
    let file = open_file(path, fs::OpenOptions::new().read(true).write(true))?;
    let sealed = read_seal(path, &file)?;
    read_ahead(&file);
    let backend = wrap(path, medium, file)?;
    Backend::rewrite(&*backend, unsynced).map_err(|cause| io_error(path, &cause))?;
    let backend = Backend::checking(backend, medium.boot, unsynced.clone())
        .map_err(|cause| io_error(path, &cause))?;
    let rolled_back = Arc::new(AtomicBool::new(false));
    let may_roll_back = sealed != Seal::Whole(medium.boot);
    let seen = rolled_back.clone();
    let mut builder = builder();
    builder.set_repair_callback(move |session| {
        if NEWEST_IS_DAMAGED.contains(&session.progress()) {
            seen.store(true, Ordering::Relaxed);
            if !may_roll_back {
                session.abort();
            }
        }
    });
    let database = builder
        .create_with_backend(backend.clone())
        .map_err(|cause| match cause {
            DatabaseError::RepairAborted => OpenError::damaged(
                path,
                "its newest state does not match its checksums, and this machine has not stopped \
                 since that was written",
            ),
            cause => open_error(path, cause.into()),
        })?;
    backend.accept().map_err(|cause| io_error(path, &cause))?;
    if rolled_back.load(Ordering::Relaxed) {
        tracing::warn!(
            path = %path.display(),
            "this machine stopped in the middle of a commit, which was not acknowledged: it is undone"
        );
    }
    Ok(database)
}

/// Makes a new store: `prepare` fills it before it comes to its place.
pub(crate) fn new(
    path: &Path,
    medium: &Medium,
    unsynced: &Unsynced,
    prepare: impl FnOnce(&Database) -> Result<(), OpenError>,
) -> Result<Database, OpenError> {
    let unfinished = beside(path);
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    let file = open_file(&unfinished, &mut options)?;
    if path.exists() {
        // Somebody else has just finished it.
        return Err(OpenError::InUse { path: path.into() });
    }
    let io = |cause: io::Error| io_error(path, &cause);
    file.set_len(0).map_err(io)?;
    let backend = Backend::making(wrap(path, medium, file)?, medium.boot, unsynced.clone());
    let database = builder()
        .create_with_backend(backend)
        .map_err(|cause| open_error(path, cause.into()))?;
    prepare(&database)?;
    fs::rename(&unfinished, path).map_err(io)?;
    sync_folder(path).map_err(io)?;
    Ok(database)
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Where a new store is made.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Opens a file that nobody else has open as a store.
fn open_file(path: &Path, options: &mut fs::OpenOptions) -> Result<File, OpenError> {
    let io = |cause: io::Error| io_error(path, &cause);
    // A pipe or a device would otherwise wait for its other end.
    let file = options
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)
        .map_err(io)?;
    if !file.metadata().map_err(io)?.is_file() {
        return Err(OpenError::damaged(path, "it is not a regular file"));
    }
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.into() }),
        Err(TryLockError::Error(cause)) => Err(io(cause)),
    }
}

fn read_seal(path: &Path, file: &File) -> Result<Seal, OpenError> {
    let mut start = [0; SEALED];
    let mut len = 0;
    while len < start.len() {
        match file.read_at(&mut start[len..], len as u64) {
            Ok(0) => break,
            Ok(count) => len += count,
            Err(cause) => return Err(io_error(path, &cause)),
        }
    }
    seal::inspect(&start[..len]).map_err(|what| OpenError::damaged(path, what))
}

/// Has the kernel read the whole file in its own order, since the check that follows goes through
/// its trees and would wait for the disk at each page.
fn read_ahead(file: &File) {
    // Only advice: a file system that does not take it is read page by page.
    let _ = posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_WILLNEED);
}

fn wrap(path: &Path, medium: &Medium, file: File) -> Result<Box<dyn StorageBackend>, OpenError> {
    (medium.through)(file).map_err(|cause| open_error(path, cause.into()))
}

/// What redb said, as what can be done about it.
pub(crate) fn open_error(path: &Path, cause: redb::Error) -> OpenError {
    match cause {
        redb::Error::DatabaseAlreadyOpen => OpenError::InUse { path: path.into() },
        redb::Error::Io(cause) => io_error(path, &cause),
        cause => OpenError::damaged(path, cause.to_string()),
    }
}

/// What the system said: it read the file well but what was in it is wrong or cut short, or it
/// did not read it.
fn io_error(path: &Path, cause: &io::Error) -> OpenError {
    match cause.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            OpenError::damaged(path, cause.to_string())
        }
        io::ErrorKind::IsADirectory => OpenError::damaged(path, "it is a directory"),
        kind => OpenError::Io {
            path: path.into(),
            cause: cause.to_string(),
            next: match kind {
                io::ErrorKind::NotFound => "make the folder it is in",
                io::ErrorKind::PermissionDenied => {
                    "let the user that the API server runs as read and write it, and its folder"
                }
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "make room on the disk it is on"
                }
                io::ErrorKind::ReadOnlyFilesystem => "mount its file system for writing",
                _ => "look at the kernel's log for errors of the disk it is on",
            },
        },
    }
}

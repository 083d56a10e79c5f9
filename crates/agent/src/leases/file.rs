//! The book on disk: `leases.json` in the state folder.
//!
//! A new version is written beside and takes the old one's place in one step, so
//! a reader finds one or the other whole. What a lease must outlive decides how
//! far it has to get before it is used:
//!
//! * The agent is killed: links and pods live on, so the lease must too. The
//!   rename has happened before anybody hears of the lease, and what the
//!   kernel has taken no kill takes back.
//! * The machine crashes: no link and no pod survives, and every lease of
//!   another boot is void (the file says of which it is). Waiting for the disk,
//!   10 ms for each burst, would protect nothing. The file is still synced
//!   within a second, so that the order of reuse survives as well.
//!
//! The two files change names (`RENAME_EXCHANGE`) and the older is written over
//! for the next version: ext4 begins to write a new file to the disk before it
//! lets it replace another, and an ADD would wait 1 to 3 ms for that. And it is
//! not synced more often, since a rename waits for a sync that is under way.
//!
//! A thread of its own writes, one version at a time; what changes meanwhile
//! goes into the next, so a burst of leases costs few writes. A second one syncs.

use std::{
    fs::{self, File},
    io::{self, Write},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc, LazyLock,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use sealane_ipam::Rest;
use serde::{Deserialize, Serialize};

use super::{Book, Lease};

/// How long versions wait to be synced together.
const SYNC_AFTER: Duration = Duration::from_secs(1);

const NAME: &str = "leases.json";
/// Grows when an older agent could not read the file any more.
const FORMAT: u32 = 1;
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Why leases are not durable.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{verb} leases in {path}: {source}", path = path.display())]
pub struct FileError {
    verb: &'static str,
    path: PathBuf,
    source: Arc<io::Error>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content<L> {
    format: u32,
    /// Links do not survive a boot, so leases of another one have none.
    #[serde(rename = "bootID")]
    boot_id: String,
    last: Vec<IpAddr>,
    /// Given back a moment ago.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    resting: Vec<Resting>,
    leases: Vec<L>,
}

/// An address that must not be used again before a time, in milliseconds since 1970.
#[derive(Serialize, Deserialize)]
struct Resting {
    address: IpAddr,
    until_ms: u64,
}

impl From<Rest> for Resting {
    fn from(rest: Rest) -> Self {
        Self {
            address: rest.address,
            until_ms: u64::try_from(rest.until.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// What was found at start.
#[derive(Debug)]
pub struct Loaded {
    pub book: Book,
    /// The machine has not been booted since the file was written.
    pub same_boot: bool,
}

/// Reads the file; a missing one is an empty book.
///
/// A file that cannot be understood is moved aside and counts as missing: the
/// addresses of running pods are then learnt from the API.
///
/// # Errors
/// When the folder cannot be made or the file cannot be read.
pub fn load(dir: &Path, reuse_delay: Duration) -> Result<Loaded, FileError> {
    let empty = || empty(reuse_delay);
    let path = dir.join(NAME);
    fs::create_dir_all(dir).map_err(failed("make folder for", &path))?;
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(empty()),
        Err(error) => return Err(failed("read", &path)(error)),
    };
    match serde_json::from_slice::<Content<Lease>>(&text) {
        Ok(content) if content.format == FORMAT => Ok(Loaded {
            same_boot: content.boot_id == boot_id(),
            book: {
                let rests = content.resting.iter().map(|rest| Rest {
                    address: rest.address,
                    until: Duration::from_millis(rest.until_ms),
                });
                let resting = sealane_ipam::Resting::new(reuse_delay).resumed_with(rests);
                Book::new(content.leases, content.last, resting)
            },
        }),
        Ok(content) => {
            let why = format!("format {}, expected {FORMAT}", content.format);
            set_aside(&path, &why).map(|()| empty())
        }
        Err(error) => set_aside(&path, &error.to_string()).map(|()| empty()),
    }
}

fn empty(reuse_delay: Duration) -> Loaded {
    Loaded {
        book: Book::new(vec![], vec![], sealane_ipam::Resting::new(reuse_delay)),
        same_boot: true,
    }
}

fn set_aside(path: &Path, why: &str) -> Result<(), FileError> {
    let aside = path.with_extension("json.unreadable");
    tracing::error!(
        "read leases in {}: {why}; moved to {}, addresses of running pods are learnt from the API",
        path.display(),
        aside.display()
    );
    fs::rename(path, &aside).map_err(failed("set aside", path))
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    move |source| FileError {
        verb,
        path: path.to_owned(),
        source: Arc::new(source),
    }
}

/// One version of the book, to be written.
pub struct Version {
    pub number: u64,
    text: Vec<u8>,
}

impl Version {
    /// The book as it is now.
    pub fn of(book: &Book) -> Self {
        let content = Content {
            format: FORMAT,
            boot_id: boot_id().to_owned(),
            last: book.sources().last().to_vec(),
            resting: book.sources().resting().iter().map(Resting::from).collect(),
            leases: book.leases().map(|lease| &**lease).collect(),
        };
        let mut text = serde_json::to_vec_pretty(&content).expect("leases have only text keys");
        text.push(b'\n');
        Self {
            number: book.version(),
            text,
        }
    }

    /// Puts it in the place of the version before.
    ///
    /// # Errors
    /// When the disk refuses; the old file is then still there.
    pub fn write(&self, dir: &Path) -> Result<(), FileError> {
        let path = dir.join(NAME);
        let beside = path.with_extension("json.new");
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&beside)
            .map_err(failed("open new", &beside))?;
        file.write_all(&self.text)
            .and_then(|()| file.set_len(self.text.len() as u64))
            .map_err(failed("write", &beside))?;
        put_in_place(&beside, &path).map_err(failed("put in place", &path))
    }
}

/// Lets the files change names; the first version, and one on a file system that cannot
/// do that, replaces the file.
fn put_in_place(beside: &Path, path: &Path) -> io::Result<()> {
    match renameat2(
        AT_FDCWD,
        beside,
        AT_FDCWD,
        path,
        RenameFlags::RENAME_EXCHANGE,
    ) {
        Ok(()) => Ok(()),
        Err(_) => fs::rename(beside, path),
    }
}

/// Waits until the version in place is on the disk.
///
/// # Errors
/// When the disk refuses.
pub fn sync(dir: &Path) -> Result<(), FileError> {
    let path = dir.join(NAME);
    File::open(&path)
        .and_then(|file| file.sync_data())
        .and_then(|()| File::open(dir)?.sync_all())
        .map_err(failed("sync", &path))
}

/// Which boot of the machine this is; it does not change while a process runs.
fn boot_id() -> &'static str {
    static ID: LazyLock<String> = LazyLock::new(|| {
        fs::read_to_string(BOOT_ID)
            .unwrap_or_default()
            .trim()
            .to_owned()
    });
    &ID
}

/// Writes versions on threads of its own; dropping it ends them.
pub struct Writer {
    versions: mpsc::Sender<Version>,
}

impl Writer {
    /// Starts the threads; `written` is called after each version that is in place, or could not be put there.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(
        dir: PathBuf,
        written: impl Fn(u64, Result<(), FileError>) + Send + 'static,
    ) -> io::Result<Self> {
        let (versions, queue) = mpsc::channel::<Version>();
        // One place: a sync that is yet to start covers every version before it.
        let (dirty, to_sync) = mpsc::sync_channel::<()>(1);
        let synced_dir = dir.clone();
        let syncing = thread::Builder::new().name("leases-sync".into());
        syncing.spawn(move || sync_at_times(&synced_dir, &to_sync))?;
        let writing = thread::Builder::new().name("leases".into());
        writing.spawn(move || {
            for version in queue {
                written(version.number, version.write(&dir));
                // Full means that a sync is to come anyway.
                let _ = dirty.try_send(());
            }
        })?;
        Ok(Self { versions })
    }

    /// Hands over a version; whoever does so waits for it before handing over the next.
    pub fn write(&self, version: Version) {
        // The thread ends only with this sender.
        let _ = self.versions.send(version);
    }
}

/// Syncs what has become dirty, a moment later, until the writer ends.
fn sync_at_times(dir: &Path, dirty: &mpsc::Receiver<()>) {
    while dirty.recv().is_ok() {
        let ended = pause(dirty);
        if let Err(error) = sync(dir) {
            tracing::warn!("{error}; a crash of the machine would lose the order of reuse");
        }
        if ended {
            return;
        }
    }
}

/// Waits for more; whether the writer has ended meanwhile.
fn pause(dirty: &mpsc::Receiver<()>) -> bool {
    let until = Instant::now() + SYNC_AFTER;
    loop {
        match dirty.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => return false,
            Err(RecvTimeoutError::Disconnected) => return true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leases::{Key, Wanted};

    const DELAY: Duration = Duration::from_secs(10);

    fn book() -> Book {
        let mut book = empty(DELAY).book;
        book.set_subnets(&["10.0.0.0/24".parse().unwrap()]).unwrap();
        for container in ["a", "b"] {
            let key = Key {
                container_id: container.into(),
                ifname: "eth0".into(),
            };
            book.lease(&key, Wanted::default(), Duration::ZERO).unwrap();
        }
        book
    }

    fn leases(book: &Book) -> Vec<Lease> {
        book.leases().map(|lease| Lease::clone(lease)).collect()
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let book = book();
        Version::of(&book).write(dir.path()).unwrap();
        sync(dir.path()).unwrap();
        let loaded = load(dir.path(), DELAY).unwrap();
        assert!(loaded.same_boot);
        assert_eq!(leases(&loaded.book), leases(&book));
        assert_eq!(loaded.book.sources().last(), book.sources().last());
    }

    #[test]
    fn a_missing_file_is_an_empty_book_and_the_folder_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("a/b");
        assert_eq!(load(&state, DELAY).unwrap().book.leases().len(), 0);
        Version::of(&book()).write(&state).unwrap();
    }

    #[test]
    fn a_crash_while_writing_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let book = book();
        Version::of(&book).write(dir.path()).unwrap();
        fs::write(dir.path().join("leases.json.new"), "{\"format\":").unwrap();
        assert_eq!(
            leases(&load(dir.path(), DELAY).unwrap().book),
            leases(&book)
        );
        Version::of(&book).write(dir.path()).unwrap();
    }

    #[test]
    fn a_torn_file_is_kept_aside_and_does_not_stop_the_agent() {
        for text in [
            "",
            "{",
            "[]",
            r#"{"format":99,"bootID":"","last":[],"leases":[]}"#,
        ] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(NAME), text).unwrap();
            assert_eq!(load(dir.path(), DELAY).unwrap().book.leases().len(), 0);
            let aside = fs::read_to_string(dir.path().join("leases.json.unreadable")).unwrap();
            assert_eq!(aside, text);
        }
    }

    #[test]
    fn leases_of_another_boot_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let version = Version::of(&book());
        let text = String::from_utf8(version.text).unwrap();
        let other = text.replace(boot_id(), "00000000-0000-0000-0000-000000000000");
        fs::write(dir.path().join(NAME), other).unwrap();
        let loaded = load(dir.path(), DELAY).unwrap();
        assert!(!loaded.same_boot);
        assert_eq!(loaded.book.leases().len(), 2);
    }

    #[test]
    fn a_disk_that_refuses_is_told_with_the_path() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("leases.json.new")).unwrap();
        let error = Version::of(&book())
            .write(dir.path())
            .unwrap_err()
            .to_string();
        assert!(error.contains("leases.json.new"), "{error}");
    }

    #[test]
    fn the_writer_reports_every_version() {
        let dir = tempfile::tempdir().unwrap();
        let (tell, told) = mpsc::channel();
        let writer = Writer::start(dir.path().to_owned(), move |number, result| {
            tell.send((number, result.is_ok())).unwrap();
        })
        .unwrap();
        writer.write(Version::of(&book()));
        assert_eq!(told.recv().unwrap(), (2, true));
    }
}

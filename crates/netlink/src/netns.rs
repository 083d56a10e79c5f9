//! Network namespaces: named ones as `ip netns` keeps them, and running things inside one.
//!
//! A name is a bind mount of the namespace's file below `/run/netns`, so
//! `ip netns list` and `ip netns exec` see ours and we see theirs.
//!
//! A namespace belongs to a thread. Whatever has to happen inside one runs on
//! a thread that lives just as long; a thread that has changed its namespace
//! never goes back to a pool.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::error::{Error, Result};

/// Where names live, as `ip netns` has it.
pub const NAMED_DIR: &str = "/run/netns";

const THREAD_NETNS: &str = "/proc/thread-self/ns/net";

/// The path of a named namespace.
pub fn path_of(name: &str) -> PathBuf {
    Path::new(NAMED_DIR).join(name)
}

/// Makes a named namespace with nothing but a loopback link that is down.
///
/// # Errors
/// [`Error::is_present`] when the name is taken, see [`open_named`] to use it.
pub fn create_named(name: &str) -> Result<OwnedFd> {
    let action = || format!("create netns {name}");
    check_name(name).map_err(|error| Error::system(action(), error))?;
    let _lock = prepare_dir()?;
    let path = path_of(name);
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o444)
        .open(&path)
        .map_err(|error| Error::system(action(), error))?;
    let made = on_thread(|| -> io::Result<()> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        mount(
            Some(THREAD_NETNS),
            &path,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )?;
        Ok(())
    });
    // Opened through the name, so that errors can tell it.
    made.map_err(|error| Error::system(action(), error))
        .and_then(|()| open_named(name))
        .inspect_err(|_| {
            // The first error is the one to report.
            let _ = delete_named(name);
        })
}

/// Opens a named namespace.
///
/// # Errors
/// [`Error::is_absent`] when there is none; a plain file left behind by a
/// creation that was cut off is reported as such.
pub fn open_named(name: &str) -> Result<OwnedFd> {
    let action = || format!("open netns {name}");
    check_name(name).map_err(|error| Error::system(action(), error))?;
    open_path(&path_of(name)).map_err(|error| Error::system(action(), error))
}

/// Opens a namespace by a path, such as `/proc/PID/ns/net`.
///
/// # Errors
/// When the path cannot be opened or is not a network namespace.
pub fn open(path: &Path) -> Result<OwnedFd> {
    open_path(path).map_err(|error| Error::system(format!("open netns {}", path.display()), error))
}

fn open_path(path: &Path) -> io::Result<OwnedFd> {
    let file = File::open(path)?;
    if nix::sys::statfs::fstatfs(&file)?.filesystem_type() != nix::sys::statfs::NSFS_MAGIC {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "not a namespace, but a plain file, as a creation leaves it that was cut off",
        ));
    }
    Ok(file.into())
}

/// Removes a name. The namespace itself lives on while a process or an open descriptor uses it.
///
/// An absent name is success; so is the leftover of a creation that was cut off.
///
/// # Errors
/// When the mount or the file cannot be removed.
pub fn delete_named(name: &str) -> Result<()> {
    let action = || format!("delete netns {name}");
    check_name(name).map_err(|error| Error::system(action(), error))?;
    let path = path_of(name);
    loop {
        match umount2(&path, MntFlags::MNT_DETACH) {
            Ok(()) => {}
            Err(Errno::EINVAL | Errno::ENOENT) => break,
            Err(errno) => return Err(Error::system(action(), errno)),
        }
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::system(action(), error))
        }
        _ => Ok(()),
    }
}

/// The names below [`NAMED_DIR`], sorted, whoever made them.
///
/// # Errors
/// When the folder exists and cannot be read.
pub fn list_named() -> Result<Vec<String>> {
    let entries = match fs::read_dir(NAMED_DIR) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(Error::system(format!("list {NAMED_DIR}"), error)),
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// Runs `work` on a thread inside the namespace and waits for it.
///
/// A tokio runtime of the caller is entered on that thread as well, so that
/// `work` may open its sockets or start its processes there. A panic of `work`
/// goes on in the caller.
///
/// # Errors
/// When the namespace cannot be entered; `work` has not run then.
pub fn run_in<T: Send>(netns: impl AsFd, work: impl FnOnce() -> T + Send) -> Result<T> {
    let netns = netns.as_fd();
    let runtime = tokio::runtime::Handle::try_current().ok();
    on_thread(move || {
        setns(netns, CloneFlags::CLONE_NEWNET)
            .map_err(|errno| Error::system(format!("enter netns {}", describe(netns)), errno))?;
        let _entered = runtime.as_ref().map(|runtime| runtime.enter());
        Ok(work())
    })
}

/// Starts a program inside the namespace, in a UTS namespace of its own when a host name is given.
///
/// Only the child is inside; the caller is not touched. The thread that starts
/// it ends at once, so the command must not ask for `PR_SET_PDEATHSIG`, which
/// fires when the starting thread ends.
///
/// # Errors
/// When the namespace cannot be entered or the program cannot be started.
pub fn spawn_in(netns: impl AsFd, hostname: Option<&str>, command: &mut Command) -> Result<Child> {
    let place = describe(netns.as_fd());
    let program = command.get_program().to_string_lossy().into_owned();
    run_in(netns, || -> io::Result<Child> {
        if let Some(hostname) = hostname {
            private_hostname(hostname)?;
        }
        command.spawn()
    })?
    .map_err(|error| Error::system(format!("start {program} in netns {place}"), error))
}

/// Gives the calling thread, and what it starts from now on, a host name of its own. For use inside [`run_in`].
///
/// # Errors
/// When the kernel refuses a new UTS namespace or the name.
pub fn private_hostname(hostname: &str) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWUTS)?;
    nix::unistd::sethostname(hostname)?;
    Ok(())
}

/// How a message calls the namespace: its path where it has one, else `net:[4026532210]`.
pub fn describe(netns: BorrowedFd<'_>) -> String {
    fs::read_link(format!("/proc/self/fd/{}", netns.as_raw_fd())).map_or_else(
        |_| format!("descriptor {}", netns.as_raw_fd()),
        |path| path.display().to_string(),
    )
}

/// Joins a fresh thread, so that what it does to its namespaces ends with it.
fn on_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        scope
            .spawn(work)
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A name must be one component, or the bind mount would land elsewhere.
fn check_name(name: &str) -> io::Result<()> {
    let plain = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']);
    if plain && name.len() <= 255 {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "expected a name without slashes",
    ))
}

/// Makes `/run/netns` a shared mount of its own, as `ip netns add` does, so
/// that a name appears and disappears in every mount namespace at once.
///
/// The lock is the one that `ip netns add` takes: two that mount the folder
/// over itself at the same time would hide each other's names.
fn prepare_dir() -> Result<Flock<File>> {
    let prepare = || -> io::Result<Flock<File>> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(NAMED_DIR)?;
        let lock = Flock::lock(File::open(NAMED_DIR)?, FlockArg::LockExclusive)
            .map_err(|(_, errno)| errno)?;
        if make_shared().is_err() {
            mount(
                Some(NAMED_DIR),
                NAMED_DIR,
                None::<&str>,
                MsFlags::MS_BIND | MsFlags::MS_REC,
                None::<&str>,
            )?;
            make_shared()?;
        }
        Ok(lock)
    };
    prepare().map_err(|error| Error::system(format!("prepare {NAMED_DIR}"), error))
}

fn make_shared() -> nix::Result<()> {
    mount(
        None::<&str>,
        NAMED_DIR,
        None::<&str>,
        MsFlags::MS_SHARED | MsFlags::MS_REC,
        None::<&str>,
    )
}

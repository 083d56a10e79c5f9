//! Code and commands inside a network namespace: of a node, of a pod, or a bare one.
//!
//! A socket belongs for life to the namespace in which it was made, whichever thread uses it later. So
//! [`Namespace::enter`] runs a closure on a thread that has entered, and sockets that it returns
//! can be used from anywhere: a test holds a listener in one pod and a connection in another.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use nix::sched::{CloneFlags, setns};

use crate::command::{Finished, finish};

/// A network namespace that is held open: it stays usable when its name or process is gone.
#[derive(Debug, Clone)]
pub struct Namespace {
    title: String,
    path: PathBuf,
    file: Arc<OwnedFd>,
    inode: u64,
}

impl Namespace {
    /// The namespace in which the calling thread runs: this machine's, unless it has entered another.
    ///
    /// # Panics
    /// When /proc is not mounted.
    #[track_caller]
    pub fn own() -> Self {
        Self::open("this machine", Path::new("/proc/thread-self/ns/net"))
    }

    /// A namespace of `ip netns`.
    ///
    /// # Panics
    /// When there is none of that name.
    #[track_caller]
    pub fn named(name: &str) -> Self {
        Self::open(name, &Path::new("/run/netns").join(name))
    }

    /// The namespace in which a process runs.
    ///
    /// # Panics
    /// When the process is gone.
    #[track_caller]
    pub fn of_process(title: &str, pid: i32) -> Self {
        Self::open(title, Path::new(&format!("/proc/{pid}/ns/net")))
    }

    #[track_caller]
    fn open(title: &str, path: &Path) -> Self {
        let file = File::open(path)
            .unwrap_or_else(|error| panic!("open network namespace {}: {error}", path.display()));
        let inode = file
            .metadata()
            .unwrap_or_else(|error| panic!("look at network namespace {}: {error}", path.display()))
            .ino();
        Self {
            title: title.to_owned(),
            path: path.to_owned(),
            file: Arc::new(file.into()),
            inode,
        }
    }

    /// What the test calls it.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What `readlink /proc/PID/ns/net` shows: equal for two processes that share it.
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// The words to put before a command to run it here by hand.
    pub fn prefix(&self) -> String {
        match self.path.strip_prefix("/run/netns") {
            Ok(name) => format!("ip netns exec {}", name.display()),
            Err(_) => format!("nsenter --net={}", self.path.display()),
        }
    }

    /// Runs a closure inside and returns what it returns.
    ///
    /// # Panics
    /// When the namespace cannot be entered (that takes root), or when the closure panics.
    #[track_caller]
    pub fn enter<T: Send>(&self, task: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET).unwrap_or_else(|error| {
                panic!(
                    "enter network namespace {} (tests need root): {error}",
                    self.title
                )
            });
            task()
        };
        let ended = std::thread::scope(|scope| scope.spawn(inside).join());
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Runs a program inside. Its mount namespace stays the test's.
    ///
    /// # Panics
    /// When it cannot be started or does not end in time.
    #[track_caller]
    pub fn run<I, S>(&self, program: &str, args: I) -> Finished
    where
        I: IntoIterator<Item = S>,
        S: AsRef<std::ffi::OsStr>,
    {
        let mut command = self.command(program);
        command.args(args);
        let mut done = finish(command);
        done.line = format!("{} {}", self.prefix(), done.line);
        done
    }

    /// A command that will run inside once it is started.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let file = Arc::clone(&self.file);
        let entered = move || {
            // SAFETY: the descriptor is open, since the closure owns a count of it.
            match unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) } {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        };
        // SAFETY: between fork and exec only setns is called, which takes no lock and no memory.
        unsafe { command.pre_exec(entered) };
        command
    }
}

impl PartialEq for Namespace {
    fn eq(&self, other: &Self) -> bool {
        self.inode == other.inode
    }
}

//! Edge: waiting for a file or folder to change.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;

/// Changes of one path.
pub struct Changes {
    queue: AsyncFd<Queue>,
}

struct Queue(Inotify);

impl AsRawFd for Queue {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Changes {
    /// Changes from now on to the files of a folder: made, written, renamed, removed.
    ///
    /// # Errors
    /// When the folder is not there, or the kernel has no watches left.
    pub fn of_folder(path: &Path) -> io::Result<Self> {
        let flags = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF;
        Self::of(path, flags)
    }

    /// Writes to a file from now on, and a new name for it.
    ///
    /// # Errors
    /// As for folders.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        Self::of(path, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_MOVE_SELF)
    }

    fn of(path: &Path, flags: AddWatchFlags) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        inotify.add_watch(path, flags)?;
        // SAFETY: the descriptor belongs to the queue, which closes it when it is dropped and
        // never gives another one.
        let queue = unsafe { AsyncFd::register(Queue(inotify)) }?;
        Ok(Self { queue })
    }

    /// Waits for a change; changes since the last call count, all at once.
    ///
    /// # Errors
    /// When the kernel's queue cannot be read.
    pub async fn changed(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.queue.readable().await?;
            match ready.try_io(|queue| drain(&queue.get_ref().0)) {
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }
}

/// Takes everything out of the queue; it must have held something.
fn drain(inotify: &Inotify) -> io::Result<()> {
    inotify.read_events()?;
    loop {
        match inotify.read_events() {
            Ok(_) => {}
            Err(Errno::EAGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

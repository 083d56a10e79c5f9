//! A terminal for a command, from the container's own `devpts`: a terminal of
//! this machine's would have no name in the container (`tty`, `ttyname`).

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::unistd::{Uid, dup2_stderr, dup2_stdin, dup2_stdout, fchown};

use crate::failure::{Context, Failure};
use crate::protocol::Window;

/// Makes a terminal the calling process's controlling one and its standard
/// streams; returns the other end. It belongs to the user who will run on it,
/// so that programs can open it by its name.
pub(super) fn open(window: Window, user: u32) -> Result<OwnedFd, Failure> {
    let near = File::options()
        .read(true)
        .write(true)
        .open("/dev/ptmx")
        .context(|| "open /dev/ptmx of the container".into())?;
    let far = far_end(&near).context(|| "open the container's terminal".into())?;
    fchown(&far, Some(Uid::from_raw(user)), None).context(|| "give away the terminal".into())?;
    set_size(&near, window).context(|| "set the terminal's size".into())?;
    // SAFETY: TIOCSCTTY takes a number; the process is the leader of a session
    // without a terminal.
    let result = unsafe { libc::ioctl(far.as_raw_fd(), libc::TIOCSCTTY, 0) };
    Errno::result(result).context(|| "take the terminal".into())?;
    dup2_stdin(far.as_fd()).context(|| "set standard input".into())?;
    dup2_stdout(far.as_fd()).context(|| "set standard output".into())?;
    dup2_stderr(far.as_fd()).context(|| "set standard error".into())?;
    Ok(near.into())
}

/// Opens the far end without its path (ioctl_tty(2), TIOCGPTPEER).
fn far_end(near: &File) -> Result<OwnedFd, Errno> {
    let unlock: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads an int, which lives through the call.
    Errno::result(unsafe { libc::ioctl(near.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlock) })?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes flags and returns a new descriptor.
    let fd = Errno::result(unsafe { libc::ioctl(near.as_raw_fd(), libc::TIOCGPTPEER, flags) })?;
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn set_size(near: &File, window: Window) -> Result<(), Errno> {
    let size = libc::winsize {
        ws_row: window.rows,
        ws_col: window.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCSWINSZ reads a winsize, which lives through the call.
    Errno::result(unsafe { libc::ioctl(near.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) })?;
    Ok(())
}

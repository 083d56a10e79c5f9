//! Edge: pipes and terminals as something that can be awaited.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::unistd::{pipe2, read, write};
use tokio::io::unix::AsyncFd;

/// Our end of a pipe or terminal.
pub struct Descriptor {
    fd: AsyncFd<OwnedFd>,
}

/// A pipe: the end to read from, the end to write to; neither is inherited.
///
/// # Errors
/// When this process is out of descriptors.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe2(OFlag::O_CLOEXEC)?)
}

impl Descriptor {
    /// Takes our end over. The other end stays blocking.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
        fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        // SAFETY: an `OwnedFd` is open until it is dropped, and it is moved into the `AsyncFd`.
        let fd = unsafe { AsyncFd::register(fd) }?;
        Ok(Self { fd })
    }

    /// Reads what is there; nothing at the end.
    ///
    /// # Errors
    /// When the descriptor is broken.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.fd.readable().await?;
            match ready.try_io(|fd| Ok(read(fd.get_ref(), buffer)?)) {
                // A terminal whose other end is closed.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => return Ok(0),
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }

    /// Writes everything.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut ready = self.fd.writable().await?;
            match ready.try_io(|fd| Ok(write(fd.get_ref(), bytes)?)) {
                Ok(written) => bytes = &bytes[written?..],
                Err(_would_block) => {}
            }
        }
        Ok(())
    }

    /// Sets a terminal's size.
    ///
    /// # Errors
    /// When this is not a terminal.
    pub fn resize(&self, rows: u16, columns: u16) -> io::Result<()> {
        let size = libc::winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // SAFETY: the descriptor is open for as long as `self` lives, and `size` is a valid winsize.
        let result = unsafe { libc::ioctl(self.fd.as_raw_fd(), libc::TIOCSWINSZ, &size) };
        match result {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_pipe_is_waited_for() {
        let (out, into) = pipe().unwrap();
        let (out, into) = (
            Descriptor::new(out).unwrap(),
            Descriptor::new(into).unwrap(),
        );
        let sent = vec![7; 300_000];
        let writer = async {
            into.write_all(&sent).await.unwrap();
            drop(into);
        };
        let reader = async {
            let (mut got, mut buffer) = (Vec::new(), [0; 4096]);
            loop {
                match out.read(&mut buffer).await.unwrap() {
                    0 => return got,
                    n => got.extend_from_slice(&buffer[..n]),
                }
            }
        };
        let ((), got) = tokio::join!(writer, reader);
        assert_eq!(got.len(), sent.len());
    }

    #[tokio::test]
    async fn a_terminal_takes_a_size_and_ends() {
        let pty = nix::pty::openpty(None, None).unwrap();
        let near = Descriptor::new(pty.master).unwrap();
        near.resize(40, 100).unwrap();
        let (_out, into) = pipe().unwrap();
        assert!(Descriptor::new(into).unwrap().resize(1, 1).is_err());
        drop(pty.slave);
        assert_eq!(near.read(&mut [0; 16]).await.unwrap(), 0);
    }
}

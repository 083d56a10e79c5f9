//! Sockets from the process that has them to the one that takes its place.
//!
//! ```text
//! new ── connects to dns.sock, says "take" ──► old: the keeper, or a worker whose keeper was killed
//! new ◄── all sockets, with their names ────── old            both read from now on: each question comes to one
//! new ── "done", when its worker answers ────► old            reads no more, finishes, ends
//! ```
//!
//! A new one that fails before that is as if it had never come.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use super::sockets::{Purpose, Sockets};

const TAKE: &[u8] = b"take\n";
const DONE: &[u8] = b"done\n";
/// A process that does not answer in this time is stuck.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often one is looked for that does not end at that moment.
const ATTEMPTS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);
/// More than there are addresses, both transports and the rest.
const MOST: usize = 32;

/// The one that has the sockets, if there is one. One that ends while it is asked is nobody, or another one comes.
///
/// # Errors
/// When it does not answer as expected.
pub fn take(path: &Path) -> io::Result<Option<(UnixStream, Sockets)>> {
    let mut attempts = 0;
    loop {
        match ask(path) {
            Err(error) if has_ended(&error) && attempts < ATTEMPTS => thread::sleep(PAUSE),
            other => return other,
        }
        attempts += 1;
    }
}

fn has_ended(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

fn ask(path: &Path) -> io::Result<Option<(UnixStream, Sockets)>> {
    let mut stream = match UnixStream::connect(path) {
        Err(error) if is_nobody(&error) => return Ok(None),
        other => other?,
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(TAKE)?;
    let sockets = receive(&stream)?;
    Ok(Some((stream, Sockets::taken(sockets))))
}

/// Tells the one that was there that it may go.
///
/// # Errors
/// When it is gone already.
pub fn done(mut stream: UnixStream) -> io::Result<()> {
    stream.write_all(DONE)
}

fn is_nobody(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotFound};
    matches!(error.kind(), NotFound | ConnectionRefused)
}

/// Hears a newcomer's first word, and hands over. Who says nothing of that kind gets nothing.
///
/// # Errors
/// When it is gone, or is somebody else.
pub fn give(mut stream: UnixStream, sockets: &Sockets) -> io::Result<UnixStream> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut word = [0; TAKE.len()];
    stream.read_exact(&mut word)?;
    if word != TAKE {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "expected `take`",
        ));
    }
    send(&stream, sockets)?;
    Ok(stream)
}

/// Whether a newcomer has taken over; `false` when it is gone. Waits for one of both.
pub fn has_taken_over(mut stream: &UnixStream) -> bool {
    let mut word = [0; DONE.len()];
    let forever = stream.set_read_timeout(None);
    forever.is_ok() && stream.read_exact(&mut word).is_ok() && word == DONE
}

fn send(stream: &UnixStream, sockets: &Sockets) -> io::Result<()> {
    let (names, fds): (Vec<String>, Vec<RawFd>) = (sockets.iter())
        .map(|(purpose, fd)| (format!("{purpose}\n"), fd.as_raw_fd()))
        .unzip();
    let names = names.concat();
    let rights = [ControlMessage::ScmRights(&fds)];
    let text = [IoSlice::new(names.as_bytes())];
    sendmsg::<()>(stream.as_raw_fd(), &text, &rights, MsgFlags::empty(), None)?;
    Ok(())
}

fn receive(stream: &UnixStream) -> io::Result<Vec<(Purpose, OwnedFd)>> {
    let mut names = [0; 4096];
    let mut room = nix::cmsg_space!([RawFd; MOST]);
    let mut text = [IoSliceMut::new(&mut names)];
    let fd = stream.as_raw_fd();
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(fd, &mut text, Some(&mut room), flags)?;
    let mut sockets = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control {
            // SAFETY: the kernel has just opened them for this process, and nobody else knows of them.
            sockets.extend(
                fds.into_iter()
                    .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
            );
        }
    }
    let bytes = message.bytes;
    if bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    let names = std::str::from_utf8(&names[..bytes]).map_err(|error| wrong(error.to_string()))?;
    let names: Result<Vec<Purpose>, String> = names.lines().map(str::parse).collect();
    let names = names.map_err(wrong)?;
    if names.is_empty() || names.len() != sockets.len() {
        let (names, sockets) = (names.len(), sockets.len());
        return Err(wrong(format!("{sockets} sockets for {names} names")));
    }
    Ok(names.into_iter().zip(sockets).collect())
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn sockets() -> (Sockets, UdpSocket) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = socket.local_addr().unwrap();
        let kept = socket.try_clone().unwrap();
        let udp = (Purpose::Udp(at), OwnedFd::from(socket));
        (Sockets::taken(vec![udp]), kept)
    }

    #[test]
    fn what_is_taken_is_the_same_socket_and_the_old_one_hears_when_it_may_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dns.sock");
        assert!(take(&path).unwrap().is_none(), "nobody is there");
        let listener = UnixListener::bind(&path).unwrap();
        let (sockets, kept) = sockets();
        let at = kept.local_addr().unwrap();
        let old = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let stream = give(stream, &sockets).unwrap();
            has_taken_over(&stream)
        });
        let (stream, taken) = take(&path).unwrap().unwrap();
        let fd = taken.get(Purpose::Udp(at)).unwrap();
        let mine = UdpSocket::from(fd.try_clone_to_owned().unwrap());
        mine.send_to(b"x", at).unwrap();
        let mut byte = [0];
        assert_eq!(kept.recv(&mut byte).unwrap(), 1);
        done(stream).unwrap();
        assert!(old.join().unwrap());
        assert!(take(&path).unwrap().is_none(), "a name without a listener");
    }

    #[test]
    fn one_that_ends_while_it_is_asked_is_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dns.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let ending = thread::spawn(move || drop(listener.accept().unwrap()));
        assert!(take(&path).unwrap().is_none());
        ending.join().unwrap();
    }

    #[test]
    fn a_newcomer_that_fails_or_is_somebody_else_takes_nothing() {
        let (sockets, _kept) = sockets();
        let (stream, other) = UnixStream::pair().unwrap();
        let newcomer = thread::spawn(move || {
            let mut other = other;
            other.write_all(TAKE).unwrap();
            assert_eq!(receive(&other).unwrap().len(), 1);
        });
        let stream = give(stream, &sockets).unwrap();
        newcomer.join().unwrap();
        assert!(!has_taken_over(&stream));
        let (stream, mut other) = UnixStream::pair().unwrap();
        other.write_all(b"GET /").unwrap();
        assert!(give(stream, &sockets).is_err());
    }
}

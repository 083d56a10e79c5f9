//! Bytes and descriptors over a unix socket, without blocking.
//!
//! Both ends use this: the shim from its poll loop, the client from tokio's
//! readiness.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::Serialize;

/// Most descriptors in one message.
const MAX_FDS: usize = 4;

/// A message as a frame: one line of JSON.
pub(crate) fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// Takes the first whole frame off `buffer`, without its newline.
pub(crate) fn take_frame(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = buffer.iter().position(|byte| *byte == b'\n')?;
    let rest = buffer.split_off(end + 1);
    let mut frame = std::mem::replace(buffer, rest);
    frame.pop();
    Some(frame)
}

/// Sends some of `bytes`, with `fds` beside the first of them.
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[RawFd]) -> io::Result<usize> {
    let rights = [ControlMessage::ScmRights(fds)];
    let control = if fds.is_empty() { &[][..] } else { &rights[..] };
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    let bytes = [IoSlice::new(bytes)];
    Ok(sendmsg::<()>(
        socket.as_raw_fd(),
        &bytes,
        control,
        flags,
        None,
    )?)
}

/// Appends what is there to `buffer` and `fds`; 0 is the end of the stream.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut Vec<u8>,
    fds: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut chunk = [0; 4096];
    let mut control = nix::cmsg_space!([RawFd; MAX_FDS]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let length = {
        let mut space = [IoSliceMut::new(&mut chunk)];
        let message = recvmsg::<()>(socket.as_raw_fd(), &mut space, Some(&mut control), flags)?;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(rights) = control {
                // SAFETY: the kernel has just put these descriptors into our
                // table; nobody else knows them.
                fds.extend(
                    rights
                        .into_iter()
                        .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
                );
            }
        }
        message.bytes
    };
    buffer.extend_from_slice(&chunk[..length]);
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn frames_are_taken_one_by_one() {
        let mut buffer = b"one\ntwo\nthr".to_vec();
        assert_eq!(take_frame(&mut buffer).as_deref(), Some(&b"one"[..]));
        assert_eq!(take_frame(&mut buffer).as_deref(), Some(&b"two"[..]));
        assert_eq!(take_frame(&mut buffer), None);
        assert_eq!(buffer, b"thr");
    }

    #[test]
    fn descriptors_arrive_with_the_bytes() {
        let (near, far) = UnixStream::pair().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        send(near.as_fd(), b"x\n", &[writer.as_raw_fd()]).unwrap();
        drop(writer);
        let (mut buffer, mut fds) = (Vec::new(), Vec::new());
        assert_eq!(receive(far.as_fd(), &mut buffer, &mut fds).unwrap(), 2);
        let received = fds.pop().unwrap();
        std::fs::File::from(received).write_all(b"through").unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
    }
}

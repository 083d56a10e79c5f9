//! What the plugin and the agent say to each other.
//!
//! One connection for each call, on a unix stream socket: the plugin sends one
//! line of JSON, with its first byte the descriptor of the pod's network
//! namespace (SCM_RIGHTS), and the agent answers with one line. The descriptor
//! and not the path is sent, since an agent in a container may not see the
//! runtime's paths, and since a path under /proc may name another process by
//! the time it is opened. Nothing is kept between calls, so either side may be
//! replaced at any time.

use std::{
    collections::BTreeMap,
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::types::{AddResult, CniError, Command, ValidAttachment};

/// The agent's socket where the configuration does not name one.
pub const DEFAULT_SOCKET: &str = "/run/sealane/agent.sock";

/// The longest line that either side reads; a result with many addresses has some kilobytes.
pub const MAX_LINE: usize = 1 << 20;

/// One call of the plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    pub command: Command,
    /// The network's name.
    pub network: String,
    /// Empty in STATUS and GC, as are `ifname` and `netns`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub container_id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ifname: String,
    /// `CNI_NETNS` as the runtime wrote it: a name for results and messages, never opened by the agent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub netns: String,
    /// `CNI_ARGS`; Kubernetes puts the pod's name and uid here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub runtime_config: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev_result: Option<AddResult>,
    /// GC: what must stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_attachments: Option<Vec<ValidAttachment>>,
}

/// The agent's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Response {
    /// ADD: what was made, in the form of the latest version, without `prev_result`.
    Added(AddResult),
    /// Any other command succeeded.
    Done,
    /// What to tell the runtime.
    Failed(CniError),
}

/// Writes a value as the one line of its direction.
pub fn line(message: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).expect("messages have only text keys");
    line.push(b'\n');
    line
}

/// Sends bytes, and a descriptor with the first of them; returns how many were taken.
///
/// # Errors
/// What `sendmsg(2)` reports, including `WouldBlock` on a non-blocking socket.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> io::Result<usize> {
    let fds: Vec<RawFd> = fd.iter().map(|fd| fd.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&fds)];
    let control = if fds.is_empty() {
        &rights[..0]
    } else {
        &rights[..]
    };
    let sent = sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(bytes)],
        control,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    Ok(sent)
}

/// Receives bytes, and the descriptor that came with them; 0 bytes are the end.
///
/// A descriptor is close-on-exec. Of several, the last is kept and the others
/// are closed, so that a peer cannot make the agent hoard them.
///
/// # Errors
/// What `recvmsg(2)` reports, including `WouldBlock` on a non-blocking socket.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut control = nix::cmsg_space!([RawFd; 1]);
    let mut into = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(
        socket.as_raw_fd(),
        &mut into,
        Some(&mut control),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    let mut received = None;
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = part {
            for fd in fds {
                // SAFETY: the kernel has just installed this descriptor for us,
                // and nothing else in this process knows its number.
                received = Some(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
    }
    Ok((message.bytes, received))
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        os::{fd::AsFd, unix::fs::MetadataExt, unix::net::UnixStream},
    };

    use super::*;

    #[test]
    fn a_descriptor_arrives_with_the_first_byte_only() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let file = File::open("/proc/self/ns/net").unwrap();
        send(ours.as_fd(), b"ab", Some(file.as_fd())).unwrap();
        send(ours.as_fd(), b"cd", None).unwrap();
        let mut buffer = [0; 1];
        let (n, fd) = receive(theirs.as_fd(), &mut buffer).unwrap();
        assert_eq!((n, buffer[0]), (1, b'a'));
        let got = File::from(fd.expect("no descriptor"))
            .metadata()
            .unwrap()
            .ino();
        assert_eq!(got, file.metadata().unwrap().ino());
        let (n, fd) = receive(theirs.as_fd(), &mut [0; 9]).unwrap();
        assert!(n > 0 && fd.is_none());
    }

    #[test]
    fn the_end_is_zero_bytes() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(ours);
        assert_eq!(receive(theirs.as_fd(), &mut [0; 9]).unwrap().0, 0);
    }

    #[test]
    fn messages_are_one_line_and_read_back() {
        let request = Request {
            command: Command::Del,
            network: "sealane".into(),
            container_id: "a\nb".into(),
            ifname: "eth0".into(),
            netns: String::new(),
            args: BTreeMap::new(),
            runtime_config: Map::new(),
            prev_result: None,
            valid_attachments: None,
        };
        let line = line(&request);
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(serde_json::from_slice::<Request>(&line).unwrap(), request);
    }
}

//! Where to listen: an address, or a socket that the parent process has bound for us.
//!
//! A socket that is inherited outlives this process: clients that come while it is being
//! restarted wait in the kernel's queue instead of being refused.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener as StdListener},
    os::fd::{BorrowedFd, FromRawFd as _, RawFd},
    str::FromStr,
};

use anyhow::Context as _;
use nix::sys::socket::{getsockopt, sockopt::AcceptConn};
use tokio::net::TcpListener;

/// One value of `--listen`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Listen on this address and port.
    Address(SocketAddr),
    /// Take this descriptor, which is a listening socket.
    Descriptor(RawFd),
}

/// The first descriptor that is not standard input, output or error.
const FIRST: RawFd = 3;

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let descriptor = text.strip_prefix("fd:").map(str::parse::<RawFd>);
        match (descriptor, text.parse()) {
            (Some(Ok(number)), _) if number >= FIRST => Ok(Self::Descriptor(number)),
            (None, Ok(address)) => Ok(Self::Address(address)),
            _ => Err(format!(
                "expected IP:PORT, such as 127.0.0.1:6443, or fd:NUMBER of an inherited socket, \
                 found {text:?}"
            )),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Descriptor(number) => write!(f, "fd:{number}"),
        }
    }
}

/// Opens all listeners, so that a port that is taken is told before anything else is done.
///
/// # Errors
///
/// The first that cannot be had.
pub async fn open(wanted: &[Listen]) -> anyhow::Result<Vec<TcpListener>> {
    let mut listeners = Vec::with_capacity(wanted.len());
    for listen in wanted {
        let opened = match listen {
            Listen::Address(address) => TcpListener::bind(address).await,
            Listen::Descriptor(number) => inherit(*number),
        };
        listeners.push(opened.with_context(|| format!("listen on {listen}"))?);
    }
    Ok(listeners)
}

fn inherit(number: RawFd) -> io::Result<TcpListener> {
    // SAFETY: it is borrowed only to ask the kernel what it is, which answers "bad descriptor" if
    // it is closed.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    if !getsockopt(&borrowed, AcceptConn)? {
        return Err(io::Error::other("the descriptor is not a listening socket"));
    }
    // SAFETY: it is open, as was just seen. Whoever starts us passes it for this use, and it is
    // taken over once, before anything else in this process could have opened or own it.
    let listener = unsafe { StdListener::from_raw_fd(number) };
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_to_listen_is_an_address_or_a_descriptor() {
        for text in ["127.0.0.1:6443", "[::1]:1", "fd:3"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        for text in ["", "fd:", "fd:1", "fd:x", "localhost:1", "127.0.0.1"] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_descriptor_that_is_no_listener_is_refused() {
        let refused = open(&[Listen::Descriptor(1000)]).await.unwrap_err();
        assert!(
            format!("{refused:#}").starts_with("listen on fd:1000: "),
            "{refused:#}"
        );
    }
}

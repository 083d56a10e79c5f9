//! What a worker finds open.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;

use anyhow::{Context, bail};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use crate::keeper::{Inherited, Purpose, Sockets};
use crate::serve;
use crate::state::Folder;

/// The keeper's sockets, by use.
pub struct Handed {
    /// For questions.
    pub sockets: serve::Sockets,
    /// For health and metrics.
    pub health: Vec<TcpListener>,
    /// For state.
    pub debug: Option<UnixListener>,
    /// Where to tell that questions are answered.
    pub ready: OwnedFd,
    /// Ends with the keeper.
    pub life: OwnedFd,
    /// Where to keep what is known.
    pub state: Option<Folder>,
    /// Copies of all that another keeper would need.
    pub all: Sockets,
}

impl Handed {
    /// Takes them by their numbers. Must be called once, before anything else is opened.
    ///
    /// # Errors
    /// When one is not open, or something is missing.
    pub fn take(inherited: Vec<Inherited>) -> anyhow::Result<Self> {
        let mut sockets = serve::Sockets::default();
        let (mut health, mut debug) = (Vec::new(), None);
        let (mut ready, mut life, mut state) = (None, None, None);
        let mut all = Vec::new();
        for Inherited { purpose, fd } in inherited {
            if fd <= 2 {
                bail!("take {purpose}: descriptor {fd} is an output");
            }
            // SAFETY: the keeper has opened this descriptor for this purpose alone, and nothing in this
            // process has taken it before.
            let fd = unsafe { OwnedFd::from_raw_fd(fd) };
            // Not for programs that this one might start.
            fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))
                .with_context(|| format!("take {purpose}, which the keeper was to leave open"))?;
            if !matches!(purpose, Purpose::Ready | Purpose::Life | Purpose::State) {
                let copy = fd.try_clone().with_context(|| format!("copy {purpose}"))?;
                all.push((purpose, copy));
            }
            match purpose {
                Purpose::Udp(_) => sockets.udp.push(UdpSocket::from(fd)),
                Purpose::Tcp(_) => sockets.tcp.push(TcpListener::from(fd)),
                Purpose::Health(_) => health.push(TcpListener::from(fd)),
                Purpose::Debug => debug = Some(UnixListener::from(fd)),
                Purpose::Ready => ready = Some(fd),
                Purpose::Life => life = Some(fd),
                Purpose::State => state = Some(Folder::taken(fd)),
                Purpose::Control => {}
            }
        }
        Ok(Self {
            sockets,
            health,
            debug,
            ready: ready
                .context("find the pipe to the keeper; `sealane dns` starts workers itself")?,
            life: life.context("find the pipe from the keeper")?,
            state,
            all: Sockets::taken(all),
        })
    }
}

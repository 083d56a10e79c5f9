//! The API server's listening sockets, which the supervisor holds.
//!
//! They exist before the API server does and outlive it. A client that connects
//! early, or while a killed API server is started again, waits in the queue of
//! the socket instead of being refused and coming back later: no attempt fails,
//! and nobody polls.
//!
//! After a restart of the supervisor the API server that it adopts still has
//! the sockets, and the supervisor does not; it makes new ones when that API
//! server ends, since only then the addresses are free.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, RawFd};

use crate::plan::Plan;

/// The sockets, once they are bound.
#[derive(Debug, Default)]
pub struct Listeners(Vec<TcpListener>);

impl Listeners {
    /// Binds what is not bound yet.
    ///
    /// # Errors
    /// When an address is taken or not there.
    pub fn ensure(&mut self, plan: &Plan) -> io::Result<()> {
        if self.0.is_empty() {
            let bound: io::Result<Vec<TcpListener>> =
                addresses(plan).into_iter().map(bind).collect();
            self.0 = bound?;
        }
        Ok(())
    }

    /// The descriptors, as the API server is told of them.
    pub fn descriptors(&self) -> Vec<RawFd> {
        self.0.iter().map(AsRawFd::as_raw_fd).collect()
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)
        .map_err(|error| io::Error::new(error.kind(), format!("listen on {address}: {error}")))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Where the API is served: in the node network, and on this machine's loopback.
fn addresses(plan: &Plan) -> Vec<SocketAddr> {
    let machine = plan
        .machine_addresses()
        .into_iter()
        .map(|net| SocketAddr::new(net.addr(), plan.api_port));
    let local = SocketAddr::new(IpAddr::from([127, 0, 0, 1]), plan.local_port);
    machine.chain([local]).collect()
}

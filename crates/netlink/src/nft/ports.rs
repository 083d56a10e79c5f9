//! Which sockets of nftables are this process's own.
//!
//! The kernel tells everybody who listens of each transaction, with the port
//! of the socket that made it. What we did ourselves is no news.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many sockets have each port: it is unique in a network namespace only.
static OWN: Mutex<BTreeMap<u32, usize>> = Mutex::new(BTreeMap::new());

fn own() -> MutexGuard<'static, BTreeMap<u32, usize>> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a socket of this process has this port.
pub(super) fn is_own(port: u32) -> bool {
    own().contains_key(&port)
}

/// The port of one of our sockets, for as long as it is open.
pub(super) struct OwnPort(u32);

impl OwnPort {
    pub(super) fn of(port: u32) -> Self {
        *own().entry(port).or_default() += 1;
        Self(port)
    }
}

impl Drop for OwnPort {
    fn drop(&mut self) {
        let mut own = own();
        if let Some(count) = own.get_mut(&self.0) {
            *count -= 1;
            if *count == 0 {
                own.remove(&self.0);
            }
        }
    }
}

//! A client's share of what there is a number of.
//!
//! A client may take another one while it holds fewer than are free. One client alone comes to
//! half of all; `n` greedy ones to `1/(n+1)` each, and that much is always left for the next who
//! comes (dynamic thresholds, as switches share their buffers). A fixed limit for each would be too low
//! for one or too high for many.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// Things that clients hold.
#[derive(Debug)]
pub struct Shares {
    total: usize,
    held: Mutex<Held>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    by: HashMap<IpAddr, usize>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Permit {
    shares: Arc<Shares>,
    client: IpAddr,
}

impl Shares {
    pub fn new(total: usize) -> Self {
        Self {
            total,
            held: Mutex::default(),
            freed: Notify::new(),
        }
    }

    /// Another one for `client`, if its share allows.
    pub fn take(self: &Arc<Self>, client: IpAddr) -> Option<Permit> {
        let mut held = self.lock();
        let own = held.by.get(&client).copied().unwrap_or_default();
        if own >= self.total - held.all {
            return None;
        }
        held.all += 1;
        held.by.insert(client, own + 1);
        Some(Permit {
            shares: Arc::clone(self),
            client,
        })
    }

    /// How many are held.
    pub fn held(&self) -> usize {
        self.lock().all
    }

    /// Until none is held.
    pub async fn all_free(&self) {
        loop {
            let freed = self.freed.notified();
            if self.held() == 0 {
                return;
            }
            freed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.shares.lock();
        held.all -= 1;
        if let Some(own) = held.by.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                held.by.remove(&self.client);
            }
        }
        if held.all == 0 {
            self.shares.freed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_all(shares: &Arc<Shares>, last: u8) -> Vec<Permit> {
        std::iter::from_fn(|| shares.take(IpAddr::from([10, 0, 0, last]))).collect()
    }

    #[test]
    fn the_greedy_leave_room_for_the_next() {
        let shares = Arc::new(Shares::new(120));
        let mut held: Vec<_> = (1..=5).map(|last| take_all(&shares, last)).collect();
        let counts: Vec<_> = held.iter().map(Vec::len).collect();
        assert_eq!(counts, [60, 30, 15, 8, 4]);
        assert_eq!(shares.held(), 117);
        // The first lets go: it does not get back more than what is free.
        held[0].truncate(0);
        assert_eq!(take_all(&shares, 1).len(), 32);
    }

    #[tokio::test]
    async fn all_free_is_when_the_last_is_dropped() {
        let shares = Arc::new(Shares::new(4));
        shares.all_free().await;
        let held = take_all(&shares, 1);
        let free = shares.all_free();
        tokio::pin!(free);
        assert!(futures::poll!(&mut free).is_pending());
        drop(held);
        free.await;
        assert_eq!(shares.held(), 0);
        assert!(shares.lock().by.is_empty());
    }
}

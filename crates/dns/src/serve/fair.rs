//! Whose datagrams are read while there are more than can be.
//!
//! The queue of a socket is common to all clients. One that fills it takes the place of others,
//! so its datagrams are taken out at once and dropped unread, which costs a tenth of an answer. This happens
//! only while a thread does not keep up and somebody else is asking: alone, a client gets all
//! that there is.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

/// Rates are counted over this.
const WINDOW: Duration = Duration::from_millis(100);
/// Clients that are counted in a window. Made-up addresses beyond it are answered uncounted.
const MAX_CLIENTS: usize = 4096;

/// Counts datagrams of clients.
#[derive(Debug)]
pub struct Fair {
    /// Datagrams of one client in a window.
    limit: u32,
    began: Instant,
    counts: HashMap<IpAddr, u32>,
}

impl Fair {
    /// At most `rate` datagrams of one client in a second.
    pub fn new(rate: u32, now: Instant) -> Self {
        Self {
            limit: (rate / 10).max(1),
            began: now,
            counts: HashMap::new(),
        }
    }

    /// A batch is looked at that was full: there is more than can be read at once.
    pub fn press(&mut self, now: Instant) {
        if now.duration_since(self.began) >= WINDOW {
            self.began = now;
            self.counts.clear();
        }
    }

    /// Whether a datagram of `client` is to be read.
    pub fn admits(&mut self, client: IpAddr) -> bool {
        if self.counts.len() >= MAX_CLIENTS && !self.counts.contains_key(&client) {
            return true;
        }
        let count = self.counts.entry(client).or_default();
        *count += 1;
        *count <= self.limit || self.counts.len() == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_asks_too_much_beside_others_is_dropped() {
        let now = Instant::now();
        let mut fair = Fair::new(100, now);
        let [hog, other] = [1, 2].map(|last| IpAddr::from([10, 0, 0, last]));
        fair.press(now);
        let admitted = |fair: &mut Fair, client| (0..50).filter(|_| fair.admits(client)).count();
        assert_eq!(admitted(&mut fair, hog), 50, "alone");
        assert_eq!(admitted(&mut fair, other), 10);
        assert_eq!(admitted(&mut fair, hog), 0);
        fair.press(now + WINDOW / 2);
        assert_eq!(admitted(&mut fair, hog), 0, "still the same window");
        fair.press(now + WINDOW);
        assert!(fair.admits(other));
        assert_eq!(admitted(&mut fair, hog), 10);
    }
}

use std::{collections::VecDeque, net::IpAddr, time::Duration};

use ipnet::IpNet;

/// Addresses that were given back and must not be given out again yet.
///
/// Whoever talked to the pod before remembers its address for a while: answers
/// of DNS, endpoints that a proxy has not yet dropped, rules of a policy, flows
/// that are tracked. A [`Pool`](crate::Pool) gives out the longest released
/// address first, which keeps a large subnet away from all of them; in one that
/// is nearly full only a delay does. To the pool an address that rests is leased
/// still, so what keeps addresses apart does not depend on a clock.
///
/// Times are durations since one fixed moment, the same over restarts.
///
/// ```
/// use std::time::Duration;
/// use sealane_ipam::Resting;
///
/// let mut resting = Resting::new(Duration::from_secs(10));
/// resting.begin("10.244.1.2".parse()?, Duration::from_secs(100));
/// assert_eq!(resting.over(Duration::from_secs(109)).len(), 0);
/// assert_eq!(resting.over(Duration::from_secs(110)).len(), 1);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Resting {
    delay: Duration,
    /// In the order in which they were given back.
    queue: VecDeque<Rest>,
}

/// One address and the time from which it may be given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// The address.
    pub address: IpAddr,
    /// When its rest ends.
    pub until: Duration,
}

impl Resting {
    /// Nothing rests yet; what is given back will, for `delay`.
    pub fn new(delay: Duration) -> Self {
        Self {
            delay,
            queue: VecDeque::new(),
        }
    }

    /// Goes on with what rested before a restart; an address rests once.
    #[must_use]
    pub fn resumed_with(mut self, rests: impl IntoIterator<Item = Rest>) -> Self {
        for rest in rests {
            if !self.contains(rest.address) {
                self.queue.push_back(rest);
            }
        }
        self
    }

    /// Begins the rest of an address that is given back now.
    pub fn begin(&mut self, address: IpAddr, now: Duration) {
        self.end(address);
        let until = now + self.delay;
        self.queue.push_back(Rest { address, until });
    }

    /// Ends the rest of one address, since it was asked for; false when it did not rest.
    pub fn end(&mut self, address: IpAddr) -> bool {
        let before = self.queue.len();
        self.queue.retain(|rest| rest.address != address);
        self.queue.len() < before
    }

    /// Takes out what has rested long enough, the longest released first.
    ///
    /// A rest that would end later than one that begins now was noted before
    /// the clock was set back: it is over too.
    pub fn over(&mut self, now: Duration) -> Vec<IpAddr> {
        let latest = now + self.delay;
        let is_over = |rest: &Rest| rest.until <= now || rest.until > latest;
        let (over, rests) = std::mem::take(&mut self.queue)
            .into_iter()
            .partition(is_over);
        self.queue = rests;
        let over: VecDeque<Rest> = over;
        over.into_iter().map(|rest| rest.address).collect()
    }

    /// Whether an address rests.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.queue.iter().any(|rest| rest.address == address)
    }

    /// All that rest, the longest released first.
    pub fn iter(&self) -> impl Iterator<Item = Rest> {
        self.queue.iter().copied()
    }

    /// How many addresses of a subnet rest.
    pub fn count_in(&self, subnet: &IpNet) -> usize {
        self.queue
            .iter()
            .filter(|rest| subnet.contains(&rest.address))
            .count()
    }

    /// When the next address of a subnet may be given out.
    pub fn next_in(&self, subnet: &IpNet) -> Option<Duration> {
        let of_subnet = self
            .queue
            .iter()
            .filter(|rest| subnet.contains(&rest.address));
        of_subnet.map(|rest| rest.until).min()
    }

    /// When the next address of all may be given out.
    pub fn next(&self) -> Option<Duration> {
        self.queue.iter().map(|rest| rest.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn rests_end_in_order_and_each_in_its_time() {
        let mut resting = Resting::new(at(10));
        resting.begin(ip("10.0.0.2"), at(100));
        resting.begin(ip("fd00::2"), at(104));
        let subnet: IpNet = "fd00::/64".parse().unwrap();
        assert_eq!(resting.next_in(&subnet), Some(at(114)));
        assert_eq!(resting.next(), Some(at(110)));
        assert!(resting.over(at(109)).is_empty());
        assert_eq!(resting.over(at(110)), [ip("10.0.0.2")]);
        assert_eq!(resting.count_in(&subnet), 1);
        assert_eq!(resting.over(at(200)), [ip("fd00::2")]);
        assert_eq!(resting.next(), None);
    }

    #[test]
    fn an_address_that_comes_and_goes_again_rests_anew() {
        let mut resting = Resting::new(at(10));
        resting.begin(ip("10.0.0.2"), at(100));
        assert!(resting.end(ip("10.0.0.2")));
        assert!(!resting.end(ip("10.0.0.2")));
        resting.begin(ip("10.0.0.2"), at(105));
        resting.begin(ip("10.0.0.2"), at(106));
        assert!(resting.over(at(115)).is_empty());
        assert_eq!(resting.over(at(116)), [ip("10.0.0.2")]);
    }

    #[test]
    fn without_a_delay_nothing_rests() {
        let mut resting = Resting::new(Duration::ZERO);
        resting.begin(ip("10.0.0.2"), at(100));
        assert_eq!(resting.over(at(100)), [ip("10.0.0.2")]);
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_no_address() {
        let before = [Rest {
            address: ip("10.0.0.2"),
            until: at(1_000_000),
        }];
        let mut resting = Resting::new(at(10)).resumed_with(before);
        assert_eq!(resting.over(at(100)), [ip("10.0.0.2")]);
    }
}

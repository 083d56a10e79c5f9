//! The log of queries: `log` of the Corefile, bounded.
//!
//! A line for each query of a busy node would take more than answering it, so at most
//! [`PER_SECOND`] are written in a second, and [`PER_CLIENT`] of one client, so that one that asks
//! all the time leaves room for the others. How many were left out is written, too, and counted.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sealane_corefile::{LogLine, LogRule};
use sealane_introspect::{Counter, Introspect};
use sealane_message::{Name, Rcode};

/// Lines in a second.
pub const PER_SECOND: u32 = 200;
/// Lines of one client in a second.
pub const PER_CLIENT: u32 = 50;

const SECOND: Duration = Duration::from_secs(1);

/// The rules of a server block.
pub struct QueryLog {
    rules: Vec<LogRule>,
    limit: Arc<Limit>,
}

impl QueryLog {
    pub(crate) fn new(rules: Vec<LogRule>, limit: Arc<Limit>) -> Self {
        Self { rules, limit }
    }

    /// Whether nothing is written at all; the first thing to ask.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rule by which a query is written down, if it is.
    #[must_use]
    pub fn rule(
        &self,
        name: &Name,
        rcode: Rcode,
        has_records: bool,
        took: Duration,
    ) -> Option<&LogRule> {
        let rule = self.rules.iter().find(|rule| rule.is_for(name))?;
        rule.wants(rcode, has_records, took).then_some(rule)
    }

    /// Writes a query down, unless there are too many.
    pub fn write(&self, rule: &LogRule, line: &LogLine<'_>, now: Instant) {
        match self.limit.take(line.client.ip(), now) {
            Leave::No => return,
            Leave::Yes => {}
            Leave::AfterLeavingOut(number) => {
                tracing::info!(target: "query", "{number} queries are not written down: more than {PER_SECOND} in a second, or {PER_CLIENT} of one client");
            }
        }
        let mut text = String::with_capacity(160);
        rule.format.render(line, &mut text);
        tracing::info!(target: "query", "{text}");
    }
}

/// How many lines were written in this second.
pub struct Limit {
    window: Mutex<Window>,
    left_out: Counter,
}

#[derive(Default)]
struct Window {
    since: Option<Instant>,
    lines: u32,
    clients: HashMap<IpAddr, u32>,
    left_out: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Leave {
    Yes,
    /// So many have not been written since the last one that was.
    AfterLeavingOut(u64),
    No,
}

impl Limit {
    pub(crate) fn new(introspect: &Introspect) -> Self {
        Self {
            window: Mutex::default(),
            left_out: introspect.counter(
                "sealane_dns_log_left_out_total",
                "Queries that the log plugin would have written down, but for its limit.",
                &[],
            ),
        }
    }

    fn take(&self, client: IpAddr, now: Instant) -> Leave {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let old = |since: Instant| now.saturating_duration_since(since) >= SECOND;
        if window.since.is_none_or(old) {
            window.since = Some(now);
            window.lines = 0;
            window.clients.clear();
        }
        let of_client = window.clients.get(&client).copied().unwrap_or_default();
        if window.lines >= PER_SECOND || of_client >= PER_CLIENT {
            window.left_out += 1;
            self.left_out.inc();
            return Leave::No;
        }
        window.lines += 1;
        window.clients.insert(client, of_client + 1);
        match std::mem::take(&mut window.left_out) {
            0 => Leave::Yes,
            number => Leave::AfterLeavingOut(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_leaves_room_for_others_and_what_is_left_out_is_told() {
        let limit = Limit::new(&Introspect::new("test"));
        let start = Instant::now();
        let client = |number: u8| IpAddr::from([10, 0, 0, number]);
        let written = |number, now| {
            let all = (0..PER_SECOND).filter(|_| limit.take(client(number), now) != Leave::No);
            all.count() as u32
        };
        assert_eq!(written(1, start), PER_CLIENT);
        assert_eq!(written(2, start), PER_CLIENT);
        let rest: u32 = (3..9).map(|number| written(number, start)).sum();
        assert_eq!(rest, PER_SECOND - 2 * PER_CLIENT);
        assert_eq!(written(9, start), 0);
        let later = start + SECOND;
        assert!(matches!(
            limit.take(client(9), later),
            Leave::AfterLeavingOut(_)
        ));
        assert_eq!(limit.take(client(9), later), Leave::Yes);
    }
}

//! One question, from the first upstream that is asked to the answer that is given.
//!
//! [`race`] decides who is asked when, [`attempt`] is one question to one upstream, and here they meet. When
//! the answer is there, questions that are still open are waited for all the same, apart from who asked: only
//! so a slow upstream is told from a dead one, and neither costs the next query a wait.

mod attempt;
mod race;

use std::sync::Arc;

use futures::{StreamExt, stream::FuturesUnordered};
use sealane_message::Rcode;
use tokio::time::{Instant, sleep_until};

pub use race::{Ask, Entrant, Heard, Race, Step, Via};

use crate::{
    meters::ForwardMeters,
    query::Query,
    response::{Kept, TtlBounds},
    upstream::{Group, Order, Upstream},
};
use attempt::{Attempt, Miss};

/// How a question ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// With an answer.
    Answered(Kept),
    /// Upstreams said that they could not, or what they said was of no use.
    Failed(Rcode),
    /// Nobody said anything.
    Silence,
}

/// What a question is asked with.
pub struct Exchange<'a> {
    /// What is asked.
    pub query: Query,
    /// Whose settings hold.
    pub group: &'a Group,
    /// Who can be asked, in order.
    pub upstreams: Arc<[Arc<Upstream>]>,
    /// The order.
    pub order: Order,
    /// The bounds of the answer's TTLs.
    pub bounds: TtlBounds,
    /// Where things are counted.
    pub meters: &'a ForwardMeters,
}

impl Exchange<'_> {
    /// Asks. `conclude` is called once, as soon as it is known how it ended.
    pub async fn run(self, conclude: impl FnOnce(Verdict)) {
        let settings = self.group.settings();
        let now = Instant::now();
        let entrants = self.order.upstreams.iter();
        let entrants = entrants.map(|n| self.upstreams[*n].entrant(*n, now.into_std()));
        let via = match settings.force_tcp {
            true => Via::Tcp,
            false => Via::Udp,
        };
        let deadline = now + settings.patience.deadline;
        let mut race = Race::new(entrants.collect(), via, now.into_std(), deadline.into_std());
        let mut open = FuturesUnordered::new();
        let mut fallback: Option<Verdict> = None;
        let verdict = loop {
            match race.next(Instant::now().into_std()) {
                Step::Ask(ask) => open.push(self.attempt(ask)),
                Step::Over => break fallback.unwrap_or(Verdict::Silence),
                Step::Wait(until) => tokio::select! {
                    biased;
                    Some((ask, result)) = open.next(), if !open.is_empty() => match result {
                        Ok(kept) => break Verdict::Answered(kept),
                        Err(miss) => {
                            race.heard(ask, miss.heard(), Instant::now().into_std());
                            fallback = better(fallback, miss);
                        }
                    },
                    () = sleep_until(Instant::from_std(until)) => {}
                },
            }
        };
        conclude(verdict);
        let permit = self.group.linger();
        while permit.is_some() && open.next().await.is_some() {}
    }

    fn attempt(&self, ask: Ask) -> impl Future<Output = (Ask, Result<Kept, Miss>)> + use<> {
        let attempt = Attempt {
            upstream: Arc::clone(&self.upstreams[ask.upstream]),
            ask,
            query: self.query,
            bounds: self.bounds,
            failover: self.group.settings().failover.clone(),
            meters: self.meters.clone(),
        };
        attempt.run()
    }
}

/// The better of what can be given when nobody does better: any answer before a failure, and the first of its
/// kind.
fn better(fallback: Option<Verdict>, miss: Miss) -> Option<Verdict> {
    match (fallback, miss) {
        (Some(Verdict::Answered(kept)), _) => Some(Verdict::Answered(kept)),
        (_, Miss::Reluctant(kept)) => Some(Verdict::Answered(*kept)),
        (None, Miss::Unwilling(rcode)) => Some(Verdict::Failed(rcode)),
        (fallback, _) => fallback,
    }
}

//! One question to one upstream.

use std::io;
use std::sync::Arc;

use sealane_message::{Edns, Rcode, Request, SAFE_UDP_BYTES, Spelling};
use tokio::time::Instant;

use super::{Ask, Heard, Via};
use crate::{
    chance,
    meters::ForwardMeters,
    query::Query,
    response::{Examined, Kept, TtlBounds, Unusable, examine, keep},
    upstream::{Reception, Upstream, is_cut},
};

/// Response codes after which another upstream is asked in any case.
const UNWILLING: [Rcode; 4] = [
    Rcode::SERVFAIL,
    Rcode::REFUSED,
    Rcode::NOTIMP,
    Rcode::FORMERR,
];

/// What an answer is not, or not yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// An answer, but one of a kind that another upstream is to be asked for.
    Reluctant(Box<Kept>),
    /// It could not say.
    Unwilling(Rcode),
    /// The answer did not fit.
    Truncated,
    /// It does not know EDNS.
    NoEdns,
    /// The answer to a name in another case.
    Folded,
    /// No answer.
    Nothing,
}

impl Miss {
    /// What the race makes of it.
    pub fn heard(&self) -> Heard {
        match self {
            Self::Reluctant(_) | Self::Unwilling(_) => Heard::Unwilling,
            Self::Truncated => Heard::Truncated,
            Self::NoEdns => Heard::NoEdns,
            Self::Folded => Heard::Folded,
            Self::Nothing => Heard::Nothing,
        }
    }
}

/// One question to one upstream.
pub struct Attempt {
    pub upstream: Arc<Upstream>,
    pub ask: Ask,
    pub query: Query,
    pub bounds: TtlBounds,
    pub failover: Vec<Rcode>,
    pub meters: ForwardMeters,
}

impl Attempt {
    /// Asks, and notes what that tells about the upstream.
    pub async fn run(self) -> (Ask, Result<Kept, Miss>) {
        let begun = Instant::now();
        let reply = self.reply().await;
        let result = match reply {
            Err(error) => {
                tracing::debug!(upstream = %self.upstream.address(), question = %self.query.question, %error, "no answer");
                self.upstream.failed();
                Err(Miss::Nothing)
            }
            Ok((examined, result)) => {
                let took = begun.elapsed();
                self.upstream.meters.answered(examined.rcode, took);
                self.upstream.health().answered(Some(took));
                self.learn(examined, &result, begun);
                result
            }
        };
        (self.ask, result)
    }

    async fn reply(&self) -> io::Result<(Examined, Result<Kept, Miss>)> {
        let request = self.request()?;
        let receive = |bytes: &[u8]| match examine(bytes, &request) {
            Ok(examined) => Reception::Done((examined, self.judge(bytes, examined))),
            Err(lie) => {
                self.upstream.meters.lied(lie);
                Reception::Ignored
            }
        };
        self.upstream.ask(self.ask.via, &request, receive).await
    }

    fn request(&self) -> io::Result<Request> {
        let mut request = Request::new(chance::id()?, self.query.question);
        if self.ask.mixed_case {
            let bits = chance::bytes::<32>()?;
            let (words, _) = bits.as_chunks::<8>();
            let bits = std::array::from_fn(|n| u64::from_ne_bytes(words[n]));
            request.spelling = Spelling::chosen(&self.query.question.name, bits);
        }
        request.checking_disabled = self.query.checking_disabled;
        // Whether the upstream checked signatures is worth knowing (RFC 6840 §5.7).
        request.authentic_data = true;
        request.edns = self.ask.edns.then_some(Edns {
            udp_bytes: SAFE_UDP_BYTES as u16,
            dnssec_ok: self.query.dnssec_ok,
        });
        Ok(request)
    }

    fn judge(&self, bytes: &[u8], examined: Examined) -> Result<Kept, Miss> {
        let by_udp = self.ask.via == Via::Udp;
        let refuses_edns = matches!(examined.rcode, Rcode::FORMERR | Rcode::NOTIMP);
        if by_udp && examined.folded && self.ask.mixed_case {
            self.upstream.meters.folded();
            return Err(Miss::Folded);
        }
        if examined.truncated || (by_udp && is_cut(bytes)) {
            return Err(Miss::Truncated);
        }
        if self.ask.edns && refuses_edns {
            return Err(Miss::NoEdns);
        }
        if UNWILLING.contains(&examined.rcode) {
            return Err(Miss::Unwilling(examined.rcode));
        }
        match keep(bytes, examined, &self.query, self.bounds) {
            Ok(kept) => {
                self.meters.dropped.add(kept.dropped as u64);
                match self.failover.contains(&examined.rcode) {
                    true => Err(Miss::Reluctant(Box::new(kept))),
                    false => Ok(kept),
                }
            }
            Err(Unusable::Edns) if self.ask.edns => Err(Miss::NoEdns),
            Err(reason) => {
                tracing::debug!(upstream = %self.upstream.address(), question = %self.query.question, %reason, "a reply is of no use");
                self.meters.unusable.inc();
                Err(Miss::Unwilling(Rcode::SERVFAIL))
            }
        }
    }

    /// What the reply tells about what the upstream understands.
    fn learn(&self, examined: Examined, result: &Result<Kept, Miss>, now: Instant) {
        let now = now.into_std();
        let mut health = self.upstream.health();
        let answered = matches!(result, Ok(_) | Err(Miss::Reluctant(_)));
        if answered && !self.ask.edns && health.knows_edns(now) {
            health.refused_edns(now);
        }
        // By TCP it was the upstream itself; without TCP there is nobody else to ask.
        let by_tcp = self.ask.via == Via::Tcp && examined.folded;
        let without_tcp = self.ask.in_doubt && !self.ask.mixed_case;
        if answered && (by_tcp || without_tcp) {
            health.folded_case(now);
        }
    }
}

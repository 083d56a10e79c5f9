//! What of a reply is kept, and for how long.
//!
//! Answers are kept for one question, not record by record, so a lie about another name has nowhere to go:
//! what is not about the question, or a name that the question's stands for, is dropped and counted. Of the
//! other sections only what a client needs is kept: the SOA of a negative answer, and with DO what proves
//! that something does not exist.
//!
//! An upstream is another resolver: what it says about aliases is taken as it gives it, and a chain that it
//! leaves open stays open.

use std::sync::Arc;

use sealane_message::{Answer, Data, Kind, Name, Rcode, Record, Records, Section};

use super::{Examined, Unusable, chain::Chain, opaque};
use crate::query::Query;

/// More than any honest answer has.
const MOST_RECORDS: usize = 2000;

/// Between which bounds TTLs are kept, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// TTLs below are raised to it.
    pub min: u32,
    /// TTLs above are lowered to it.
    pub max: u32,
}

impl Bounds {
    /// TTLs as they are.
    pub const NONE: Self = Self {
        min: 0,
        max: i32::MAX as u32,
    };

    fn apply(self, ttl: u32) -> u32 {
        // A TTL with the highest bit is none (RFC 2181 §8).
        let ttl = if ttl > i32::MAX as u32 { 0 } else { ttl };
        ttl.max(self.min).min(self.max)
    }
}

/// Bounds by what kind of answer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TtlBounds {
    /// Of answers with records.
    pub success: Bounds,
    /// Of answers that there are none.
    pub denial: Bounds,
}

impl TtlBounds {
    /// TTLs as they are.
    pub const NONE: Self = Self {
        success: Bounds::NONE,
        denial: Bounds::NONE,
    };
}

/// Whether there is what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// There is.
    Success,
    /// There is not: no such name, or no such record of it.
    Denial,
}

/// What of a reply is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The answer, with TTLs within bounds.
    pub answer: Arc<Answer>,
    /// What kind it is.
    pub outcome: Outcome,
    /// Seconds that it may be kept; a denial without SOA may not (RFC 2308 §5).
    pub ttl: Option<u32>,
    /// Records that are not about the question.
    pub dropped: usize,
}

/// Reads all of a reply whose header and question were examined.
///
/// # Errors
///
/// It cannot be read, contradicts itself, or sends us elsewhere.
pub fn keep(
    message: &[u8],
    examined: Examined,
    query: &Query,
    bounds: TtlBounds,
) -> Result<Kept, Unusable> {
    let mut reply = Reply::read(message, query)?;
    let question = &query.question;
    let chain = match question.kind {
        Kind::CNAME | Kind::ANY => Chain::single(question.name),
        _ => Chain::follow(question.name, &reply.answers)?,
    };
    let all = reply.answers.len();
    let mut kept = in_order(&mut reply.answers, &chain, query);
    let mut dropped = all - kept.len();
    let found = kept.iter().any(|record| is_wanted(record, &chain, query));
    if found && examined.rcode == Rcode::NXDOMAIN {
        return Err(Unusable::Contradiction);
    }
    let soa = reply.soa(chain.end(), &mut dropped);
    if soa.is_none() && kept.is_empty() && reply.refers && examined.rcode == Rcode::NOERROR {
        return Err(Unusable::Referral);
    }
    // An alias whose end was not looked up says as much as it says.
    let outcome =
        match found || (!kept.is_empty() && soa.is_none() && examined.rcode == Rcode::NOERROR) {
            true => Outcome::Success,
            false => Outcome::Denial,
        };
    let bounds = match outcome {
        Outcome::Success => bounds.success,
        Outcome::Denial => bounds.denial,
    };
    let denied = outcome == Outcome::Denial;
    if denied {
        kept.extend(soa);
    }
    if query.dnssec_ok {
        kept.append(&mut reply.proofs);
    }
    for record in &mut kept {
        record.ttl = bounds.apply(match &record.data {
            Data::Soa(soa) if denied => record.ttl.min(soa.minimum),
            _ => record.ttl,
        });
    }
    let has_soa = kept
        .iter()
        .any(|record| matches!(record.data, Data::Soa(_)));
    let ttl = kept.iter().map(|record| record.ttl).min();
    let answer = Answer::make(question, |writer| {
        writer.set_rcode(examined.rcode);
        writer.set_authentic_data(examined.authentic);
        for record in &kept {
            let class = question.class;
            writer.push_of_class(
                record.section,
                &record.owner,
                class,
                record.ttl,
                &record.data,
            )?;
        }
        Ok(())
    });
    Ok(Kept {
        answer: Arc::new(answer.map_err(|_full| Unusable::TooLong)?),
        outcome,
        ttl: ttl.filter(|_| !denied || has_soa),
        dropped,
    })
}

/// What was found in a reply.
struct Reply<'m> {
    answers: Vec<Record<'m>>,
    soas: Vec<Record<'m>>,
    /// What shows that something does not exist, and its signatures.
    proofs: Vec<Record<'m>>,
    /// It names servers of a zone.
    refers: bool,
}

impl<'m> Reply<'m> {
    fn read(message: &'m [u8], query: &Query) -> Result<Self, Unusable> {
        let mut reply = Self {
            answers: Vec::new(),
            soas: Vec::new(),
            proofs: Vec::new(),
            refers: false,
        };
        for (count, record) in Records::of(message)?.enumerate() {
            let record = record?;
            let kind = record.data.kind();
            if count == MOST_RECORDS {
                return Err(Unusable::TooLong);
            }
            // The upper bits of how it ended (RFC 6891 §6.1.3); all that they say is about EDNS.
            if kind == Kind::OPT && record.ttl >> 24 != 0 {
                return Err(Unusable::Edns);
            }
            if kind == Kind::OPT || record.class != query.question.class {
                continue;
            }
            if let Data::Other(kind, bytes) = &record.data {
                opaque::check(*kind, bytes)?;
            }
            match (record.section, kind) {
                (Section::Answer, _) => reply.answers.push(record),
                (Section::Authority, Kind::SOA) => reply.soas.push(record),
                (Section::Authority, Kind::NS) => reply.refers = true,
                (Section::Authority, Kind::NSEC | Kind::NSEC3) => reply.proofs.push(record),
                (Section::Authority, Kind::RRSIG) if proves(&record) => reply.proofs.push(record),
                _ => {}
            }
        }
        Ok(reply)
    }

    /// The SOA that speaks for `name`; others are counted as dropped.
    fn soa(&mut self, name: &Name, dropped: &mut usize) -> Option<Record<'m>> {
        let all = self.soas.len();
        self.soas.retain(|soa| name.is_within(&soa.owner));
        *dropped += all - self.soas.len();
        self.soas.pop()
    }
}

/// The type that a signature is of.
fn covered(record: &Record<'_>) -> Option<Kind> {
    match &record.data {
        Data::Other(Kind::RRSIG, [high, low, ..]) => Some(Kind(u16::from_be_bytes([*high, *low]))),
        _ => None,
    }
}

fn proves(signature: &Record<'_>) -> bool {
    matches!(
        covered(signature),
        Some(Kind::NSEC | Kind::NSEC3 | Kind::SOA)
    )
}

/// What was asked for, at the end of the chain.
fn is_wanted(record: &Record<'_>, chain: &Chain, query: &Query) -> bool {
    let kind = query.question.kind;
    record.owner == *chain.end() && (kind == Kind::ANY || record.data.kind() == kind)
}

/// The records along the chain, in its order.
fn in_order<'m>(answers: &mut Vec<Record<'m>>, chain: &Chain, query: &Query) -> Vec<Record<'m>> {
    let mut kept = Vec::with_capacity(answers.len());
    for name in chain.names() {
        let is_alias = name != chain.end();
        let wanted = |record: &mut Record<'m>| {
            let about = |kind: Kind| match is_alias {
                true => kind == Kind::CNAME,
                false => kind == query.question.kind || query.question.kind == Kind::ANY,
            };
            let kind = record.data.kind();
            let signed = covered(record).is_some_and(about) && query.dnssec_ok;
            let made_by = kind == Kind::DNAME || covered(record) == Some(Kind::DNAME);
            (record.owner == *name && (about(kind) || signed))
                || (made_by && query.dnssec_ok && is_alias && name.is_within(&record.owner))
        };
        kept.extend(answers.extract_if(.., wanted));
    }
    kept
}

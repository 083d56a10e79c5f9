//! What `make fuzz`, tests of hostile input and the bench drive.

use std::sync::Arc;
use std::time::Instant;

use sealane_introspect::Introspect;
use sealane_message::{
    Age, Answer, Data, Kind, Name, PLAIN_UDP_BYTES, Question, Request, SAFE_UDP_BYTES, Section,
    Writer,
};

use crate::{
    cache::Cache,
    meters::CacheMeters,
    query::{Query, Reply},
    response::{Bounds, Kept, Outcome, TtlBounds, examine, keep},
    settings::CacheSettings,
};

const MIN_TTL: u32 = 5;
const MAX_TTL: u32 = 3600;

/// Reads `bytes` as what an upstream sends: once as they are, and once behind a question that was asked, so
/// that records are reached. The first byte chooses the question, the next eight are flags and counts.
///
/// # Panics
///
/// When a promise is broken: what is kept is about the question, within bounds, and can be sent.
pub fn reply(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else {
        return;
    };
    let query = query(*choice);
    let request = Request::new(0x1234, query.question);
    read(rest, &request, &query);
    let Some((flags, records)) = rest.split_at_checked(8) else {
        return;
    };
    let mut message = Vec::new();
    request.write(&mut message);
    message[2] = 0x80 | flags[0] & 0x07;
    message[3] = flags[1];
    message[6..12].copy_from_slice(&flags[2..]);
    message.extend_from_slice(records);
    read(&message, &request, &query);
}

fn query(choice: u8) -> Query {
    let (name, kind) = match choice % 4 {
        0 => ("www.example.org", Kind::A),
        1 => ("www.example.org", Kind::ANY),
        2 => ("_sip._tcp.example.org", Kind::SRV),
        _ => (".", Kind::NS),
    };
    let name: Name = name.parse().expect("a name is one");
    let mut query = Query::from(Question::new(name, kind));
    query.dnssec_ok = choice & 0x80 != 0;
    query
}

fn read(message: &[u8], request: &Request, query: &Query) {
    let Ok(examined) = examine(message, request) else {
        return;
    };
    let bounds = Bounds {
        min: MIN_TTL,
        max: MAX_TTL,
    };
    let bounds = TtlBounds {
        success: bounds,
        denial: bounds,
    };
    if let Ok(kept) = keep(message, examined, query, bounds) {
        promises(&kept, query);
    }
}

fn promises(kept: &Kept, query: &Query) {
    let mut about = vec![query.question.name];
    for record in kept.answer.records() {
        assert!(
            (MIN_TTL..=MAX_TTL).contains(&record.ttl),
            "a TTL within bounds"
        );
        if record.section != Section::Answer {
            continue;
        }
        let above = about.iter().any(|name| name.is_within(&record.owner));
        assert!(
            about.contains(&record.owner) || query.dnssec_ok && above,
            "about the question"
        );
        if let Data::Cname(target) = record.data {
            about.push(target);
        }
    }
    assert!(
        kept.ttl
            .is_none_or(|ttl| (MIN_TTL..=MAX_TTL).contains(&ttl))
    );
    for limit in [PLAIN_UDP_BYTES, SAFE_UDP_BYTES] {
        let mut reply = Vec::new();
        let request = Request::new(1, query.question);
        let mut writer = Writer::reply(&mut reply, &request, limit);
        let _truncated = kept.answer.write(&mut writer, Age::Seconds(1));
        writer.finish();
        assert!(reply.len() <= limit, "it fits");
    }
}

/// A cache by itself.
pub struct Shelf {
    cache: Cache,
}

impl Shelf {
    /// Empty.
    #[must_use]
    pub fn new(settings: CacheSettings) -> Self {
        let meters = CacheMeters::new(&Introspect::new("bench"), "dns://:53", ".");
        Self {
            cache: Cache::new(settings, meters),
        }
    }

    /// Keeps an answer.
    pub fn put(&self, query: &Query, answer: Arc<Answer>, ttl: u32, now: Instant) {
        let kept = Kept {
            answer,
            outcome: Outcome::Success,
            ttl: Some(ttl),
            dropped: 0,
        };
        self.cache.put(query, &kept, now);
    }

    /// What is kept.
    #[must_use]
    pub fn get(&self, query: &Query, now: Instant) -> Option<Reply> {
        self.cache.get(query, now).map(|hit| hit.reply)
    }

    /// How many answers are kept, and what they take by its own account.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.cache.len(Outcome::Success), self.cache.weight())
    }
}

//! What a fuzzer drives: bytes of an upstream.

use sealane_message::{Kind, Name, Question, Request};

use crate::{
    query::Query,
    response::{Bounds, Kept, TtlBounds, examine, keep},
};

/// Reads `bytes` as the reply to a question that they may or may not answer. What is kept has to be readable
/// again, about the question, and within bounds.
///
/// # Panics
///
/// When it is not.
pub fn reply(bytes: &[u8]) {
    let Some((choice, message)) = bytes.split_first() else {
        return;
    };
    let (name, kind) = match choice % 4 {
        0 => ("www.example.org", Kind::A),
        1 => ("www.example.org", Kind::ANY),
        2 => ("_sip._tcp.example.org", Kind::SRV),
        _ => (".", Kind::NS),
    };
    let name: Name = name.parse().expect("a name");
    let mut query = Query::from(Question::new(name, kind));
    query.dnssec_ok = choice & 0x80 != 0;
    let id = u16::from_be_bytes([0x12, 0x34]);
    let Ok(examined) = examine(message, &Request::new(id, query.question)) else {
        return;
    };
    let bounds = Bounds { min: 5, max: 3600 };
    let bounds = TtlBounds {
        success: bounds,
        denial: bounds,
    };
    if let Ok(kept) = keep(message, examined, &query, bounds) {
        check(&kept);
    }
}

fn check(kept: &Kept) {
    for record in kept.answer.records() {
        assert!((5..=3600).contains(&record.ttl), "{record:?}");
    }
    assert!(kept.ttl.is_none_or(|ttl| (5..=3600).contains(&ttl)));
}

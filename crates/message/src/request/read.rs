//! Reads a client's message, strictly.
//!
//! What is refused here no resolver library sends: compression in the question, records in answer
//! or authority (but for IXFR, which tells the version that the client has), a second OPT, bytes
//! behind the end. Unbound and NSD refuse the same.

use super::{Edns, Fault, Refusal, Request};
use crate::{Class, HEADER_BYTES, Kind, Name, Opcode, Question, Spelling, record::number};

const REPLY: u16 = 1 << 15;
const TRUNCATED: u16 = 1 << 9;
const RECURSION_DESIRED: u16 = 1 << 8;
const AUTHENTIC_DATA: u16 = 1 << 5;
const CHECKING_DISABLED: u16 = 1 << 4;

/// What an OPT record said, before its version is judged.
struct Opt {
    edns: Edns,
    version: u8,
}

pub fn request(message: &[u8]) -> Result<Request, Refusal> {
    let header = message.first_chunk().unwrap_or(&[0; HEADER_BYTES]);
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let flags = word(2);
    let refuse = |fault| Refusal {
        fault,
        id: word(0),
        recursion_desired: flags & RECURSION_DESIRED != 0,
        request: None,
    };
    if message.len() < HEADER_BYTES {
        return Err(refuse(Fault::Short));
    }
    if flags & REPLY != 0 {
        return Err(refuse(Fault::Reply));
    }
    let opcode = Opcode((flags >> 11) as u8 & 0xF);
    if opcode != Opcode::QUERY {
        return Err(refuse(Fault::Opcode(opcode)));
    }
    let malformed = || refuse(Fault::Malformed);
    if flags & TRUNCATED != 0 || word(4) != 1 || word(6) != 0 {
        return Err(malformed());
    }
    let (mut request, mut at) = question(message, word(0), flags).ok_or_else(malformed)?;
    if word(8) != 0 && request.question.kind != Kind::IXFR {
        return Err(malformed());
    }
    for _ in 0..word(8) {
        at = skip(message, at).ok_or_else(malformed)?;
    }
    let opt;
    (opt, at) = additional(message, at, word(10)).ok_or_else(malformed)?;
    if at != message.len() {
        return Err(malformed());
    }
    let Some(opt) = opt else {
        return Ok(request);
    };
    request.edns = Some(opt.edns);
    if opt.version != 0 {
        return Err(Refusal {
            request: Some(Box::new(request)),
            ..refuse(Fault::Version(opt.version))
        });
    }
    Ok(request)
}

/// The question behind the header, and where it ends.
fn question(message: &[u8], id: u16, flags: u16) -> Option<(Request, usize)> {
    let bytes = &message[HEADER_BYTES..];
    let name = Name::from_wire(bytes).ok()?;
    let end = name.len();
    let kind = Kind(number(bytes, end).ok()?);
    let class = Class(number(bytes, end + 2).ok()?);
    if kind == Kind::OPT {
        return None;
    }
    let request = Request {
        id,
        question: Question { name, kind, class },
        spelling: Spelling::of(&bytes[..end]),
        recursion_desired: flags & RECURSION_DESIRED != 0,
        authentic_data: flags & AUTHENTIC_DATA != 0,
        checking_disabled: flags & CHECKING_DISABLED != 0,
        edns: None,
    };
    Some((request, HEADER_BYTES + end + 4))
}

/// The OPT among `count` records, if there is one and no second, and where they end.
fn additional(message: &[u8], mut at: usize, count: u16) -> Option<(Option<Opt>, usize)> {
    let mut found = None;
    for _ in 0..count {
        let kind_at = skip_name(message, at)?;
        let end = skip(message, at)?;
        if Kind(number(message, kind_at).ok()?) == Kind::OPT {
            let root = message[at] == 0;
            if !root || found.is_some() || !whole_options(&message[kind_at + 10..end]) {
                return None;
            }
            found = Some(Opt {
                edns: Edns {
                    udp_bytes: number(message, kind_at + 2).ok()?,
                    dnssec_ok: message[kind_at + 6] & 0x80 != 0,
                },
                version: message[kind_at + 5],
            });
        }
        at = end;
    }
    Some((found, at))
}

/// Whether `data` are options, each with its length, to the last byte. We need none of them.
fn whole_options(mut data: &[u8]) -> bool {
    while !data.is_empty() {
        let Some(rest) = number(data, 2)
            .ok()
            .and_then(|length| data.get(4 + usize::from(length)..))
        else {
            return false;
        };
        data = rest;
    }
    true
}

/// Where the record at `at` ends.
fn skip(message: &[u8], at: usize) -> Option<usize> {
    let at = skip_name(message, at)?;
    let end = at + 10 + usize::from(number(message, at + 8).ok()?);
    (end <= message.len()).then_some(end)
}

/// Where the name at `at` ends; where a pointer in it leads to does not matter.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    let start = at;
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            0xC0.. => return Some(at + 2),
            length @ 1..=63 => at += 1 + usize::from(length),
            _ => return None,
        }
        if at - start > 254 {
            return None;
        }
    }
}

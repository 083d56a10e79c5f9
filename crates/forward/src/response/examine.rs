//! Whether bytes that came from an upstream are the reply to what it was asked.
//!
//! Whoever can send us datagrams under an upstream's address can pretend to be it; what such a forger does
//! not know is the port that the question left from, its id, and the case of its letters. All three have to
//! fit, and the question has to be repeated as it was asked. What does not fit is ignored, and the wait goes
//! on: to give up would let a forger silence an upstream.

use sealane_message::{HEADER_BYTES, Opcode, Rcode, Request};

/// Why bytes are not the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lie {
    /// Shorter than a header, or no reply.
    #[error("is no reply")]
    NoReply,
    /// Another id.
    #[error("has another id")]
    Id,
    /// Another question, or none.
    #[error("answers another question")]
    Question,
}

impl Lie {
    /// For a label of metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoReply => "no_reply",
            Self::Id => "id",
            Self::Question => "question",
        }
    }

    /// All of them.
    pub const ALL: [Self; 3] = [Self::NoReply, Self::Id, Self::Question];
}

/// A reply to what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Examined {
    /// The name came back in another case.
    pub folded: bool,
    /// TC.
    pub truncated: bool,
    /// AD.
    pub authentic: bool,
    /// How it ended, without what an OPT adds.
    pub rcode: Rcode,
}

/// Looks at header and question.
///
/// # Errors
///
/// It is not the reply to `sent`.
pub fn examine(message: &[u8], sent: &Request) -> Result<Examined, Lie> {
    let Some(header) = message.first_chunk::<HEADER_BYTES>() else {
        return Err(Lie::NoReply);
    };
    let is_reply = header[2] & 0x80 != 0;
    let opcode = Opcode(header[2] >> 3 & 0xF);
    if !is_reply || opcode != Opcode::QUERY {
        return Err(Lie::NoReply);
    }
    if header[..2] != sent.id.to_be_bytes() {
        return Err(Lie::Id);
    }
    let rcode = Rcode(u16::from(header[3] & 0xF));
    let questions = u16::from_be_bytes([header[4], header[5]]);
    Ok(Examined {
        folded: question_is_folded(message, questions, rcode, sent)?,
        truncated: header[2] & 2 != 0,
        authentic: header[3] & 0x20 != 0,
        rcode,
    })
}

/// Whether the question came back in another case.
fn question_is_folded(
    message: &[u8],
    questions: u16,
    rcode: Rcode,
    sent: &Request,
) -> Result<bool, Lie> {
    // Who cannot read a query may not repeat it; nothing but the refusal is believed.
    if questions == 0 && matches!(rcode, Rcode::FORMERR | Rcode::NOTIMP | Rcode::REFUSED) {
        return Ok(false);
    }
    let mut asked = Vec::with_capacity(HEADER_BYTES + 300);
    sent.write(&mut asked);
    let length = sent.question.name.len();
    let question = |bytes| {
        let question = <[u8]>::get(bytes, HEADER_BYTES..HEADER_BYTES + length + 4)?;
        Some(question.split_at(length))
    };
    match (questions, question(message), question(&asked)) {
        (1, Some((name, kind)), Some((asked_name, asked_kind)))
            if kind == asked_kind && name.eq_ignore_ascii_case(asked_name) =>
        {
            Ok(name != asked_name)
        }
        _ => Err(Lie::Question),
    }
}

#[cfg(test)]
mod tests {
    use sealane_message::{Kind, Question, Spelling};

    use super::*;

    fn sent() -> Request {
        let name = "www.example.org".parse().unwrap();
        let mut request = Request::new(4711, Question::new(name, Kind::A));
        request.spelling = Spelling::chosen(&name, [0b10_1010_1010; 4]);
        request
    }

    fn reply() -> Vec<u8> {
        let mut bytes = Vec::new();
        sent().write(&mut bytes);
        bytes[2] |= 0x80;
        bytes
    }

    #[test]
    fn the_reply_to_what_was_asked() {
        let examined = examine(&reply(), &sent()).unwrap();
        assert!(!examined.folded && !examined.truncated && !examined.authentic);
        assert_eq!(examined.rcode, Rcode::NOERROR);
    }

    #[test]
    fn lies_are_named() {
        let lie = |change: fn(&mut Vec<u8>)| {
            let mut bytes = reply();
            change(&mut bytes);
            examine(&bytes, &sent()).unwrap_err()
        };
        assert_eq!(lie(|bytes| bytes.truncate(11)), Lie::NoReply);
        assert_eq!(lie(|bytes| bytes[2] &= 0x7F), Lie::NoReply);
        assert_eq!(lie(|bytes| bytes[2] |= 4 << 3), Lie::NoReply);
        assert_eq!(lie(|bytes| bytes[1] ^= 1), Lie::Id);
        assert_eq!(lie(|bytes| bytes[14] ^= 1), Lie::Question);
        assert_eq!(lie(|bytes| *bytes.last_mut().unwrap() = 3), Lie::Question);
        assert_eq!(lie(|bytes| bytes.truncate(20)), Lie::Question);
        assert_eq!(lie(|bytes| bytes[5] = 2), Lie::Question);
        assert_eq!(lie(|bytes| bytes[5] = 0), Lie::Question);
    }

    #[test]
    fn another_case_is_told_apart_from_another_name() {
        let mut bytes = reply();
        let name = &mut bytes[HEADER_BYTES..HEADER_BYTES + sent().question.name.len()];
        name.make_ascii_lowercase();
        assert!(examine(&bytes, &sent()).unwrap().folded);
    }

    #[test]
    fn a_refusal_need_not_repeat_the_question() {
        let mut bytes = reply();
        bytes.truncate(HEADER_BYTES);
        bytes[5] = 0;
        bytes[3] = 1;
        assert_eq!(examine(&bytes, &sent()).unwrap().rcode, Rcode::FORMERR);
        bytes[3] = 3;
        assert_eq!(
            examine(&bytes, &sent()),
            Err(Lie::Question),
            "NXDOMAIN must"
        );
    }
}

//! What a client wants to know, and what it is told.

use std::sync::Arc;

use sealane_message::{Age, Answer, Question, Rcode};

/// A question, with what else makes answers to it differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Query {
    /// What is asked.
    pub question: Question,
    /// Signatures are wanted (DO).
    pub dnssec_ok: bool,
    /// Signatures need not be right (CD).
    pub checking_disabled: bool,
}

impl From<Question> for Query {
    fn from(question: Question) -> Self {
        Self {
            question,
            dnssec_ok: false,
            checking_disabled: false,
        }
    }
}

/// The longest key: a name, type, class and flags.
const KEY_BYTES: usize = 255 + 5;

/// A query as bytes: what answers are kept under.
pub struct Key {
    bytes: [u8; KEY_BYTES],
    length: usize,
}

impl Key {
    /// Two queries have the same key when the answer to one is the answer to the other.
    pub fn of(query: &Query) -> Self {
        let question = &query.question;
        let name = question.name.as_wire();
        let mut bytes = [0; KEY_BYTES];
        let length = name.len() + 5;
        let flags = u8::from(query.dnssec_ok) | u8::from(query.checking_disabled) << 1;
        bytes[..name.len()].copy_from_slice(name);
        let [kind_high, kind_low] = question.kind.0.to_be_bytes();
        let [class_high, class_low] = question.class.0.to_be_bytes();
        bytes[name.len()..length]
            .copy_from_slice(&[kind_high, kind_low, class_high, class_low, flags]);
        Self { bytes, length }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// An answer, and how old it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What was answered once.
    pub answer: Arc<Answer>,
    /// How long ago.
    pub age: Age,
}

impl Reply {
    /// Just heard.
    pub fn new(answer: Arc<Answer>) -> Self {
        Self {
            answer,
            age: Age::NEW,
        }
    }

    /// No records, and why.
    pub fn failure(question: &Question, rcode: Rcode) -> Self {
        let answer = Answer::make(question, |writer| {
            writer.set_rcode(rcode);
            Ok(())
        });
        Self::new(Arc::new(
            answer.expect("a question fits into a message of 64 KiB"),
        ))
    }

    /// How the question ended.
    pub fn rcode(&self) -> Rcode {
        self.answer.rcode()
    }
}

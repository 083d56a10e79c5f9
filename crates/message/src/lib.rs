//! Words: DNS messages, from and to bytes, without any IO.
//!
//! ```text
//! bytes of a client ──Request::read──> Request { question, flags, EDNS }, or what to reply instead
//!                                         │
//!                     Writer::reply <─────┘
//!                        │  push(section, owner, ttl, data)        records, compressed as they come
//!                        │  Answer::write                          records that were kept in wire form
//!                        └──finish──> bytes, within the client's limit, TC where they did not fit
//! ```
//!
//! What a server meets most is a question of a client and an answer of its own, so that is what
//! this crate is made for: a [`Name`] is kept inline and in lower case, so it is compared and
//! hashed as bytes, and how the client spelled it is kept beside it as a set of bits
//! ([`Spelling`]), since a reply has to spell it alike. A request is read strictly: one question
//! without compression, one OPT at most, nothing after the end. Nothing is allocated on the way
//! from request to reply.
//!
//! Sources: RFC 1035, RFC 2181, RFC 2308 (negative answers), RFC 2782 (SRV), RFC 3596 (AAAA),
//! RFC 4343 (case), RFC 6891 (EDNS).
#![warn(missing_docs)]

mod answer;
mod codes;
#[doc(hidden)]
pub mod fuzzing;
mod name;
mod question;
mod record;
mod request;
mod writer;

pub use answer::{Age, Answer};
pub use codes::{Class, Kind, Opcode, Rcode};
pub use name::{Labels, Name, NameError, NameFault};
pub use question::{Question, Spelling};
pub use record::{Data, Malformed, Record, Records, Section, Soa, text_data};
pub use request::{Edns, Fault, Refusal, Request};
pub use writer::{Full, Mark, Writer};

/// Length of a message's header.
pub const HEADER_BYTES: usize = 12;
/// Longest message without EDNS over UDP (RFC 1035 §4.2.1).
pub const PLAIN_UDP_BYTES: usize = 512;
/// Longest message that we send over UDP, so that it is not fragmented (DNS flag day 2020).
pub const SAFE_UDP_BYTES: usize = 1232;
/// Longest message at all: what the two bytes before a message over TCP can say.
pub const MAX_BYTES: usize = 65_535;

//! What is asked, and how it was spelled.

use std::fmt;

use crate::{Class, Kind, Name};

/// What is asked. Two that are equal get the same answer, however they were spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// Of which name.
    pub name: Name,
    /// For which records.
    pub kind: Kind,
    /// [`Class::IN`], but for questions about the server.
    pub class: Class,
}

impl Question {
    /// A question of the Internet's class.
    #[must_use]
    pub fn new(name: Name, kind: Kind) -> Self {
        Self {
            name,
            kind,
            class: Class::IN,
        }
    }

    /// Bytes in a message: the name, the kind, the class.
    pub(crate) fn wire_len(&self) -> usize {
        self.name.len() + 4
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.name, self.class, self.kind)
    }
}

/// Which letters of a name were capitals: one bit for each byte of its wire form.
///
/// A reply has to repeat the question as it was spelled (draft-vixie-dnsext-dns0x20 relies on it);
/// a forwarder may choose capitals at random and compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spelling([u64; 4]);

impl Spelling {
    /// Capitals wherever `bits` has a bit, counted over the wire form, and a letter stands there.
    #[must_use]
    pub fn chosen(name: &Name, bits: [u64; 4]) -> Self {
        let mut spelling = Self::default();
        for (at, byte) in name.as_wire().iter().enumerate() {
            if byte.is_ascii_lowercase() {
                spelling.0[at / 64] |= bits[at / 64] & 1 << (at % 64);
            }
        }
        spelling
    }

    /// How `wire`, a name as it was received, was spelled.
    #[must_use]
    pub fn of(wire: &[u8]) -> Self {
        let mut spelling = Self::default();
        for (word, bytes) in spelling.0.iter_mut().zip(wire.chunks(64)) {
            for (at, byte) in bytes.iter().enumerate() {
                *word |= u64::from(byte.is_ascii_uppercase()) << at;
            }
        }
        spelling
    }

    /// Spells `wire`, a name in lower case, alike.
    pub fn apply(&self, wire: &mut [u8]) {
        for (word, bytes) in self.0.iter().zip(wire.chunks_mut(64)) {
            let mut left = *word;
            while left != 0 {
                let at = left.trailing_zeros() as usize;
                if let Some(byte) = bytes.get_mut(at) {
                    byte.make_ascii_uppercase();
                }
                left &= left - 1;
            }
        }
    }
}

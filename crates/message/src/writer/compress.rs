//! Which names a message already has, so that later ones point there (RFC 1035 §4.1.4).

use crate::{HEADER_BYTES, Name};

/// Names that are remembered: enough for a question and a page of SRV targets. What comes after
/// is written in full but for the ends that are known.
const SLOTS: usize = 48;
/// A pointer has 14 bits.
const MAX_OFFSET: usize = 0x3FFF;

/// Where in the message names, and their parents, start.
#[derive(Debug)]
pub struct Known {
    count: usize,
    /// What tells most names apart without a look at the message.
    marks: [u16; SLOTS],
    offsets: [u16; SLOTS],
    /// The question's name is spelled in lower case, as names are kept.
    question_is_plain: bool,
}

impl Known {
    /// What is known when the question has been written.
    pub fn new(question: &Name, is_plain: bool) -> Self {
        let mut known = Self {
            count: 0,
            marks: [0; SLOTS],
            offsets: [0; SLOTS],
            question_is_plain: is_plain,
        };
        for suffix in question.suffixes() {
            known.add(HEADER_BYTES + question.len() - suffix.len(), suffix);
        }
        known
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn truncate(&mut self, count: usize) {
        self.count = self.count.min(count);
    }

    /// Appends `name` to the message that starts at `start` of `out`. With `compress` it may end
    /// in a pointer; without, others may still point to it.
    pub fn write(&mut self, out: &mut Vec<u8>, start: usize, name: &Name, compress: bool) {
        let message = &out[start..];
        if compress && self.is_question(message, name) {
            out.extend_from_slice(&(0xC000 | HEADER_BYTES as u16).to_be_bytes());
            return;
        }
        let here = message.len();
        let found = name
            .suffixes()
            .find_map(|suffix| Some((suffix.len(), self.find(message, suffix)?)));
        let (known_len, offset) = found.unwrap_or((1, 0));
        let new = name.len() - known_len;
        if compress && found.is_some() {
            out.extend_from_slice(&name.as_wire()[..new]);
            out.extend_from_slice(&(0xC000 | offset).to_be_bytes());
        } else {
            out.extend_from_slice(name.as_wire());
        }
        for suffix in name
            .suffixes()
            .take_while(|suffix| suffix.len() > known_len)
        {
            self.add(here + name.len() - suffix.len(), suffix);
        }
    }

    /// Most owners are what was asked for.
    fn is_question(&self, message: &[u8], name: &Name) -> bool {
        let written = message.get(HEADER_BYTES..HEADER_BYTES + name.len());
        self.question_is_plain && !name.is_root() && written == Some(name.as_wire())
    }

    fn add(&mut self, offset: usize, suffix: &[u8]) {
        // The root is shorter than a pointer to it.
        if suffix.len() > 1 && offset <= MAX_OFFSET && self.count < SLOTS {
            self.marks[self.count] = mark(suffix);
            self.offsets[self.count] = offset as u16;
            self.count += 1;
        }
    }

    fn find(&self, message: &[u8], suffix: &[u8]) -> Option<u16> {
        let wanted = mark(suffix);
        let slots = self.marks[..self.count].iter().zip(&self.offsets);
        slots
            .filter(|(mark, _)| **mark == wanted)
            .find(|(_, offset)| is_at(message, usize::from(**offset), suffix))
            .map(|(_, offset)| *offset)
    }
}

/// The length of a name, and something of its first label.
fn mark(wire: &[u8]) -> u16 {
    let first = usize::from(wire[0]);
    let ends = wire[first.min(1)].wrapping_mul(31) ^ wire[first];
    u16::from_be_bytes([wire.len() as u8, ends])
}

/// Whether the name at `at` of `message` is `wire`, in whichever case.
fn is_at(message: &[u8], mut at: usize, mut wire: &[u8]) -> bool {
    loop {
        let Some(&length) = message.get(at) else {
            return false;
        };
        if length >= 0xC0 {
            let Some(&low) = message.get(at + 1) else {
                return false;
            };
            at = usize::from(length & 0x3F) << 8 | usize::from(low);
            continue;
        }
        let size = 1 + usize::from(length);
        let (Some(ours), Some(theirs)) = (message.get(at..at + size), wire.get(..size)) else {
            return false;
        };
        if !ours.eq_ignore_ascii_case(theirs) {
            return false;
        }
        if length == 0 {
            return true;
        }
        at += size;
        wire = &wire[size..];
    }
}

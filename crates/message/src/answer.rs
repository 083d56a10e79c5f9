//! Answers that are kept, and sent again.

use std::ops::Range;

use crate::{
    Full, HEADER_BYTES, Malformed, Name, Question, Rcode, Record, Records, Section, Writer,
    record::number,
};

/// An answer in wire form, without OPT, that knows where its TTLs are.
///
/// It is kept as the message that answers its question, so for a client with the same question
/// its records are copied as they are: where a pointer leads to does not depend on the id, the
/// spelling or the EDNS of who asks. For another question (an alias of this one, a shorter limit)
/// they are written one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    message: Box<[u8]>,
    /// Where TTLs are, counted from the first record.
    ttls: Box<[u16]>,
    records_at: u16,
    /// Which of the records are several addresses of one name: those may change places.
    addresses: Range<u16>,
}

/// How old a kept answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Seconds that are to be taken off each TTL.
    Seconds(u32),
    /// It has expired and is sent for want of a better one, with this TTL (RFC 8767 §4).
    Stale(u32),
}

impl Age {
    /// Fresh from its source.
    pub const NEW: Self = Self::Seconds(0);

    /// What a TTL has become.
    #[must_use]
    pub fn of(self, ttl: u32) -> u32 {
        match self {
            Self::Seconds(age) => ttl.saturating_sub(age),
            Self::Stale(ttl) => ttl,
        }
    }
}

impl Answer {
    /// The answer to `question` that `write` makes: records, rcode, flags.
    ///
    /// # Errors
    ///
    /// It became longer than a message can be.
    pub fn make(
        question: &Question,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
    ) -> Result<Self, Full> {
        let mut message = Vec::with_capacity(128);
        let mut writer = Writer::kept(&mut message, question);
        write(&mut writer)?;
        writer.finish();
        Self::read(&message).map_err(|_| Full)
    }

    /// Keeps `message`, a whole response: one question, and no OPT among its records.
    ///
    /// A message of somebody else is to be written anew ([`Answer::make`]) before it is kept: its names may point into
    /// a TTL, and would be others when that is aged.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn read(message: &[u8]) -> Result<Self, Malformed> {
        let questions = number(message, 4)?;
        if questions != 1 {
            return Err(Malformed::Questions(questions));
        }
        let mut records = Records::of(message)?;
        let start = records.position();
        let mut ttls = Vec::new();
        let mut addresses = 0..0;
        loop {
            let at = records.position();
            let Some(record) = records.next() else { break };
            let record = record?;
            let (_, kind_at) = Name::from_message(message, at)?;
            if record.section == Section::Answer && record.data.kind().is_address() {
                // They stand together; where another name's stand behind them, they stay.
                let number = ttls.len() as u16;
                match &mut addresses {
                    Range { start, end } if start == end => (*start, *end) = (number, number + 1),
                    Range { end, .. } if *end == number => *end += 1,
                    _ => {}
                }
            }
            ttls.push((kind_at + 4 - start) as u16);
        }
        Ok(Self {
            addresses,
            message: message[..records.position()].into(),
            ttls: ttls.into(),
            records_at: start as u16,
        })
    }

    /// Puts the records into a reply, aged, and sets its rcode. Flags are the caller's affair.
    ///
    /// # Errors
    ///
    /// Some did not fit; the reply says so.
    pub fn write(&self, writer: &mut Writer<'_>, age: Age) -> Result<(), Full> {
        writer.copy(self, age)
    }

    /// How the question ended.
    #[must_use]
    pub fn rcode(&self) -> Rcode {
        Rcode(u16::from(self.message[3] & 0xF))
    }

    /// Whether signatures had been checked (AD).
    #[must_use]
    pub fn is_authentic(&self) -> bool {
        self.message[3] & 0x20 != 0
    }

    /// Whether it came from who has the zone (AA).
    #[must_use]
    pub fn is_authoritative(&self) -> bool {
        self.message[2] & 4 != 0
    }

    /// The records.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        // It was read when it was made, so it can be read now.
        Records::of(&self.message)
            .into_iter()
            .flatten()
            .filter_map(Result::ok)
    }

    /// Records in `section`.
    #[must_use]
    pub fn count(&self, section: Section) -> u16 {
        self.counts()[section as usize]
    }

    /// The lowest TTL of its records; none if it has no records.
    #[must_use]
    pub fn min_ttl(&self) -> Option<u32> {
        self.ttls.iter().map(|&at| self.ttl_at(at)).min()
    }

    /// Bytes that it takes, here and on the heap.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.message.len() + size_of_val(&*self.ttls)
    }

    pub(crate) fn counts(&self) -> [u16; 3] {
        [6, 8, 10].map(|at| u16::from_be_bytes([self.message[at], self.message[at + 1]]))
    }

    pub(crate) fn records_wire(&self) -> &[u8] {
        &self.message[usize::from(self.records_at)..]
    }

    /// Whether its question has the name at the start of `wire`, in whichever case.
    pub(crate) fn is_about(&self, wire: &[u8]) -> bool {
        let name = &self.message[HEADER_BYTES..usize::from(self.records_at) - 4];
        wire.get(..name.len())
            .is_some_and(|other| other.eq_ignore_ascii_case(name))
    }

    /// Ages the TTLs of `records`, a copy of [`Answer::records_wire`].
    pub(crate) fn age_wire(&self, records: &mut [u8], age: Age) {
        if age == Age::NEW {
            return;
        }
        for &at in &self.ttls {
            let ttl = age.of(self.ttl_at(at));
            let at = usize::from(at);
            records[at..at + 4].copy_from_slice(&ttl.to_be_bytes());
        }
    }

    /// Turns the addresses among `records`, a copy of [`Answer::records_wire`], so that the one of
    /// number `turn`, counted round, comes first.
    pub(crate) fn turn_wire(&self, records: &mut [u8], turn: u32) {
        let count = usize::from(self.addresses.end - self.addresses.start);
        if count < 2 {
            return;
        }
        let first = turn as usize % count;
        let places = &self.ttls[usize::from(self.addresses.start)..][..count];
        let source = self.records_wire();
        // Behind the TTL stand a length and the address.
        let part = |number: usize| {
            let at = usize::from(places[number % count]) + 4;
            let length = usize::from(u16::from_be_bytes([source[at], source[at + 1]]));
            at + 2..at + 2 + length
        };
        if first == 0 || (0..count).any(|number| part(number).len() != part(0).len()) {
            return;
        }
        for number in 0..count {
            records[part(number)].copy_from_slice(&source[part(number + first)]);
        }
    }

    fn ttl_at(&self, at: u16) -> u32 {
        let at = usize::from(self.records_at) + usize::from(at);
        let octets = [0, 1, 2, 3].map(|more| self.message[at + more]);
        u32::from_be_bytes(octets)
    }
}

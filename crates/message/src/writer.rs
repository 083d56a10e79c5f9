//! A reply, written as it is made.

mod compress;

use compress::Known;

use crate::{
    Age, Answer, Class, Data, Edns, HEADER_BYTES, Kind, MAX_BYTES, Name, Question, Rcode, Request,
    SAFE_UDP_BYTES, Section, Spelling,
};

const REPLY: u16 = 1 << 15;
const AUTHORITATIVE: u16 = 1 << 10;
const TRUNCATED: u16 = 1 << 9;
const RECURSION_AVAILABLE: u16 = 1 << 7;
const AUTHENTIC_DATA: u16 = 1 << 5;

/// Writes one message behind what `out` already holds (say, the two bytes of TCP's length).
///
/// Records come section by section. One that does not fit is left out whole, and so is whatever
/// comes after it: the client is told by TC, unless only additional records are missing
/// (RFC 2181 §9). What did fit stays, since resolvers that cannot ask over TCP (musl before 1.2.4)
/// still use it.
///
/// The records of the request's OPT, and room for them, are the writer's affair.
#[derive(Debug)]
pub struct Writer<'b> {
    out: &'b mut Vec<u8>,
    start: usize,
    limit: usize,
    flags: u16,
    rcode: Rcode,
    counts: [u16; 3],
    full: bool,
    turn: u32,
    edns: Option<Edns>,
    question_end: usize,
    known: Known,
}

/// A record did not fit, or one before it did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("message is full")]
pub struct Full;

/// A state to go back to, see [`Writer::rewind`].
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    length: usize,
    flags: u16,
    rcode: Rcode,
    counts: [u16; 3],
    full: bool,
    known: usize,
}

impl<'b> Writer<'b> {
    /// A reply to `request`, at most `limit` bytes long ([`Request::udp_limit`], [`MAX_BYTES`]).
    #[must_use]
    pub fn reply(out: &'b mut Vec<u8>, request: &Request, limit: usize) -> Self {
        let mut flags = REPLY;
        flags |= u16::from(request.recursion_desired) << 8;
        flags |= u16::from(request.checking_disabled) << 4;
        let edns = request.edns.map(|edns| Edns {
            udp_bytes: SAFE_UDP_BYTES as u16,
            dnssec_ok: edns.dnssec_ok,
        });
        Self::begin(out, request, flags, edns, limit)
    }

    /// A message that answers `question`, to be kept ([`Answer::make`]).
    pub(crate) fn kept(out: &'b mut Vec<u8>, question: &Question) -> Self {
        Self::begin(out, &Request::new(0, *question), REPLY, None, MAX_BYTES)
    }

    fn begin(
        out: &'b mut Vec<u8>,
        request: &Request,
        flags: u16,
        edns: Option<Edns>,
        limit: usize,
    ) -> Self {
        let start = out.len();
        out.extend_from_slice(&request.id.to_be_bytes());
        out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        request.write_question(out);
        let is_plain = request.spelling == Spelling::default();
        let known = Known::new(&request.question.name, is_plain);
        let question_end = HEADER_BYTES + request.question.wire_len();
        let reserved = edns.map_or(0, |_| Edns::WIRE_BYTES);
        Self {
            start,
            limit: limit.min(MAX_BYTES).saturating_sub(reserved),
            flags,
            rcode: Rcode::NOERROR,
            counts: [0; 3],
            full: false,
            turn: 0,
            edns,
            question_end,
            known,
            out,
        }
    }

    /// How the question ended; [`Rcode::NOERROR`] until it is said.
    pub fn set_rcode(&mut self, rcode: Rcode) {
        self.rcode = rcode;
    }

    /// The answer is of a zone that this server has (AA).
    pub fn set_authoritative(&mut self, yes: bool) {
        self.set(AUTHORITATIVE, yes);
    }

    /// The server resolves names of others, too (RA).
    pub fn set_recursion_available(&mut self, yes: bool) {
        self.set(RECURSION_AVAILABLE, yes);
    }

    /// Signatures were checked (AD).
    pub fn set_authentic_data(&mut self, yes: bool) {
        self.set(AUTHENTIC_DATA, yes);
    }

    /// Which of several addresses of a name comes first: that of number `turn`, counted round.
    pub fn set_turn(&mut self, turn: u32) {
        self.turn = turn;
    }

    /// Which of `count` records comes first, 0 if `count` is.
    #[must_use]
    pub fn first_of(&self, count: usize) -> usize {
        match count {
            0 => 0,
            count => self.turn as usize % count,
        }
    }

    /// The rcode that was set.
    #[must_use]
    pub fn rcode(&self) -> Rcode {
        self.rcode
    }

    /// Records in `section` so far.
    #[must_use]
    pub fn count(&self, section: Section) -> u16 {
        self.counts[section as usize]
    }

    /// Whether a record was left out.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Whether signatures are wanted (DO).
    #[must_use]
    pub fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// Adds a record of the Internet's class; the owner and names in `data` are compressed where
    /// their kind allows it. Sections come in their order.
    ///
    /// # Errors
    ///
    /// It does not fit. Nothing further will.
    pub fn push(
        &mut self,
        section: Section,
        owner: &Name,
        ttl: u32,
        data: &Data<'_>,
    ) -> Result<(), Full> {
        self.push_of_class(section, owner, Class::IN, ttl, data)
    }

    /// [`Writer::push`], of a class.
    ///
    /// # Errors
    ///
    /// It does not fit. Nothing further will.
    pub fn push_of_class(
        &mut self,
        section: Section,
        owner: &Name,
        class: Class,
        ttl: u32,
        data: &Data<'_>,
    ) -> Result<(), Full> {
        debug_assert!(
            self.counts[section as usize + 1..]
                .iter()
                .all(|&count| count == 0),
            "sections come in their order"
        );
        if self.full {
            return Err(Full);
        }
        let (before, known) = (self.out.len(), self.known.len());
        self.name(owner);
        let head: [u8; 10] = {
            let [kind_high, kind_low] = data.kind().0.to_be_bytes();
            let [class_high, class_low] = class.0.to_be_bytes();
            let [t0, t1, t2, t3] = ttl.to_be_bytes();
            [
                kind_high, kind_low, class_high, class_low, t0, t1, t2, t3, 0, 0,
            ]
        };
        self.out.extend_from_slice(&head);
        let start = self.out.len();
        self.data(data);
        let length = self.out.len() - start;
        if self.length() > self.limit || length > MAX_BYTES || self.count(section) == u16::MAX {
            self.out.truncate(before);
            self.known.truncate(known);
            self.fill(section);
            return Err(Full);
        }
        self.out[start - 2..start].copy_from_slice(&(length as u16).to_be_bytes());
        self.counts[section as usize] += 1;
        Ok(())
    }

    /// The present state.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark {
            length: self.out.len(),
            flags: self.flags,
            rcode: self.rcode,
            counts: self.counts,
            full: self.full,
            known: self.known.len(),
        }
    }

    /// Goes back to a state of before.
    pub fn rewind(&mut self, mark: Mark) {
        self.out.truncate(mark.length);
        self.flags = mark.flags;
        self.rcode = mark.rcode;
        self.counts = mark.counts;
        self.full = mark.full;
        self.known.truncate(mark.known);
    }

    /// Ends the message: how many bytes it has.
    pub fn finish(self) -> usize {
        let [rcode_high, _] = (self.rcode.0 << 4).to_be_bytes();
        if let Some(edns) = self.edns {
            edns.write(self.out, rcode_high);
        }
        let flags = self.flags | (self.rcode.0 & 0xF);
        let [answers, authorities, additionals] = self.counts;
        let additionals = additionals + u16::from(self.edns.is_some());
        let header = &mut self.out[self.start..self.start + HEADER_BYTES];
        for (at, word) in [
            (2, flags),
            (6, answers),
            (8, authorities),
            (10, additionals),
        ] {
            header[at..at + 2].copy_from_slice(&word.to_be_bytes());
        }
        self.out.len() - self.start
    }

    /// Puts the records of `answer` behind what there is, [`Answer::write`].
    pub(crate) fn copy(&mut self, answer: &Answer, age: Age) -> Result<(), Full> {
        self.rcode = answer.rcode();
        let records = answer.records_wire();
        let same = self.length() == self.question_end
            && answer.is_about(&self.out[self.start + HEADER_BYTES..]);
        if self.full || !same || self.length() + records.len() > self.limit {
            return self.copy_each(answer, age);
        }
        let start = self.out.len();
        self.out.extend_from_slice(records);
        answer.age_wire(&mut self.out[start..], age);
        answer.turn_wire(&mut self.out[start..], self.turn);
        self.counts = answer.counts();
        Ok(())
    }

    fn copy_each(&mut self, answer: &Answer, age: Age) -> Result<(), Full> {
        for record in answer.records() {
            let ttl = age.of(record.ttl);
            self.push_of_class(
                record.section,
                &record.owner,
                record.class,
                ttl,
                &record.data,
            )?;
        }
        Ok(())
    }

    fn set(&mut self, flag: u16, yes: bool) {
        match yes {
            true => self.flags |= flag,
            false => self.flags &= !flag,
        }
    }

    fn fill(&mut self, section: Section) {
        self.full = true;
        if section != Section::Additional {
            self.flags |= TRUNCATED;
        }
    }

    /// Bytes of the message so far, without its OPT.
    fn length(&self) -> usize {
        self.out.len() - self.start
    }

    fn name(&mut self, name: &Name) {
        self.known.write(self.out, self.start, name, true);
    }

    fn data(&mut self, data: &Data<'_>) {
        match data {
            Data::A(address) => self.out.extend_from_slice(&address.octets()),
            Data::Aaaa(address) => self.out.extend_from_slice(&address.octets()),
            Data::Cname(name) | Data::Ns(name) | Data::Ptr(name) => self.name(name),
            Data::Mx {
                preference,
                exchange,
            } => {
                self.out.extend_from_slice(&preference.to_be_bytes());
                self.name(exchange);
            }
            Data::Srv {
                priority,
                weight,
                port,
                target,
            } => {
                for number in [priority, weight, port] {
                    self.out.extend_from_slice(&number.to_be_bytes());
                }
                self.known.write(self.out, self.start, target, false);
            }
            Data::Soa(soa) => {
                self.name(&soa.primary);
                self.name(&soa.mailbox);
                let numbers = [soa.serial, soa.refresh, soa.retry, soa.expire, soa.minimum];
                for number in numbers {
                    self.out.extend_from_slice(&number.to_be_bytes());
                }
            }
            Data::Other(kind, bytes) => {
                debug_assert_ne!(*kind, Kind::OPT, "the writer makes the OPT itself");
                self.out.extend_from_slice(bytes);
            }
        }
    }
}

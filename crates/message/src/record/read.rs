//! A message's records, in order.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Data, Record, Section, Soa};
use crate::{Class, HEADER_BYTES, Kind, Name, NameFault};

/// Bytes that are not the message that they say they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end within the header, a question or a record.
    #[error("message ends early")]
    Short,
    /// A name in it is none.
    #[error("a name of the message {0}")]
    Name(#[from] NameFault),
    /// A record's data are not what its kind says.
    #[error("data of a {0} record are not of its kind")]
    Data(Kind),
    /// Not one question.
    #[error("message has {0} questions where one is expected")]
    Questions(u16),
}

/// The records of a message, one after another. Ends at the first that cannot be read.
///
/// Names within the data of the kinds that [`Data`] knows are read with their compression; data
/// of other kinds are handed on as they are (RFC 3597 §4 forbids compression there).
#[derive(Clone, Debug)]
pub struct Records<'a> {
    message: &'a [u8],
    at: usize,
    left: [u16; 3],
    failed: bool,
}

impl<'a> Records<'a> {
    /// The records of `message`, behind its questions.
    ///
    /// # Errors
    ///
    /// A header or questions that cannot be read.
    pub fn of(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut at = HEADER_BYTES;
        for _ in 0..number(message, 4)? {
            let (_, end) = Name::from_message(message, at)?;
            at = end + 4;
        }
        if at > message.len() {
            return Err(Malformed::Short);
        }
        Ok(Self {
            message,
            at,
            left: [
                number(message, 6)?,
                number(message, 8)?,
                number(message, 10)?,
            ],
            failed: false,
        })
    }

    /// Where in the message the next record starts, and at the end, what follows the last.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    fn section(&mut self) -> Option<Section> {
        let sections = [Section::Answer, Section::Authority, Section::Additional];
        let (left, section) = self
            .left
            .iter_mut()
            .zip(sections)
            .find(|(left, _)| **left > 0)?;
        *left -= 1;
        Some(section)
    }

    fn read(&mut self, section: Section) -> Result<Record<'a>, Malformed> {
        let (owner, at) = Name::from_message(self.message, self.at)?;
        let kind = Kind(number(self.message, at)?);
        let class = Class(number(self.message, at + 2)?);
        let ttl = wide(self.message, at + 4)?;
        let start = at + 10;
        let end = start + usize::from(number(self.message, at + 8)?);
        if end > self.message.len() {
            return Err(Malformed::Short);
        }
        let data = self.data(kind, start, end)?;
        self.at = end;
        Ok(Record {
            section,
            owner,
            class,
            ttl,
            data,
        })
    }

    fn data(&self, kind: Kind, start: usize, end: usize) -> Result<Data<'a>, Malformed> {
        // What lies behind the data is out of reach of the names in it.
        let message = &self.message[..end];
        let bytes = &message[start..];
        let wrong = Malformed::Data(kind);
        let last = |at| match Name::from_message(message, at)? {
            (name, stop) if stop == end => Ok(name),
            _ => Err(wrong),
        };
        Ok(match kind {
            Kind::A => {
                let octets = <[u8; 4]>::try_from(bytes).map_err(|_| wrong)?;
                Data::A(Ipv4Addr::from(octets))
            }
            Kind::AAAA => {
                let octets = <[u8; 16]>::try_from(bytes).map_err(|_| wrong)?;
                Data::Aaaa(Ipv6Addr::from(octets))
            }
            Kind::CNAME => Data::Cname(last(start)?),
            Kind::NS => Data::Ns(last(start)?),
            Kind::PTR => Data::Ptr(last(start)?),
            Kind::MX => Data::Mx {
                preference: number(message, start)?,
                exchange: last(start + 2)?,
            },
            Kind::SRV => Data::Srv {
                priority: number(message, start)?,
                weight: number(message, start + 2)?,
                port: number(message, start + 4)?,
                target: last(start + 6)?,
            },
            Kind::SOA => {
                let (primary, at) = Name::from_message(message, start)?;
                let (mailbox, at) = Name::from_message(message, at)?;
                if at + 20 != end {
                    return Err(wrong);
                }
                Data::Soa(Soa {
                    primary,
                    mailbox,
                    serial: wide(message, at)?,
                    refresh: wide(message, at + 4)?,
                    retry: wide(message, at + 8)?,
                    expire: wide(message, at + 12)?,
                    minimum: wide(message, at + 16)?,
                })
            }
            kind => Data::Other(kind, bytes),
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let section = self.section()?;
        let record = self.read(section);
        self.failed = record.is_err();
        Some(record)
    }
}

/// Two bytes.
pub(crate) fn number(bytes: &[u8], at: usize) -> Result<u16, Malformed> {
    let pair = bytes.get(at..at + 2).ok_or(Malformed::Short)?;
    Ok(u16::from_be_bytes([pair[0], pair[1]]))
}

/// Four bytes.
fn wide(bytes: &[u8], at: usize) -> Result<u32, Malformed> {
    Ok(u32::from(number(bytes, at)?) << 16 | u32::from(number(bytes, at + 2)?))
}

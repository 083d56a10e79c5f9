//! Names of domains.

mod reverse;
mod text;

use std::{
    borrow::Borrow,
    cmp::Ordering,
    hash::{Hash, Hasher},
};

pub use text::NameError;

/// Longest name in wire form, with the root's empty label (RFC 1035 §2.3.4).
const MAX_NAME_BYTES: usize = 255;
/// Longest label.
const MAX_LABEL_BYTES: usize = 63;

/// A domain name, absolute, in wire form and lower case.
///
/// Wire form is a length before each label and an empty label at the end, so a name's parents are
/// its ends: `Borrow<[u8]>` lets a map with names, or with boxes of their bytes, as keys be asked
/// for [`Name::suffixes`] without making a name of them. Case is not part of a name (RFC 4343);
/// see [`Spelling`](crate::Spelling) for where a reply has to show it.
///
/// The order is that of the bytes, for maps; it is not the order of DNSSEC.
#[derive(Clone, Copy)]
pub struct Name {
    len: u8,
    octets: [u8; MAX_NAME_BYTES],
}

/// Why bytes are not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// The bytes end before the name does.
    #[error("ends early")]
    Short,
    /// More than 255 bytes in wire form.
    #[error("is longer than 255 bytes")]
    LongName,
    /// A label of more than 63 bytes.
    #[error("has a label longer than 63 bytes")]
    LongLabel,
    /// A label of no bytes before the end.
    #[error("has an empty label")]
    EmptyLabel,
    /// A pointer where none may be, or one that does not lead backwards.
    #[error("has a compression pointer that leads nowhere")]
    Pointer,
    /// A label type that nobody has defined (`01`, `10`).
    #[error("has a label of an unknown type")]
    LabelType,
}

impl Name {
    /// The root, `.`.
    pub const ROOT: Self = Self {
        len: 1,
        octets: [0; MAX_NAME_BYTES],
    };

    /// The name made of `labels`, the leftmost first.
    ///
    /// # Errors
    ///
    /// An empty label, one that is too long, or too many of them.
    pub fn from_labels<L: AsRef<[u8]>>(
        labels: impl IntoIterator<Item = L>,
    ) -> Result<Self, NameFault> {
        let mut name = Self::ROOT;
        for label in labels {
            name.push(label.as_ref())?;
        }
        Ok(name)
    }

    /// Reads an uncompressed name at the start of `bytes`; its length there is [`Name::len`].
    ///
    /// # Errors
    ///
    /// Anything that is not a name; pointers are refused.
    pub fn from_wire(bytes: &[u8]) -> Result<Self, NameFault> {
        let mut name = Self::ROOT;
        let mut at = 0;
        loop {
            let length = usize::from(*bytes.get(at).ok_or(NameFault::Short)?);
            match length {
                0 => break,
                1..=MAX_LABEL_BYTES => at += 1 + length,
                0xC0.. => return Err(NameFault::Pointer),
                _ => return Err(NameFault::LabelType),
            }
            if at >= MAX_NAME_BYTES {
                return Err(NameFault::LongName);
            }
        }
        // A length is below 64 and so no letter: lower case for the whole is that of its labels.
        name.octets[..at].copy_from_slice(&bytes[..at]);
        name.octets[..at].make_ascii_lowercase();
        name.octets[at] = 0;
        name.len = at as u8 + 1;
        Ok(name)
    }

    /// Reads a name, perhaps compressed, at `at` of a whole `message`; also where it ends there.
    ///
    /// # Errors
    ///
    /// Anything that is not a name; each pointer has to lead to before the labels that it ends, and
    /// what it leads to has to end there, too: so no name can loop, and none runs through its own
    /// pointer into what follows it.
    pub fn from_message(message: &[u8], at: usize) -> Result<(Self, usize), NameFault> {
        let mut name = Self::ROOT;
        let mut cursor = at;
        let mut before = at;
        let mut end = None;
        // What is to be read, and what is wrong with a name that leaves it.
        let (mut message, mut beyond) = (message, NameFault::Short);
        loop {
            let length = *message.get(cursor).ok_or(beyond)?;
            match length {
                0 => return Ok((name, end.unwrap_or(cursor + 1))),
                1..=0x3F => {
                    let next = cursor + 1 + usize::from(length);
                    let label = message.get(cursor + 1..next).ok_or(beyond)?;
                    name.push(label)?;
                    cursor = next;
                }
                0xC0.. => {
                    let low = *message.get(cursor + 1).ok_or(beyond)?;
                    let target = usize::from(length & 0x3F) << 8 | usize::from(low);
                    end.get_or_insert(cursor + 2);
                    if target >= before {
                        return Err(NameFault::Pointer);
                    }
                    (message, beyond) = (&message[..before], NameFault::Pointer);
                    before = target;
                    cursor = target;
                }
                _ => return Err(NameFault::LabelType),
            }
        }
    }

    /// Wire form, with the root's empty label.
    #[must_use]
    pub fn as_wire(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }

    /// Bytes in wire form, 1 to 255.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a name is never empty")]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.len == 1
    }

    /// The labels, the leftmost first, without the root's.
    #[must_use]
    pub fn labels(&self) -> Labels<'_> {
        Labels {
            rest: self.as_wire(),
        }
    }

    /// The name's wire form and those of its parents, the root's last.
    pub fn suffixes(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = Some(self.as_wire());
        std::iter::from_fn(move || {
            let current = rest?;
            rest = match current[0] {
                0 => None,
                length => Some(&current[1 + usize::from(length)..]),
            };
            Some(current)
        })
    }

    /// The name without its leftmost label; the root has no parent.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        match self.octets[0] {
            0 => None,
            length => Some(Self::copied(&self.as_wire()[1 + usize::from(length)..])),
        }
    }

    /// Whether this is `zone` or a name below it.
    #[must_use]
    pub fn is_within(&self, zone: &Name) -> bool {
        self.relative_len(zone).is_some()
    }

    /// The labels left of `zone`'s: none for `zone` itself, `None` outside of it.
    #[must_use]
    pub fn labels_before(&self, zone: &Name) -> Option<Labels<'_>> {
        let length = self.relative_len(zone)?;
        Some(Labels {
            rest: &self.octets[..length],
        })
    }

    /// This name with `label` before it.
    ///
    /// # Errors
    ///
    /// A label that is none, or no room for it.
    pub fn child(&self, label: impl AsRef<[u8]>) -> Result<Self, NameFault> {
        let mut name = Self::ROOT;
        name.push(label.as_ref())?;
        name.append(self.labels())
    }

    /// `labels` (say, [`Name::labels_before`] another zone) before `zone`.
    ///
    /// # Errors
    ///
    /// No room for both.
    pub fn join(labels: Labels<'_>, zone: &Name) -> Result<Self, NameFault> {
        Self::ROOT.append(labels)?.append(zone.labels())
    }

    /// How many bytes stand before `zone`'s.
    fn relative_len(&self, zone: &Name) -> Option<usize> {
        let length = self.len().checked_sub(zone.len())?;
        if &self.as_wire()[length..] != zone.as_wire() {
            return None;
        }
        // The same bytes, but do they start where a label starts?
        let mut at = 0;
        while at < length {
            at += 1 + usize::from(self.octets[at]);
        }
        (at == length).then_some(length)
    }

    fn append(mut self, labels: Labels<'_>) -> Result<Self, NameFault> {
        for label in labels {
            self.push(label)?;
        }
        Ok(self)
    }

    fn push(&mut self, label: &[u8]) -> Result<(), NameFault> {
        if label.is_empty() {
            return Err(NameFault::EmptyLabel);
        }
        if label.len() > MAX_LABEL_BYTES {
            return Err(NameFault::LongLabel);
        }
        let start = self.len();
        let end = start + label.len();
        if end >= MAX_NAME_BYTES {
            return Err(NameFault::LongName);
        }
        self.octets[start - 1] = label.len() as u8;
        self.octets[start..end].copy_from_slice(label);
        self.octets[start..end].make_ascii_lowercase();
        self.octets[end] = 0;
        self.len = end as u8 + 1;
        Ok(())
    }

    /// A name of bytes that are known to be one.
    fn copied(wire: &[u8]) -> Self {
        let mut name = Self::ROOT;
        name.octets[..wire.len()].copy_from_slice(wire);
        name.len = wire.len() as u8;
        name
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        self.as_wire()
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_wire() == other.as_wire()
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_wire().hash(state);
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_wire().cmp(other.as_wire())
    }
}

/// The labels of a name, the leftmost first.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.rest.split_first()?;
        if *length == 0 {
            return None;
        }
        let (label, rest) = rest.split_at(usize::from(*length));
        self.rest = rest;
        Some(label)
    }
}

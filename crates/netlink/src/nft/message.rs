//! Writing netlink messages and their attributes into a buffer.

/// Bytes of messages, one after the other.
///
/// nf_tables wants its numbers in network byte order, unlike the rest of netlink.
#[derive(Default)]
pub(crate) struct Messages {
    bytes: Vec<u8>,
}

/// `NLA_F_NESTED`
const NESTED: u16 = 0x8000;
const ALIGN: usize = 4;

impl Messages {
    /// Appends one message of nfnetlink: header, family and resource, attributes.
    pub(crate) fn message(&mut self, header: Header, attributes: impl FnOnce(&mut Messages)) {
        let start = self.bytes.len();
        self.bytes.extend(0_u32.to_ne_bytes());
        self.bytes.extend(header.kind.to_ne_bytes());
        self.bytes.extend(header.flags.to_ne_bytes());
        self.bytes.extend(header.sequence.to_ne_bytes());
        self.bytes.extend(0_u32.to_ne_bytes());
        const NFNETLINK_V0: u8 = 0;
        self.bytes.extend([header.family, NFNETLINK_V0]);
        self.bytes.extend(header.resource.to_be_bytes());
        attributes(self);
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Appends an attribute.
    pub(crate) fn put(&mut self, kind: u16, value: &[u8]) {
        self.attribute(kind, |messages| messages.bytes.extend(value));
    }

    /// Appends a number of 32 bits.
    pub(crate) fn put_u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    /// Appends a string with the zero that ends it.
    pub(crate) fn put_str(&mut self, kind: u16, value: &str) {
        self.attribute(kind, |messages| {
            messages.bytes.extend(value.as_bytes());
            messages.bytes.push(0);
        });
    }

    /// Appends an attribute that holds others.
    pub(crate) fn nest(&mut self, kind: u16, attributes: impl FnOnce(&mut Messages)) {
        self.attribute(kind | NESTED, attributes);
    }

    fn attribute(&mut self, kind: u16, value: impl FnOnce(&mut Messages)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        value(self);
        let length = self.bytes.len() - start;
        debug_assert!(
            length <= usize::from(u16::MAX),
            "attribute {kind} is too long"
        );
        self.bytes[start..start + 2].copy_from_slice(&(length as u16).to_ne_bytes());
        self.bytes
            .resize(self.bytes.len().next_multiple_of(ALIGN), 0);
    }

    /// All that was written.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Sets a flag of the message that begins at `offset`.
    pub(crate) fn add_flags(&mut self, offset: usize, flags: u16) {
        const FLAGS: usize = 6;
        let at = offset + FLAGS;
        let old = u16::from_ne_bytes([self.bytes[at], self.bytes[at + 1]]);
        self.bytes[at..at + 2].copy_from_slice(&(old | flags).to_ne_bytes());
    }
}

/// What stands before the attributes.
pub(crate) struct Header {
    /// Message type, with the subsystem in the upper byte.
    pub(crate) kind: u16,
    /// `NLM_F_*`
    pub(crate) flags: u16,
    /// Comes back in answers.
    pub(crate) sequence: u32,
    /// `AF_*`
    pub(crate) family: u8,
    /// The subsystem, in messages that open and close a batch.
    pub(crate) resource: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_headers_but_not_padding() {
        let mut messages = Messages::default();
        let header = Header {
            kind: 0x0a00,
            flags: 1,
            sequence: 7,
            family: 2,
            resource: 0,
        };
        messages.message(header, |m| {
            m.put_str(1, "abcd");
            m.nest(2, |m| m.put_u32(3, 0x0102_0304));
        });
        #[rustfmt::skip]
        let expected: Vec<u8> = [
            &44_u32.to_ne_bytes()[..], &0x0a00_u16.to_ne_bytes(), &1_u16.to_ne_bytes(),
            &7_u32.to_ne_bytes(), &0_u32.to_ne_bytes(),
            &[2, 0, 0, 0],
            &9_u16.to_ne_bytes(), &1_u16.to_ne_bytes(), b"abcd\0\0\0\0",
            &12_u16.to_ne_bytes(), &0x8002_u16.to_ne_bytes(),
            &8_u16.to_ne_bytes(), &3_u16.to_ne_bytes(), &[1, 2, 3, 4],
        ]
        .concat();
        assert_eq!(messages.as_bytes(), expected);
    }
}

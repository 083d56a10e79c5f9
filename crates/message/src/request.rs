//! What a client asks, and what it gets when that is no question.

mod read;

use crate::{Name, Opcode, PLAIN_UDP_BYTES, Question, Rcode, SAFE_UDP_BYTES, Spelling, Writer};

/// A question of a client, or one to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// What the reply has to repeat.
    pub id: u16,
    /// What is asked.
    pub question: Question,
    /// Which letters of the name were capitals.
    pub spelling: Spelling,
    /// The client wants names resolved that the server itself does not have (RD).
    pub recursion_desired: bool,
    /// The client understands the AD bit (RFC 6840 §5.7).
    pub authentic_data: bool,
    /// The client does not want signatures checked (CD).
    pub checking_disabled: bool,
    /// What the client's OPT record says, if it sent one.
    pub edns: Option<Edns>,
}

/// What an OPT record says (RFC 6891 §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    /// The longest message over UDP that its sender takes.
    pub udp_bytes: u16,
    /// Signatures are wanted (DO).
    pub dnssec_ok: bool,
}

/// Why a message is not a question that we answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No whole header.
    #[error("shorter than a header")]
    Short,
    /// A reply. To answer one would let two servers talk to each other for ever.
    #[error("a reply, not a question")]
    Reply,
    /// Anything but a query.
    #[error("opcode {0} is not served")]
    Opcode(Opcode),
    /// What no client has reason to send.
    #[error("malformed")]
    Malformed,
    /// EDNS of a version that nobody has defined.
    #[error("EDNS version {0} is not known; 0 is")]
    Version(u8),
}

/// A message that is not a question that we answer, and what to reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong with it.
    pub fault: Fault,
    id: u16,
    recursion_desired: bool,
    /// What to repeat of a request that could be read, which is rare: so in a box.
    request: Option<Box<Request>>,
}

impl Request {
    /// A question to an upstream, with recursion desired and nothing else.
    #[must_use]
    pub fn new(id: u16, question: Question) -> Self {
        Self {
            id,
            question,
            spelling: Spelling::default(),
            recursion_desired: true,
            authentic_data: false,
            checking_disabled: false,
            edns: None,
        }
    }

    /// Reads a client's message.
    ///
    /// # Errors
    ///
    /// Everything that is not one well-formed question; the refusal knows the reply.
    pub fn read(message: &[u8]) -> Result<Self, Refusal> {
        read::request(message)
    }

    /// Appends this request, as a client sends it, to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let flags = u16::from(self.recursion_desired) << 8
            | u16::from(self.authentic_data) << 5
            | u16::from(self.checking_disabled) << 4;
        out.extend_from_slice(&self.id.to_be_bytes());
        out.extend_from_slice(&flags.to_be_bytes());
        out.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, u8::from(self.edns.is_some())]);
        self.write_question(out);
        if let Some(edns) = self.edns {
            edns.write(out, 0);
        }
    }

    /// The longest reply over UDP: what the client takes, but not more than travels unfragmented.
    #[must_use]
    pub fn udp_limit(&self) -> usize {
        self.edns.map_or(PLAIN_UDP_BYTES, |edns| {
            usize::from(edns.udp_bytes).clamp(PLAIN_UDP_BYTES, SAFE_UDP_BYTES)
        })
    }

    /// The question, spelled as it was.
    pub(crate) fn write_question(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(self.question.name.as_wire());
        self.spelling.apply(&mut out[start..]);
        out.extend_from_slice(&self.question.kind.0.to_be_bytes());
        out.extend_from_slice(&self.question.class.0.to_be_bytes());
    }
}

impl Edns {
    /// Bytes of an OPT record without options.
    pub(crate) const WIRE_BYTES: usize = 11;

    /// Appends the OPT record; `rcode_high` are the upper 8 bits of the message's rcode.
    pub(crate) fn write(self, out: &mut Vec<u8>, rcode_high: u8) {
        let [size_high, size_low] = self.udp_bytes.to_be_bytes();
        let flags = u8::from(self.dnssec_ok) << 7;
        out.extend_from_slice(&[0, 0, 41, size_high, size_low, rcode_high, 0, flags, 0, 0, 0]);
    }
}

impl Refusal {
    /// Appends the reply to `out`; false where nothing must be sent.
    #[must_use]
    pub fn write(&self, out: &mut Vec<u8>) -> bool {
        let Some(rcode) = self.rcode() else {
            return false;
        };
        if let Some(request) = &self.request {
            let mut writer = Writer::reply(out, request, request.udp_limit());
            writer.set_rcode(rcode);
            writer.finish();
            return true;
        }
        let opcode = match self.fault {
            Fault::Opcode(opcode) => u16::from(opcode.0),
            _ => 0,
        };
        let flags =
            1 << 15 | opcode << 11 | u16::from(self.recursion_desired) << 8 | (rcode.0 & 0xF);
        out.extend_from_slice(&self.id.to_be_bytes());
        out.extend_from_slice(&flags.to_be_bytes());
        out.extend_from_slice(&[0; 8]);
        true
    }

    /// The rcode of the reply, if there is to be one.
    #[must_use]
    pub fn rcode(&self) -> Option<Rcode> {
        match self.fault {
            Fault::Short | Fault::Reply => None,
            Fault::Opcode(_) => Some(Rcode::NOTIMP),
            Fault::Malformed => Some(Rcode::FORMERR),
            Fault::Version(_) => Some(Rcode::BADVERS),
        }
    }

    /// Of which name the question was, if it could be read.
    #[must_use]
    pub fn name(&self) -> Option<&Name> {
        self.request.as_ref().map(|request| &request.question.name)
    }
}

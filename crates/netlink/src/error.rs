use std::fmt;
use std::io;

use nix::errno::Errno;
use rtnetlink::packet_core::ErrorMessage;

/// What every call of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A change or a question that failed. `action` reads `add address 10.1.0.5/24 to eth0 in netns /run/netns/a`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused the request.
    #[error("{action}: {refusal}")]
    Refused {
        /// Verb, object, value and namespace.
        action: String,
        /// Why.
        refusal: Refusal,
    },
    /// A system call or a file failed.
    #[error("{action}: {}", words(source))]
    System {
        /// Verb, object, value and namespace.
        action: String,
        /// Why.
        source: io::Error,
    },
    /// An object with this name exists and is another one.
    #[error(
        "{action}: it exists as {found}, expected {expected}; delete it or choose another name"
    )]
    Different {
        /// Verb, object, value and namespace.
        action: String,
        /// What is there.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// The answer was not what the protocol promises.
    #[error("{action}: unexpected answer of the kernel: {answer}")]
    Protocol {
        /// Verb, object, value and namespace.
        action: String,
        /// What came.
        answer: String,
    },
}

/// The kernel's refusal: a number and, on most paths, a sentence (extended acknowledgement).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The error number.
    pub errno: Errno,
    /// The kernel's sentence.
    pub message: Option<String>,
}

impl Error {
    pub(crate) fn system(action: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::System {
            action: action.into(),
            source: source.into(),
        }
    }

    /// The error number, where there is one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal.errno),
            Self::System { source, .. } => source.raw_os_error().map(Errno::from_raw),
            Self::Different { .. } | Self::Protocol { .. } => None,
        }
    }

    /// Whether the object, or the link or file that it belongs to, is not there.
    pub fn is_absent(&self) -> bool {
        self.errno().is_some_and(is_absent)
    }

    /// Whether an object of that name is there already.
    pub fn is_present(&self) -> bool {
        matches!(self, Self::Different { .. }) || self.errno() == Some(Errno::EEXIST)
    }
}

pub(crate) fn is_absent(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::ENOENT | Errno::ENODEV | Errno::ESRCH | Errno::EADDRNOTAVAIL | Errno::ENXIO
    )
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = words(&io::Error::from(self.errno));
        match &self.message {
            Some(message) => write!(f, "{number} ({})", message.trim_end_matches('.')),
            None => f.write_str(&number),
        }
    }
}

/// The error as a part of a sentence: `no such device`, not `No such device (os error 19)`.
fn words(error: &io::Error) -> String {
    let mut text = error.to_string();
    if let Some(number) = text.find(" (os error ") {
        text.truncate(number);
        if let Some(first) = text.get_mut(..1) {
            first.make_ascii_lowercase();
        }
    }
    text
}

impl Refusal {
    pub(crate) fn of(errno: Errno) -> Self {
        Self {
            errno,
            message: None,
        }
    }

    /// Reads an `NLMSG_ERROR`. The sockets ask for capped acknowledgements, so
    /// attributes follow right after the header of the refused request.
    pub(crate) fn of_message(error: &ErrorMessage) -> Self {
        const REQUEST_HEADER: usize = 16;
        Self {
            errno: Errno::from_raw(error.raw_code().abs()),
            message: error
                .header
                .get(REQUEST_HEADER..)
                .and_then(extended_message),
        }
    }
}

/// Finds `NLMSGERR_ATTR_MSG` among the attributes of an acknowledgement.
pub(crate) fn extended_message(mut attributes: &[u8]) -> Option<String> {
    const MESSAGE: u16 = 1;
    while let [l0, l1, k0, k1, ..] = *attributes {
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = attributes.get(4..length)?;
        if u16::from_ne_bytes([k0, k1]) == MESSAGE {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = ((value.len() + 4) as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn finds_the_kernels_sentence_and_survives_nonsense() {
        let offset = attribute(2, &20_u32.to_ne_bytes());
        let sentence = attribute(1, b"Invalid prefix.\0");
        for (bytes, expected) in [
            (
                [offset.clone(), sentence.clone()].concat(),
                Some("Invalid prefix."),
            ),
            (sentence.clone(), Some("Invalid prefix.")),
            (offset, None),
            (vec![], None),
            (vec![0, 0, 1, 0], None),
            (vec![255, 255, 1, 0, 9], None),
            (vec![8, 0, 2], None),
        ] {
            assert_eq!(extended_message(&bytes).as_deref(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn reads_as_one_sentence() {
        let error = Error::Refused {
            action: "add route 10.0.0.0/8 via 1.2.3.4 in netns /run/netns/a".into(),
            refusal: Refusal {
                errno: Errno::ENETUNREACH,
                message: Some("Nexthop has invalid gateway.".into()),
            },
        };
        assert_eq!(
            error.to_string(),
            "add route 10.0.0.0/8 via 1.2.3.4 in netns /run/netns/a: network is unreachable (Nexthop has invalid gateway)"
        );
    }
}

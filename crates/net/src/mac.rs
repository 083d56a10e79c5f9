use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An Ethernet address, written `02:00:0a:f4:01:05`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

/// A text that is not an Ethernet address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read Ethernet address {0:?}: expected six bytes such as 02:00:0a:f4:01:05")]
pub struct MacError(String);

impl Mac {
    /// The IPv6 link-local address that a link with this Ethernet address has by itself (RFC 4291 §2.5.1).
    pub fn link_local(self) -> Ipv6Addr {
        let [a, b, c, d, e, g] = self.0;
        let half = |high, low| u16::from_be_bytes([high, low]);
        Ipv6Addr::new(
            0xfe80,
            0,
            0,
            0,
            half(a ^ 2, b),
            half(c, 0xff),
            half(0xfe, d),
            half(e, g),
        )
    }
}

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            *byte = parts
                .next()
                .filter(|part| part.len() == 2)
                .and_then(|part| u8::from_str_radix(part, 16).ok())
                .ok_or_else(|| MacError(text.into()))?;
        }
        match parts.next() {
            None => Ok(Mac(bytes)),
            Some(_) => Err(MacError(text.into())),
        }
    }
}

impl TryFrom<String> for Mac {
    type Error = MacError;

    fn try_from(text: String) -> Result<Self, MacError> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_it_is_written() {
        let text = "02:00:0a:f4:01:05";
        let mac: Mac = text.parse().unwrap();
        assert_eq!(mac, Mac([2, 0, 10, 244, 1, 5]));
        assert_eq!(mac.to_string(), text);
        assert_eq!(mac.link_local().to_string(), "fe80::aff:fef4:105");
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            "02:00:0a:f4:01",
            "02:00:0a:f4:01:05:06",
            "2:0:a:f4:1:5",
            "02:00:0a:f4:01:0g",
            "+2:00:0a:f4:01:05:",
        ] {
            assert_eq!(text.parse::<Mac>(), Err(MacError(text.into())));
        }
    }
}

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What pods may send with.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum AntiSpoofing {
    /// Each with its own addresses, and nothing that routers and DHCP servers send.
    #[default]
    Pod,
    /// With the IP addresses of any pod of its node.
    Node,
    /// With anything.
    Off,
}

/// A word that is none of [`AntiSpoofing::NAMES`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read anti-spoofing {0:?}: expected pod, node or off")]
pub struct UnknownAntiSpoofing(String);

impl AntiSpoofing {
    /// As they are written.
    pub const NAMES: [&'static str; 3] = ["pod", "node", "off"];
}

impl FromStr for AntiSpoofing {
    type Err = UnknownAntiSpoofing;

    fn from_str(text: &str) -> Result<Self, UnknownAntiSpoofing> {
        match text {
            "pod" => Ok(Self::Pod),
            "node" => Ok(Self::Node),
            "off" => Ok(Self::Off),
            other => Err(UnknownAntiSpoofing(other.into())),
        }
    }
}

impl fmt::Display for AntiSpoofing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pod => "pod",
            Self::Node => "node",
            Self::Off => "off",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_it_is_written() {
        for name in AntiSpoofing::NAMES {
            let read: AntiSpoofing = name.parse().unwrap();
            assert_eq!(read.to_string(), name);
            assert_eq!(serde_json::to_value(read).unwrap(), name);
        }
        assert!("yes".parse::<AntiSpoofing>().is_err());
    }
}

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How Services are served on a node.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyMode {
    /// By rules of nftables, in tables of our own.
    #[default]
    Nftables,
    /// By chains of iptables, as kube-proxy writes them; needs iptables on the node.
    Iptables,
    /// Not at all: somebody else does.
    None,
}

/// A word that is none of [`ProxyMode::NAMES`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read proxy mode {0:?}: expected nftables, iptables or none")]
pub struct UnknownProxyMode(String);

impl ProxyMode {
    /// As they are written.
    pub const NAMES: [&'static str; 3] = ["nftables", "iptables", "none"];
}

impl FromStr for ProxyMode {
    type Err = UnknownProxyMode;

    fn from_str(text: &str) -> Result<Self, UnknownProxyMode> {
        match text {
            "nftables" => Ok(Self::Nftables),
            "iptables" => Ok(Self::Iptables),
            "none" => Ok(Self::None),
            other => Err(UnknownProxyMode(other.into())),
        }
    }
}

impl fmt::Display for ProxyMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
            Self::None => "none",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_it_is_written() {
        for name in ProxyMode::NAMES {
            let mode: ProxyMode = name.parse().unwrap();
            assert_eq!(mode.to_string(), name);
            assert_eq!(serde_json::to_value(mode).unwrap(), name);
        }
        assert!("ipvs".parse::<ProxyMode>().is_err());
    }
}

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How a pod's link is attached to its node.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Attachment {
    /// Its near end is a port of the bridge [`crate::names::POD_BRIDGE`], over which pods of a node see each other.
    #[default]
    Bridge,
    /// Its near end stands alone, and a route of the node leads to the pod: every packet is routed.
    Routed,
}

/// A word that is none of [`Attachment::NAMES`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read attachment {0:?}: expected bridge or routed")]
pub struct UnknownAttachment(String);

impl Attachment {
    /// As they are written.
    pub const NAMES: [&'static str; 2] = ["bridge", "routed"];
}

impl FromStr for Attachment {
    type Err = UnknownAttachment;

    fn from_str(text: &str) -> Result<Self, UnknownAttachment> {
        match text {
            "bridge" => Ok(Self::Bridge),
            "routed" => Ok(Self::Routed),
            other => Err(UnknownAttachment(other.into())),
        }
    }
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bridge => "bridge",
            Self::Routed => "routed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_it_is_written() {
        for name in Attachment::NAMES {
            let attachment: Attachment = name.parse().unwrap();
            assert_eq!(attachment.to_string(), name);
            assert_eq!(serde_json::to_value(attachment).unwrap(), name);
        }
        assert!("ipvlan".parse::<Attachment>().is_err());
    }
}

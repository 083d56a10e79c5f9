//! The cluster's name, and the names of kernel objects that derive from it.

use std::fmt;
use std::str::FromStr;

use sealane_net::names;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::cgroup;
use crate::layout::{NO_CLUSTERS, STATE_ROOT};

/// Longest cluster name. A pod's socket, `/run/sealane/NAME/node-N/pods/UID.sock`,
/// must fit the 108 bytes of a unix socket address (unix(7)).
pub const MAX_LEN: usize = 32;

/// Why a string is not a cluster name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("cluster name is empty: give a short word such as `dev`")]
    Empty,
    /// Paths of sockets would not fit.
    #[error("cluster name `{0}`: has {len} characters, at most {MAX_LEN} are allowed", len = .0.len())]
    TooLong(String),
    /// Not a DNS label (RFC 1123 §2.1).
    #[error(
        "cluster name `{0}`: only lower-case letters, digits and `-` are allowed, and `-` neither first nor last"
    )]
    NotALabel(String),
    /// Its directory is in use for something else.
    #[error("cluster name `{0}`: {STATE_ROOT}/{0} is for something else; choose another name")]
    Reserved(String),
}

/// A valid cluster name: a DNS label of at most [`MAX_LEN`] characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterName(String);

impl ClusterName {
    /// The name as it was typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Name of the namespace that holds the bridge between the nodes.
    pub fn network_netns(&self) -> String {
        names::network_netns(&self.0)
    }

    /// Name of node `number`'s network namespace.
    pub fn node_netns(&self, number: u32) -> String {
        names::node_netns(&self.0, number)
    }

    /// Name of this machine's link into the node network.
    pub fn machine_link(&self) -> String {
        names::machine_link(&self.0)
    }

    /// Name of the nftables table on this machine that lets pods out.
    pub fn machine_table(&self) -> String {
        names::machine_table(&self.0)
    }

    /// The cluster's cgroup, relative to each hierarchy's mount.
    pub fn cgroup(&self) -> String {
        format!("{}/{}", cgroup::CLUSTERS, self.0)
    }
}

impl Default for ClusterName {
    fn default() -> Self {
        Self(names::DEFAULT_CLUSTER.to_owned())
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ClusterName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !text.chars().all(inner) || text.starts_with('-') || text.ends_with('-') {
            return Err(NameError::NotALabel(text.to_owned()));
        }
        if NO_CLUSTERS.contains(&text) {
            return Err(NameError::Reserved(text.to_owned()));
        }
        if text.len() > MAX_LEN {
            return Err(NameError::TooLong(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for ClusterName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ClusterName> for String {
    fn from(name: ClusterName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_fit_and_names_that_do_not() {
        for good in [
            "a",
            "sealane",
            "dev-2",
            "0",
            "a-rather-long-name-of-32-letters",
        ] {
            assert_eq!(good.parse::<ClusterName>().unwrap().as_str(), good);
        }
        for (bad, why) in [
            ("", "empty"),
            ("-a", "neither first nor last"),
            ("a-", "neither first nor last"),
            ("A", "lower-case"),
            ("a.b", "lower-case"),
            ("a/b", "lower-case"),
            ("images", "choose another name"),
            ("agent", "/var/lib/sealane/agent is for something else"),
            ("bridge", "choose another name"),
            (
                "a-rather-long-name-of-33-letters-",
                "neither first nor last",
            ),
            ("a-rather-long-name-of-33-letters0", "33 characters"),
        ] {
            let error = bad.parse::<ClusterName>().unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn the_longest_name_leaves_room_for_a_pods_socket() {
        let name = "x".repeat(MAX_LEN);
        let uid = "00000000-0000-0000-0000-000000000000";
        assert!(format!("/run/sealane/{name}/node-198/pods/{uid}.sock").len() < 108);
    }

    #[test]
    fn a_name_read_from_disk_is_checked_too() {
        assert!(serde_json::from_str::<ClusterName>("\"../../etc\"").is_err());
    }
}

//! The domain of a cluster's names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longer ones leave too little of the 253 letters of a name to Services and their namespaces.
const MAX_BYTES: usize = 120;
const MAX_LABEL_BYTES: usize = 63;

/// The domain of a cluster's names, as kubelets know it (`clusterDomain`): `cluster.local` by default. In small
/// letters, without a dot at its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterDomain(String);

/// A text that is no such domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no domain of a cluster: expected a DNS name such as cluster.local, of at most {MAX_BYTES} letters"
)]
pub struct NoClusterDomain(String);

impl Default for ClusterDomain {
    fn default() -> Self {
        Self("cluster.local".to_owned())
    }
}

impl ClusterDomain {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ClusterDomain {
    type Err = NoClusterDomain;

    /// Labels of letters, digits and hyphens (RFC 1123 §2.1).
    fn from_str(text: &str) -> Result<Self, NoClusterDomain> {
        let domain = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let is_label = |label: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            let ends = label.starts_with('-') || label.ends_with('-');
            !ends && (1..=MAX_LABEL_BYTES).contains(&label.len()) && label.bytes().all(plain)
        };
        match domain.len() <= MAX_BYTES && domain.split('.').all(is_label) {
            true => Ok(Self(domain)),
            false => Err(NoClusterDomain(text.to_owned())),
        }
    }
}

impl TryFrom<String> for ClusterDomain {
    type Error = NoClusterDomain;

    fn try_from(text: String) -> Result<Self, NoClusterDomain> {
        text.parse()
    }
}

impl From<ClusterDomain> for String {
    fn from(domain: ClusterDomain) -> Self {
        domain.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_labels_of_letters() {
        for (text, domain) in [
            ("cluster.local", "cluster.local"),
            ("K8S.example.", "k8s.example"),
            ("lab", "lab"),
        ] {
            let parsed: ClusterDomain = text.parse().unwrap();
            assert_eq!(parsed.as_str(), domain);
        }
        let long = ["a"; 61].join(".");
        for text in [
            "", ".", "a..b", "-a.b", "a-.b", "a b", "a_b", "a.b..", &long,
        ] {
            let error = text.parse::<ClusterDomain>().unwrap_err();
            assert!(
                error.to_string().starts_with(&format!("{text:?} is no")),
                "{error}"
            );
        }
    }
}

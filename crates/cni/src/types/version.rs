use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A version of the CNI specification that is spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Version {
    #[serde(rename = "0.3.1")]
    V0_3_1,
    #[serde(rename = "0.4.0")]
    V0_4_0,
    #[serde(rename = "1.0.0")]
    V1_0_0,
    #[serde(rename = "1.1.0")]
    V1_1_0,
}

/// A version that is older or newer than those spoken here, or is no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("CNI version {0:?} is not supported, expected one of {list}", list = Version::list())]
pub struct UnsupportedVersion(pub String);

impl Version {
    /// All versions, oldest first.
    pub const ALL: [Version; 4] = [
        Version::V0_3_1,
        Version::V0_4_0,
        Version::V1_0_0,
        Version::V1_1_0,
    ];
    /// The version in which errors are reported when the caller's is not known.
    pub const LATEST: Version = Version::V1_1_0;

    /// The version as the specification writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V0_3_1 => "0.3.1",
            Version::V0_4_0 => "0.4.0",
            Version::V1_0_0 => "1.0.0",
            Version::V1_1_0 => "1.1.0",
        }
    }

    fn list() -> String {
        Self::ALL.map(Version::as_str).join(", ")
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Version {
    type Err = UnsupportedVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|version| version.as_str() == text)
            .ok_or_else(|| UnsupportedVersion(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_reads_back_and_the_latest_is_the_greatest() {
        for version in Version::ALL {
            assert_eq!(version.as_str().parse(), Ok(version));
            assert_eq!(
                serde_json::to_string(&version).unwrap(),
                format!("\"{version}\"")
            );
            assert!(version <= Version::LATEST);
        }
    }

    #[test]
    fn another_version_is_refused_with_those_that_are_spoken() {
        let refused = "0.2.0".parse::<Version>().unwrap_err().to_string();
        assert_eq!(
            refused,
            "CNI version \"0.2.0\" is not supported, expected one of 0.3.1, 0.4.0, 1.0.0, 1.1.0"
        );
    }
}

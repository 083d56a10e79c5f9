use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Version;

/// Codes of the error object, CNI spec 1.1.0 §5; 100 and above are our own.
pub mod code {
    /// The configuration's `cniVersion` is not supported.
    pub const INCOMPATIBLE_VERSION: u32 = 1;
    /// The message contains the key and value of the unsupported field.
    pub const UNSUPPORTED_FIELD: u32 = 2;
    /// No clean-up is needed for this container.
    pub const UNKNOWN_CONTAINER: u32 = 3;
    /// The message contains the names of the invalid variables.
    pub const INVALID_ENVIRONMENT: u32 = 4;
    /// Reading or writing failed.
    pub const IO_FAILURE: u32 = 5;
    /// What was read is not what the specification describes.
    pub const DECODE_FAILURE: u32 = 6;
    /// The configuration can be read, but not used.
    pub const INVALID_CONFIG: u32 = 7;
    /// The same call may succeed later.
    pub const TRY_AGAIN_LATER: u32 = 11;
    /// STATUS: ADD cannot be served.
    pub const NOT_AVAILABLE: u32 = 50;
    /// STATUS: ADD cannot be served, and existing containers may have limited connectivity.
    pub const LIMITED_CONNECTIVITY: u32 = 51;
    /// The kernel refused a link, an address or a route.
    pub const WIRING_FAILED: u32 = 100;
    /// The node's subnet has no free address.
    pub const ADDRESSES_USED_UP: u32 = 101;
    /// CHECK: the pod's network is not what ADD has made.
    pub const CHECK_FAILED: u32 = 102;
    /// ADD for a container and interface that already have a network.
    pub const ALREADY_ATTACHED: u32 = 103;
}

/// The error object of the specification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct CniError {
    /// One of [`code`], or the plugin's own.
    pub code: u32,
    /// What failed, in one line.
    pub msg: String,
    /// What to check next.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
}

impl CniError {
    /// An error without details.
    pub fn new(code: u32, msg: impl Into<String>) -> Self {
        Self {
            code,
            msg: msg.into(),
            details: String::new(),
        }
    }

    /// The same error, with what to check next.
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// The object that a plugin prints.
    pub fn to_value(&self, version: Version) -> Value {
        let mut value = json!({
            "cniVersion": version.as_str(),
            "code": self.code,
            "msg": self.msg,
        });
        if !self.details.is_empty() {
            value["details"] = json!(self.details);
        }
        value
    }
}

impl fmt::Display for CniError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.msg)?;
        if !self.details.is_empty() {
            write!(f, "; {}", self.details)?;
        }
        write!(f, " (CNI code {})", self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_printed_as_the_specification_says_and_reads_back() {
        let error = CniError::new(code::INVALID_CONFIG, "Invalid Configuration")
            .with_details("Network 192.168.0.0/31 too small to allocate from.");
        let printed = error.to_value(Version::V1_1_0);
        assert_eq!(
            printed,
            json!({
                "cniVersion": "1.1.0",
                "code": 7,
                "msg": "Invalid Configuration",
                "details": "Network 192.168.0.0/31 too small to allocate from."
            })
        );
        assert_eq!(serde_json::from_value::<CniError>(printed).unwrap(), error);
    }
}

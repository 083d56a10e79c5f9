use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{AddResult, CniError, Dns, Version, code};

/// An attachment that GC must keep, CNI spec 1.1.0 §2 GC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidAttachment {
    #[serde(rename = "containerID")]
    pub container_id: String,
    pub ifname: String,
}

/// The configuration that a plugin gets on standard input, CNI spec 1.1.0 §3.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginConf {
    /// The version in which the runtime expects the result.
    pub cni_version: Version,
    /// The network's name.
    pub name: String,
    /// Who does the work, our own key `mode`.
    pub mode: Mode,
    /// The agent's socket, our own key `socket`.
    pub socket: Option<PathBuf>,
    /// The folder for DELs that find no agent, our own key `spool`.
    pub spool: Option<PathBuf>,
    /// What the network's administrator wants in a container's resolver configuration.
    pub dns: Dns,
    /// The result of the plugin before in the chain (ADD), or of the whole chain (CHECK, DEL).
    pub prev_result: Option<AddResult>,
    /// Capability arguments that the runtime has filled in.
    pub runtime_config: Map<String, Value>,
    /// GC: what must stay.
    pub valid_attachments: Option<Vec<ValidAttachment>>,
}

/// Who does a plugin's work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The node's agent.
    #[default]
    Agent,
    /// The plugin itself, without agent or cluster.
    Bridge,
}

/// Fields as they stand in the JSON text. `cniVersion` is read before, since
/// every error must be reported in the version of the caller.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    #[serde(default)]
    name: String,
    #[serde(default)]
    mode: Option<String>,
    #[serde(default)]
    socket: Option<PathBuf>,
    #[serde(default)]
    spool: Option<PathBuf>,
    #[serde(default)]
    dns: Dns,
    #[serde(default)]
    ipam: Option<Value>,
    #[serde(default)]
    prev_result: Option<AddResult>,
    #[serde(default)]
    runtime_config: Option<Map<String, Value>>,
    // Without "valid-" in libraries that were written after drafts of 1.1.0; some send both.
    #[serde(default, rename = "cni.dev/attachments")]
    attachments: Option<Vec<ValidAttachment>>,
    #[serde(default, rename = "cni.dev/valid-attachments")]
    valid_attachments: Option<Vec<ValidAttachment>>,
}

/// Why a configuration is refused, and the version in which to say so.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    pub version: Version,
    pub error: CniError,
}

impl PluginConf {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// Code 6 when it is not JSON of the expected form, 1 for another version,
    /// 7 for a name or socket that cannot be used, 2 for an `ipam` section.
    pub fn parse(text: &[u8]) -> Result<Self, Refused> {
        let latest = |error| Refused {
            version: Version::LATEST,
            error,
        };
        let value: Value = serde_json::from_slice(text)
            .map_err(|e| latest(undecodable(format!("read network configuration: {e}"))))?;
        if !value.is_object() {
            return Err(latest(undecodable(
                "network configuration is not a JSON object".into(),
            )));
        }
        let version = read_version(&value).map_err(latest)?;
        let conf = serde_json::from_value(value)
            .map_err(|e| undecodable(format!("read network configuration: {e}")))
            .and_then(|fields| Self::check(version, fields));
        conf.map_err(|error| Refused { version, error })
    }

    fn check(cni_version: Version, fields: Fields) -> Result<Self, CniError> {
        if !is_valid_identifier(&fields.name) {
            return Err(invalid(format!(
                "name is {:?}, expected a letter or digit, then letters, digits, '_', '.' or '-'",
                fields.name
            )));
        }
        let mode = match fields.mode.as_deref() {
            None | Some("agent") => Mode::Agent,
            Some("bridge") => Mode::Bridge,
            Some(other) => {
                return Err(invalid(format!(
                    "mode is {other:?}, expected \"agent\" or \"bridge\""
                )));
            }
        };
        for (key, path, what) in [
            ("socket", &fields.socket, "the agent's socket"),
            (
                "spool",
                &fields.spool,
                "the folder for DELs that find no agent",
            ),
        ] {
            if let Some(path) = path.as_deref().filter(|path| !path.is_absolute()) {
                return Err(invalid(format!(
                    "{key} is {path:?}, expected the absolute path of {what}"
                )));
            }
        }
        if let Some(ipam) = fields.ipam.filter(has_type) {
            return Err(CniError::new(
                code::UNSUPPORTED_FIELD,
                format!("ipam: {ipam}: not supported"),
            )
            .with_details(
                "addresses come from the node's .spec.podCIDRs, or with \"mode\": \"bridge\" from \"subnets\"; \
                 remove ipam from the configuration",
            ));
        }
        Ok(Self {
            cni_version,
            name: fields.name,
            mode,
            socket: fields.socket,
            spool: fields.spool,
            dns: fields.dns,
            prev_result: fields.prev_result,
            runtime_config: fields.runtime_config.unwrap_or_default(),
            valid_attachments: fields.valid_attachments.or(fields.attachments),
        })
    }
}

/// The version of a configuration; without one it would be 0.1.0, which is older than we speak.
pub(crate) fn read_version(conf: &Value) -> Result<Version, CniError> {
    match conf.get("cniVersion") {
        Some(Value::String(text)) => text
            .parse()
            .map_err(|e| incompatible(format!("cniVersion: {e}"))),
        None => Err(incompatible(
            "cniVersion is missing, expected 0.3.1, 0.4.0, 1.0.0 or 1.1.0".into(),
        )),
        Some(other) => Err(undecodable(format!(
            "cniVersion is {other}, expected text such as \"1.1.0\""
        ))),
    }
}

fn has_type(ipam: &Value) -> bool {
    ipam.get("type")
        .and_then(Value::as_str)
        .is_some_and(|t| !t.is_empty())
}

fn undecodable(msg: String) -> CniError {
    CniError::new(code::DECODE_FAILURE, msg).with_details(
        "expected the object that CNI spec 1.1.0 §3 describes; correct the network's configuration",
    )
}

fn invalid(msg: String) -> CniError {
    CniError::new(code::INVALID_CONFIG, msg)
        .with_details("correct the network's configuration (docs/cni.md)")
}

fn incompatible(msg: String) -> CniError {
    CniError::new(code::INCOMPATIBLE_VERSION, msg)
        .with_details("correct cniVersion in the network's configuration")
}

/// The form of network names and container ids: a letter or digit, then
/// letters, digits, `_`, `.` and `-` (CNI spec 1.1.0 §1 and §2).
pub fn is_valid_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(text: &str) -> (u32, Version, String) {
        let refused = PluginConf::parse(text.as_bytes()).unwrap_err();
        (refused.error.code, refused.version, refused.error.msg)
    }

    #[test]
    fn reads_what_a_runtime_sends_and_keeps_unknown_keys_out() {
        let conf = PluginConf::parse(
            br#"{"cniVersion":"0.4.0","name":"sealane","type":"sealane","socket":"/run/a.sock","x":[1],
                 "runtimeConfig":{"mac":"02:00:00:00:00:01"},"dns":{"nameservers":["10.96.0.10"]},
                 "prevResult":{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.1.0.5/16"}]},
                 "cni.dev/valid-attachments":[{"containerID":"a","ifname":"eth0"}]}"#,
        )
        .unwrap();
        assert_eq!(conf.cni_version, Version::V0_4_0);
        assert_eq!(conf.socket, Some(PathBuf::from("/run/a.sock")));
        assert_eq!(conf.runtime_config["mac"], "02:00:00:00:00:01");
        assert_eq!(conf.dns.nameservers, ["10.96.0.10"]);
        assert_eq!(conf.prev_result.unwrap().ips.len(), 1);
        assert_eq!(conf.valid_attachments.unwrap()[0].container_id, "a");
    }

    #[test]
    fn refuses_what_it_cannot_use_with_the_code_of_the_specification() {
        for (text, code) in [
            ("", 6),
            ("[]", 6),
            ("{", 6),
            (r#"{"cniVersion":1,"name":"a"}"#, 6),
            (r#"{"name":"a"}"#, 1),
            (r#"{"cniVersion":"9.9.9","name":"a"}"#, 1),
            (r#"{"cniVersion":"1.0.0"}"#, 7),
            (r#"{"cniVersion":"1.0.0","name":"../a"}"#, 7),
            (r#"{"cniVersion":"1.0.0","name":"a","socket":"a.sock"}"#, 7),
            (r#"{"cniVersion":"1.0.0","name":"a","mode":"ptp"}"#, 7),
            (
                r#"{"cniVersion":"1.0.0","name":"a","prevResult":{"ips":[{"address":"x"}]}}"#,
                6,
            ),
            (
                r#"{"cniVersion":"1.0.0","name":"a","ipam":{"type":"host-local"}}"#,
                2,
            ),
        ] {
            assert_eq!(refused(text).0, code, "{text}");
        }
    }

    #[test]
    fn reports_in_the_version_of_the_caller_when_that_is_known() {
        assert_eq!(refused(r#"{"cniVersion":"0.3.1"}"#).1, Version::V0_3_1);
        assert_eq!(refused("{").1, Version::LATEST);
    }

    proptest! {
        #[test]
        fn never_panics_on_outside_bytes(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = PluginConf::parse(&text);
        }

        #[test]
        fn an_identifier_has_no_path_in_it(text in "\\PC{0,12}") {
            if is_valid_identifier(&text) {
                prop_assert!(!text.contains('/') && text != "." && text != "..");
            }
        }
    }
}

//! Addresses that a runtime or a pod's author asks for.
//!
//! The runtime's capability arguments `ips` and `mac` come first, then `IP` and
//! `MAC` of `CNI_ARGS`, then the pod's annotations, which runtimes hand on as a
//! capability of their own, so that no ADD has to wait for the API. Of a runtime
//! that does not, the caller may know them from its own watch.

use std::{collections::BTreeMap, net::IpAddr, str::FromStr};

use sealane_net::{IpNet, Mac};
use serde_json::Value;

use crate::{
    protocol::Request,
    types::{CniError, POD_ANNOTATIONS, code},
};

/// The annotation with addresses, comma between two families.
pub const IPS_ANNOTATION: &str = "sealane.io/ips";
/// The annotation with an Ethernet address.
pub const MAC_ANNOTATION: &str = "sealane.io/mac";

/// The annotation with the name of the pool that addresses come from.
pub const POOL_ANNOTATION: &str = "sealane.io/pool";

/// Annotations of a pod.
pub type Annotations = BTreeMap<String, String>;

/// What an ADD asks for; nothing in the usual case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// At most one of each address family.
    pub ips: Vec<IpAddr>,
    pub mac: Option<Mac>,
    /// The name of a pool.
    pub pool: Option<String>,
}

impl Asked {
    /// Reads the request; `known` are the pod's annotations, which count where the runtime hands over none.
    ///
    /// # Errors
    /// Code 7 with where the value came from, what it is and what was expected.
    pub fn of(request: &Request, known: Option<&Annotations>) -> Result<Self, CniError> {
        let source = Source { request, known };
        let ips = match request.runtime_config.get("ips") {
            Some(Value::Array(list)) if list.is_empty() => source.texts("IP", IPS_ANNOTATION),
            Some(value) => listed(value).map(|list| ("runtimeConfig.ips", list)),
            None => source.texts("IP", IPS_ANNOTATION),
        };
        let mac = match request.runtime_config.get("mac") {
            Some(Value::String(text)) if text.is_empty() => None,
            Some(Value::String(text)) => Some(("runtimeConfig.mac", text.clone())),
            Some(other) => return Err(unfit("runtimeConfig.mac", &other.to_string(), MAC_FORM)),
            None => source.text("MAC", MAC_ANNOTATION),
        };
        Ok(Self {
            ips: match ips {
                Some((from, list)) => read_ips(from, &list)?,
                None => Vec::new(),
            },
            mac: mac.map(|(from, text)| read_mac(from, &text)).transpose()?,
            pool: source
                .annotation(POOL_ANNOTATION)
                .map(|name| name.trim().to_owned())
                .filter(|name| !name.is_empty()),
        })
    }
}

/// Where values come from.
struct Source<'a> {
    request: &'a Request,
    known: Option<&'a Annotations>,
}

impl<'a> Source<'a> {
    fn annotation(&self, name: &str) -> Option<&'a str> {
        match self.request.runtime_config.get(POD_ANNOTATIONS) {
            Some(handed_over) => handed_over.get(name)?.as_str(),
            None => self.known?.get(name).map(String::as_str),
        }
    }

    fn text(&self, arg: &'static str, annotation: &'static str) -> Option<(&'static str, String)> {
        let found = self
            .request
            .args
            .get(arg)
            .map(|value| (arg, value.as_str()))
            .or_else(|| Some((annotation, self.annotation(annotation)?)));
        found
            .filter(|(_, value)| !value.trim().is_empty())
            .map(|(from, value)| (from, value.trim().to_owned()))
    }

    fn texts(
        &self,
        arg: &'static str,
        annotation: &'static str,
    ) -> Option<(&'static str, Vec<String>)> {
        let (from, value) = self.text(arg, annotation)?;
        let list = value.split(',').map(|word| word.trim().to_owned());
        Some((from, list.collect()))
    }
}

const IP_FORM: &str = "an IP address, with or without the length of its prefix";
const MAC_FORM: &str = "a unicast Ethernet address such as 02:42:0a:f4:01:05";

/// Whatever is no text is kept as it is, for the message.
fn listed(value: &Value) -> Option<Vec<String>> {
    let as_text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    match value {
        Value::Null => None,
        Value::Array(list) => Some(list.iter().map(as_text).collect()),
        other => Some(vec![as_text(other)]),
    }
}

fn read_ips(from: &str, list: &[String]) -> Result<Vec<IpAddr>, CniError> {
    let read = |text: &String| {
        IpAddr::from_str(text)
            .or_else(|_| IpNet::from_str(text).map(|net| net.addr()))
            .map_err(|_| unfit(from, text, IP_FORM))
    };
    list.iter().map(read).collect()
}

fn read_mac(from: &str, text: &str) -> Result<Mac, CniError> {
    text.parse::<Mac>()
        .ok()
        .filter(|mac| mac.0[0] & 1 == 0 && mac.0 != [0; 6])
        .ok_or_else(|| unfit(from, text, MAC_FORM))
}

fn unfit(from: &str, value: &str, expected: &str) -> CniError {
    CniError::new(
        code::INVALID_CONFIG,
        format!("use {from}: {value:?} is not {expected}"),
    )
    .with_details("correct it in the pod's annotations or in what the runtime is given, and create the pod again")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::types::Command;

    fn request(runtime_config: Value, args: &[(&str, &str)]) -> Request {
        Request {
            command: Command::Add,
            network: "sealane".into(),
            container_id: "a".into(),
            ifname: "eth0".into(),
            netns: String::new(),
            args: args
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            runtime_config: runtime_config.as_object().cloned().unwrap_or_default(),
            prev_result: None,
            valid_attachments: None,
        }
    }

    fn asked(runtime_config: Value, args: &[(&str, &str)]) -> (Vec<String>, Option<String>) {
        let asked = Asked::of(&request(runtime_config, args), None).unwrap();
        let ips = asked.ips.iter().map(ToString::to_string).collect();
        (ips, asked.mac.map(|mac| mac.to_string()))
    }

    #[test]
    fn the_runtime_wins_over_arguments_and_they_over_annotations() {
        let annotations = json!({POD_ANNOTATIONS: {"sealane.io/ips": "10.0.0.9, fd00::9", "sealane.io/mac": "02:00:00:00:00:09"}});
        assert_eq!(asked(json!({}), &[]), (vec![], None));
        assert_eq!(
            asked(annotations.clone(), &[]),
            (
                vec!["10.0.0.9".into(), "fd00::9".into()],
                Some("02:00:00:00:00:09".into())
            )
        );
        let args = [("IP", "10.0.0.8/24"), ("MAC", "02:00:00:00:00:08")];
        assert_eq!(
            asked(annotations.clone(), &args),
            (vec!["10.0.0.8".into()], Some("02:00:00:00:00:08".into()))
        );
        let mut all = annotations;
        all["ips"] = json!(["10.0.0.7/24", "fd00::7"]);
        all["mac"] = json!("02:00:00:00:00:07");
        assert_eq!(
            asked(all, &args),
            (
                vec!["10.0.0.7".into(), "fd00::7".into()],
                Some("02:00:00:00:00:07".into())
            )
        );
    }

    #[test]
    fn what_the_caller_knows_counts_where_the_runtime_hands_over_no_annotations() {
        let known = [(IPS_ANNOTATION, "10.0.0.9"), (POOL_ANNOTATION, " web ")];
        let known = known.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let asked = |config| Asked::of(&request(config, &[]), Some(&known)).unwrap();
        let from_known = asked(json!({}));
        assert_eq!(from_known.ips, [IpAddr::from([10, 0, 0, 9])]);
        assert_eq!(from_known.pool.as_deref(), Some("web"));
        assert_eq!(asked(json!({POD_ANNOTATIONS: {}})), Asked::default());
        assert_eq!(asked(json!({POD_ANNOTATIONS: null})), Asked::default());
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        for (config, part) in [
            (json!({"ips": ["10.0.0.300"]}), "10.0.0.300"),
            (json!({"ips": [7]}), "runtimeConfig.ips"),
            (json!({"ips": {"a": 1}}), "runtimeConfig.ips"),
            (json!({"mac": 7}), "runtimeConfig.mac"),
            (json!({"mac": "01:00:00:00:00:01"}), "unicast"),
            (json!({"mac": "00:00:00:00:00:00"}), "unicast"),
            (
                json!({POD_ANNOTATIONS: {"sealane.io/ips": "x"}}),
                "sealane.io/ips",
            ),
        ] {
            let error = Asked::of(&request(config.clone(), &[]), None).unwrap_err();
            assert_eq!(error.code, code::INVALID_CONFIG);
            assert!(error.msg.contains(part), "{config}: {error}");
        }
    }
}

//! How much a pod may send and receive, as its annotations or the runtime say.
//!
//! `kubernetes.io/ingress-bandwidth` and `kubernetes.io/egress-bandwidth`, or the
//! capability `bandwidth` (CNI conventions), which counts where it is given. What
//! the pod receives is held back at the near end of its link, what it sends at its
//! own end, where a sender waits instead of losing packets. So both go with the
//! link; a pod with the right over its interfaces could take the second one away.

use std::collections::BTreeMap;

use sealane_cni::{
    protocol::Request,
    types::{CniError, POD_ANNOTATIONS, code},
};
use sealane_netlink::Rate;
use sealane_objects::quantity;
use serde_json::Value;

const INGRESS: &str = "kubernetes.io/ingress-bandwidth";
const EGRESS: &str = "kubernetes.io/egress-bandwidth";
/// As the kubelet accepts them.
const LEAST: u64 = 1_000;
const MOST: u64 = 1_000_000_000_000_000;

/// Limits of a pod; `None` for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Of what it receives.
    pub ingress: Option<Rate>,
    /// Of what it sends.
    pub egress: Option<Rate>,
}

impl Shape {
    /// Reads what a pod may; `annotations` are those that the API knows, if it knows the pod.
    ///
    /// # Errors
    /// Code 7 with what was given and what was expected.
    pub fn of(
        request: &Request,
        annotations: Option<&BTreeMap<String, String>>,
    ) -> Result<Self, CniError> {
        let given = request.runtime_config.get("bandwidth");
        if let Some(given) = given.and_then(Value::as_object).filter(|g| !g.is_empty()) {
            let number = |key: &str| given.get(key).and_then(Value::as_u64).unwrap_or_default();
            let rate = |rate: &str, burst: &str| match number(rate) {
                0 => Ok(None),
                bits => within(rate, &bits.to_string(), Some(bits))
                    .map(|bits| Some(rate_of(bits, Some(number(burst)).filter(|b| *b > 0)))),
            };
            return Ok(Self {
                ingress: rate("ingressRate", "ingressBurst")?,
                egress: rate("egressRate", "egressBurst")?,
            });
        }
        let handed = request.runtime_config.get(POD_ANNOTATIONS);
        let annotated = |key: &str| {
            let handed = handed.and_then(|all| all.get(key)?.as_str());
            handed.or_else(|| annotations?.get(key).map(String::as_str))
        };
        let rate = |key: &str| {
            let Some(text) = annotated(key) else {
                return Ok(None);
            };
            let bits = within(key, text, quantity::units(text))?;
            Ok(Some(rate_of(bits, None)))
        };
        Ok(Self {
            ingress: rate(INGRESS)?,
            egress: rate(EGRESS)?,
        })
    }

    /// Whether there is anything to do.
    pub fn is_free(&self) -> bool {
        *self == Self::default()
    }
}

fn within(from: &str, text: &str, bits: Option<u64>) -> Result<u64, CniError> {
    bits.filter(|bits| (LEAST..=MOST).contains(bits))
        .ok_or_else(|| {
            CniError::new(
                code::INVALID_CONFIG,
                format!("use {from}: {text:?} is not an amount of bits in a second from 1k to 1P"),
            )
            .with_details("correct the pod's annotation, such as 10M, and create the pod again")
        })
}

/// At once goes what the rate allows in a twentieth of a second, and at least a large packet.
fn rate_of(bits: u64, burst_bits: Option<u64>) -> Rate {
    const LEAST_BURST: u64 = 16 << 10;
    const MOST_BURST: u64 = 32 << 20;
    let burst = burst_bits.map_or(bits / 8 / 20, |bits| bits / 8);
    Rate {
        bits,
        burst: burst.clamp(LEAST_BURST, MOST_BURST) as u32,
    }
}

#[cfg(test)]
mod tests {
    use sealane_cni::types::Command;
    use serde_json::json;

    use super::*;

    fn shape(runtime_config: Value) -> Result<Shape, CniError> {
        let request = Request {
            command: Command::Add,
            network: "n".into(),
            container_id: "c".into(),
            ifname: "eth0".into(),
            netns: String::new(),
            args: BTreeMap::new(),
            runtime_config: runtime_config.as_object().cloned().unwrap(),
            prev_result: None,
            valid_attachments: None,
        };
        Shape::of(&request, None)
    }

    fn annotated(ingress: &str) -> Result<Shape, CniError> {
        shape(json!({POD_ANNOTATIONS: {INGRESS: ingress}}))
    }

    #[test]
    fn annotations_are_amounts_of_bits() {
        for (text, bits) in [
            ("1k", 1_000),
            ("10M", 10_000_000),
            ("1P", MOST),
            ("1Ki", 1024),
        ] {
            let ingress = annotated(text).unwrap().ingress.unwrap();
            assert_eq!(ingress.bits, bits, "{text}");
        }
        assert!(shape(json!({})).unwrap().is_free());
    }

    #[test]
    fn what_is_no_sensible_amount_is_refused_by_name() {
        for text in ["", "999", "2P", "fast", "-1M", "10Mbit"] {
            let error = annotated(text).unwrap_err();
            assert!(
                error.msg.contains(INGRESS) && error.msg.contains(text),
                "{error}"
            );
        }
    }

    #[test]
    fn the_runtimes_word_counts_before_annotations() {
        let both = json!({
            "bandwidth": {"egressRate": 8_000_000, "egressBurst": 800_000},
            POD_ANNOTATIONS: {INGRESS: "1k"},
        });
        let expected = Shape {
            ingress: None,
            egress: Some(Rate {
                bits: 8_000_000,
                burst: 100_000,
            }),
        };
        assert_eq!(shape(both).unwrap(), expected);
    }
}

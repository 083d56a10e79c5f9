//! How much a pod may send and receive, as its annotations or the runtime say.
//!
//! `kubernetes.io/ingress-bandwidth` and `kubernetes.io/egress-bandwidth`, or the
//! capability `bandwidth` (CNI conventions), which counts where it is given. What
//! the pod receives is held back at the near end of its link, what it sends at its
//! own end, where a sender waits instead of losing packets. So both go with the
//! link; a pod with the right over its interfaces could take the second one away.
//! The other way would be to drop at the near end what is too much, which TCP
//! takes for a broken path, or a further link (`ifb`) for each such pod.

use std::collections::BTreeMap;

use sealane_cni::{
    protocol::Request,
    types::{CniError, POD_ANNOTATIONS, code},
};
use sealane_netlink::Rate;
use sealane_objects::bandwidth::{self, EGRESS, INGRESS};
use serde_json::Value;

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
                bits if bandwidth::is_sensible(bits) => {
                    Ok(Some(rate_of(bits, Some(number(burst)))))
                }
                bits => Err(senseless(rate, &bits.to_string())),
            };
            return Ok(Self {
                ingress: rate("ingressRate", "ingressBurst")?,
                egress: rate("egressRate", "egressBurst")?,
            });
        }
        let handed = request.runtime_config.get(POD_ANNOTATIONS);
        Self::annotated(|key| {
            let handed = handed.and_then(|all| all.get(key)?.as_str());
            handed.or_else(|| annotations?.get(key).map(String::as_str))
        })
    }

    /// Reads what annotations say.
    ///
    /// # Errors
    /// As [`Shape::of`].
    pub fn annotated<'a>(annotation: impl Fn(&str) -> Option<&'a str>) -> Result<Self, CniError> {
        let rate = |key: &str| {
            annotation(key)
                .map(|text| {
                    let bits = bandwidth::bits(text).ok_or_else(|| senseless(key, text))?;
                    Ok(rate_of(bits, None))
                })
                .transpose()
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

fn senseless(from: &str, text: &str) -> CniError {
    CniError::new(
        code::INVALID_CONFIG,
        format!("use {from}: {text:?} is not an amount of bits in a second from 1k to 1P"),
    )
    .with_details("correct the pod's annotation, such as 10M, and create the pod again")
}

/// At once goes what the rate allows in a twentieth of a second, and at least a large packet.
///
/// Runtimes that translate annotations say 2^31 or 2^32 bits for a burst that nobody has asked for,
/// with which a slow pod would have no limit for minutes.
fn rate_of(bits: u64, burst_bits: Option<u64>) -> Rate {
    const NOT_ASKED_FOR: u64 = (1 << 31) - 1;
    const LEAST_BURST: u64 = 16 << 10;
    const MOST_BURST: u64 = 32 << 20;
    let burst = burst_bits.filter(|bits| *bits > 0 && *bits < NOT_ASKED_FOR);
    let burst = burst.map_or(bits / 8 / 20, |bits| bits / 8);
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
        let ingress = annotated("1Ki").unwrap().ingress.unwrap();
        assert_eq!(ingress.bits, 1024);
        assert!(shape(json!({})).unwrap().is_free());
    }

    #[test]
    fn a_burst_that_nobody_asked_for_is_small() {
        let given =
            |burst: u64| json!({"bandwidth": {"ingressRate": 8_000_000, "ingressBurst": burst}});
        let burst = |bits| shape(given(bits)).unwrap().ingress.unwrap().burst;
        assert_eq!(burst(u64::from(u32::MAX)), 50_000);
        assert_eq!(burst(1_600_000), 200_000);
    }

    #[test]
    fn what_is_no_sensible_amount_is_refused_by_name() {
        for text in ["", "999", "fast"] {
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

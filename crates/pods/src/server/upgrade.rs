//! What a client that wants more than HTTP is offered: WebSocket, SPDY/3.1, or plain bytes.
//!
//! | upgrade | who | sub-protocol |
//! |---|---|---|
//! | `websocket` | kubectl from 1.30, client libraries | `Sec-WebSocket-Protocol` |
//! | `SPDY/3.1` | kubectl up to 1.29, to 1.30 for port-forward | `X-Stream-Protocol-Version` |
//! | `sealane-bytes` | our API server, for the proxy to pods | none |

use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use hyper::{Response, StatusCode};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::answer::{self, Body, Refusal};

/// Go's clients name what they speak within SPDY here.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
/// The bytes of one connection, as they are.
const BYTES: &str = "sealane-bytes";
/// The same for WebSocket and SPDY: what is wrong without an upgrade.
const EXPECTED: &str = "this is served over WebSocket or SPDY/3.1: expected headers Connection: \
                        Upgrade and Upgrade: websocket (with Sec-WebSocket-Key) or SPDY/3.1";

/// Sub-protocols that are spoken, best first.
#[derive(Clone, Copy, Debug)]
pub struct Spoken {
    /// Over WebSocket.
    pub web: &'static [&'static str],
    /// The one for a WebSocket client that names none, if it may.
    pub unnamed: Option<&'static str>,
    /// Within SPDY.
    pub spdy: &'static str,
    /// Whether plain bytes make sense.
    pub bytes: bool,
}

/// What is agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// WebSocket with a sub-protocol.
    Web {
        /// `Sec-WebSocket-Accept`.
        accept: String,
        /// The sub-protocol.
        protocol: &'static str,
        /// The client has named it, so it is named to the client.
        named: bool,
    },
    /// SPDY with a sub-protocol.
    Spdy {
        /// The sub-protocol.
        protocol: &'static str,
    },
    /// Plain bytes.
    Bytes,
}

impl Offer {
    /// Finds what the client and we have in common.
    ///
    /// # Errors
    /// 400 when it is nothing.
    pub fn negotiate(headers: &HeaderMap, spoken: &Spoken) -> Result<Self, Refusal> {
        let upgrade = words(headers, &UPGRADE).next().unwrap_or_default();
        match upgrade.to_ascii_lowercase().as_str() {
            "websocket" => Self::web(headers, spoken),
            "spdy/3.1" if has(headers, &STREAM_PROTOCOL, spoken.spdy) => Ok(Self::Spdy {
                protocol: spoken.spdy,
            }),
            "spdy/3.1" => Err(Refusal::bad_request(format!(
                "expected X-Stream-Protocol-Version: {}",
                spoken.spdy
            ))),
            BYTES if spoken.bytes => Ok(Self::Bytes),
            _ => Err(Refusal::bad_request(EXPECTED)),
        }
    }

    fn web(headers: &HeaderMap, spoken: &Spoken) -> Result<Self, Refusal> {
        let key = headers.get(SEC_WEBSOCKET_KEY);
        let key = key.ok_or_else(|| Refusal::bad_request(EXPECTED))?;
        let accept = derive_accept_key(key.as_bytes());
        let mut known = spoken.web.iter();
        if let Some(protocol) = known.find(|known| has(headers, &SEC_WEBSOCKET_PROTOCOL, known)) {
            return Ok(Self::Web {
                accept,
                protocol,
                named: true,
            });
        }
        match spoken.unnamed {
            Some(protocol) if !headers.contains_key(SEC_WEBSOCKET_PROTOCOL) => Ok(Self::Web {
                accept,
                protocol,
                named: false,
            }),
            _ => Err(Refusal::bad_request(format!(
                "expected Sec-WebSocket-Protocol: {}",
                spoken.web.join(" or ")
            ))),
        }
    }

    /// The answer that switches.
    pub fn response(&self) -> Response<Body> {
        let mut response = answer::text("");
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.clear();
        let mut set = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        set(CONNECTION, "Upgrade");
        match self {
            Self::Web {
                accept,
                protocol,
                named,
            } => {
                set(UPGRADE, "websocket");
                set(SEC_WEBSOCKET_ACCEPT, accept);
                if *named {
                    set(SEC_WEBSOCKET_PROTOCOL, protocol);
                }
            }
            Self::Spdy { protocol } => {
                set(UPGRADE, "SPDY/3.1");
                set(STREAM_PROTOCOL, protocol);
            }
            Self::Bytes => set(UPGRADE, BYTES),
        }
        response
    }
}

/// The words of a header's list, however many lines it has.
fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

fn has(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    words(headers, name).any(|word| word.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPOKEN: Spoken = Spoken {
        web: &["v5", "v4"],
        unnamed: None,
        spdy: "v4",
        bytes: false,
    };

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        };
        let mut headers = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            headers.append(name, value);
        }
        headers
    }

    const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");

    #[test]
    fn the_best_common_protocol_is_chosen() {
        let asked = headers(&[
            ("upgrade", "WebSocket"),
            KEY,
            ("sec-websocket-protocol", "v4, v5"),
        ]);
        let Ok(Offer::Web {
            accept, protocol, ..
        }) = Offer::negotiate(&asked, &SPOKEN)
        else {
            panic!("WebSocket is spoken");
        };
        assert_eq!(protocol, "v5");
        assert_eq!(
            accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            "the example of RFC 6455"
        );
        let asked = headers(&[
            ("upgrade", "SPDY/3.1"),
            ("x-stream-protocol-version", "v5"),
            ("x-stream-protocol-version", "v4"),
        ]);
        let offer = Offer::negotiate(&asked, &SPOKEN).unwrap();
        assert_eq!(offer, Offer::Spdy { protocol: "v4" });
        assert_eq!(
            offer.response().headers()["x-stream-protocol-version"],
            "v4"
        );
    }

    #[test]
    fn a_client_that_names_nothing_may_be_understood() {
        let asked = headers(&[("upgrade", "websocket"), KEY]);
        assert!(Offer::negotiate(&asked, &SPOKEN).is_err());
        let spoken = Spoken {
            unnamed: Some("v4"),
            ..SPOKEN
        };
        let offer = Offer::negotiate(&asked, &spoken).unwrap();
        assert!(
            !offer
                .response()
                .headers()
                .contains_key(SEC_WEBSOCKET_PROTOCOL)
        );
    }

    #[test]
    fn what_is_not_spoken_is_said() {
        let message = |pairs: &[(&'static str, &str)]| {
            Offer::negotiate(&headers(pairs), &SPOKEN)
                .unwrap_err()
                .message
        };
        assert_eq!(message(&[]), EXPECTED);
        assert_eq!(message(&[("upgrade", "websocket")]), EXPECTED);
        assert_eq!(message(&[("upgrade", BYTES)]), EXPECTED);
        assert_eq!(
            message(&[
                ("upgrade", "websocket"),
                KEY,
                ("sec-websocket-protocol", "x")
            ]),
            "expected Sec-WebSocket-Protocol: v5 or v4"
        );
        assert_eq!(
            message(&[("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", "v3")]),
            "expected X-Stream-Protocol-Version: v4"
        );
    }
}

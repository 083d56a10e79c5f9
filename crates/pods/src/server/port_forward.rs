//! `port-forward`: TCP connections to the ports of a pod, from inside its network namespace.
//!
//! | client | carries | module |
//! |---|---|---|
//! | kubectl from 1.31 | SPDY within the messages of a WebSocket (`SPDY/3.1+portforward.k8s.io`, KEP-4006) | `streams` over `messages` |
//! | kubectl up to 1.30 | SPDY, two streams for each connection | `streams` |
//! | Python and other libraries | WebSocket, two channels for each port (`v4.channel.k8s.io`) | `channels` |
//! | our API server, for the proxy to pods | the bytes of one connection | `single` |
//!
//! Nothing is decided about which ports may be reached: whoever may forward may reach all that
//! the pod itself reaches on its loopback.

mod channels;
mod copy;
mod dial;
mod messages;
mod single;
mod streams;

use std::net::IpAddr;

use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::answer::{Body, Refusal};
use super::upgrade::{Offer, Spoken};
use crate::dispatch::Directory;
use dial::PodNet;
use messages::Messages;

/// SPDY within the messages of a WebSocket.
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const CHANNELS: &str = "v4.channel.k8s.io";
const CHANNELS_IN_BASE64: &str = "v4.base64.channel.k8s.io";

const SPOKEN: Spoken = Spoken {
    web: &[TUNNEL, CHANNELS, CHANNELS_IN_BASE64],
    unnamed: Some(CHANNELS),
    spdy: "portforward.k8s.io",
    bytes: true,
};

/// Ports of one request, as a kubelet would take them: two channels each in a byte.
const PORTS: usize = 100;

/// Upgrades the connection, then forwards.
///
/// # Errors
/// When the pod does not run here, or the request makes no sense. All before the upgrade: kubectl
/// then tries SPDY, and shows what it hears there.
pub async fn answer(
    directory: &Directory,
    (namespace, pod): (&str, &str),
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let offer = Offer::negotiate(request.headers(), &SPOKEN)?;
    let query = request.uri().query().unwrap_or_default();
    let ports = ports(query)?;
    let pod = PodNet::find(directory, namespace, pod)?;
    // Before the upgrade, so that the API server hears why.
    let single = match offer {
        Offer::Bytes => Some(single::dial(&pod, &ports, address(query)?).await?),
        _ => None,
    };
    if matches!(offer, Offer::Web { protocol, .. } if protocol != TUNNEL) && ports.is_empty() {
        return Err(Refusal::bad_request("query parameter \"port\" is required"));
    }
    let response = offer.response();
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let io = match upgrade.await {
            Ok(upgraded) => TokioIo::new(upgraded),
            Err(error) => return tracing::debug!("switch protocols for port-forward: {error}"),
        };
        match (offer, single) {
            (Offer::Bytes, Some(single)) => single.carry(io).await,
            (Offer::Web { protocol, .. }, _) => {
                let socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
                match protocol {
                    TUNNEL => streams::serve(Messages::new(socket), pod).await,
                    protocol => {
                        let base64 = protocol == CHANNELS_IN_BASE64;
                        channels::serve(socket, base64, &ports, pod).await;
                    }
                }
            }
            _ => streams::serve(io, pod).await,
        }
    });
    Ok(response)
}

fn ports(query: &str) -> Result<Vec<u16>, Refusal> {
    let pairs = form_urlencoded::parse(query.as_bytes());
    let named = pairs.filter(|(name, _)| name == "port" || name == "ports");
    let mut ports = Vec::new();
    for (_, list) in named {
        for word in list.split(',') {
            ports.push(port(word).map_err(Refusal::bad_request)?);
        }
    }
    match ports.len() {
        0..=PORTS => Ok(ports),
        many => Err(Refusal::bad_request(format!(
            "{many} ports: at most {PORTS} are forwarded at once"
        ))),
    }
}

/// A port in a kubelet's words.
fn port(word: &str) -> Result<u16, String> {
    match word.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!("port {word:?} must be a number from 1 to 65535")),
    }
}

/// The address that the API server wants to be reached, if not the loopback.
fn address(query: &str) -> Result<Option<IpAddr>, Refusal> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let Some((_, address)) = pairs.find(|(name, _)| name == "address") else {
        return Ok(None);
    };
    let parsed = address.parse();
    parsed
        .map(Some)
        .map_err(|_| Refusal::bad_request(format!("address {address:?}: expected an IP address")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_from_lists_and_repetitions() {
        assert_eq!(ports("port=80&port=81,82").unwrap(), [80, 81, 82]);
        assert_eq!(ports("x=1").unwrap(), [0; 0]);
        for wrong in ["port=0", "port=65536", "port=http", "ports=1,"] {
            let message = ports(wrong).unwrap_err().message;
            assert!(
                message.contains("must be a number from 1 to 65535"),
                "{message}"
            );
        }
        assert!(ports(&"port=1&".repeat(101)).is_err());
    }
}

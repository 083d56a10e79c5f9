//! Connections to pods: logs, exec, attach, port-forward, and the proxies.
//!
//! ```text
//! client ──> API server ──HTTPS──> node process ──> shim, log file, a port of the pod
//! ```
//!
//! The request is turned into the node's own (the paths and parameters of the kubelet) and sent
//! on. An upgrade is passed through: once both sides have switched, bytes are copied without
//! being looked at, so every protocol that client and node agree on works, SPDY as well as
//! WebSocket. What can be refused is refused before the upgrade, in Kubernetes' words: kubectl
//! tries SPDY when WebSocket was refused, and tells its user what it heard last.

mod connection;
mod log_options;
mod node_path;
mod proxy;
mod switch;

use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{body::Bytes, body::Incoming, upgrade};
use serde_json::Value;

pub use proxy::{proxy, to_service};

use crate::{
    answer::{self, Body},
    kinds::NodeStream,
    node_client,
    server::Context,
    status::ApiError,
    webhooks,
};
use node_path::node_path;
use switch::switch;

/// The longest error that is taken over from a node.
const ERROR_MAX_BYTES: usize = 16 * 1024;
/// Headers that belong to one connection or that name us.
const NOT_FORWARDED: [header::HeaderName; 4] = [
    header::HOST,
    header::AUTHORIZATION,
    header::ACCEPT_ENCODING,
    header::CONTENT_LENGTH,
];

/// Passes a request on to the node of a pod.
///
/// # Errors
///
/// 400 for what cannot be asked, 404 without the pod, what the node says, or 500 if it does not.
pub async fn pass(
    context: Context,
    stream: NodeStream,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let warnings = match connection::options(stream, &context.query)? {
        Some(options) => webhooks::connect(&context, options).await?,
        None => Vec::new(),
    };
    let response = to_node(&context, stream, request).await?;
    Ok(answer::warn(response, &warnings))
}

async fn to_node(
    context: &Context,
    stream: NodeStream,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let target = &context.target;
    let found = context
        .server
        .store
        .get(&context.kind.key(&target.namespace, &target.name));
    let entry = found.ok_or_else(|| ApiError::not_found(&context.kind, &target.name))?;
    let pod: Value = serde_json::from_slice(&entry.object.unpack()).map_err(ApiError::internal)?;
    let path = node_path(stream, &pod, &context.query)?;
    let node = pod["spec"]["nodeName"].as_str().unwrap_or("");
    if node.is_empty() {
        return match stream {
            NodeStream::Log => Ok(answer::text(StatusCode::OK, "")),
            _ => Err(ApiError::bad_request(format!(
                "pod {} does not have a host assigned",
                target.name
            ))),
        };
    }
    let address = node_client::address(&context.server, node)?;
    if stream != NodeStream::Log && !asks_for_upgrade(request.headers()) {
        return Err(ApiError::bad_request("Upgrade request required"));
    }
    let mut sender = context.server.nodes.connect(&address).await?;
    let outgoing = outgoing(&request, &path, &address.authority())?;
    let response = sender.send_request(outgoing).await.map_err(|cause| {
        ApiError::internal(format!("error dialing backend: node {node}: {cause}"))
    })?;
    match response.status() {
        StatusCode::SWITCHING_PROTOCOLS => {
            let client = upgrade::on(&mut request);
            Ok(switch(&context.server.shutdown, client, response))
        }
        status if status.is_success() => {
            Ok(response.map(|body| body.map_err(std::io::Error::other).boxed_unsync()))
        }
        _ => Err(node_error(response).await),
    }
}

/// WebSocket and SPDY are passed on; the node says what else is missing.
fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE);
    let upgrade = upgrade.and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|upgrade| {
        ["websocket", "spdy/3.1"]
            .iter()
            .any(|known| upgrade.eq_ignore_ascii_case(known))
    })
}

/// The request to the node. An upgrade is a GET there whatever it was here: that is what
/// WebSocket asks for (RFC 6455 §4.1).
fn outgoing(
    request: &Request<Incoming>,
    path: &str,
    authority: &str,
) -> Result<Request<Empty<Bytes>>, ApiError> {
    let mut outgoing = Request::builder()
        .method(Method::GET)
        .uri(path)
        .header(header::HOST, authority);
    for (name, value) in request.headers() {
        if !NOT_FORWARDED.contains(name) {
            outgoing = outgoing.header(name, value);
        }
    }
    outgoing.body(Empty::new()).map_err(ApiError::internal)
}

/// What the node said, as an error of ours.
pub async fn node_error(response: Response<Incoming>) -> ApiError {
    let code = response.status();
    let text = match Limited::new(response.into_body(), ERROR_MAX_BYTES)
        .collect()
        .await
    {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).trim().to_owned(),
        Err(cause) => cause.to_string(),
    };
    let reason = match code {
        StatusCode::BAD_REQUEST => "BadRequest",
        StatusCode::UNAUTHORIZED => "Unauthorized",
        StatusCode::FORBIDDEN => "Forbidden",
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailable",
        _ => "InternalError",
    };
    ApiError::new(code, reason, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn websocket_and_spdy_are_passed_on() {
        let asks = |upgrade: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::UPGRADE, upgrade.parse().unwrap());
            asks_for_upgrade(&headers)
        };
        assert!(asks("websocket") && asks("WebSocket") && asks("SPDY/3.1"));
        assert!(!asks("h2c") && !asks_for_upgrade(&HeaderMap::new()));
    }
}

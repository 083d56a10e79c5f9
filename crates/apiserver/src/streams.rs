//! Logs, exec, attach and port-forward: requests that the pod's node answers.
//!
//! The request is turned into the node's own (the paths and parameters of the kubelet) and sent
//! on. An upgrade to WebSocket is passed through: once both sides have switched, bytes are copied
//! without being looked at, so every subprotocol that client and node agree on works. SPDY, which
//! older clients insist on, is refused with what to do about it.

use std::fmt::Write as _;

use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{body::Bytes, body::Incoming, upgrade};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::io::copy_bidirectional;

use crate::{
    answer::{self, Body},
    kinds::NodeStream,
    node_client,
    request::Query,
    server::Context,
    status::ApiError,
};

/// The annotation that says which container is meant when none is named.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
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
    let target = &context.target;
    let found = context
        .server
        .store
        .get(&context.kind.key(&target.namespace, &target.name));
    let entry = found.ok_or_else(|| ApiError::not_found(context.kind, &target.name))?;
    let pod: Value = serde_json::from_slice(&entry.object).map_err(ApiError::internal)?;
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
    if stream != NodeStream::Log {
        // After all else that may be wrong: kubectl tries SPDY when WebSocket was refused, and
        // tells its user what it heard last.
        check_upgrade(request.headers())?;
    }
    let mut sender = context.server.nodes.connect(&address).await?;
    let authority = format!("{}:{}", bracketed(&address.ip), address.port);
    let outgoing = outgoing(&request, &path, &authority)?;
    let response = sender.send_request(outgoing).await.map_err(|cause| {
        ApiError::internal(format!("error dialing backend: node {node}: {cause}"))
    })?;
    match response.status() {
        StatusCode::SWITCHING_PROTOCOLS => Ok(switch(&context, request, response)),
        status if status.is_success() => {
            Ok(response.map(|body| body.map_err(std::io::Error::other).boxed_unsync()))
        }
        _ => Err(node_error(response).await),
    }
}

fn bracketed(ip: &std::net::IpAddr) -> String {
    if ip.is_ipv6() {
        format!("[{ip}]")
    } else {
        ip.to_string()
    }
}

/// Only WebSocket can be passed on.
fn check_upgrade(headers: &HeaderMap) -> Result<(), ApiError> {
    let upgrade = headers
        .get(header::UPGRADE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    match upgrade.to_ascii_lowercase().as_str() {
        "websocket" => Ok(()),
        spdy if spdy.starts_with("spdy/") => Err(ApiError::bad_request(
            "SPDY is not served, only WebSocket: use kubectl 1.31 or newer, or set \
             KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true (and KUBECTL_PORT_FORWARD_WEBSOCKETS=true) \
             with kubectl 1.29 or 1.30",
        )),
        _ => Err(ApiError::bad_request("Upgrade request required")),
    }
}

/// The path on the node, with its parameters.
fn node_path(stream: NodeStream, pod: &Value, query: &Query) -> Result<String, ApiError> {
    let place = |service: &str| {
        let (namespace, name) = (crate::object::namespace(pod), crate::object::name(pod));
        format!("/{service}/{namespace}/{name}")
    };
    Ok(match stream {
        NodeStream::Log => {
            let container = container(pod, query)?;
            let parameters = [
                "follow",
                "previous",
                "sinceSeconds",
                "sinceTime",
                "timestamps",
                "tailLines",
                "limitBytes",
                "stream",
            ];
            check_log(query)?;
            let parameters = parameters.iter().map(|name| (*name, *name));
            format!(
                "{}/{container}{}",
                place("containerLogs"),
                forwarded(query, parameters)
            )
        }
        NodeStream::Exec | NodeStream::Attach => {
            let container = container(pod, query)?;
            let mut wanted = Vec::new();
            for (ours, nodes) in [
                ("stdin", "input"),
                ("stdout", "output"),
                ("stderr", "error"),
                ("tty", "tty"),
            ] {
                if query.flag(ours)?.unwrap_or(false) {
                    wanted.push((nodes, "1"));
                }
            }
            if !wanted.iter().any(|(name, _)| *name != "tty") {
                let why = "you must specify at least 1 of stdin, stdout, stderr";
                return Err(ApiError::bad_request(why));
            }
            let command: Vec<&str> = query.all("command").collect();
            if stream == NodeStream::Exec && command.is_empty() {
                return Err(ApiError::bad_request(
                    "you must specify a command to execute",
                ));
            }
            wanted.extend(command.into_iter().map(|word| ("command", word)));
            let service = if stream == NodeStream::Exec {
                "exec"
            } else {
                "attach"
            };
            format!("{}/{container}{}", place(service), encoded(&wanted))
        }
        NodeStream::PortForward => {
            let ports: Vec<(&str, &str)> = query
                .all("ports")
                .flat_map(|ports| ports.split(','))
                .map(|port| ("port", port))
                .collect();
            format!("{}{}", place("portForward"), encoded(&ports))
        }
    })
}

fn check_log(query: &Query) -> Result<(), ApiError> {
    for name in ["sinceSeconds", "tailLines", "limitBytes"] {
        query.number::<u64>(name)?;
    }
    if query.get("sinceSeconds").is_some() && query.get("sinceTime").is_some() {
        let why = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        return Err(ApiError::bad_request(why));
    }
    Ok(())
}

/// The container that is meant.
fn container(pod: &Value, query: &Query) -> Result<String, ApiError> {
    let names = |part: &str| -> Vec<&str> {
        let containers = pod["spec"][part].as_array().into_iter().flatten();
        containers
            .filter_map(|container| container["name"].as_str())
            .collect()
    };
    let (main, init) = (names("containers"), names("initContainers"));
    let name = crate::object::name(pod);
    let annotated = pod["metadata"]["annotations"][DEFAULT_CONTAINER].as_str();
    match (query.get("container"), main.as_slice()) {
        (Some(asked), _) if main.contains(&asked) || init.contains(&asked) => Ok(asked.into()),
        (Some(asked), _) => Err(ApiError::bad_request(format!(
            "container {asked} is not valid for pod {name}"
        ))),
        (None, [only]) => Ok((*only).into()),
        (None, _) => match annotated.filter(|annotated| main.contains(annotated)) {
            Some(annotated) => Ok(annotated.into()),
            None => {
                let mut choice = format!("choose one of: [{}]", main.join(" "));
                if !init.is_empty() {
                    let _ = write!(
                        choice,
                        " or one of the init containers: [{}]",
                        init.join(" ")
                    );
                }
                Err(ApiError::bad_request(format!(
                    "a container name must be specified for pod {name}, {choice}"
                )))
            }
        },
    }
}

fn forwarded<'a>(query: &'a Query, names: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let pairs: Vec<(&str, &str)> = names
        .filter_map(|(ours, nodes)| Some((nodes, query.get(ours)?)))
        .collect();
    encoded(&pairs)
}

fn encoded(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
        .collect();
    if pairs.is_empty() {
        String::new()
    } else {
        format!("?{}", pairs.join("&"))
    }
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

/// Lets the client switch as the node did, and copies bytes from then on.
fn switch(
    context: &Context,
    mut request: Request<Incoming>,
    mut response: Response<Incoming>,
) -> Response<Body> {
    let (client, node) = (upgrade::on(&mut request), upgrade::on(&mut response));
    let shutdown = context.server.shutdown.clone();
    tokio::spawn(async move {
        let copy = async {
            let (client, node) = (client.await?, node.await?);
            let (mut client, mut node) = (TokioIo::new(client), TokioIo::new(node));
            let copied = copy_bidirectional(&mut client, &mut node).await;
            if let Err(cause) = copied {
                tracing::debug!(%cause, "a stream to a node ended");
            }
            Ok::<_, hyper::Error>(())
        };
        tokio::select! {
            switched = copy => if let Err(cause) = switched {
                tracing::debug!(%cause, "switch protocols");
            },
            () = shutdown.cancelled() => {}
        }
    });
    response.map(|_| answer::full(Bytes::new()))
}

/// What the node said, as an error of ours.
async fn node_error(response: Response<Incoming>) -> ApiError {
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
        _ => "InternalError",
    };
    ApiError::new(code, reason, text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(containers: Value) -> Value {
        json!({"metadata": {"namespace": "ns", "name": "p"}, "spec": {"containers": containers}})
    }

    fn path(stream: NodeStream, pod: &Value, query: &str) -> String {
        node_path(stream, pod, &Query::parse(Some(query))).unwrap_or_else(|error| error.message)
    }

    #[test]
    fn requests_are_said_in_the_nodes_words() {
        let one = pod(json!([{"name": "c"}]));
        let two = pod(json!([{"name": "a"}, {"name": "b"}]));
        for (stream, pod, query, expected) in [
            (NodeStream::Log, &one, "", "/containerLogs/ns/p/c"),
            (
                NodeStream::Log,
                &two,
                "container=b&follow=true&tailLines=5",
                "/containerLogs/ns/p/b?follow=true&tailLines=5",
            ),
            (
                NodeStream::Log,
                &two,
                "",
                "a container name must be specified for pod p, choose one of: [a b]",
            ),
            (
                NodeStream::Log,
                &one,
                "container=x",
                "container x is not valid for pod p",
            ),
            (
                NodeStream::Exec,
                &one,
                "command=sh&command=-c&command=a%26b+c&stdin=true&stdout=true&tty=true",
                "/exec/ns/p/c?input=1&output=1&tty=1&command=sh&command=%2Dc&command=a%26b%20c",
            ),
            (
                NodeStream::Exec,
                &one,
                "stdout=true",
                "you must specify a command to execute",
            ),
            (
                NodeStream::Exec,
                &one,
                "command=sh",
                "you must specify at least 1 of stdin, stdout, stderr",
            ),
            (
                NodeStream::Attach,
                &one,
                "stdout=1&stderr=1",
                "/attach/ns/p/c?output=1&error=1",
            ),
            (
                NodeStream::PortForward,
                &one,
                "ports=80,81",
                "/portForward/ns/p?port=80&port=81",
            ),
        ] {
            assert_eq!(path(stream, pod, query), expected, "{query}");
        }
        let mut annotated = two;
        annotated["metadata"]["annotations"] = json!({ DEFAULT_CONTAINER: "b" });
        assert_eq!(
            path(NodeStream::Log, &annotated, ""),
            "/containerLogs/ns/p/b"
        );
    }

    #[test]
    fn spdy_is_told_what_to_do() {
        let check = |upgrade: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::UPGRADE, upgrade.parse().unwrap());
            check_upgrade(&headers).map_err(|error| error.message)
        };
        assert_eq!(check("websocket"), Ok(()));
        assert_eq!(check("WebSocket"), Ok(()));
        assert!(
            check("SPDY/3.1")
                .unwrap_err()
                .contains("KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true")
        );
        assert_eq!(
            check_upgrade(&HeaderMap::new()).unwrap_err().message,
            "Upgrade request required"
        );
    }
}

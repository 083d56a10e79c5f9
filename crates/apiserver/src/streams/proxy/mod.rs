//! `pods/NAME/proxy` and `services/NAME/proxy`: HTTP to a pod, through the API server.
//!
//! ```text
//! client ──any request──> API server ══bytes══> node process ──TCP──> the pod's address
//!                         speaks HTTP/1.1, or TLS and HTTP/1.1, over these bytes
//! ```
//!
//! The API server needs no way to pods: the connection is made by the pod's node, inside the
//! pod's network namespace, to the pod's own address (so no NetworkPolicy is asked). Bodies are
//! streamed, and an upgrade is passed through.
//!
//! As in Kubernetes a pod's certificate is not verified, `Authorization` is not passed on, and
//! `Location` headers are made to stay below the proxy. Unlike there, links within HTML are not
//! rewritten, and an endpoint that is no pod is not reached.

mod connect;
mod headers;
mod pod;
mod reference;
mod service;
mod tls;

use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::BodyExt;
use hyper::{body::Incoming, client::conn::http1, upgrade};
use hyper_util::rt::TokioIo;
use serde_json::json;

use self::{connect::Stream, pod::Location, reference::Reference};
use super::switch;
use crate::{
    answer::{self, Body},
    kinds::{POD, ProxyTo},
    server::{Context, Server},
    status::ApiError,
    webhooks,
};

/// Parts of a path before what is the pod's: `api/v1/namespaces/NS/pods/NAME/proxy`.
const OWN_PARTS: usize = 7;

/// Passes a request on to a pod.
///
/// # Errors
///
/// 400 and 404 for what cannot be reached, 503 when nobody answers there.
pub async fn proxy(
    context: Context,
    to: ProxyTo,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let (own, rest) = split(request.uri().path());
    let (own, rest) = (own.to_owned(), rest.to_owned());
    let options = match rest.as_str() {
        "" => json!({}),
        path => json!({ "path": path }),
    };
    let warnings = webhooks::connect(&context, options).await?;
    let response = answered(&context, to, request, (&own, &rest)).await?;
    Ok(answer::warn(response, &warnings))
}

async fn answered(
    context: &Context,
    to: ProxyTo,
    mut request: Request<Incoming>,
    (own, rest): (&str, &str),
) -> Result<Response<Body>, ApiError> {
    let asks_for_upgrade = headers::asks_for_upgrade(request.headers());
    if rest.is_empty()
        && !asks_for_upgrade
        && [Method::GET, Method::HEAD].contains(request.method())
    {
        return redirect(own, request.uri());
    }
    let target = &context.target;
    let location = match to {
        ProxyTo::Pod => {
            let reference =
                Reference::parse(&target.name).ok_or_else(|| invalid("pod", &target.name))?;
            let found = context
                .server
                .store
                .get(&POD.key(&target.namespace, &reference.name));
            let entry = found.ok_or_else(|| ApiError::not_found(&POD, &reference.name))?;
            Location::of_pod(&pod::read(&entry)?, &reference)?
        }
        ProxyTo::Service => {
            let reference =
                Reference::parse(&target.name).ok_or_else(|| invalid("service", &target.name))?;
            service::locate(&context.server, &target.namespace, &target.name, &reference)?
        }
    };
    let stream = connect::connect(&context.server, &location).await?;
    let client = upgrade::on(&mut request);
    let response = exchange(stream, request, own, rest).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(switch(&context.server.shutdown, client, response));
    }
    Ok(response.map(|body| body.map_err(std::io::Error::other).boxed_unsync()))
}

/// Bytes to and from a port of a Service, without TLS.
///
/// # Errors
///
/// 404 without the Service, 503 without a pod of it, 500 when its node does not answer.
pub async fn to_service(
    server: &Server,
    namespace: &str,
    name: &str,
    port: u16,
) -> Result<Stream, ApiError> {
    let reference = Reference {
        name: name.to_owned(),
        port: port.to_string(),
        https: false,
    };
    let location = service::locate(server, namespace, name, &reference)?;
    connect::connect(server, &location).await
}

fn invalid(what: &str, name: &str) -> ApiError {
    ApiError::bad_request(format!("invalid {what} request {name:?}"))
}

/// The path up to `proxy`, and what is the pod's.
fn split(path: &str) -> (&str, &str) {
    let (mut parts, mut before) = (0, '/');
    for (at, character) in path.char_indices() {
        if character == '/' && before != '/' {
            parts += 1;
            if parts == OWN_PARTS {
                return path.split_at(at);
            }
        }
        before = character;
    }
    (path, "")
}

/// To the same path with a slash: links of the page that comes are relative to it.
fn redirect(own: &str, uri: &Uri) -> Result<Response<Body>, ApiError> {
    let query = uri
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let mut response = answer::text(StatusCode::MOVED_PERMANENTLY, "");
    let location = HeaderValue::from_str(&format!("{own}/{query}"));
    let location = location.map_err(ApiError::internal)?;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// One request and its answer.
async fn exchange(
    stream: Stream,
    request: Request<Incoming>,
    own: &str,
    rest: &str,
) -> Result<Response<Incoming>, ApiError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(unreachable)?;
    tokio::spawn(async move {
        if let Err(cause) = connection.with_upgrades().await {
            tracing::debug!(%cause, "a proxied connection ended");
        }
    });
    let outgoing = headers::outgoing(request, own, rest)?;
    let host = outgoing.headers().get(header::HOST).cloned();
    let mut response = sender.send_request(outgoing).await.map_err(unreachable)?;
    headers::incoming(&mut response, own, host.as_ref());
    Ok(response)
}

/// 503 in Kubernetes' words.
fn unreachable(cause: impl std::fmt::Display) -> ApiError {
    ApiError::unavailable(format!("error trying to reach service: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_proxys_and_the_pods() {
        let own = "/api/v1/namespaces/n/pods/p:80/proxy";
        for rest in ["", "/", "/a/b", "//a", "/a%2Fb/%ff/"] {
            assert_eq!(split(&format!("{own}{rest}")), (own, rest));
        }
        let doubled = "/api/v1//namespaces/n/pods/p/proxy";
        assert_eq!(split(&format!("{doubled}/x")), (doubled, "/x"));
    }
}

//! From access to a connection.
//!
//! `kube`'s own stack is replaced by a shorter one: no delay (a small request
//! would wait 40 ms for an acknowledgement), keep-alive and a limit on
//! unacknowledged data (a server that vanished is noticed in half a minute,
//! not in five), errors that name the server, and no retry inside, since
//! whoever asked knows better what to do next.

use std::time::Duration;

use http::HeaderValue;
use hyper_util::client::legacy::{Client as HttpClient, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use kube::Client;
use kube::client::{Body, ConfigExt};
use kube::config::Config;
use tower::{BoxError, ServiceBuilder, ServiceExt};

use crate::{Access, AccessError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(10);
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// The API server did not answer at all.
#[derive(Debug, thiserror::Error)]
#[error("reach API server {server}: {source}")]
pub struct Unreachable {
    server: String,
    source: BoxError,
}

/// Makes a client that calls itself `sealane-ROLE/VERSION`. Sends nothing yet.
///
/// Must be called inside a tokio runtime, on which the connections then live.
///
/// # Errors
/// When no server is known, or its kubeconfig, certificates or keys cannot be used.
pub async fn client(access: &Access, role: &str) -> Result<Client, AccessError> {
    let (config, origin) = access.resolve().await?;
    let server = config.cluster_url.to_string();
    build(config, role).map_err(|source| AccessError::Connect {
        server: server.trim_end_matches('/').to_owned(),
        origin: origin.to_string(),
        source: Box::new(source),
    })
}

fn build(mut config: Config, role: &str) -> Result<Client, kube::Error> {
    config
        .headers
        .push((http::header::USER_AGENT, user_agent(role)));
    let server = config.cluster_url.to_string();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE));
    tcp.set_keepalive_retries(Some(2));
    tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    let https = config.rustls_https_connector_with_connector(tcp)?;
    let http = HttpClient::builder(TokioExecutor::new()).build::<_, Body>(https);
    let name_server = move |source: BoxError| Unreachable {
        server: server.trim_end_matches('/').to_owned(),
        source,
    };
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .service(http.map_err(move |error| BoxError::from(name_server(root_cause(error)))));
    Ok(Client::new(service, config.default_namespace))
}

fn user_agent(role: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("sealane-{role}/{}", env!("CARGO_PKG_VERSION")))
        .unwrap_or(HeaderValue::from_static("sealane"))
}

/// The innermost cause: `connection refused` instead of `client error (Connect)`.
fn root_cause(error: hyper_util::client::legacy::Error) -> BoxError {
    let mut cause: &(dyn std::error::Error + 'static) = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string().into()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Node;
    use kube::Api;

    use super::*;
    use crate::{explain, is_unreachable};

    #[test]
    fn calls_itself_by_role_and_version() {
        let expected = format!("sealane-agent/{}", env!("CARGO_PKG_VERSION"));
        assert_eq!(user_agent("agent").to_str().unwrap(), expected);
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named_with_the_cause() {
        // A port that was free a moment ago, on loopback.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .unwrap()
            .port();
        let url = format!("https://127.0.0.1:{port}");
        let client = build(Config::new(url.parse().unwrap()), "test").unwrap();
        let error = Api::<Node>::all(client).get("x").await.unwrap_err();
        assert!(is_unreachable(&error));
        assert_eq!(
            explain(&error).to_string(),
            format!("reach API server {url}: Connection refused (os error 111)")
        );
    }
}

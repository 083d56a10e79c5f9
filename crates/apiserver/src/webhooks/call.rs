//! One question to one webhook, over HTTPS.

use std::{path::Path, sync::Arc};

use http::{Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{address::Address, address::Way, hook::Hook};
use crate::{server::Server, streams, tls};

/// The longest answer that is read.
const ANSWER_MAX_BYTES: usize = 3 << 20;
/// Where this machine keeps the authorities that it trusts.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Sends `question` and returns the answer.
///
/// # Errors
///
/// What keeps it from being answered, with the webhook's address.
pub async fn call(server: &Server, hook: &Hook, question: &Value) -> Result<Bytes, String> {
    let seconds = hook.timeout.as_secs();
    let work = exchange(server, hook, question);
    let answer = timeout(hook.timeout, work)
        .await
        .unwrap_or_else(|_| Err("context deadline exceeded".into()));
    answer.map_err(|cause| format!("Post {:?}: {cause}", hook.address.url(seconds)))
}

async fn exchange(server: &Server, hook: &Hook, question: &Value) -> Result<Bytes, String> {
    let address = &hook.address;
    match &address.way {
        Way::Url => {
            let target = (address.host.as_str(), address.port);
            let stream = TcpStream::connect(target).await;
            let stream = stream.map_err(|cause| format!("dial tcp: {cause}"))?;
            // Only slower if it cannot be.
            let _nodelay = stream.set_nodelay(true);
            post(hook, stream, question).await
        }
        Way::Service { namespace, name } => {
            let stream = streams::to_service(server, namespace, name, address.port).await;
            let stream = stream.map_err(|error| error.message)?;
            post(hook, stream, question).await
        }
    }
}

async fn post<S>(hook: &Hook, stream: S, question: &Value) -> Result<Bytes, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let address = &hook.address;
    let words = |cause: hyper::Error| cause.to_string();
    let name = ServerName::try_from(address.host.clone());
    let name = name.map_err(|cause| format!("{}: {cause}", address.host))?;
    let connector = TlsConnector::from(trusting(address)?);
    let stream = connector.connect(name, stream).await;
    let stream = stream.map_err(|cause| format!("tls: {cause}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(words)?;
    let ending = tokio::spawn(connection);
    let url = address.url(hook.timeout.as_secs());
    let path = url.splitn(4, '/').nth(3).unwrap_or("");
    let request = Request::post(format!("/{path}"))
        .header(header::HOST, format!("{}:{}", address.host, address.port))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .body(Full::new(Bytes::from(question.to_string())));
    let request = request.map_err(|cause| cause.to_string())?;
    let answered = async {
        let response = sender.send_request(request).await.map_err(words)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_MAX_BYTES);
        let body = body.collect().await.map_err(|cause| cause.to_string())?;
        match status.is_success() {
            true => Ok(body.to_bytes()),
            false => Err(format!(
                "an error on the server ({status}) has prevented the request from succeeding"
            )),
        }
    };
    let answer = answered.await;
    ending.abort();
    answer
}

/// TLS that trusts the authority of a webhook.
fn trusting(address: &Address) -> Result<Arc<ClientConfig>, String> {
    let roots = match address.authority.is_empty() {
        true => tls::roots(Path::new(AUTHORITIES)).map_err(|cause| format!("{cause:#}"))?,
        false => authorities(&address.authority)?,
    };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|cause| cause.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The certificates of a `caBundle`; none if it is none.
///
/// # Errors
///
/// When there is no certificate in it.
pub fn authorities(bundle: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle) {
        let certificate = certificate.map_err(|cause| cause.to_string())?;
        roots.add(certificate).map_err(|cause| cause.to_string())?;
    }
    match roots.is_empty() {
        true => Err("there is no PEM certificate in the caBundle".into()),
        false => Ok(roots),
    }
}

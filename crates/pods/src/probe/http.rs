//! Edge: a GET request whose status code is the answer.
//!
//! Each has a connection of its own, which is closed afterwards, so that it also tells whether
//! new ones are accepted. A certificate is not verified: it names a Service and not an address.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::ask::{Answer, Bad, address, connect};

/// As many redirects are followed, within the same host.
const REDIRECTS: usize = 10;

/// A request.
#[derive(Clone, Debug)]
pub struct Get {
    /// HTTPS.
    pub tls: bool,
    /// Where.
    pub host: String,
    /// On which port.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// Headers, `Host` among them if it is to be another.
    pub headers: Vec<(String, String)>,
    /// `User-Agent`, unless the headers say.
    pub agent: String,
}

impl Get {
    fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        let slash = if self.path.starts_with('/') { "" } else { "/" };
        let address = address(&self.host, self.port);
        format!("{scheme}://{address}{slash}{}", self.path)
    }
}

/// Sends the request.
///
/// # Errors
/// A status code outside of 200 to 399, or no answer.
pub async fn get(get: &Get, timeout: Duration) -> Result<Answer, Bad> {
    match tokio::time::timeout(timeout, follow(get, timeout)).await {
        Ok(answer) => answer,
        Err(_) => Err(Bad(format!(
            "Get {:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
            get.url()
        ))),
    }
}

async fn follow(first: &Get, timeout: Duration) -> Result<Answer, Bad> {
    let mut get = first.clone();
    for _ in 0..=REDIRECTS {
        let answer = once(&get, timeout).await;
        let answer = answer.map_err(|Bad(why)| Bad(format!("Get {:?}: {why}", get.url())))?;
        let status = answer.status();
        if let Some(next) = redirect(&get, &answer) {
            get = next;
            continue;
        }
        let code = status.as_u16();
        match code {
            200..300 => return Ok(Answer::Good),
            300..400 => return Ok(Answer::Odd("Probe terminated redirects".to_owned())),
            _ => {}
        }
        return Err(Bad(format!("HTTP probe failed with statuscode: {code}")));
    }
    let url = get.url();
    Err(Bad(format!(
        "Get {url:?}: stopped after {REDIRECTS} redirects"
    )))
}

/// The next request, when the answer leads to another path of the same host.
fn redirect(get: &Get, answer: &Response<Incoming>) -> Option<Get> {
    let moved = [
        StatusCode::MOVED_PERMANENTLY,
        StatusCode::FOUND,
        StatusCode::SEE_OTHER,
        StatusCode::TEMPORARY_REDIRECT,
        StatusCode::PERMANENT_REDIRECT,
    ];
    if !moved.contains(&answer.status()) {
        return None;
    }
    let location = answer.headers().get(header::LOCATION)?.to_str().ok()?;
    let to: Uri = location.parse().ok()?;
    let mut next = get.clone();
    if let Some(host) = to.host() {
        if host.trim_matches(['[', ']']) != get.host {
            return None;
        }
        next.tls = to.scheme_str() == Some("https");
        next.port = to.port_u16().unwrap_or(if next.tls { 443 } else { 80 });
    }
    next.path = to.path_and_query()?.as_str().to_owned();
    Some(next)
}

async fn once(get: &Get, timeout: Duration) -> Result<Response<Incoming>, Bad> {
    let request = request(get)?;
    let stream = connect(&get.host, get.port, timeout).await?;
    if !get.tls {
        return send(stream, request).await;
    }
    let name = ServerName::try_from(get.host.clone()).map_err(|error| Bad(error.to_string()))?;
    let stream = TlsConnector::from(Arc::clone(&TLS)).connect(name, stream);
    send(
        stream.await.map_err(|error| Bad(error.to_string()))?,
        request,
    )
    .await
}

fn request(get: &Get) -> Result<Request<Empty<Bytes>>, Bad> {
    let wrong = |error: hyper::http::Error| Bad(error.to_string());
    let path = if get.path.starts_with('/') {
        &get.path
    } else {
        &format!("/{}", get.path)
    };
    let request = Request::get(path).body(Empty::new());
    let mut request = request.map_err(wrong)?;
    let headers = request.headers_mut();
    for (name, value) in &get.headers {
        let name: HeaderName = name
            .parse()
            .map_err(|e| wrong(hyper::http::Error::from(e)))?;
        let value: HeaderValue = value
            .parse()
            .map_err(|e| wrong(hyper::http::Error::from(e)))?;
        if name == header::HOST {
            headers.insert(name, value);
        } else {
            headers.append(name, value);
        }
    }
    let defaults = [
        (header::HOST, address(&get.host, get.port)),
        (header::USER_AGENT, get.agent.clone()),
        (header::ACCEPT, "*/*".to_owned()),
        (header::CONNECTION, "close".to_owned()),
    ];
    for (name, value) in defaults {
        if !headers.contains_key(&name)
            && let Ok(value) = HeaderValue::from_str(&value)
        {
            headers.insert(name, value);
        }
    }
    Ok(request)
}

async fn send<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, Bad>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| {
        let why = if error.is_incomplete_message() {
            "EOF".to_owned()
        } else {
            error.to_string()
        };
        Bad(why)
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let answer = sender.send_request(request);
    tokio::pin!(answer, connection);
    // In one task: when the answer is there, or nobody waits any more, the connection is closed.
    tokio::select! {
        biased;
        answer = &mut answer => answer.map_err(broken),
        ended = &mut connection => match ended {
            Err(error) => Err(broken(error)),
            Ok(()) => answer.await.map_err(broken),
        },
    }
}

/// TLS that takes any certificate.
static TLS: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything))
        .with_no_client_auth();
    Arc::new(config)
});

#[derive(Debug)]
struct Anything;

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests;

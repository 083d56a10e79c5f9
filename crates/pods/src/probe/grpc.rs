//! Edge: one call of `grpc.health.v1.Health/Check`.
//!
//! The request has one text and the answer one number, so both are written and read here
//! instead of by a gRPC library. Source: gRPC over HTTP/2, "Requests" and "Responses"; gRPC Health
//! Checking Protocol.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::ask::{Bad, address, connect};

/// `grpc.health.v1.HealthCheckResponse.ServingStatus`.
const STATUSES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
const SERVING: usize = 1;
/// gRPC's status codes for methods and services that are not there.
const UNIMPLEMENTED: &str = "12";

/// Asks about a service; the empty one is the whole server.
///
/// # Errors
/// Any answer but SERVING.
pub async fn check(host: &str, port: u16, service: &str, timeout: Duration) -> Result<(), Bad> {
    let address = address(host, port);
    let late = || {
        Bad(format!(
            "timeout: failed to connect service {address:?} within {}s: context deadline exceeded",
            timeout.as_secs()
        ))
    };
    match tokio::time::timeout(timeout, ask(host, port, service)).await {
        Ok(Ok(SERVING)) => Ok(()),
        Ok(Ok(status)) => {
            let word = STATUSES.get(status).copied().unwrap_or("UNKNOWN");
            Err(Bad(format!("service unhealthy (responded with {word:?})")))
        }
        Ok(Err(why)) => Err(why),
        Err(_) => Err(late()),
    }
}

async fn ask(host: &str, port: u16, service: &str) -> Result<usize, Bad> {
    let broken = |error: hyper::Error| Bad(format!("error: health rpc probe failed: {error}"));
    let stream = connect(host, port, Duration::from_secs(3600)).await?;
    let io = TokioIo::new(stream);
    let handshake = http2::handshake(TokioExecutor::new(), io).await;
    let (mut sender, connection) = handshake.map_err(broken)?;
    let answer = async {
        let request = request(host, port, service)?;
        let answer = sender.send_request(request).await.map_err(broken)?;
        status(answer).await
    };
    tokio::pin!(answer, connection);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        ended = &mut connection => match ended {
            Err(error) => Err(broken(error)),
            Ok(()) => answer.await,
        },
    }
}

fn request(host: &str, port: u16, service: &str) -> Result<Request<Full<Bytes>>, Bad> {
    let url = format!("http://{}/grpc.health.v1.Health/Check", address(host, port));
    Request::post(url)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe")
        .body(Full::new(frame(service)))
        .map_err(|error| Bad(error.to_string()))
}

/// A message with field 1, a text, after its prefix: not compressed, and its length.
fn frame(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        let mut length = service.len();
        while length > 0x7f {
            message.put_u8(length as u8 | 0x80);
            length >>= 7;
        }
        message.put_u8(length as u8);
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.put(message);
    frame.freeze()
}

async fn status(answer: Response<Incoming>) -> Result<usize, Bad> {
    let broken = |error: hyper::Error| Bad(format!("error: health rpc probe failed: {error}"));
    let (head, body) = answer.into_parts();
    let body = body.collect().await.map_err(broken)?;
    let word = |name: &str| {
        let trailers = body.trailers();
        let found = trailers.and_then(|trailers| trailers.get(name));
        let found = found.or_else(|| head.headers.get(name));
        found
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    match word("grpc-status").as_deref() {
        Some("0") => Ok(read(&body.to_bytes())),
        Some(UNIMPLEMENTED) => Err(Bad(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {}",
            word("grpc-message").unwrap_or_default()
        ))),
        Some(code) => Err(Bad(format!(
            "error: health rpc probe failed: rpc error: code = {code} desc = {}",
            word("grpc-message").unwrap_or_default()
        ))),
        None => Err(Bad(format!(
            "error: health rpc probe failed: unexpected HTTP status {}",
            head.status
        ))),
    }
}

/// Field 1, a number, of the message after its prefix; absent is 0.
fn read(frame: &[u8]) -> usize {
    match frame.get(5..) {
        Some([0x08, status, ..]) => usize::from(*status),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use hyper::HeaderMap;
    use hyper::server::conn::http2 as server;
    use hyper::service::service_fn;
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers one call with this message and gRPC status.
    async fn serve(message: &'static [u8], code: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = service_fn(move |request: Request<Incoming>| async move {
                assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                let asked = request.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(asked, frame("db"));
                let trailers: HeaderMap = [("grpc-status".parse().unwrap(), code.parse().unwrap())]
                    .into_iter()
                    .collect();
                let body = Full::new(Bytes::from_static(message))
                    .with_trailers(async { Some(Ok::<_, Infallible>(trailers)) });
                Ok::<_, Infallible>(Response::new(body))
            });
            let _closed_by_the_client = server::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
        port
    }

    #[tokio::test]
    async fn only_serving_is_good() {
        let timeout = Duration::from_secs(5);
        let cases: [(&[u8], &str, &str); 6] = [
            (&[0, 0, 0, 0, 2, 8, 1], "0", ""),
            (
                &[0, 0, 0, 0, 2, 8, 2],
                "0",
                "service unhealthy (responded with \"NOT_SERVING\")",
            ),
            (
                &[0, 0, 0, 0, 0],
                "0",
                "service unhealthy (responded with \"UNKNOWN\")",
            ),
            (
                &[0, 0, 0, 0, 2, 8, 3],
                "0",
                "service unhealthy (responded with \"SERVICE_UNKNOWN\")",
            ),
            (
                &[],
                "5",
                "error: health rpc probe failed: rpc error: code = 5 desc = ",
            ),
            (
                &[],
                "12",
                "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ",
            ),
        ];
        for (message, code, expected) in cases {
            let port = serve(message, code).await;
            let seen = check("127.0.0.1", port, "db", timeout).await;
            let why = seen.map_or_else(|Bad(why)| why, |()| String::new());
            assert_eq!(why, expected);
        }
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_too_late() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let timeout = Duration::from_millis(50);
        let Bad(why) = check("127.0.0.1", port, "", timeout).await.unwrap_err();
        assert!(
            why.starts_with("timeout: failed to connect service"),
            "{why}"
        );
    }

    #[test]
    fn messages_are_framed() {
        assert_eq!(frame("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(frame("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
    }
}

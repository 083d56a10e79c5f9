//! Answers over HTTP: texts, errors included, since the API server makes a `Status`
//! of a node's plain words. Over a WebSocket an error is a `Status` already.

use std::convert::Infallible;

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::CONTENT_TYPE;
use hyper::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// The body of an answer.
pub type Body = BoxBody<Bytes, Infallible>;

/// A refusal: an HTTP status, a reason of the API, a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub code: StatusCode,
    /// The API's word for it.
    pub reason: &'static str,
    /// What is wrong.
    pub message: String,
}

impl Refusal {
    /// The request makes no sense (now).
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self {
            code: StatusCode::BAD_REQUEST,
            reason: "BadRequest",
            message: message.into(),
        }
    }

    /// There is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self {
            code: StatusCode::NOT_FOUND,
            reason: "NotFound",
            message: message.into(),
        }
    }

    /// There is no such pod here.
    pub fn not_on_this_node(namespace: &str, pod: &str) -> Self {
        Self::not_found(format!(
            "pod \"{pod}\" in namespace \"{namespace}\" is not on this node"
        ))
    }

    /// Nobody answers in the pod.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self {
            code: StatusCode::SERVICE_UNAVAILABLE,
            reason: "ServiceUnavailable",
            message: message.into(),
        }
    }

    /// It went wrong here.
    pub fn internal(message: impl Into<String>) -> Self {
        Self {
            code: StatusCode::INTERNAL_SERVER_ERROR,
            reason: "InternalError",
            message: message.into(),
        }
    }

    /// This client may not.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self {
            code: StatusCode::FORBIDDEN,
            reason: "Forbidden",
            message: message.into(),
        }
    }

    /// The API's object for it, for clients that have been upgraded already.
    pub fn status(&self) -> Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code.as_u16(),
        })
    }

    /// The answer before an upgrade.
    pub fn response(&self) -> Response<Body> {
        let mut response = text(self.message.clone());
        *response.status_mut() = self.code;
        response
    }
}

/// An answer of plain text.
pub fn text(text: impl Into<Bytes>) -> Response<Body> {
    with_type(Full::new(text.into()).boxed(), "text/plain; charset=utf-8")
}

/// An answer of JSON.
pub fn json_text(value: &Value) -> Response<Body> {
    with_type(
        Full::new(Bytes::from(value.to_string())).boxed(),
        "application/json",
    )
}

/// An answer that goes on for as long as something is sent.
pub fn stream(pieces: mpsc::Receiver<Bytes>) -> Response<Body> {
    let pieces = futures::stream::unfold(pieces, async |mut pieces| {
        let piece = pieces.recv().await?;
        Some((piece, pieces))
    });
    let body = StreamBody::new(pieces.map(|piece| Ok::<_, Infallible>(Frame::data(piece))));
    with_type(BodyExt::boxed(body), "text/plain; charset=utf-8")
}

fn with_type(body: Body, content_type: &'static str) -> Response<Body> {
    let mut response = Response::new(body);
    let value = hyper::header::HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, value);
    response
}

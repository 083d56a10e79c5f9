//! Bodies of requests: bounded, and read by their content type.

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap,
    header::{CONTENT_TYPE, USER_AGENT},
};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::{
    object::{Input, parse_json, parse_protobuf, parse_yaml},
    status::ApiError,
};

/// A body and what its sender says it is.
#[derive(Debug)]
pub struct Payload {
    /// The media type without parameters; empty if there is none.
    pub media: String,
    /// The program that sends it, as it calls itself; empty if it does not.
    pub agent: String,
    /// The body.
    pub bytes: Bytes,
}

/// Kubernetes' own binary form, which each of its kinds has.
pub const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// The media types of objects that are read.
const MEDIA: &[&str] = &["application/json", "application/yaml", PROTOBUF];

/// The largest body that is taken: 3 MiB, as kube-apiserver.
const LIMIT_BYTES: usize = 3 << 20;
/// How much of a larger one is read and thrown away: many clients read the answer only once they
/// have sent everything.
const DISCARDED_BYTES: usize = 32 << 20;

/// Reads the whole body.
///
/// # Errors
///
/// 413 beyond the limit, 400 if the client stops in the middle.
pub async fn read(headers: &HeaderMap, mut body: Incoming) -> Result<Payload, ApiError> {
    let media = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    let media = media
        .split(';')
        .next()
        .unwrap_or("")
        .trim()
        .to_ascii_lowercase();
    let agent = headers
        .get(USER_AGENT)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let mut bytes = BytesMut::new();
    let mut size = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|cause| ApiError::bad_request(format!("read the request body: {cause}")))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        size += data.len();
        if size <= LIMIT_BYTES {
            bytes.extend_from_slice(&data);
        } else if size > DISCARDED_BYTES {
            break;
        }
    }
    if size > LIMIT_BYTES {
        return Err(ApiError::too_large(LIMIT_BYTES));
    }
    Ok(Payload {
        media,
        agent: agent.unwrap_or_default(),
        bytes: bytes.freeze(),
    })
}

/// Reads an object out of a body.
///
/// # Errors
///
/// 415 for a type that we do not read, 400 for a body that is not what its type says.
pub fn read_value(payload: &Payload) -> Result<Input, ApiError> {
    let parsed = match payload.media.as_str() {
        "" | "application/json" | "*/*" => parse_json(&payload.bytes),
        "application/yaml" | "application/x-yaml" | "text/yaml" => parse_yaml(&payload.bytes),
        PROTOBUF => parse_protobuf(&payload.bytes),
        _ => return Err(ApiError::unsupported_media_type(MEDIA)),
    };
    parsed.map_err(|cause| {
        ApiError::bad_request(format!("the object provided is unrecognized: {cause}"))
    })
}

//! A connection to a pod's port, through the pod's node.

use tokio::io::{AsyncRead, AsyncWrite};

use super::{pod::Location, tls, unreachable};
use crate::{node_client, server::Server, status::ApiError};

/// Bytes to and from a pod, with TLS or without.
pub type Stream = Box<dyn Duplex>;

/// Bytes in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Connects to a pod.
///
/// # Errors
///
/// 500 when the node does not answer, 503 when the pod does not.
pub async fn connect(server: &Server, location: &Location) -> Result<Stream, ApiError> {
    let node = node_client::address(server, &location.node)?;
    let (namespace, name) = &location.pod;
    let path = format!(
        "/portForward/{namespace}/{name}?port={}&address={}",
        location.port, location.address
    );
    let bytes = server.nodes.bytes(&node, &path).await.map_err(|error| {
        if error.code == http::StatusCode::SERVICE_UNAVAILABLE {
            return unreachable(error.message);
        }
        error
    })?;
    if !location.https {
        return Ok(Box::new(bytes));
    }
    let stream = tls::connect(location.address, bytes).await;
    Ok(Box::new(stream.map_err(unreachable)?))
}

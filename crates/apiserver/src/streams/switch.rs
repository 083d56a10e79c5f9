//! Connections that have switched protocols: bytes are copied without being looked at.

use http::Response;
use hyper::{
    body::{Bytes, Incoming},
    upgrade::{self, OnUpgrade},
};
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional_with_sizes;
use tokio_util::sync::CancellationToken;

use crate::answer::{self, Body};

/// What may be on its way in each direction.
const BUFFER_BYTES: usize = 32 << 10;

/// Lets the client switch as the other side did, and copies bytes from then on.
pub fn switch(
    shutdown: &CancellationToken,
    client: OnUpgrade,
    mut response: Response<Incoming>,
) -> Response<Body> {
    let other = upgrade::on(&mut response);
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        let copy = async {
            let (client, other) = (client.await?, other.await?);
            let (mut client, mut other) = (TokioIo::new(client), TokioIo::new(other));
            let copied =
                copy_bidirectional_with_sizes(&mut client, &mut other, BUFFER_BYTES, BUFFER_BYTES);
            if let Err(cause) = copied.await {
                tracing::debug!(%cause, "a connection that was passed on ended");
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

//! Connections.

mod connection;

use std::{
    io,
    net::{self, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time,
};

use super::{ServeError, ask::Answering, desk::Desk, share::Shares};
use connection::Connection;

/// After a failed accept (out of descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What connections may take.
#[derive(Clone)]
pub struct Limits {
    /// How many there may be.
    pub connections: Arc<Shares>,
    /// How long one may be without a query.
    pub idle: Duration,
}

/// Serves whoever connects, until the task is aborted; connections go on until `draining`.
pub fn accept<A: Answering>(
    listener: net::TcpListener,
    desk: Arc<Desk<A>>,
    limits: Limits,
    draining: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, ServeError> {
    let socket = format!("{listener:?}");
    let failed = |source| ServeError::Socket { socket, source };
    let listener = listener
        .set_nonblocking(true)
        .and_then(|()| TcpListener::from_std(listener))
        .map_err(failed)?;
    Ok(tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok(accepted) => serve(accepted, &desk, &limits, &draining),
                Err(error) if belongs_to_one(&error) => {}
                Err(error) => {
                    tracing::warn!("accept a connection: {error}");
                    time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }))
}

fn serve<A: Answering>(
    (stream, client): (TcpStream, SocketAddr),
    desk: &Arc<Desk<A>>,
    limits: &Limits,
    draining: &watch::Receiver<bool>,
) {
    // Who has too many is closed upon, and knows it.
    let Some(permit) = limits.connections.take(client.ip()) else {
        return;
    };
    // Replies are written whole, so waiting for more would only delay them.
    let _as_good_without = stream.set_nodelay(true);
    let connection = Connection::new(stream, client, Arc::clone(desk), limits.idle);
    let draining = draining.clone();
    tokio::spawn(async move {
        connection.run(draining).await;
        drop(permit);
    });
}

/// Whether a failed accept is the fault of who connected.
fn belongs_to_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}

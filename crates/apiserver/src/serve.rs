//! Listeners and connections: HTTP/1.1 and HTTP/2 over TLS.

use std::{convert::Infallible, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use rustls_pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    authn::User,
    gather::Gather,
    server::{Server, handle},
};

/// How long a client may take for the handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long connections may take to end when the server stops.
const DRAIN: Duration = Duration::from_secs(2);
/// What a client that speaks HTTP/2 asks for.
const HTTP_2: &[u8] = b"h2";
/// Requests, watches among them, that one HTTP/2 connection may carry at once.
const STREAMS: u32 = 1000;
/// How often a silent HTTP/2 client is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Pause after an accept that failed for want of descriptors or memory.
const BREATHER: Duration = Duration::from_millis(50);

/// Takes connections until the server stops, then waits for those that are open.
pub async fn accept(listener: TcpListener, acceptor: TlsAcceptor, server: Arc<Server>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, acceptor.clone(), server.clone()));
                }
                Err(cause) => {
                    tracing::warn!(%cause, "accept a connection");
                    tokio::time::sleep(BREATHER).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            () = server.shutdown.cancelled() => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Waits a little for all tasks, then ends them.
pub async fn drain(mut tasks: JoinSet<()>) {
    let all = async { while tasks.join_next().await.is_some() {} };
    if timeout(DRAIN, all).await.is_err() {
        tracing::debug!(left = tasks.len(), "connections are cut");
    }
    tasks.shutdown().await;
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, server: Arc<Server>) {
    // Without a delay: small events matter more than full packets.
    let _ = stream.set_nodelay(true);
    let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(cause)) => return tracing::debug!(%cause, "TLS handshake"),
        Err(_) => return tracing::debug!("TLS handshake: timed out"),
    };
    let session = stream.get_ref().1;
    let user = client(session.peer_certificates());
    // Only where nobody takes the connection over, whose writes would not be followed by a flush.
    if session.alpn_protocol() == Some(HTTP_2) {
        converse(Gather::new(stream), user, server).await;
    } else {
        converse(stream, user, server).await;
    }
}

/// Who is at the other end of a connection; nobody without a certificate.
pub type Client = Option<Arc<User>>;

/// Who these certificates name.
pub fn client(certificates: Option<&[CertificateDer<'_>]>) -> Client {
    let first = certificates.and_then(<[_]>::first);
    first.and_then(User::of).map(Arc::new)
}

/// Answers the requests of one connection.
pub async fn converse<S>(stream: S, user: Client, server: Arc<Server>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let shutdown = server.shutdown.clone();
    let service = service_fn(move |request| {
        let (server, user) = (server.clone(), user.clone());
        async move { Ok::<_, Infallible>(handle(server, user, request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // The timer is for HTTP/1.1's limit on how long a client may take for its headers.
    builder.http1().timer(TokioTimer::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(KEEP_ALIVE);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(cause) = served {
        tracing::debug!(cause, "a connection ended");
    }
}

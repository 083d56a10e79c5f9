//! Port-forward over SPDY: two streams for each connection, `data` and `error`, that belong
//! together by their header `requestID`; the header `port` says where to.
//!
//! The error stream carries the reason of a failure, and its end says that the connection has
//! ended, so it comes last.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::copy::{Sink, both_ways};
use super::dial::PodNet;
use crate::server::idle::Idle;
use crate::server::spdy::{Connection, Output, Stream};

/// How long one stream may wait for the other, as a kubelet has it.
const PAIRING: Duration = Duration::from_secs(30);

/// The streams of one connection.
struct Pair {
    since: Instant,
    data: Option<Stream>,
    error: Option<Stream>,
}

/// Serves connections until the client goes away.
pub async fn serve<S>(io: S, pod: PodNet)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let mut connection = Connection::new(io);
    let over = connection.over();
    let idle = Idle::new();
    let mut pairs: HashMap<String, Pair> = HashMap::new();
    let mut forwards = JoinSet::new();
    loop {
        tokio::select! {
            stream = connection.streams.recv() => match stream {
                Some(stream) => {
                    idle.touch();
                    pairs.retain(|_, pair| pair.since.elapsed() < PAIRING);
                    if let Some((data, error)) = take(&mut pairs, stream).await {
                        forwards.spawn(forward(data, error, pod.clone(), idle.clone()));
                    }
                }
                None => break,
            },
            Some(_ended) = forwards.join_next() => {}
            () = over.cancelled() => break,
            () = idle.expired() => break,
        }
    }
}

/// Puts a stream to the one it belongs to; both when they are complete.
async fn take(pairs: &mut HashMap<String, Pair>, stream: Stream) -> Option<(Stream, Stream)> {
    let kind = stream
        .headers
        .get("streamType")
        .unwrap_or_default()
        .to_owned();
    let request = request(&stream, &kind);
    let pair = pairs.entry(request.clone()).or_insert_with(|| Pair {
        since: Instant::now(),
        data: None,
        error: None,
    });
    match kind.as_str() {
        "data" => pair.data = Some(stream),
        "error" => pair.error = Some(stream),
        other => {
            tracing::debug!("port-forward: stream of type {other:?}, expected data or error");
            let _gone = stream.output.reset().await;
        }
    }
    match pairs.remove(&request)? {
        Pair {
            data: Some(data),
            error: Some(error),
            ..
        } => Some((data, error)),
        half => {
            if half.data.is_some() || half.error.is_some() {
                pairs.insert(request, half);
            }
            None
        }
    }
}

/// The number of the request; clients that give none open the error stream just before the other.
fn request(stream: &Stream, kind: &str) -> String {
    match stream.headers.get("requestID") {
        Some(request) => request.to_owned(),
        None if kind == "data" => format!("stream {}", stream.output.id().saturating_sub(2)),
        None => format!("stream {}", stream.output.id()),
    }
}

impl Sink for Output {
    async fn send(&self, bytes: Bytes) -> bool {
        Self::send(self, bytes).await.is_ok()
    }

    async fn finish(&self) -> bool {
        Self::finish(self).await.is_ok()
    }
}

async fn forward(data: Stream, error: Stream, pod: PodNet, idle: Idle) {
    let reset = data.reset.clone();
    let carried = tokio::select! {
        carried = carry(&error, data, &pod, &idle) => carried,
        // The client does not want the rest.
        () = reset.cancelled() => Ok(()),
    };
    let told = async {
        if let Err(why) = carried {
            tracing::debug!("{why}");
            error.output.send(why.into()).await?;
        }
        error.output.finish().await
    };
    // The client may have gone.
    let _gone = told.await.is_err();
}

async fn carry(error: &Stream, data: Stream, pod: &PodNet, idle: &Idle) -> Result<(), String> {
    let word = error
        .headers
        .get("port")
        .or_else(|| data.headers.get("port"));
    let connected = match super::port(word.unwrap_or_default()) {
        Ok(port) => pod.connect(port).await.map(|tcp| (port, tcp)),
        Err(why) => Err(why),
    };
    let (port, tcp) = match connected {
        Ok(connected) => connected,
        Err(why) => {
            let _gone = data.output.finish().await;
            return Err(why);
        }
    };
    let copied = both_ways(tcp, data.input, &data.output, idle).await;
    if let Err(cause) = copied {
        // No more than an end that comes early: that is what a client of the pod would see.
        tracing::debug!("port {port} of pod {}: {cause}", pod.pod);
        let _gone = data.output.reset().await;
    }
    Ok(())
}

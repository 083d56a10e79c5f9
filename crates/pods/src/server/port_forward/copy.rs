//! Copying between a pod's connection and a client's, each direction to its own end.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use crate::server::idle::Idle;

/// Bytes that are read at once.
const PIECE: usize = 32 << 10;

/// Takes what goes to the client.
pub trait Sink {
    /// Sends; false when the client has gone.
    fn send(&self, bytes: Bytes) -> impl Future<Output = bool> + Send;
    /// Nothing more comes.
    fn finish(&self) -> impl Future<Output = bool> + Send;
}

/// Copies both ways until the pod has said all. A client that has said all closes its half alone.
///
/// The other way round is not waited for: kubectl (up to 1.30 at least) closes its end only after
/// it has been told that the connection has ended.
///
/// # Errors
/// When the pod's connection breaks.
pub async fn both_ways(
    tcp: TcpStream,
    input: mpsc::Receiver<Bytes>,
    output: &impl Sink,
    idle: &Idle,
) -> io::Result<()> {
    let (reader, writer) = tcp.into_split();
    let up = async {
        match to_pod(writer, input, idle).await {
            // A pod that has read enough; it may still have something to say.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    };
    let down = to_client(reader, output, idle);
    tokio::pin!(up, down);
    tokio::select! {
        said = &mut down => said,
        heard = up => {
            heard?;
            down.await
        }
    }
}

async fn to_pod(
    mut writer: OwnedWriteHalf,
    mut input: mpsc::Receiver<Bytes>,
    idle: &Idle,
) -> io::Result<()> {
    while let Some(bytes) = input.recv().await {
        idle.touch();
        writer.write_all(&bytes).await?;
    }
    match writer.shutdown().await {
        // It is closed already.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        other => other,
    }
}

async fn to_client(mut reader: OwnedReadHalf, output: &impl Sink, idle: &Idle) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let count = reader.read(&mut piece).await?;
        if count == 0 {
            // Whether the client still listens shows elsewhere.
            let _gone = output.finish().await;
            return Ok(());
        }
        idle.touch();
        if !output.send(Bytes::copy_from_slice(&piece[..count])).await {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
    }
}

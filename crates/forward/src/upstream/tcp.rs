//! Questions through connections, which are kept for the next one.
//!
//! A connection has one question at a time: they are for what did not fit into a datagram, and who is asked
//! by TCP alone gets as many as there are questions at a time. An upstream may close an idle one whenever it
//! likes (RFC 7766 §6.2.3); a question that met that is asked again through a new one.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::Reception;

/// Connections that are kept at a time.
const MOST_IDLE: usize = 16;

/// Messages that are looked at for one question.
const MOST_MESSAGES: usize = 16;

/// Connections to one upstream that nobody uses at the moment, the latest last.
#[derive(Debug, Default)]
pub struct Idle(Mutex<Vec<(TcpStream, Instant)>>);

impl Idle {
    fn take(&self, expire: Duration) -> Option<TcpStream> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(_, since)| since.elapsed() < expire);
        idle.pop().map(|(stream, _)| stream)
    }

    fn put(&self, stream: TcpStream, expire: Duration) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(_, since)| since.elapsed() < expire);
        if idle.len() < MOST_IDLE && !expire.is_zero() {
            idle.push((stream, Instant::now()));
        }
    }

    /// Closes those that have waited too long.
    pub fn expire(&self, expire: Duration) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(_, since)| since.elapsed() < expire);
    }
}

/// Sends `message`, and gives what comes to `receive` until that is content. `used` is told whether a
/// connection was open already.
pub async fn ask<T>(
    address: SocketAddr,
    idle: &Idle,
    expire: Duration,
    message: &[u8],
    mut receive: impl FnMut(&[u8]) -> Reception<T>,
    used: impl Fn(bool),
) -> io::Result<T> {
    if let Some(stream) = idle.take(expire) {
        used(true);
        if let Ok((what, stream)) = through(stream, message, &mut receive).await {
            idle.put(stream, expire);
            return Ok(what);
        }
    }
    used(false);
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (what, stream) = through(stream, message, &mut receive).await?;
    idle.put(stream, expire);
    Ok(what)
}

async fn through<T>(
    mut stream: TcpStream,
    message: &[u8],
    receive: &mut impl FnMut(&[u8]) -> Reception<T>,
) -> io::Result<(T, TcpStream)> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    // In one segment: some servers read no further than the length (RFC 7766 §8).
    let framed = [&length.to_be_bytes(), message].concat();
    stream.write_all(&framed).await?;
    let mut answer = Vec::new();
    for _ in 0..MOST_MESSAGES {
        let length = stream.read_u16().await?;
        answer.resize(length.into(), 0);
        stream.read_exact(&mut answer).await?;
        if let Reception::Done(what) = receive(&answer) {
            return Ok((what, stream));
        }
    }
    let what = format!("{MOST_MESSAGES} messages came, and none was the reply");
    Err(io::Error::other(what))
}

//! Small writes of an HTTP/2 connection go out together.
//!
//! A change that a thousand watchers are told of is a frame for each of their streams, and each
//! stream wakes the task of its connection, which the scheduler runs at once: unhindered, every
//! frame becomes a record of TLS and a system call of its own, here and at the client. So a flush
//! of little waits for one turn of the scheduler: whoever is ready to run runs first, and what
//! they send goes out with it. Nothing waits when nobody else has anything to do.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are gathered: a record of TLS has no more.
const ROOM: usize = 16 << 10;
/// Whoever has as much to flush does not wait for more.
const ENOUGH: usize = 4 << 10;

/// A connection whose small writes are gathered.
///
/// It does not say that it writes vectors, so that HTTP/2 puts short frames into one piece, too.
pub struct Gather<S> {
    inner: S,
    /// Written to this, not yet to `inner`.
    gathered: Vec<u8>,
    /// How much of it `inner` has taken.
    taken: usize,
    /// Whether a flush has let the others run.
    waited: bool,
}

impl<S: AsyncWrite + Unpin> Gather<S> {
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            gathered: Vec::new(),
            taken: 0,
            waited: false,
        }
    }

    /// Hands on all that was gathered.
    fn poll_hand_on(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.taken < self.gathered.len() {
            let rest = &self.gathered[self.taken..];
            match ready!(Pin::new(&mut self.inner).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.taken += count,
            }
        }
        self.taken = 0;
        self.gathered.clear();
        // A connection that is quiet holds little.
        self.gathered.shrink_to(ENOUGH);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.gathered.len() + bytes.len() > ROOM {
            ready!(self.poll_hand_on(context))?;
        }
        if bytes.len() >= ROOM {
            return Pin::new(&mut self.inner).poll_write(context, bytes);
        }
        self.gathered.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let little = (1..ENOUGH).contains(&self.gathered.len()) && self.taken == 0;
        if little && !self.waited {
            self.waited = true;
            // A task that wakes itself runs after all that are ready.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.poll_hand_on(context))?;
        self.waited = false;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_hand_on(context))?;
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gather<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::io::AsyncWriteExt;

    use super::*;

    /// What reached the connection, write by write.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<Vec<u8>>>>);

    impl AsyncWrite for Written {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            // A connection may take less than is offered.
            let taken = bytes.len().min(20_000);
            self.0.lock().unwrap().push(bytes[..taken].to_vec());
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_flush_lets_others_write_first() {
        let written = Written::default();
        let shared = Arc::new(tokio::sync::Mutex::new(Gather::new(written.clone())));
        shared.lock().await.write_all(b"one ").await.unwrap();
        let other = shared.clone();
        tokio::spawn(async move { other.lock().await.write_all(b"two").await });
        let flush = std::future::poll_fn(|context| {
            let Ok(mut gather) = shared.try_lock() else {
                return Poll::Pending;
            };
            Pin::new(&mut *gather).poll_flush(context)
        });
        flush.await.unwrap();
        assert_eq!(*written.0.lock().unwrap(), [b"one two"]);
    }

    #[tokio::test]
    async fn all_comes_through_in_order() {
        let written = Written::default();
        let mut gather = Gather::new(written.clone());
        let all: Vec<u8> = (0..150_000u32).map(|number| (number % 251) as u8).collect();
        let (mut rest, mut sizes) = (&all[..], [1, 9, 5_000, 30_000, 300, 16_384].iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            gather.write_all(piece).await.unwrap();
            if after.len() % 2 == 0 {
                gather.flush().await.unwrap();
                let there = written.0.lock().unwrap().concat().len();
                assert_eq!(there, all.len() - after.len());
            }
            rest = after;
        }
        gather.write_all(b"end").await.unwrap();
        gather.shutdown().await.unwrap();
        let seen = written.0.lock().unwrap().concat();
        assert_eq!(seen, [&all[..], b"end"].concat());
    }
}

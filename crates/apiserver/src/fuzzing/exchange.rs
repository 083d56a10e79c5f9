//! A whole request against a whole server, without sockets and without TLS.
//!
//! ```text
//!   input ── request line, headers, body ──► HTTP/1.1 ──► serve::converse ──► answer
//! ```
//!
//! An input is a request as people write it: `METHOD PATH`, headers, an empty line, the body. What
//! frames it (`Content-Length`) is added, so that an input that was changed anywhere is still a request:
//! the framing is hyper's, which has fuzz targets of its own.

use std::{
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::{Builder, Runtime},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{Options, assemble, bootstrap, serve, server::Server, tls};

/// For so long an answer that has begun may go on: a watch does for ever.
const PATIENCE: Duration = Duration::from_millis(50);
/// Within so many times of it an answer has to begin.
const TIMES: usize = 400;

/// A server that is spoken to without a socket.
pub struct Exchange {
    runtime: Runtime,
    server: Arc<Server>,
    user: serve::Client,
}

impl Exchange {
    /// Opens the store. Requests come from whoever the certificate towards nodes names.
    ///
    /// # Panics
    ///
    /// When it cannot start.
    #[must_use]
    pub fn start(options: &Options) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("make a runtime");
        let certificates = tls::certificates(&options.kubelet_client_cert);
        let certificates = certificates.expect("read the certificate");
        let user = serve::client(Some(&certificates));
        assert!(user.is_some(), "the certificate names someone");
        let server = runtime.block_on(async {
            let (server, _) = assemble(options, CancellationToken::new()).expect("assemble");
            bootstrap::make(&server, options)
                .await
                .expect("first objects");
            server
        });
        Self {
            runtime,
            server,
            user,
        }
    }

    /// Sends a request, and gives back the answer as it would be on the wire.
    ///
    /// # Panics
    ///
    /// When there is no answer, or the server says that it is its own fault.
    pub fn send(&self, input: &[u8]) -> Vec<u8> {
        let output = Arc::new(Mutex::new(Vec::new()));
        let wire = Wire {
            input: framed(input),
            read: 0,
            output: output.clone(),
        };
        let conversation = serve::converse(wire, self.user.clone(), self.server.clone());
        let taken = || std::mem::take(&mut *output.lock().expect("nobody panics with it"));
        let output = self.runtime.block_on(async {
            let mut conversation = pin!(conversation);
            for _ in 0..TIMES {
                let done = timeout(PATIENCE, conversation.as_mut()).await.is_ok();
                let output = taken();
                if done || !output.is_empty() {
                    return output;
                }
            }
            Vec::new()
        });
        assert!(!output.is_empty(), "no answer");
        let ours = output.starts_with(b"HTTP/1.1 500");
        assert!(!ours, "{}", String::from_utf8_lossy(&output));
        output
    }
}

/// The request as it goes over the wire.
fn framed(input: &[u8]) -> Vec<u8> {
    let (head, body) = match input.windows(2).position(|pair| pair == b"\n\n") {
        Some(end) => (&input[..end], &input[end + 2..]),
        None => (input, &[][..]),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let mut framed = lines.next().unwrap_or_default().to_vec();
    framed.extend_from_slice(b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
    for line in lines.filter(|line| !frames(line)) {
        framed.extend_from_slice(line);
        framed.extend_from_slice(b"\r\n");
    }
    framed.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    framed.extend_from_slice(body);
    framed
}

/// Whether a header says where the body ends, or what comes after the request.
fn frames(line: &[u8]) -> bool {
    let line = line.to_ascii_lowercase();
    [
        "content-length",
        "transfer-encoding",
        "connection",
        "expect",
    ]
    .iter()
    .any(|name| line.starts_with(name.as_bytes()))
}

/// A connection whose other end has said everything already.
struct Wire {
    input: Vec<u8>,
    read: usize,
    output: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = &self.input[self.read..];
        if left.is_empty() {
            // A client that waits for its answer keeps the connection open.
            return Poll::Pending;
        }
        let count = left.len().min(to.remaining());
        to.put_slice(&left[..count]);
        self.read += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut output = self.output.lock().expect("nobody panics with it");
        output.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

//! An etcd of our own, and puts to it by gRPC.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::OBJECT_BYTES;

const PATIENCE: Duration = Duration::from_secs(20);

pub struct Etcd {
    process: Child,
    address: SocketAddr,
    sender: http2::SendRequest<Full<Bytes>>,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Etcd {
    /// Starts it, if it is installed.
    pub async fn start(folder: &Path) -> Option<Self> {
        let (address, peers) = (free(), free());
        let process = Command::new("etcd")
            .arg("--data-dir")
            .arg(folder)
            .args(["--name", "bench", "--log-level", "error", "--logger", "zap"])
            .arg(format!("--listen-client-urls=http://{address}"))
            .arg(format!("--advertise-client-urls=http://{address}"))
            .arg(format!("--listen-peer-urls=http://{peers}"))
            .arg(format!("--initial-advertise-peer-urls=http://{peers}"))
            .arg(format!("--initial-cluster=bench=http://{peers}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut etcd = Self {
            process,
            address,
            sender: connect(address).await,
        };
        let end = Instant::now() + PATIENCE;
        while !call(etcd.sender.clone(), address, "ready").await {
            assert!(Instant::now() < end, "etcd does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
            etcd.sender = connect(address).await;
        }
        Some(etcd)
    }

    /// Puts a value of the size of an object.
    pub fn put(&self, name: String) -> impl Future<Output = ()> + Send + 'static {
        let (sender, address) = (self.sender.clone(), self.address);
        async move { assert!(call(sender, address, &name).await, "etcd refused {name}") }
    }
}

/// A port that nobody has.
fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

async fn connect(address: SocketAddr) -> http2::SendRequest<Full<Bytes>> {
    let end = Instant::now() + PATIENCE;
    let stream = loop {
        match TcpStream::connect(address).await {
            Ok(stream) => break stream,
            Err(cause) => assert!(Instant::now() < end, "etcd does not listen: {cause}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    stream.set_nodelay(true).unwrap();
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    sender
}

/// Calls `KV.Put` (etcdserverpb `PutRequest`: key 1, value 2); whether it was done.
async fn call(
    mut sender: http2::SendRequest<Full<Bytes>>,
    address: SocketAddr,
    name: &str,
) -> bool {
    let mut message = BytesMut::new();
    for (tag, bytes) in [(0x0a, name.as_bytes()), (0x12, &[b'x'; OBJECT_BYTES][..])] {
        message.extend([tag]);
        let mut len = bytes.len();
        while len >= 0x80 {
            message.extend([len as u8 | 0x80]);
            len >>= 7;
        }
        message.extend([len as u8]);
        message.extend_from_slice(bytes);
    }
    let mut body = BytesMut::from(&[0][..]);
    body.extend((message.len() as u32).to_be_bytes());
    body.extend_from_slice(&message);
    let request = Request::post(format!("http://{address}/etcdserverpb.KV/Put"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(body.freeze()))
        .unwrap();
    let Ok(answer) = sender.send_request(request).await else {
        return false;
    };
    let Ok(collected) = answer.into_body().collect().await else {
        return false;
    };
    let status = collected
        .trailers()
        .and_then(|trailers| trailers.get("grpc-status"));
    status.is_some_and(|status| status == "0")
}

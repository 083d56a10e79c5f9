//! One connection whose bytes are carried as they are, for the API server's proxy to pods.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::dial::{PodNet, in_words};
use crate::server::answer::Refusal;
use crate::server::idle::Idle;

/// Bytes that are read at once.
const PIECE: usize = 32 << 10;

/// A connection that has been made.
pub struct Single {
    tcp: TcpStream,
    pod: PodNet,
}

/// Connects to the one port, at the pod's loopback or at an address of its own.
///
/// # Errors
/// 400 for anything else, 503 when nobody listens.
pub async fn dial(pod: &PodNet, ports: &[u16], address: Option<IpAddr>) -> Result<Single, Refusal> {
    let [port] = *ports else {
        return Err(Refusal::bad_request(format!(
            "{} ports: the bytes of one connection need one",
            ports.len()
        )));
    };
    let tcp = match address {
        None => pod.connect(port).await,
        Some(address) if pod.has(address) => {
            let to = SocketAddr::new(address, port);
            let connected = pod.connect_to(to).await;
            connected.map_err(|cause| format!("dial tcp {to}: connect: {}", in_words(&cause)))
        }
        Some(address) => {
            return Err(Refusal::bad_request(format!(
                "{address} is not an address of pod {}",
                pod.pod
            )));
        }
    };
    Ok(Single {
        tcp: tcp.map_err(Refusal::unavailable)?,
        pod: pod.clone(),
    })
}

impl Single {
    /// Carries the bytes until both sides have ended.
    pub async fn carry<S>(self, io: S)
    where
        S: AsyncRead + AsyncWrite,
    {
        let idle = Idle::new();
        let (near_read, near_write) = tokio::io::split(io);
        let (far_read, far_write) = self.tcp.into_split();
        let up = copy(near_read, far_write, &idle);
        let down = copy(far_read, near_write, &idle);
        tokio::select! {
            copied = async { tokio::try_join!(up, down) } => if let Err(cause) = copied {
                tracing::debug!("a connection to pod {}: {cause}", self.pod.pod);
            },
            () = idle.expired() => {}
        }
    }
}

/// Copies one direction to its end, and passes the end on.
async fn copy<R, W>(mut reader: R, mut writer: W, idle: &Idle) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut piece = vec![0; PIECE];
    loop {
        let count = reader.read(&mut piece).await?;
        if count == 0 {
            return writer.shutdown().await;
        }
        idle.touch();
        writer.write_all(&piece[..count]).await?;
        writer.flush().await?;
    }
}

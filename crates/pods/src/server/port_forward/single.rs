//! One connection whose bytes are carried as they are, for the API server's proxy to pods.

use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::TcpStream;

use super::dial::{PodNet, in_words};
use crate::server::answer::Refusal;
use crate::server::idle::Idle;

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
    pub async fn carry<S>(mut self, mut io: S)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let idle = Idle::new();
        tokio::select! {
            copied = copy_bidirectional(&mut io, &mut self.tcp) => if let Err(cause) = copied {
                tracing::debug!("a connection to pod {}: {cause}", self.pod.pod);
            },
            // No byte is counted here: this long is enough for any request.
            () = idle.expired() => {}
        }
    }
}

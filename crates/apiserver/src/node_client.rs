//! Connections to nodes: HTTP/1.1 over TLS, with the certificate that nodes trust.

use std::{net::IpAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::{
    body::Bytes,
    client::conn::http1,
    upgrade::{self, Upgraded},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, crypto::ring};
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use crate::{Options, kinds::NODE, server::Server, status::ApiError, streams, tls};

/// How long a node may take to answer the call.
const CONNECT: Duration = Duration::from_secs(5);
/// The node's own protocol: the bytes of one connection to a pod.
const BYTES: &str = "sealane-bytes";
/// Where a node listens that does not say.
const PORT: u16 = 10250;

/// Reaches nodes.
pub struct NodeClient {
    connector: TlsConnector,
}

/// Sends one request to a node.
pub type Sender = http1::SendRequest<Empty<Bytes>>;

/// Where a node listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAddress {
    /// The node's name.
    pub name: String,
    /// Its address within the cluster.
    pub ip: IpAddr,
    /// The port of its node process.
    pub port: u16,
}

impl NodeClient {
    /// Reads certificate, key and authority.
    pub fn new(options: &Options) -> anyhow::Result<Self> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(tls::roots(&options.kubelet_ca)?)
            .with_client_auth_cert(
                tls::certificates(&options.kubelet_client_cert)?,
                tls::key(&options.kubelet_client_key)?,
            )
            .with_context(|| {
                let cert = options.kubelet_client_cert.display();
                format!("use {cert} as certificate towards nodes")
            })?;
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Opens a connection, which lives as long as what is sent and received on it.
    ///
    /// # Errors
    ///
    /// 500 in Kubernetes' words, naming the node.
    pub async fn connect(&self, node: &NodeAddress) -> Result<Sender, ApiError> {
        let fail = |cause: String| {
            let NodeAddress { name, ip, port } = node;
            ApiError::internal(format!(
                "error dialing backend: node {name} at {ip}:{port}: {cause}"
            ))
        };
        let work = async {
            let stream = TcpStream::connect((node.ip, node.port)).await?;
            stream.set_nodelay(true)?;
            self.connector
                .connect(ServerName::IpAddress(node.ip.into()), stream)
                .await
        };
        let stream = timeout(CONNECT, work)
            .await
            .map_err(|_| fail("it does not answer".into()))?
            .map_err(|cause| fail(cause.to_string()))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|cause| fail(cause.to_string()))?;
        tokio::spawn(async move {
            if let Err(cause) = connection.with_upgrades().await {
                tracing::debug!(%cause, "a connection to a node ended");
            }
        });
        Ok(sender)
    }
}

impl NodeClient {
    /// Opens a connection that is bytes from then on, to where `path` leads.
    ///
    /// # Errors
    ///
    /// 500 naming the node, or what the node says.
    pub async fn bytes(
        &self,
        node: &NodeAddress,
        path: &str,
    ) -> Result<TokioIo<Upgraded>, ApiError> {
        let failed = |cause: hyper::Error| {
            let name = &node.name;
            ApiError::internal(format!("error dialing backend: node {name}: {cause}"))
        };
        let request = Request::get(path)
            .header(header::HOST, node.authority())
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, BYTES)
            .body(Empty::new())
            .map_err(ApiError::internal)?;
        let mut sender = self.connect(node).await?;
        let mut response = sender.send_request(request).await.map_err(failed)?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(streams::node_error(response).await);
        }
        let upgraded = upgrade::on(&mut response).await.map_err(failed)?;
        Ok(TokioIo::new(upgraded))
    }
}

impl NodeAddress {
    /// Address and port as HTTP writes them.
    pub fn authority(&self) -> String {
        std::net::SocketAddr::new(self.ip, self.port).to_string()
    }
}

/// Finds where a node listens, from what it says of itself.
///
/// # Errors
///
/// 404 without the node, 500 if it has no address.
pub fn address(server: &Server, name: &str) -> Result<NodeAddress, ApiError> {
    let entry = server.store.get(&NODE.key("", name));
    let entry = entry.ok_or_else(|| ApiError::not_found(&NODE, name))?;
    let node: Value = serde_json::from_slice(&entry.object.unpack()).map_err(ApiError::internal)?;
    read_address(name, &node).ok_or_else(|| {
        ApiError::internal(format!(
            "no preferred addresses found for node {name}; it has no InternalIP"
        ))
    })
}

fn read_address(name: &str, node: &Value) -> Option<NodeAddress> {
    let status = &node["status"];
    let ip = status["addresses"].as_array()?.iter().find_map(|address| {
        (address["type"] == "InternalIP").then(|| address["address"].as_str()?.parse().ok())?
    })?;
    let port = status["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64();
    let port = port
        .and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port > 0);
    Some(NodeAddress {
        name: name.into(),
        ip,
        port: port.unwrap_or(PORT),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_says_where_it_listens() {
        let node = |addresses: Value, port: Value| json!({"status": {"addresses": addresses, "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}});
        let addresses = json!([
            {"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "172.29.0.2"},
            {"type": "InternalIP", "address": "fd00::2"},
        ]);
        let found = read_address("n", &node(addresses.clone(), json!(1234))).unwrap();
        assert_eq!(
            (found.ip.to_string().as_str(), found.port),
            ("172.29.0.2", 1234)
        );
        assert_eq!(
            read_address("n", &node(addresses, json!(null)))
                .unwrap()
                .port,
            PORT
        );
        assert_eq!(read_address("n", &node(json!([]), json!(1))), None);
    }
}

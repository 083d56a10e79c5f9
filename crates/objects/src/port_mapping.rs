use std::fmt;
use std::net::IpAddr;

use sealane_net::Protocol;
use serde::{Deserialize, Serialize};

/// A port of the node that leads to one of a pod: `.spec.containers[].ports[]` with a `hostPort`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// `.protocol`
    pub protocol: Protocol,
    /// `.hostPort`
    pub host_port: u16,
    /// `.containerPort`
    pub container_port: u16,
    /// `.hostIP`; none: at all addresses of the node.
    #[serde(rename = "hostIP", default, skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<IpAddr>,
}

impl fmt::Display for PortMapping {
    /// `8080`, `192.0.2.1:8080`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host_ip {
            Some(ip) => std::net::SocketAddr::new(ip, self.host_port).fmt(f),
            None => self.host_port.fmt(f),
        }
    }
}

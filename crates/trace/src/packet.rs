//! A packet, as it is at one moment: its headers from the inside out.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use sealane_net::Protocol;
use serde::Serialize;

/// The headers that one packet has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Packet {
    /// Of what is inside the IP header.
    pub protocol: Protocol,
    /// Who sends.
    pub source: IpAddr,
    /// The sender's port; none where any would do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// Who is meant.
    pub destination: IpAddr,
    /// The port that is meant.
    pub destination_port: u16,
    /// The outermost header, while the packet is on a link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ethernet: Option<Ethernet>,
    /// From where to where the datagram goes that the packet is in (VXLAN).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datagram: Option<(IpAddr, IpAddr)>,
}

/// An Ethernet header, by the interfaces that have the addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ethernet {
    /// Who put it on.
    pub from: String,
    /// Who takes it off.
    pub to: String,
}

impl Packet {
    /// A packet that has not left yet.
    pub fn new(protocol: Protocol, source: IpAddr, to: (IpAddr, u16)) -> Self {
        Self {
            protocol,
            source,
            source_port: None,
            destination: to.0,
            destination_port: to.1,
            ethernet: None,
            datagram: None,
        }
    }

    /// `10.244.1.2 → 10.96.0.17`, port `80`
    pub fn target(&self) -> SocketAddr {
        SocketAddr::new(self.destination, self.destination_port)
    }

    /// What answers it.
    pub fn answer(&self) -> Self {
        Self {
            source: self.destination,
            source_port: Some(self.destination_port),
            destination: self.source,
            destination_port: self.source_port.unwrap_or_default(),
            ethernet: None,
            datagram: None,
            ..*self
        }
    }

    /// The headers that a link has put around it, from the outside in.
    pub fn outer_headers(&self) -> Vec<String> {
        let mut headers = Vec::new();
        if let Some(Ethernet { from, to }) = &self.ethernet {
            headers.push(format!("Ethernet {from} → {to}"));
        }
        if let Some((from, to)) = self.datagram {
            headers.push(format!("IP {from} → {to}"));
            headers.push(format!("UDP → {}", sealane_net::names::VXLAN_PORT));
            headers.push("VXLAN".to_owned());
        }
        headers
    }

    /// All headers from the outside in, as words.
    pub fn headers(&self) -> Vec<String> {
        let mut headers = self.outer_headers();
        headers.push(format!("IP {} → {}", self.source, self.destination));
        headers.push(format!(
            "{} {} → {}",
            self.protocol,
            port(self.source_port.unwrap_or_default()),
            port(self.destination_port)
        ));
        headers
    }
}

/// A port; `*` where the client's system chooses one.
fn port(number: u16) -> String {
    match number {
        0 => "*".to_owned(),
        number => number.to_string(),
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} │ data", self.headers().join(" │ "))
    }
}

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use sealane_net::{Family, IpNet, Mtu};
use serde::{Deserialize, Serialize};

/// How packets reach the pods of other nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Routing {
    /// Directly to the nodes that are on a link of this one, through the overlay to the others.
    #[default]
    Auto,
    /// Directly; nodes behind a router are not served.
    Direct,
    /// Through the overlay to all.
    Vxlan,
}

/// A word that is none of [`Routing::NAMES`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read routing {0:?}: expected auto, direct or vxlan")]
pub struct UnknownRouting(String);

impl Routing {
    /// As they are written.
    pub const NAMES: [&'static str; 3] = ["auto", "direct", "vxlan"];
}

impl FromStr for Routing {
    type Err = UnknownRouting;

    fn from_str(text: &str) -> Result<Self, UnknownRouting> {
        match text {
            "auto" => Ok(Self::Auto),
            "direct" => Ok(Self::Direct),
            "vxlan" => Ok(Self::Vxlan),
            other => Err(UnknownRouting(other.into())),
        }
    }
}

impl fmt::Display for Routing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Direct => "direct",
            Self::Vxlan => "vxlan",
        })
    }
}

/// What a node knows of the network between the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Underlay {
    /// What is wanted.
    pub routing: Routing,
    /// This node's own address: the overlay's datagrams leave with it, and have its family.
    pub address: IpAddr,
    /// The networks on this node's links.
    pub on_link: Vec<IpNet>,
    /// Parts of them that are routed elsewhere all the same.
    pub behind: Vec<IpNet>,
    /// What this node calls itself towards pods that it reaches through the overlay, one for each family.
    pub sources: Vec<IpAddr>,
    /// The largest packet that fits into a datagram of the overlay.
    pub tunnel_mtu: Mtu,
}

impl Underlay {
    /// A node with an address on a link of this MTU, and no network on it yet.
    pub fn of(address: IpAddr, link_mtu: Mtu) -> Self {
        Self {
            routing: Routing::default(),
            address,
            on_link: Vec::new(),
            behind: Vec::new(),
            sources: Vec::new(),
            tunnel_mtu: link_mtu.inside_tunnel(tunnel_overhead(Family::from(address))),
        }
    }

    /// Whether an address is on a link of ours: the longest network that it is in decides, as in the kernel's table.
    pub fn is_on_link(&self, address: IpAddr) -> bool {
        let longest = |networks: &[IpNet]| {
            let fitting = networks.iter().filter(|network| network.contains(&address));
            fitting.map(IpNet::prefix_len).max()
        };
        // `None` is less than any length.
        longest(&self.on_link) > longest(&self.behind)
    }

    pub(crate) fn source_like(&self, address: IpAddr) -> Option<IpAddr> {
        let like = |source: &&IpAddr| source.is_ipv4() == address.is_ipv4();
        self.sources.iter().find(like).copied()
    }
}

/// What VXLAN adds to a packet: outer IP and UDP headers, its own header, and the inner Ethernet header (RFC 7348 §5).
const fn tunnel_overhead(outer: Family) -> u32 {
    let ip = match outer {
        Family::V4 => 20,
        Family::V6 => 40,
    };
    ip + 8 + 8 + 14
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_network_tells_whether_an_address_is_on_a_link() {
        let networks = |list: &[&str]| list.iter().map(|n| n.parse().unwrap()).collect();
        let underlay = Underlay {
            on_link: networks(&["10.0.0.0/8", "10.9.9.9/32"]),
            behind: networks(&["10.9.0.0/16"]),
            ..Underlay::of("10.0.0.1".parse().unwrap(), Mtu::ETHERNET)
        };
        for (address, on_link) in [
            ("10.1.0.1", true),
            ("10.9.0.1", false),
            ("10.9.9.9", true),
            ("192.0.2.1", false),
            ("fd00::1", false),
        ] {
            assert_eq!(
                underlay.is_on_link(address.parse().unwrap()),
                on_link,
                "{address}"
            );
        }
    }

    #[test]
    fn is_read_as_it_is_written() {
        for name in Routing::NAMES {
            let routing: Routing = name.parse().unwrap();
            assert_eq!(routing.to_string(), name);
            assert_eq!(serde_json::to_value(routing).unwrap(), name);
        }
        assert!("ipip".parse::<Routing>().is_err());
    }

    #[test]
    fn the_overlay_leaves_less_room_over_ipv6() {
        let mtu = |address: &str| {
            Underlay::of(address.parse().unwrap(), Mtu::ETHERNET)
                .tunnel_mtu
                .bytes()
        };
        assert_eq!((mtu("172.29.0.2"), mtu("fd00::2")), (1450, 1430));
    }
}

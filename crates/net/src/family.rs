use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// An address family. Every table is keyed by it, so that neither family is a special case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4
    #[serde(rename = "IPv4")]
    V4,
    /// IPv6
    #[serde(rename = "IPv6")]
    V6,
}

impl Family {
    /// Both families, IPv4 first.
    pub const ALL: [Family; 2] = [Family::V4, Family::V6];

    /// The length of an address in bits: 32 or 128.
    pub const fn address_bits(self) -> u8 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }

    /// The network that contains every address of the family, which is how a default route is written.
    pub fn everything(self) -> IpNet {
        match self {
            Family::V4 => IpNet::V4(Default::default()),
            Family::V6 => IpNet::V6(Default::default()),
        }
    }
}

impl From<IpAddr> for Family {
    fn from(address: IpAddr) -> Self {
        if address.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        }
    }
}

impl From<IpNet> for Family {
    fn from(network: IpNet) -> Self {
        Family::from(network.addr())
    }
}

impl fmt::Display for Family {
    /// As Kubernetes' `ipFamilies` write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_address_and_is_written_as_kubernetes_does() {
        for (address, family, text, everything) in [
            ("10.0.0.1", Family::V4, "IPv4", "0.0.0.0/0"),
            ("fd00::1", Family::V6, "IPv6", "::/0"),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(Family::from(address), family);
            assert_eq!(Family::from(IpNet::from(address)), family);
            assert_eq!(family.to_string(), text);
            assert_eq!(
                serde_json::to_string(&family).unwrap(),
                format!("\"{text}\"")
            );
            assert_eq!(family.everything().to_string(), everything);
            assert_eq!(family.address_bits(), IpNet::from(address).max_prefix_len());
        }
    }
}

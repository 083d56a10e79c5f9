//! The few fields of a packet that tests assert on.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// RFC 7348 §8.
const VXLAN: u16 = 4789;

/// What an IP packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RFC 9293
    Tcp,
    /// RFC 768
    Udp,
    /// RFC 792
    Icmp,
    /// RFC 4443
    Icmp6,
    /// Any other, by its number.
    Other(u8),
}

impl From<u8> for Protocol {
    fn from(number: u8) -> Self {
        match number {
            1 => Self::Icmp,
            6 => Self::Tcp,
            17 => Self::Udp,
            58 => Self::Icmp6,
            other => Self::Other(other),
        }
    }
}

/// An IP packet as it passed an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Packet {
    /// Whether it left through the interface, seen from the namespace of the capture.
    pub outgoing: bool,
    /// What it carries.
    pub protocol: Protocol,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Source port of TCP and UDP, else 0.
    pub source_port: u16,
    /// Destination port of TCP and UDP, else 0.
    pub destination_port: u16,
    /// Its length in bytes by its own header, which is larger than any link's where the network card cuts it up.
    pub length: usize,
    /// The packet inside, when this is a datagram of VXLAN.
    pub inner: Option<Inner>,
}

/// A packet inside another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Inner {
    /// The VXLAN network identifier.
    pub vni: u32,
    /// What it carries.
    pub protocol: Protocol,
    /// Source address and port.
    pub from: SocketAddr,
    /// Destination address and port.
    pub to: SocketAddr,
}

impl Packet {
    /// Reads an IPv4 or IPv6 packet, without its link header. None for what is not IP or cut short.
    ///
    /// Later fragments carry no ports, so theirs are 0. IPv6 extension headers are not followed.
    pub fn parse(bytes: &[u8], outgoing: bool) -> Option<Self> {
        match bytes.first()? >> 4 {
            4 => Self::parse_v4(bytes, outgoing),
            6 => Self::parse_v6(bytes, outgoing),
            _ => None,
        }
    }

    /// RFC 791 §3.1
    fn parse_v4(bytes: &[u8], outgoing: bool) -> Option<Self> {
        let header = usize::from(bytes.first()? & 0x0f) * 4;
        let source: [u8; 4] = bytes.get(12..16)?.try_into().ok()?;
        let destination: [u8; 4] = bytes.get(16..20)?.try_into().ok()?;
        let fragment_offset = u16::from_be_bytes([bytes[6], bytes[7]]) & 0x1fff;
        let payload = if fragment_offset == 0 {
            bytes.get(header..)?
        } else {
            &[]
        };
        let ends = (
            IpAddr::from(Ipv4Addr::from(source)),
            IpAddr::from(Ipv4Addr::from(destination)),
        );
        let packet = Self::with_ports(outgoing, bytes[9].into(), ends, payload);
        Some(Self {
            length: u16::from_be_bytes([bytes[2], bytes[3]]).into(),
            ..packet
        })
    }

    /// RFC 8200 §3
    fn parse_v6(bytes: &[u8], outgoing: bool) -> Option<Self> {
        let source: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
        let destination: [u8; 16] = bytes.get(24..40)?.try_into().ok()?;
        let ends = (
            IpAddr::from(Ipv6Addr::from(source)),
            IpAddr::from(Ipv6Addr::from(destination)),
        );
        let packet = Self::with_ports(outgoing, bytes[6].into(), ends, &bytes[40..]);
        Some(Self {
            length: 40 + usize::from(u16::from_be_bytes([bytes[4], bytes[5]])),
            ..packet
        })
    }

    fn with_ports(
        outgoing: bool,
        protocol: Protocol,
        ends: (IpAddr, IpAddr),
        payload: &[u8],
    ) -> Self {
        let (source, destination) = ends;
        let (source_port, destination_port) = match (protocol, payload) {
            (Protocol::Tcp | Protocol::Udp, [a, b, c, d, ..]) => {
                (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]))
            }
            _ => (0, 0),
        };
        Self {
            outgoing,
            protocol,
            source,
            destination,
            source_port,
            destination_port,
            length: 0,
            inner: (protocol == Protocol::Udp && destination_port == VXLAN)
                .then(|| Inner::parse(payload.get(8..)?))
                .flatten(),
        }
    }

    /// Source address and port.
    pub fn from(&self) -> SocketAddr {
        SocketAddr::new(self.source, self.source_port)
    }

    /// Destination address and port.
    pub fn to(&self) -> SocketAddr {
        SocketAddr::new(self.destination, self.destination_port)
    }
}

impl Inner {
    /// What a VXLAN datagram holds: RFC 7348 §5.
    fn parse(bytes: &[u8]) -> Option<Self> {
        const VXLAN_HEADER: usize = 8;
        const ETHERNET_HEADER: usize = 14;
        let vni = u32::from_be_bytes(bytes.get(4..8)?.try_into().ok()?) >> 8;
        let packet = Packet::parse(bytes.get(VXLAN_HEADER + ETHERNET_HEADER..)?, false)?;
        Some(Self {
            vni,
            protocol: packet.protocol,
            from: packet.from(),
            to: packet.to(),
        })
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.outgoing { "out" } else { "in " };
        write!(
            to,
            "{direction} {:?} {} -> {}",
            self.protocol,
            self.from(),
            self.to()
        )?;
        match &self.inner {
            Some(inner) => write!(
                to,
                " [{} | {:?} {} -> {}]",
                inner.vni, inner.protocol, inner.from, inner.to
            ),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// UDP 10.244.1.2:68 -> 10.244.2.3:8080, 8 bytes of UDP header.
    const UDP: [u8; 28] = [
        0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 244, 1, 2, 10, 244, 2, 3, //
        0, 68, 0x1f, 0x90, 0, 8, 0, 0,
    ];

    #[test]
    fn addresses_ports_and_direction() {
        let packet = Packet::parse(&UDP, true).unwrap();
        assert_eq!(
            packet.to_string(),
            "out Udp 10.244.1.2:68 -> 10.244.2.3:8080"
        );
    }

    #[test]
    fn a_later_fragment_has_no_ports() {
        let mut fragment = UDP;
        fragment[7] = 1;
        let packet = Packet::parse(&fragment, false).unwrap();
        assert_eq!((packet.source_port, packet.destination_port), (0, 0));
    }

    #[test]
    fn ipv6() {
        let mut bytes = vec![0x60, 0, 0, 0, 0, 8, 6, 64];
        bytes.extend(Ipv6Addr::LOCALHOST.octets());
        bytes.extend("fd00::2".parse::<Ipv6Addr>().unwrap().octets());
        bytes.extend([0, 80, 0, 81, 0, 0, 0, 0]);
        let packet = Packet::parse(&bytes, false).unwrap();
        assert_eq!(packet.to_string(), "in  Tcp [::1]:80 -> [fd00::2]:81");
    }

    #[test]
    fn a_packet_inside_a_datagram_of_vxlan() {
        let mut bytes = UDP[..20].to_vec();
        bytes.extend([0x30, 0x39, 0x12, 0xb5, 0, 58, 0, 0]);
        bytes.extend([8, 0, 0, 0, 0, 0, 94, 0]);
        bytes.extend([2; 12]);
        bytes.extend([8, 0]);
        bytes.extend(UDP);
        let packet = Packet::parse(&bytes, false).unwrap();
        assert_eq!(
            packet.to_string(),
            "in  Udp 10.244.1.2:12345 -> 10.244.2.3:4789 [94 | Udp 10.244.1.2:68 -> 10.244.2.3:8080]"
        );
        assert_eq!(packet.length, 28);
    }

    #[test]
    fn what_is_cut_short_or_not_ip_is_no_packet() {
        assert_eq!(Packet::parse(&[], true), None);
        assert_eq!(Packet::parse(&UDP[..19], true), None);
        assert_eq!(Packet::parse(&[0x60; 39], true), None);
        assert_eq!(Packet::parse(&[0, 1, 8, 0, 6, 4], true), None);
    }
}

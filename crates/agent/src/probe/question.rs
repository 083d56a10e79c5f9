//! The question of who has an address, as a host asks it that is about to use the address itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sealane_net::Mac;
use sealane_netlink::Told;

const BROADCAST: Mac = Mac([0xff; 6]);
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
/// Ethernet, IPv4, six bytes and four (RFC 826).
const ARP_OVER_ETHERNET: [u8; 6] = [0, 1, 8, 0, 6, 4];
const ARP_REQUEST: [u8; 2] = [0, 1];

/// A packet that asks, and whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub told: Told,
    pub to: Mac,
    pub packet: Vec<u8>,
}

/// Asks from a link with this Ethernet address. Nobody learns anything from it: the asker has no address.
pub fn question(asker: Mac, address: IpAddr) -> Question {
    match address {
        IpAddr::V4(address) => arp_probe(asker, address),
        IpAddr::V6(address) => solicitation(address),
    }
}

/// RFC 5227 §2.1.1
fn arp_probe(asker: Mac, address: Ipv4Addr) -> Question {
    let packet = [
        &ARP_OVER_ETHERNET[..],
        &ARP_REQUEST,
        &asker.0,
        &[0; 4],
        &[0; 6],
        &address.octets(),
    ]
    .concat();
    Question {
        told: Told::Arp,
        to: BROADCAST,
        packet,
    }
}

/// RFC 4862 §5.4.2
fn solicitation(address: Ipv6Addr) -> Question {
    let octets = address.octets();
    let [.., x, y, z] = octets;
    // RFC 4291 §2.7.1, RFC 2464 §7
    let group = Ipv6Addr::new(
        0xff02,
        0,
        0,
        0,
        0,
        1,
        0xff00 | u16::from(x),
        u16::from_be_bytes([y, z]),
    );
    let mut message = [&[SOLICITATION, 0, 0, 0, 0, 0, 0, 0], &octets[..]].concat();
    let sum = checksum(Ipv6Addr::UNSPECIFIED, group, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let length = (message.len() as u16).to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], ICMPV6, 255];
    packet.extend(Ipv6Addr::UNSPECIFIED.octets());
    packet.extend(group.octets());
    packet.extend(message);
    Question {
        told: Told::Advertisement,
        to: Mac([0x33, 0x33, 0xff, x, y, z]),
        packet,
    }
}

/// RFC 8200 §8.1
fn checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    let mut whole = [&from.octets()[..], &to.octets()].concat();
    whole.extend((message.len() as u32).to_be_bytes());
    whole.extend([0, 0, 0, ICMPV6]);
    whole.extend(message);
    let words = whole.chunks(2);
    let sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], *word.get(1).unwrap_or(&0)])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded + (folded >> 16)) as u16)
}

/// The address that a packet says its sender has; what cannot be read says nothing.
pub fn claimed(told: Told, packet: &[u8]) -> Option<IpAddr> {
    match told {
        // Of a request as of a reply: whoever asks has one too.
        Told::Arp => {
            let ours = packet.starts_with(&ARP_OVER_ETHERNET);
            let sender: [u8; 4] = *packet.get(14..)?.first_chunk()?;
            let sender = Ipv4Addr::from(sender);
            (ours && !sender.is_unspecified()).then_some(IpAddr::V4(sender))
        }
        // The target of an advertisement, behind the header of IPv6 and eight bytes (RFC 4861 §4.4).
        Told::Advertisement => {
            let target: [u8; 16] = *packet.get(48..)?.first_chunk()?;
            Some(Ipv6Addr::from(target).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKER: Mac = Mac([2, 0, 0, 0, 0, 1]);

    #[test]
    fn a_probe_tells_nobody_of_the_asker() {
        let asked = question(ASKER, "10.244.1.2".parse().unwrap());
        assert_eq!((asked.told, asked.to), (Told::Arp, BROADCAST));
        assert_eq!(asked.packet[14..18], [0; 4]);
        assert_eq!(asked.packet[24..], [10, 244, 1, 2]);
        assert_eq!(claimed(Told::Arp, &asked.packet), None);
    }

    #[test]
    fn a_solicitation_goes_to_those_who_may_have_it_with_a_sum_that_is_right() {
        let asked = question(ASKER, "fd00::1:2:3".parse().unwrap());
        assert_eq!(asked.to, Mac([0x33, 0x33, 0xff, 2, 0, 3]));
        let (from, to) = (&asked.packet[8..24], &asked.packet[24..40]);
        assert_eq!(from, [0; 16]);
        let to = Ipv6Addr::from(<[u8; 16]>::try_from(to).unwrap());
        assert_eq!(to.to_string(), "ff02::1:ff02:3");
        let whole = checksum(Ipv6Addr::UNSPECIFIED, to, &asked.packet[40..]);
        assert_eq!(whole, 0, "over a message with its sum");
    }

    #[test]
    fn claims_are_read_and_rubbish_is_none() {
        let mut reply = [&ARP_OVER_ETHERNET[..], &[0, 2], &[7; 6]].concat();
        reply.extend([10, 244, 1, 2]);
        reply.extend([0; 10]);
        let claim = claimed(Told::Arp, &reply).unwrap();
        assert_eq!(claim.to_string(), "10.244.1.2");
        let mut advertisement = vec![0; 48];
        advertisement.extend("fd00::2".parse::<Ipv6Addr>().unwrap().octets());
        let claim = claimed(Told::Advertisement, &advertisement).unwrap();
        assert_eq!(claim.to_string(), "fd00::2");
        for told in [Told::Arp, Told::Advertisement] {
            for rubbish in [&[][..], &[0; 17], &[1; 47]] {
                assert_eq!(claimed(told, rubbish), None, "{told:?} {rubbish:?}");
            }
        }
    }
}

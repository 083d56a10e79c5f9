//! What we read of a link's message, cut out before it is parsed.
//!
//! The kernel tells some sixty attributes of a link, most of them counters and
//! settings, and parsing them all costs more than what the kernel does for the
//! question: 40 µs of an ADD for each answer, and the same for each of the
//! dozen events that a pod's link makes. Ours are seven.

use std::borrow::Cow;

/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// The same and `struct ifinfomsg`.
const HEAD: usize = 32;
const ATTRIBUTE_HEAD: usize = 4;
/// The flags of an attribute's type (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`).
const TYPE: u16 = 0x3fff;

const RTM_NEWLINK: u16 = 16;
pub(crate) const RTM_DELLINK: u16 = 17;

/// `IFLA_ADDRESS`, `IFLA_IFNAME`, `IFLA_MTU`, `IFLA_LINK`, `IFLA_MASTER`, `IFLA_IFALIAS` of linux/if_link.h.
const READ: [u16; 6] = [1, 3, 4, 5, 10, 20];
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
/// The one kind whose data is read, as the kernel writes it.
const VXLAN: &[u8] = b"vxlan\0";

/// The type of a message; 0 of one that has no header.
pub(crate) fn type_of(message: &[u8]) -> u16 {
    u16_at(message, 4).unwrap_or_default()
}

/// Whether a message is about a link as a port of a bridge, of which the kernel tells
/// by the same types as of links as such: a port that leaves its bridge is not gone.
pub(crate) fn is_of_port(message: &[u8]) -> bool {
    const AF_BRIDGE: u8 = 7;
    let of_links = [RTM_NEWLINK, RTM_DELLINK].contains(&type_of(message));
    of_links && message.get(HEADER) == Some(&AF_BRIDGE)
}

/// The index of a link that is gone; `None` of any other message.
pub(crate) fn gone(message: &[u8]) -> Option<u32> {
    /// Of `ifi_index` in `struct ifinfomsg`.
    const INDEX_AT: usize = HEADER + 4;
    let of_gone = type_of(message) == RTM_DELLINK && !is_of_port(message);
    let index = message.get(INDEX_AT..)?.first_chunk()?;
    of_gone.then(|| u32::from_ne_bytes(*index))
}

/// A link's message with the attributes that [`read_link`](super::read_link) reads; any other as it is.
pub(crate) fn slim(message: &[u8]) -> Cow<'_, [u8]> {
    match type_of(message) {
        RTM_NEWLINK | RTM_DELLINK => trimmed(message).map_or(Cow::Borrowed(message), Cow::Owned),
        _ => Cow::Borrowed(message),
    }
}

fn trimmed(message: &[u8]) -> Option<Vec<u8>> {
    let (head, attributes) = message.split_at_checked(HEAD)?;
    let mut kept = Vec::with_capacity(256);
    kept.extend_from_slice(head);
    for attribute in Attributes(attributes) {
        match attribute.kind {
            IFLA_LINKINFO => keep_info(&mut kept, attribute.value),
            kind if READ.contains(&kind) => kept.extend_from_slice(attribute.whole),
            _ => {}
        }
    }
    let length = u32::try_from(kept.len()).ok()?;
    kept[..4].copy_from_slice(&length.to_ne_bytes());
    Some(kept)
}

fn keep_info(kept: &mut Vec<u8>, info: &[u8]) {
    let kind = Attributes(info).find(|part| part.kind == IFLA_INFO_KIND);
    let vxlan = kind.as_ref().is_some_and(|kind| kind.value == VXLAN);
    let read = |part: &Attribute<'_>| match part.kind {
        IFLA_INFO_KIND => true,
        IFLA_INFO_DATA => vxlan,
        _ => false,
    };
    let parts: Vec<u8> = Attributes(info)
        .filter(read)
        .flat_map(|part| part.whole.to_vec())
        .collect();
    // Shorter than the attribute that it was in.
    let length = (ATTRIBUTE_HEAD + parts.len()) as u16;
    kept.extend_from_slice(&length.to_ne_bytes());
    kept.extend_from_slice(&IFLA_LINKINFO.to_ne_bytes());
    kept.extend_from_slice(&parts);
}

struct Attribute<'a> {
    kind: u16,
    value: &'a [u8],
    /// With its header and what fills it up to four bytes.
    whole: &'a [u8],
}

/// Ends at the first attribute that does not fit.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let length = usize::from(u16_at(self.0, 0)?);
        let value = self.0.get(ATTRIBUTE_HEAD..length)?;
        let kind = u16_at(self.0, 2)? & TYPE;
        let padded = length.next_multiple_of(4).min(self.0.len());
        let (whole, rest) = self.0.split_at(padded);
        self.0 = rest;
        Some(Attribute { kind, value, whole })
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at + 2)?;
    Some(u16::from_ne_bytes([pair[0], pair[1]]))
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
    use rtnetlink::packet_route::RouteNetlinkMessage;
    use rtnetlink::packet_route::link::{
        InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkInfo, LinkMessage, Stats64,
    };

    use super::*;
    use crate::link::read_link;

    fn message(info: Vec<LinkInfo>) -> Vec<u8> {
        let mut link = LinkMessage::default();
        link.header.index = 7;
        link.attributes = vec![
            LinkAttribute::IfName("eth0".into()),
            LinkAttribute::Stats64(Stats64::default()),
            LinkAttribute::Mtu(1450),
            LinkAttribute::TxQueueLen(1000),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]),
            LinkAttribute::Controller(3),
            LinkAttribute::LinkInfo(info),
            LinkAttribute::IfAlias("somebody's".into()),
        ];
        let mut message = NetlinkMessage::from(RouteNetlinkMessage::NewLink(link));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes
    }

    fn read(bytes: &[u8]) -> crate::Link {
        match NetlinkMessage::deserialize(bytes).unwrap().payload {
            NetlinkPayload::InnerMessage(inner) => read_link(inner).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn says_the_same_of_a_link_in_fewer_words() {
        let vxlan = vec![
            InfoVxlan::Id(94),
            InfoVxlan::Port(4789),
            InfoVxlan::Local([172, 29, 0, 2].into()),
        ];
        for info in [
            vec![LinkInfo::Kind(InfoKind::Veth)],
            vec![
                LinkInfo::Kind(InfoKind::Bridge),
                LinkInfo::Data(InfoData::Bridge(vec![])),
            ],
            vec![
                LinkInfo::Kind(InfoKind::Vxlan),
                LinkInfo::Data(InfoData::Vxlan(vxlan)),
            ],
        ] {
            let whole = message(info);
            let slim = slim(&whole);
            assert!(
                slim.len() < whole.len() - 190,
                "{} of {}",
                slim.len(),
                whole.len()
            );
            assert_eq!(read(&slim), read(&whole));
        }
    }

    #[test]
    fn a_port_that_leaves_its_bridge_is_not_a_link_that_is_gone() {
        const AF_BRIDGE: u8 = 7;
        let mut message = message(vec![]);
        assert!(!is_of_port(&message) && gone(&message).is_none());
        message[4..6].copy_from_slice(&RTM_DELLINK.to_ne_bytes());
        assert_eq!(gone(&message), Some(7));
        message[HEADER] = AF_BRIDGE;
        assert!(is_of_port(&message) && gone(&message).is_none());
        assert_eq!(gone(&message[..HEADER]), None);
    }

    #[test]
    fn leaves_alone_what_it_does_not_understand() {
        let mut other = message(vec![]);
        other[4..6].copy_from_slice(&24_u16.to_ne_bytes());
        assert_eq!(&*slim(&other), &other[..]);
        let whole = message(vec![LinkInfo::Kind(InfoKind::Veth)]);
        for end in 0..whole.len() {
            // Cut off anywhere: no panic, and never more than there was.
            assert!(slim(&whole[..end]).len() <= end.max(HEAD));
        }
        for at in HEAD..whole.len() {
            let mut torn = whole.clone();
            torn[at] ^= 0xff;
            let _ = slim(&torn);
        }
    }
}

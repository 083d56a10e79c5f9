//! Links as messages of rtnetlink.

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{
    InfoData, InfoKind, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage,
};
use sealane_net::{Mac, Mtu};

use super::vxlan::read_tunnel;
use super::{Link, LinkRef};

pub(super) fn new_link(kind: InfoKind, data: Option<InfoData>) -> LinkMessage {
    let mut info = vec![LinkInfo::Kind(kind)];
    info.extend(data.map(LinkInfo::Data));
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::LinkInfo(info));
    message
}

pub(crate) fn named(link: LinkRef<'_>) -> LinkMessage {
    let mut message = LinkMessage::default();
    match link {
        LinkRef::Index(index) => message.header.index = index,
        LinkRef::Name(name) => set_name(&mut message, name),
    }
    message
}

pub(super) fn set_name(message: &mut LinkMessage, name: &str) {
    message.attributes.push(LinkAttribute::IfName(name.into()));
}

pub(super) fn set_shape(message: &mut LinkMessage, mtu: Option<Mtu>, mac: Option<Mac>) {
    if let Some(mtu) = mtu {
        message.attributes.push(LinkAttribute::Mtu(mtu.bytes()));
    }
    if let Some(mac) = mac {
        message
            .attributes
            .push(LinkAttribute::Address(mac.0.to_vec()));
    }
}

/// Lets an end of a veth pair have one queue for each direction, which is what it uses.
///
/// Unasked, the kernel makes one for each processor, puts all but one out of use, and waits for a
/// grace period of RCU at each end, under its lock on links (`veth_init_queues` in
/// drivers/net/veth.c, since Linux 5.17): more than all the rest of making a pair.
pub(super) fn set_one_queue(message: &mut LinkMessage) {
    message.attributes.push(LinkAttribute::NumTxQueues(1));
    message.attributes.push(LinkAttribute::NumRxQueues(1));
}

pub(super) fn set_up(message: &mut LinkMessage, up: bool) {
    message.header.flags.set(LinkFlags::Up, up);
    message.header.change_mask |= LinkFlags::Up;
}

pub(super) fn skip_statistics(message: &mut LinkMessage) {
    message
        .attributes
        .push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
}

pub(crate) fn read_link(message: RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(message) = message else {
        return None;
    };
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        kind: String::new(),
        mac: None,
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        master: None,
        peer: None,
        alias: None,
        tunnel: None,
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Address(mac) => link.mac = mac.try_into().ok().map(Mac),
            LinkAttribute::Controller(index) => link.master = Some(index),
            LinkAttribute::Link(index) => link.peer = Some(index),
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias),
            LinkAttribute::LinkInfo(info) => {
                link.kind = kind_of(&info);
                link.tunnel = read_tunnel(&info);
            }
            _ => {}
        }
    }
    Some(link)
}

fn kind_of(info: &[LinkInfo]) -> String {
    info.iter()
        .find_map(|info| match info {
            LinkInfo::Kind(kind) => Some(kind.to_string()),
            _ => None,
        })
        .unwrap_or_default()
}

//! Forwarding entries of a VXLAN link: to which node a frame goes, by its Ethernet address.

use std::net::IpAddr;

use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use sealane_net::Mac;

use crate::error::Result;
use crate::link::LinkRef;
use crate::netlink::{Failure, Netlink};

/// A forwarding entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// The link's index.
    pub link: u32,
    /// The Ethernet address; all zeros for frames that no other entry fits.
    pub mac: Mac,
    /// The node that the frame is sent to.
    pub to: IpAddr,
}

impl Netlink {
    /// Sets a permanent entry, replacing the one for the same Ethernet address.
    ///
    /// # Errors
    /// When the link is absent, is no VXLAN link, or has the other address family.
    pub async fn set_forwarding(
        &self,
        link: impl Into<LinkRef<'_>>,
        mac: Mac,
        to: IpAddr,
    ) -> Result<()> {
        let link = link.into();
        let mut message = message(self.resolve(link).await?, mac);
        message.header.state = NeighbourState::Permanent;
        message
            .attributes
            .push(NeighbourAttribute::Destination(to.into()));
        self.change(
            RouteNetlinkMessage::NewNeighbour(message),
            NLM_F_CREATE | NLM_F_REPLACE,
        )
        .await
        .map_err(self.failed(|| format!("set forwarding of {mac} on {link} to {to}")))
    }

    /// Deletes an entry. Returns whether it, and the link, were there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn delete_forwarding(&self, link: impl Into<LinkRef<'_>>, mac: Mac) -> Result<bool> {
        let link = link.into();
        let index = match self.resolve(link).await {
            Err(error) if error.is_absent() => return Ok(false),
            other => other?,
        };
        self.change(RouteNetlinkMessage::DelNeighbour(message(index, mac)), 0)
            .await
            .map_or_else(Failure::unless_absent, |()| Ok(true))
            .map_err(self.failed(|| format!("delete forwarding of {mac} on {link}")))
    }

    /// The entries of one link that lead to an address.
    ///
    /// # Errors
    /// When the link is absent or the kernel does not answer.
    pub async fn forwarding_of(&self, link: impl Into<LinkRef<'_>>) -> Result<Vec<Forwarding>> {
        let index = self.resolve(link.into()).await?;
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Bridge;
        let answers = self
            .dump(RouteNetlinkMessage::GetNeighbour(message))
            .await
            .map_err(self.failed(|| "list forwarding entries"))?;
        Ok(answers
            .into_iter()
            .filter_map(read)
            .filter(|entry| entry.link == index)
            .collect())
    }
}

fn message(index: u32, mac: Mac) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = index;
    message.header.flags = NeighbourFlags::Own;
    message
        .attributes
        .push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    message
}

fn read(message: RouteNetlinkMessage) -> Option<Forwarding> {
    let RouteNetlinkMessage::NewNeighbour(message) = message else {
        return None;
    };
    let (mut mac, mut to) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                mac = bytes.as_slice().try_into().ok().map(Mac);
            }
            NeighbourAttribute::Destination(address) => to = ip(address),
            _ => {}
        }
    }
    Some(Forwarding {
        link: message.header.ifindex,
        mac: mac?,
        to: to?,
    })
}

/// Entries of bridges carry no family of the address, so its length tells.
fn ip(address: &NeighbourAddress) -> Option<IpAddr> {
    match address {
        NeighbourAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        NeighbourAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        NeighbourAddress::Other(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(bytes.as_slice()).ok().map(IpAddr::from),
            16 => <[u8; 16]>::try_from(bytes.as_slice())
                .ok()
                .map(IpAddr::from),
            _ => None,
        },
        _ => None,
    }
}

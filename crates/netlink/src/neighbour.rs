//! Neighbour entries: which Ethernet address an IP address on a link has.

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

/// A neighbour entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The link's index.
    pub link: u32,
    /// The address on the link.
    pub address: IpAddr,
    /// Its Ethernet address; absent while it is being looked for.
    pub mac: Option<Mac>,
    /// Set by an administrator, never expires.
    pub permanent: bool,
    /// Asked for in vain.
    pub failed: bool,
}

impl Netlink {
    /// Sets a permanent entry, replacing what is known.
    ///
    /// # Errors
    /// When the link is absent or the kernel refuses.
    pub async fn set_neighbour(
        &self,
        link: impl Into<LinkRef<'_>>,
        address: IpAddr,
        mac: Mac,
    ) -> Result<()> {
        let link = link.into();
        let message = permanent(self.resolve(link).await?, address, mac);
        self.change(
            RouteNetlinkMessage::NewNeighbour(message),
            NLM_F_CREATE | NLM_F_REPLACE,
        )
        .await
        .map_err(self.failed(|| format!("set neighbour {address} to {mac} on {link}")))
    }

    /// Deletes an entry. Returns whether it, and the link, were there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn delete_neighbour(
        &self,
        link: impl Into<LinkRef<'_>>,
        address: IpAddr,
    ) -> Result<bool> {
        let link = link.into();
        let index = match self.resolve(link).await {
            Err(error) if error.is_absent() => return Ok(false),
            other => other?,
        };
        self.change(
            RouteNetlinkMessage::DelNeighbour(message(index, address)),
            0,
        )
        .await
        .map_or_else(Failure::unless_absent, |()| Ok(true))
        .map_err(self.failed(|| format!("delete neighbour {address} on {link}")))
    }

    /// Lets this node answer in place of an address when somebody on the link asks for it; repeating it is harmless.
    ///
    /// For IPv4 wherever the address is on another link; for IPv6 where `proxy_ndp` is on.
    ///
    /// # Errors
    /// When the link is absent or the kernel refuses.
    pub async fn add_proxy(&self, link: impl Into<LinkRef<'_>>, address: IpAddr) -> Result<()> {
        let link = link.into();
        let message = proxy(self.resolve(link).await?, address);
        self.change(
            RouteNetlinkMessage::NewNeighbour(message),
            NLM_F_CREATE | NLM_F_REPLACE,
        )
        .await
        .map_err(self.failed(|| format!("answer for {address} on {link}")))
    }

    /// Ends what [`Netlink::add_proxy`] began. Returns whether it, and the link, were there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn delete_proxy(
        &self,
        link: impl Into<LinkRef<'_>>,
        address: IpAddr,
    ) -> Result<bool> {
        let link = link.into();
        let index = match self.resolve(link).await {
            Err(error) if error.is_absent() => return Ok(false),
            other => other?,
        };
        self.change(RouteNetlinkMessage::DelNeighbour(proxy(index, address)), 0)
            .await
            .map_or_else(Failure::unless_absent, |()| Ok(true))
            .map_err(self.failed(|| format!("stop answering for {address} on {link}")))
    }

    /// The addresses in place of which this node answers on a link.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub async fn proxies_of(&self, index: u32) -> Result<Vec<IpAddr>> {
        let mut message = NeighbourMessage::default();
        message.header.flags = NeighbourFlags::Proxy;
        let answers = self
            .dump(RouteNetlinkMessage::GetNeighbour(message))
            .await
            .map_err(self.failed(|| "list proxy neighbours"))?;
        let here = answers.into_iter().filter_map(read);
        Ok(here
            .filter(|entry| entry.link == index)
            .map(|entry| entry.address)
            .collect())
    }

    /// All entries of all links, both families.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub async fn neighbours(&self) -> Result<Vec<Neighbour>> {
        let answers = self
            .dump(RouteNetlinkMessage::GetNeighbour(
                NeighbourMessage::default(),
            ))
            .await
            .map_err(self.failed(|| "list neighbours"))?;
        Ok(answers.into_iter().filter_map(read).collect())
    }
}

/// The message that sets an entry that does not expire.
pub(crate) fn permanent(index: u32, address: IpAddr, mac: Mac) -> NeighbourMessage {
    let mut message = message(index, address);
    message.header.state = NeighbourState::Permanent;
    message
        .attributes
        .push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    message
}

fn proxy(index: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = message(index, address);
    message.header.flags = NeighbourFlags::Proxy;
    message
}

fn message(index: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.ifindex = index;
    let (family, destination) = match address {
        IpAddr::V4(ip) => (AddressFamily::Inet, NeighbourAddress::Inet(ip)),
        IpAddr::V6(ip) => (AddressFamily::Inet6, NeighbourAddress::Inet6(ip)),
    };
    message.header.family = family;
    message
        .attributes
        .push(NeighbourAttribute::Destination(destination));
    message
}

fn read(message: RouteNetlinkMessage) -> Option<Neighbour> {
    let RouteNetlinkMessage::NewNeighbour(message) = message else {
        return None;
    };
    let address = message.attributes.iter().find_map(|a| match a {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _ => None,
    })?;
    let mac = message.attributes.iter().find_map(|a| match a {
        NeighbourAttribute::LinkLayerAddress(bytes) => bytes.as_slice().try_into().ok().map(Mac),
        _ => None,
    });
    Some(Neighbour {
        link: message.header.ifindex,
        address,
        mac,
        permanent: message.header.state == NeighbourState::Permanent,
        failed: message.header.state == NeighbourState::Failed,
    })
}

//! Addresses of links.

use std::net::IpAddr;

use rtnetlink::AddressMessageBuilder;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol,
    AddressScope,
};
use sealane_net::{IpNet, names};

use crate::error::Result;
use crate::link::LinkRef;
use crate::netlink::{Failure, Netlink};

/// An address of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The link's index.
    pub link: u32,
    /// The address with the length of its network's prefix: `10.244.1.5/24`.
    pub address: IpNet,
    /// Whether it may be used beyond the link; link-local and loopback addresses may not.
    pub global: bool,
    /// Who made it, by number as for routes; 0 when nobody said, or before Linux 5.18.
    pub protocol: u8,
}

impl Netlink {
    /// Gives a link an address; one that it has already is success.
    ///
    /// IPv6 addresses are usable at once (`nodad`): whoever allocated them has made sure that they are unique.
    ///
    /// # Errors
    /// When the link is absent or the kernel refuses the address.
    pub async fn add_address(&self, link: impl Into<LinkRef<'_>>, address: IpNet) -> Result<()> {
        let link = link.into();
        let message = usable_at_once(self.resolve(link).await?, address);
        self.set_address(message)
            .await
            .map_err(self.failed(|| format!("add address {address} to {link}")))
    }

    /// As [`Netlink::add_address`], with our number: for a link that is not ours (`ip address` shows `proto 94`).
    ///
    /// # Errors
    /// As [`Netlink::add_address`].
    pub async fn add_own_address(
        &self,
        link: impl Into<LinkRef<'_>>,
        address: IpNet,
    ) -> Result<()> {
        let link = link.into();
        let index = self.resolve(link).await?;
        self.set_address(numbered(index, address, names::ROUTE_PROTOCOL))
            .await
            .map_err(self.failed(|| format!("add address {address} to {link}")))
    }

    async fn set_address(&self, message: AddressMessage) -> Result<(), Failure> {
        let message = RouteNetlinkMessage::NewAddress(message);
        self.change(message, NLM_F_CREATE | NLM_F_REPLACE).await
    }

    /// Takes an address from a link. Returns whether it, and the link, were there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn delete_address(
        &self,
        link: impl Into<LinkRef<'_>>,
        address: IpNet,
    ) -> Result<bool> {
        let link = link.into();
        let index = match self.resolve(link).await {
            Err(error) if error.is_absent() => return Ok(false),
            other => other?,
        };
        self.change(RouteNetlinkMessage::DelAddress(message(index, address)), 0)
            .await
            .map_or_else(Failure::unless_absent, |()| Ok(true))
            .map_err(self.failed(|| format!("delete address {address} from {link}")))
    }

    /// All addresses of all links.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub async fn addresses(&self) -> Result<Vec<Address>> {
        let answers = self
            .dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))
            .await
            .map_err(self.failed(|| "list addresses"))?;
        Ok(answers.into_iter().filter_map(read).collect())
    }

    /// The addresses of one link.
    ///
    /// # Errors
    /// When the link is absent or the kernel does not answer.
    pub async fn addresses_of(&self, link: impl Into<LinkRef<'_>>) -> Result<Vec<IpNet>> {
        let index = self.resolve(link.into()).await?;
        let all = self.addresses().await?;
        Ok(all
            .into_iter()
            .filter(|address| address.link == index)
            .map(|address| address.address)
            .collect())
    }
}

/// The message that gives a link an address, without waiting for duplicates of it.
pub(crate) fn usable_at_once(index: u32, address: IpNet) -> AddressMessage {
    let mut message = message(index, address);
    if address.addr().is_ipv6() {
        message.header.flags |= AddressHeaderFlags::Nodad;
    }
    message
}

/// The same with the number of whoever makes it, and of IPv6 too without a route in the main table.
pub(crate) fn alone(index: u32, address: IpNet, number: u8) -> AddressMessage {
    let mut message = numbered(index, address, number);
    // These count instead of those in the header.
    let flags = AddressFlags::Nodad | AddressFlags::Noprefixroute;
    message.attributes.push(AddressAttribute::Flags(flags));
    message
}

/// The same with the number of whoever makes it.
pub(crate) fn numbered(index: u32, address: IpNet, number: u8) -> AddressMessage {
    let mut message = usable_at_once(index, address);
    let number = AddressProtocol::from(number);
    message.attributes.push(AddressAttribute::Protocol(number));
    message
}

pub(crate) fn message(index: u32, address: IpNet) -> AddressMessage {
    let length = address.prefix_len();
    match address.addr() {
        IpAddr::V4(ip) => AddressMessageBuilder::<std::net::Ipv4Addr>::new()
            .index(index)
            .address(ip, length)
            .build(),
        IpAddr::V6(ip) => AddressMessageBuilder::<std::net::Ipv6Addr>::new()
            .index(index)
            .address(ip, length)
            .build(),
    }
}

pub(crate) fn read(message: RouteNetlinkMessage) -> Option<Address> {
    let RouteNetlinkMessage::NewAddress(message) = message else {
        return None;
    };
    // On a point-to-point link IFA_ADDRESS is the other end; IFA_LOCAL, where present, is ours.
    let local = message.attributes.iter().find_map(|a| match a {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    let address = message.attributes.iter().find_map(|a| match a {
        AddressAttribute::Address(ip) => Some(*ip),
        _ => None,
    });
    let protocol = message.attributes.iter().find_map(|a| match a {
        AddressAttribute::Protocol(number) => Some(u8::from(*number)),
        _ => None,
    });
    Some(Address {
        link: message.header.index,
        address: IpNet::new(local.or(address)?, message.header.prefix_len).ok()?,
        global: message.header.scope == AddressScope::Universe,
        protocol: protocol.unwrap_or_default(),
    })
}

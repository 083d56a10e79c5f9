//! VXLAN links: Ethernet frames in UDP datagrams (RFC 7348).

use std::fmt;
use std::net::IpAddr;

use nix::errno::Errno;
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVxlan, LinkInfo};
use sealane_net::{Mac, Mtu};

use super::message::{new_link, set_name, set_shape, set_up};
use crate::error::{Error, Result};
use crate::netlink::Netlink;

/// A VXLAN link to make: it learns nothing and sends only to where a forwarding entry says.
///
/// It is bound to no other link: the routes to the far ends say through which
/// link its datagrams leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vxlan<'a> {
    /// The name.
    pub name: &'a str,
    /// What cannot be changed once it is made.
    pub tunnel: Tunnel,
    /// The MTU of the frames' content.
    pub mtu: Mtu,
    /// The Ethernet address.
    pub mac: Mac,
}

/// Which datagrams a VXLAN link sends and takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The network identifier, 24 bits.
    pub vni: u32,
    /// The UDP port, of both sides.
    pub port: u16,
    /// The source address of its datagrams; its family is the only one that it takes.
    pub local: IpAddr,
}

impl Netlink {
    /// Makes a VXLAN link, sets it up and returns its index. One of that name with the same tunnel is changed to fit.
    ///
    /// # Errors
    /// [`Error::Different`] when the name belongs to another kind of link or to
    /// a VXLAN link with another tunnel; delete that first.
    /// [`Error::is_present`] when another link has the same tunnel.
    pub async fn add_vxlan(&self, vxlan: &Vxlan<'_>) -> Result<u32> {
        let Tunnel { vni, port, local } = vxlan.tunnel;
        let local = match local {
            IpAddr::V4(ip) => InfoVxlan::Local(ip),
            IpAddr::V6(ip) => InfoVxlan::Local6(ip),
        };
        let info = vec![
            InfoVxlan::Id(vni),
            InfoVxlan::Port(port),
            local,
            InfoVxlan::Learning(false),
        ];
        let mut message = new_link(InfoKind::Vxlan, Some(InfoData::Vxlan(info)));
        set_name(&mut message, vxlan.name);
        set_shape(&mut message, Some(vxlan.mtu), Some(vxlan.mac));
        set_up(&mut message, true);
        let action = || format!("add vxlan {}, {}", vxlan.name, vxlan.tunnel);
        match self.create(message).await {
            Ok(()) => self.index_of(vxlan.name).await,
            Err(failure) if failure.is(Errno::EEXIST) => match self.link(vxlan.name).await? {
                Some(_) => self.fit_vxlan(vxlan).await,
                None => Err(self.failed(action)(failure)),
            },
            Err(failure) => Err(self.failed(action)(failure)),
        }
    }

    async fn fit_vxlan(&self, vxlan: &Vxlan<'_>) -> Result<u32> {
        let found = self.existing(vxlan.name).await?;
        if found.tunnel != Some(vxlan.tunnel) {
            return Err(Error::Different {
                action: format!("add vxlan {}{}", vxlan.name, self.place),
                found: match found.tunnel {
                    Some(tunnel) => format!("a vxlan link with {tunnel}"),
                    None => format!("a link of kind {:?}", found.kind),
                },
                expected: format!("a vxlan link with {}", vxlan.tunnel),
            });
        }
        let change = super::LinkChange {
            up: Some(true),
            mtu: Some(vxlan.mtu).filter(|mtu| mtu.bytes() != found.mtu),
            mac: Some(vxlan.mac).filter(|mac| Some(*mac) != found.mac),
            ..super::LinkChange::default()
        };
        self.set_link(found.index, change).await?;
        Ok(found.index)
    }
}

/// The tunnel of a VXLAN link as the kernel tells it; `None` for one of another shape than ours.
pub(super) fn read_tunnel(info: &[LinkInfo]) -> Option<Tunnel> {
    let data = info.iter().find_map(|info| match info {
        LinkInfo::Data(InfoData::Vxlan(data)) => Some(data),
        _ => None,
    })?;
    let (mut vni, mut port, mut local) = (None, None, None);
    for item in data {
        match item {
            InfoVxlan::Id(id) => vni = Some(*id),
            InfoVxlan::Port(number) => port = Some(*number),
            InfoVxlan::Local(ip) => local = Some(IpAddr::V4(*ip)),
            InfoVxlan::Local6(ip) => local = Some(IpAddr::V6(*ip)),
            InfoVxlan::Learning(true) | InfoVxlan::CollectMetadata(true) => return None,
            _ => {}
        }
    }
    Some(Tunnel {
        vni: vni?,
        port: port?,
        local: local?,
    })
}

impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "id {} dstport {} local {}",
            self.vni, self.port, self.local
        )
    }
}

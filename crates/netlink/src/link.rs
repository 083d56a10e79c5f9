//! Links: bridges, veth pairs, and what can be changed on any link.

mod message;
mod slim;
mod vxlan;

pub use vxlan::{Tunnel, Vxlan};

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, BridgeBooleanOptionFlags, BridgeBooleanOptions, BridgeStpState,
    In6AddrGenMode, InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind,
    InfoVeth, LinkAttribute, LinkInfo, LinkMessage,
};
use sealane_net::{Mac, Mtu};

use crate::error::{Error, Result};
use crate::netlink::{Failure, Netlink};
use message::{new_link, set_name, set_one_queue, set_shape, set_up, skip_statistics};

pub(crate) use message::{named, read_link};
pub(crate) use slim::{RTM_DELLINK, gone, is_of_port, slim};

/// Names a link: by its name, or by its index, which saves the kernel or us a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkRef<'a> {
    /// By name.
    Name(&'a str),
    /// By index.
    Index(u32),
}

/// What the kernel tells of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The index, unique in its namespace.
    pub index: u32,
    /// The name.
    pub name: String,
    /// `bridge`, `veth`, `vxlan`, …; empty for loopback and hardware.
    pub kind: String,
    /// The Ethernet address, if it has one.
    pub mac: Option<Mac>,
    /// The MTU in bytes; loopback's is larger than an [`Mtu`] may be.
    pub mtu: u32,
    /// Set up by an administrator; says nothing about the other end.
    pub up: bool,
    /// The bridge that it is a port of, by index.
    pub master: Option<u32>,
    /// The index of a veth's other end, in the other end's namespace.
    pub peer: Option<u32>,
    /// What somebody wrote at it (`ip link` shows `alias …`).
    pub alias: Option<String>,
    /// What a VXLAN link sends and takes; `None` for one that learns, or has no address of its own.
    pub tunnel: Option<Tunnel>,
}

/// A bridge to make. Spanning tree is off and ports forward at once.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Bridge<'a> {
    /// The name.
    pub name: &'a str,
    /// The MTU; without one it follows the smallest of its ports.
    pub mtu: Option<Mtu>,
    /// The address; without one it changes as ports come and go, which breaks
    /// neighbour caches, so whatever routes through the bridge should set it.
    pub mac: Option<Mac>,
    /// Whether to set it up at once.
    pub up: bool,
}

/// A veth pair to make: the near end here, the far end here or in another namespace.
#[derive(Clone, Debug, Default)]
pub struct Veth<'a> {
    /// The near end's name.
    pub name: &'a str,
    /// The bridge that the near end becomes a port of, by index.
    pub master: Option<u32>,
    /// The MTU of both ends.
    pub mtu: Option<Mtu>,
    /// The near end's address.
    pub mac: Option<Mac>,
    /// Whether to set the near end up at once. The far end cannot be: it would be opened before its sibling exists.
    pub up: bool,
    /// The far end.
    pub peer: VethPeer<'a>,
}

/// The far end of a veth pair.
#[derive(Clone, Debug, Default)]
pub struct VethPeer<'a> {
    /// Its name in its namespace.
    pub name: &'a str,
    /// Its namespace; `None` for that of the near end.
    pub netns: Option<BorrowedFd<'a>>,
    /// Its address.
    pub mac: Option<Mac>,
}

/// What to change on a link; what is `None` stays as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkChange<'a> {
    /// Up or down.
    pub up: Option<bool>,
    /// The MTU.
    pub mtu: Option<Mtu>,
    /// The Ethernet address.
    pub mac: Option<Mac>,
    /// The bridge to become a port of, by index; 0 to leave it.
    pub master: Option<u32>,
    /// The new name; the link must be down on kernels before 6.2.
    pub name: Option<&'a str>,
    /// The namespace to move to.
    pub netns: Option<BorrowedFd<'a>>,
    /// What to write at it, at most 255 bytes.
    pub alias: Option<&'a str>,
    /// The group of links to belong to.
    pub group: Option<u32>,
}

impl Netlink {
    /// Makes a bridge and returns its index. A bridge of that name is changed to fit; another kind of link is an error.
    ///
    /// # Errors
    /// [`Error::Different`] when the name belongs to a link that is no bridge.
    pub async fn add_bridge(&self, bridge: &Bridge<'_>) -> Result<u32> {
        let message = new_bridge(bridge);
        let action = || format!("add bridge {}", bridge.name);
        match self.create(message).await {
            Ok(()) => self.fix_mtu(bridge).await,
            Err(failure) if failure.is(Errno::EEXIST) => self.fit_bridge(bridge).await,
            Err(failure) => Err(self.failed(action)(failure)),
        }
    }

    /// A bridge takes the smallest MTU of its ports until its own is changed.
    async fn fix_mtu(&self, bridge: &Bridge<'_>) -> Result<u32> {
        let index = self.index_of(bridge.name).await?;
        if bridge.mtu.is_some() {
            let change = LinkChange {
                mtu: bridge.mtu,
                ..LinkChange::default()
            };
            self.set_link(index, change).await?;
        }
        Ok(index)
    }

    async fn fit_bridge(&self, bridge: &Bridge<'_>) -> Result<u32> {
        let found = self.existing(bridge.name).await?;
        if found.kind != "bridge" {
            return Err(Error::Different {
                action: format!("add bridge {}{}", bridge.name, self.place),
                found: format!("a link of kind {:?}", found.kind),
                expected: "a bridge".into(),
            });
        }
        let change = LinkChange {
            up: bridge.up.then_some(true),
            mtu: bridge.mtu.filter(|mtu| mtu.bytes() != found.mtu),
            mac: bridge.mac.filter(|mac| Some(*mac) != found.mac),
            ..LinkChange::default()
        };
        self.set_link(found.index, change).await?;
        Ok(found.index)
    }

    /// Makes a veth pair and returns the near end's index.
    ///
    /// # Errors
    /// [`Error::is_present`] when either name is taken. That is an error on
    /// purpose: from here nobody can tell whose the far end is. Delete the near
    /// end, which takes both, and add again.
    pub async fn add_veth(&self, veth: &Veth<'_>) -> Result<u32> {
        self.create(new_veth(veth))
            .await
            .map_err(self.failed(|| format!("add {veth}")))?;
        self.index_of(veth.name).await
    }

    /// Deletes a link, with a veth its other end too. Returns whether it was there.
    ///
    /// Answered as soon as nothing can use it any more and its name and addresses are free; the
    /// kernel's memory of it lasts some tens of milliseconds longer. Several at once take not
    /// much longer than one.
    ///
    /// # Errors
    /// When the kernel refuses, as for `lo`.
    pub async fn delete_link(&self, link: impl Into<LinkRef<'_>>) -> Result<bool> {
        let link = link.into();
        let deleted = self.removals.delete(link).await;
        deleted.map_err(self.failed(|| format!("delete link {link}")))
    }

    /// Changes a link; repeating it is harmless.
    ///
    /// # Errors
    /// When the link is absent or the kernel refuses a value.
    pub async fn set_link(
        &self,
        link: impl Into<LinkRef<'_>>,
        change: LinkChange<'_>,
    ) -> Result<()> {
        let link = link.into();
        let mut message = changed(link, &change);
        if let Some(name) = change.name {
            // A second name attribute would be taken for the first.
            message.header.index = self.resolve(link).await?;
            message
                .attributes
                .retain(|a| !matches!(a, LinkAttribute::IfName(_)));
            set_name(&mut message, name);
        }
        self.change(RouteNetlinkMessage::SetLink(message), 0)
            .await
            .map_err(self.failed(|| format!("set link {link} {change}")))
    }

    /// Sets a link up.
    ///
    /// # Errors
    /// As [`Netlink::set_link`].
    pub async fn set_up(&self, link: impl Into<LinkRef<'_>>) -> Result<()> {
        let change = LinkChange {
            up: Some(true),
            ..LinkChange::default()
        };
        self.set_link(link, change).await
    }

    /// Makes a link a port of a bridge.
    ///
    /// # Errors
    /// As [`Netlink::set_link`].
    pub async fn set_master(
        &self,
        link: impl Into<LinkRef<'_>>,
        bridge: impl Into<LinkRef<'_>>,
    ) -> Result<()> {
        let change = LinkChange {
            master: Some(self.resolve(bridge.into()).await?),
            ..LinkChange::default()
        };
        self.set_link(link, change).await
    }

    /// One link, `None` when it is absent.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub async fn link(&self, link: impl Into<LinkRef<'_>>) -> Result<Option<Link>> {
        let link = link.into();
        match self.get(RouteNetlinkMessage::GetLink(asked(link))).await {
            Ok(answer) => Ok(read_link(answer)),
            Err(failure) => failure
                .unless_absent()
                .map(|_| None)
                .map_err(self.failed(|| format!("get link {link}"))),
        }
    }

    /// All links, in the order of their index.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub async fn links(&self) -> Result<Vec<Link>> {
        let answers = self
            .dump(RouteNetlinkMessage::GetLink(all()))
            .await
            .map_err(self.failed(|| "list links"))?;
        Ok(answers.into_iter().filter_map(read_link).collect())
    }

    /// The index of a link.
    ///
    /// # Errors
    /// [`Error::is_absent`] when there is no such link.
    pub async fn index_of(&self, name: &str) -> Result<u32> {
        self.existing(name).await.map(|link| link.index)
    }

    pub(crate) async fn resolve(&self, link: LinkRef<'_>) -> Result<u32> {
        match link {
            LinkRef::Index(index) => Ok(index),
            LinkRef::Name(name) => self.index_of(name).await,
        }
    }

    pub(crate) async fn existing(&self, name: &str) -> Result<Link> {
        self.link(name).await?.ok_or_else(|| {
            let refusal = crate::error::Refusal::of(Errno::ENODEV);
            self.failed(|| format!("find link {name}"))(Failure::Refused(refusal))
        })
    }

    async fn create(&self, message: LinkMessage) -> Result<(), Failure> {
        self.change(
            RouteNetlinkMessage::NewLink(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )
        .await
    }
}

/// The message that makes a bridge.
pub(crate) fn new_bridge(bridge: &Bridge<'_>) -> LinkMessage {
    let mut message = new_link(
        InfoKind::Bridge,
        Some(InfoData::Bridge(vec![
            InfoBridge::StpState(BridgeStpState::Disabled),
            InfoBridge::ForwardDelay(0),
            // Frames for bridges skip all rules, and must not say where somebody is.
            InfoBridge::MultiBoolOpt(BridgeBooleanOptions {
                value: BridgeBooleanOptionFlags::NoLinkLocalLearn,
                mask: BridgeBooleanOptionFlags::NoLinkLocalLearn,
            }),
        ])),
    );
    set_name(&mut message, bridge.name);
    set_shape(&mut message, bridge.mtu.map(other_than), bridge.mac);
    if bridge.up {
        set_up(&mut message, true);
    }
    message
}

/// The message that makes a veth pair.
pub(crate) fn new_veth(veth: &Veth<'_>) -> LinkMessage {
    let mut peer = LinkMessage::default();
    set_name(&mut peer, veth.peer.name);
    set_shape(&mut peer, veth.mtu, veth.peer.mac);
    set_one_queue(&mut peer);
    if let Some(netns) = veth.peer.netns {
        peer.attributes
            .push(LinkAttribute::NetNsFd(netns.as_raw_fd()));
    }
    let mut message = new_link(InfoKind::Veth, Some(InfoData::Veth(InfoVeth::Peer(peer))));
    set_name(&mut message, veth.name);
    set_shape(&mut message, veth.mtu, veth.mac);
    set_one_queue(&mut message);
    if let Some(master) = veth.master {
        message.attributes.push(LinkAttribute::Controller(master));
    }
    if veth.up {
        set_up(&mut message, true);
    }
    message
}

/// The message that changes a link, all but its name.
pub(crate) fn changed(link: LinkRef<'_>, change: &LinkChange<'_>) -> LinkMessage {
    let mut message = named(link);
    set_shape(&mut message, change.mtu, change.mac);
    if let Some(up) = change.up {
        set_up(&mut message, up);
    }
    if let Some(master) = change.master {
        message.attributes.push(LinkAttribute::Controller(master));
    }
    if let Some(netns) = change.netns {
        message
            .attributes
            .push(LinkAttribute::NetNsFd(netns.as_raw_fd()));
    }
    if let Some(alias) = change.alias {
        message
            .attributes
            .push(LinkAttribute::IfAlias(alias.to_owned()));
    }
    if let Some(group) = change.group {
        message.attributes.push(LinkAttribute::Group(group));
    }
    message
}

/// The message that lets a link have no IPv6 address of the kernel's choice.
pub(crate) fn without_own_ipv6(link: LinkRef<'_>) -> LinkMessage {
    let mut message = named(link);
    let none = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    let settings = AfSpecUnspec::Inet6(vec![none]);
    message
        .attributes
        .push(LinkAttribute::AfSpecUnspec(vec![settings]));
    message
}

/// The message that turns a bridge port's hairpin mode on.
pub(crate) fn reflecting(port: LinkRef<'_>) -> LinkMessage {
    let mut message = named(port);
    let mode = InfoPortData::BridgePort(vec![InfoBridgePort::HairpinMode(true)]);
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(mode),
    ]));
    message
}

/// The message that deletes all links of a group.
pub(crate) fn of_group(group: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::Group(group));
    message
}

/// The message that asks for a link.
pub(crate) fn asked(link: LinkRef<'_>) -> LinkMessage {
    let mut message = named(link);
    skip_statistics(&mut message);
    message
}

/// The message that asks for all links.
pub(crate) fn all() -> LinkMessage {
    let mut message = LinkMessage::default();
    skip_statistics(&mut message);
    message
}

/// Setting the value that a link has already is no change, so it is made with another one first.
fn other_than(mtu: Mtu) -> Mtu {
    if mtu == Mtu::MIN { Mtu::MAX } else { Mtu::MIN }
}

impl<'a> From<&'a str> for LinkRef<'a> {
    fn from(name: &'a str) -> Self {
        Self::Name(name)
    }
}

impl<'a> From<&'a String> for LinkRef<'a> {
    fn from(name: &'a String) -> Self {
        Self::Name(name)
    }
}

impl From<u32> for LinkRef<'_> {
    fn from(index: u32) -> Self {
        Self::Index(index)
    }
}

impl fmt::Display for LinkRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Index(index) => write!(f, "#{index}"),
        }
    }
}

impl fmt::Display for Veth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "veth {} with peer {}", self.name, self.peer.name)?;
        match self.peer.netns {
            Some(netns) => write!(f, " (in netns {})", crate::netns::describe(netns)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for LinkChange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            self.up.map(|up| if up { "up" } else { "down" }.to_string()),
            self.mtu.map(|mtu| format!("mtu {mtu}")),
            self.mac.map(|mac| format!("address {mac}")),
            self.master.map(|index| format!("master #{index}")),
            self.name.map(|name| format!("name {name}")),
            self.netns
                .map(|netns| format!("netns {}", crate::netns::describe(netns))),
            self.alias.map(|alias| format!("alias {alias}")),
            self.group.map(|group| format!("group {group}")),
        ];
        let words: Vec<String> = words.into_iter().flatten().collect();
        f.write_str(&words.join(" "))
    }
}

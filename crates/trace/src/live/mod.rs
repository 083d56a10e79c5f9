//! `--live`: a real packet, and each stage beside what the kernel shows of it.
//!
//! ```text
//!   trace ──► what is told ──► places ──► eyes: taps on links, nftrace, conntrack
//!                                           │
//!   trace with the endpoint and the port ◄──┴── probe: a SYN or a datagram, from the sender's namespace
//!      │
//!      └──► judge: confirmed, differs, not seen
//! ```
//!
//! The packet is known by what no node changes: a SYN by the maximum segment size that it tells and its
//! sequence number, a datagram by its data. So the kernel notes the rules of this packet alone, and
//! it is found again behind each translation. What is put into kernels belongs to sockets of this process and
//! goes with them; conntrack's entries of the packet are deleted, also when somebody says stop.

mod eyes;
mod frame;
mod judge;
mod places;
mod probe;
mod sight;
#[cfg(test)]
mod tests;
mod unbroken;

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};

use sealane_net::Protocol;
use sealane_netlink::netns;

use crate::packet::Packet;
use crate::trace::{Place, Trace};
use crate::walk::{Known, TraceError, trace};
use crate::{From, Snapshot, To};

use eyes::Eyes;
pub use places::{Here, OWN_NETNS};
use probe::Probe;
use unbroken::Unbroken;

/// Why no packet was sent.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// There is no walk to tell.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The sender is somewhere else.
    #[error("send from {from}: {why}; run this on its node")]
    Elsewhere {
        /// Who sends.
        from: String,
        /// Why not here.
        why: String,
    },
    /// There are no sockets for it.
    #[error("send {0}: --live sends TCP and UDP")]
    Protocol(Protocol),
    /// The kernel refuses to make the socket.
    #[error("send from {from} as {source_address}: {source}; it takes root")]
    Socket {
        /// Who sends.
        from: String,
        /// The address that the sender should have.
        source_address: IpAddr,
        /// What the kernel says.
        source: std::io::Error,
    },
    /// The sender's namespace cannot be looked at.
    #[error("{0}; it takes root")]
    Look(#[from] sealane_netlink::Error),
}

/// Follows a packet through the cluster, sends it, and puts beside each stage what the kernel showed.
///
/// Where nothing can be sent, such as to a name that nobody has, it is only told.
///
/// # Errors
/// When FROM cannot send, or not from here.
pub fn live(
    world: &Snapshot,
    here: &Here,
    from: &From,
    to: &To,
    asked: (&str, &str),
) -> Result<Trace, LiveError> {
    let told = trace(world, from, to, asked, Known::default())?;
    let Some(first) = first_packet(&told) else {
        return Ok(told);
    };
    if first.protocol == Protocol::Sctp {
        return Err(LiveError::Protocol(first.protocol));
    }
    let from = &own_address(from, here, first.destination);
    let told = trace(world, from, to, asked, Known::default())?;
    let Some(first) = first_packet(&told) else {
        return Ok(told);
    };
    let place = sender(from);
    let elsewhere = |why| LiveError::Elsewhere {
        from: place.to_string(),
        why,
    };
    let own = here.netns(world, &place).map_err(elsewhere)?;
    let open = || {
        let source = SocketAddr::new(first.source, 0);
        Probe::open(source, first.target(), first.protocol)
    };
    let refused = |source| LiveError::Socket {
        from: place.to_string(),
        source_address: first.source,
        source,
    };
    let probe = netns::run_in(&own, open)?.map_err(refused)?;
    let eyes = Eyes::open(
        world,
        here,
        places(world, here, &told, &place),
        &first,
        probe.sign,
    );
    // It takes three seconds at the most.
    let unbroken = Unbroken::begin()
        .map_err(io::Error::from)
        .map_err(refused)?;
    let (answer, took) = probe.send();
    let shown = eyes.look(&probe, first.protocol);
    drop(probe);
    shown.forget();
    drop(unbroken);
    let known = Known {
        endpoint: shown.endpoint(&first),
        source_port: shown.sent.map(|source| source.port()),
    };
    let told = trace(world, from, to, asked, known)?;
    Ok(judge::judge(told, &shown, &answer, took))
}

/// As it is sent: before anything has rewritten it.
fn first_packet(told: &Trace) -> Option<Packet> {
    let mut packets = told
        .there
        .iter()
        .map(|stage| stage.before.as_ref().or(stage.packet.as_ref()));
    packets.find_map(|packet| packet.cloned())
}

fn sender(from: &From) -> Place {
    match from {
        From::Pod(name) => Place::Pod(name.clone()),
        From::Node(name) => Place::Node(name.clone()),
        From::Outside(_) => Place::Outside,
    }
}

/// Who is outside has the address of this machine beside the nodes.
fn own_address(from: &From, here: &Here, to: IpAddr) -> From {
    match (from, &here.outside) {
        (From::Outside(None), Some((_, addresses))) => {
            let like = addresses.iter().find(|own| own.is_ipv4() == to.is_ipv4());
            From::Outside(like.copied())
        }
        _ => from.clone(),
    }
}

/// Where the packet may come by: all nodes, and pods that may be meant.
fn places(world: &Snapshot, here: &Here, told: &Trace, from: &Place) -> BTreeSet<Place> {
    /// More are not looked into.
    const PODS: usize = 16;
    let mut places = BTreeSet::from([from.clone()]);
    places.extend(told.there.iter().map(|stage| stage.place.clone()));
    places.extend(here.nodes.keys().cloned().map(Place::Node));
    if here.outside.is_some() {
        places.insert(Place::Outside);
    }
    let meant = told.there.iter().filter_map(|stage| stage.packet.as_ref());
    let services = meant.filter_map(|packet| {
        let port = packet.destination_port;
        let by_node_port = || {
            let has = |service: &&crate::ServiceView| {
                let mut ports = service.net.ports.iter();
                ports.any(|one| one.node_port == Some(port))
            };
            world.services.iter().find(has)
        };
        world.service_at(packet.destination).or_else(by_node_port)
    });
    let slices = services.flat_map(|service| world.slices_of(&service.name));
    let addresses = slices.flat_map(|slice| slice.net.endpoints.iter().map(|e| e.address));
    let pods = addresses.filter_map(|address| world.pod_at(address));
    let pods: BTreeSet<Place> = pods.map(|pod| Place::Pod(pod.net.name.clone())).collect();
    places.extend(pods.into_iter().take(PODS));
    places
}

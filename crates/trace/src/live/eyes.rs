//! Eyes on the places that the packet may pass, and what they have shown of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;

use sealane_net::{Family, Protocol};
use sealane_netlink::{Conntrack, Flow, Frame, MetRule, RuleTrace, Sign, Tap, netns};

use super::places::Here;
use super::probe::Probe;
use super::sight::{Sight, Sights};
use crate::Snapshot;
use crate::packet::Packet;
use crate::trace::Place;

/// One place that is looked at.
struct Eye {
    place: Place,
    netns: OwnedFd,
    tap: Tap,
    rules: Option<RuleTrace>,
    conntrack: Option<Conntrack>,
}

/// All of them.
pub(crate) struct Eyes {
    eyes: Vec<Eye>,
    blind: BTreeMap<Place, String>,
}

/// What they have shown.
pub(crate) struct Shown {
    pub sights: Vec<Sight>,
    /// Rules that ended something, in the order in which the packet met them.
    pub rules: Vec<ShownRule>,
    flows: Vec<(Place, Flow, usize)>,
    eyes: Vec<Eye>,
    /// Where nobody could look, and why.
    pub blind: BTreeMap<Place, String>,
    /// From where it was sent.
    pub sent: Option<SocketAddr>,
    pub sign: Sign,
}

/// A rule that the packet met.
#[derive(Clone, Debug)]
pub(crate) struct ShownRule {
    pub place: Place,
    pub met: MetRule,
    /// As nft prints it, where nft is there.
    pub text: Option<String>,
}

impl Eyes {
    /// Where an eye cannot be opened it says why.
    pub fn open(
        world: &Snapshot,
        here: &Here,
        places: BTreeSet<Place>,
        packet: &Packet,
        sign: Sign,
    ) -> Self {
        let family = Family::from(packet.destination);
        let mut eyes: Vec<Eye> = Vec::new();
        let mut blind = BTreeMap::new();
        for place in places {
            let opened = here.netns(world, &place).and_then(|netns| {
                Eye::open(place.clone(), netns, family, sign).map_err(|error| error.to_string())
            });
            match opened {
                Ok(eye) => eyes.push(eye),
                Err(why) => drop(blind.insert(place, why)),
            }
        }
        Self { eyes, blind }
    }

    /// What has been seen since they were opened.
    pub fn look(self, probe: &Probe, protocol: Protocol) -> Shown {
        let Self { eyes, mut blind } = self;
        let mut frames = Vec::new();
        for eye in &eyes {
            match eye.frames(protocol) {
                Ok(found) => frames.extend(found),
                Err(error) => drop(blind.insert(eye.place.clone(), error.to_string())),
            }
        }
        let sights = Sights::of(frames, probe.sign);
        let flows = eyes.iter().enumerate().flat_map(|(index, eye)| {
            let found = eye.flows(protocol, &sights.all, (probe.source, probe.target));
            found
                .into_iter()
                .map(move |flow| (eye.place.clone(), flow, index))
        });
        let flows = flows.collect();
        let rules = eyes.iter().flat_map(|eye| eye.rules(&sights)).collect();
        Shown {
            sights: sights.all,
            rules,
            flows,
            eyes,
            blind,
            sent: Some(probe.source),
            sign: probe.sign,
        }
    }
}

impl Eye {
    fn open(
        place: Place,
        netns: OwnedFd,
        family: Family,
        sign: Sign,
    ) -> sealane_netlink::Result<Self> {
        let tap = Tap::begin(&netns)?;
        // Kernels before 5.12 cannot; the links are seen all the same.
        let (rules, conntrack) = netns::run_in(&netns, || {
            (RuleTrace::begin(family, sign).ok(), Conntrack::open().ok())
        })?;
        Ok(Self {
            place,
            netns,
            tap,
            rules,
            conntrack,
        })
    }

    fn frames(&self, protocol: Protocol) -> sealane_netlink::Result<Vec<(Place, Frame)>> {
        let wanted = |bytes: &[u8]| {
            super::frame::read(bytes).is_some_and(|datagram| datagram.concerns(protocol))
        };
        let frames = self.tap.frames(wanted)?;
        let here = |frame| (self.place.clone(), frame);
        Ok(frames.into_iter().map(here).collect())
    }

    /// Entries that begin as the packet was when it came here.
    fn flows(
        &self,
        protocol: Protocol,
        sights: &[Sight],
        sent: (SocketAddr, SocketAddr),
    ) -> Vec<Flow> {
        let Some(conntrack) = &self.conntrack else {
            return Vec::new();
        };
        let here = sights.iter().filter(|sight| sight.place == self.place);
        let mut ways: BTreeSet<_> = here.map(|s| (s.source, s.destination)).collect();
        // What a node sends itself is translated before it comes to a link.
        ways.insert(sent);
        let called: BTreeSet<SocketAddr> = ways.iter().map(|(_, to)| *to).collect();
        let flows = called
            .into_iter()
            .filter_map(|called| conntrack.flows_to(called, protocol).ok());
        let is_it = |flow: &Flow| ways.contains(&(flow.client, flow.called));
        flows.flatten().filter(is_it).collect()
    }

    fn rules(&self, sights: &Sights) -> Vec<ShownRule> {
        let Some(rules) = &self.rules else {
            return Vec::new();
        };
        let met = rules.met();
        let is_ours = |rule: &&MetRule| {
            let headers = rule.headers.as_ref();
            let transport = headers.map(|(_, transport)| transport.as_slice());
            let sequence = transport.and_then(|bytes| bytes.get(4..8));
            let sequence = sequence.and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
            // A datagram's sign was compared as a whole already.
            sequence.is_some_and(|bytes| {
                sights.sequences.is_empty() || sights.sequences.contains(&u32::from_be_bytes(bytes))
            })
        };
        let packets: BTreeSet<u32> = met.iter().filter(is_ours).map(|one| one.packet).collect();
        let mut texts = BTreeMap::new();
        let told = met
            .into_iter()
            .filter(|one| packets.contains(&one.packet) && one.verdict.is_some());
        let told = told.filter(|one| {
            // A chain's end that lets pass is no news.
            one.rule.is_some() || one.verdict == Some(sealane_ruleset::Verdict::Drop)
        });
        told.map(|met| {
            let listing = texts
                .entry((met.family, met.table.clone()))
                .or_insert_with(|| listing(self.netns.as_fd(), met.family, &met.table));
            let text = met.rule.and_then(|handle| rule_text(listing, handle));
            ShownRule {
                place: self.place.clone(),
                text,
                met,
            }
        })
        .collect()
    }
}

/// A table as nft prints it, without elements of sets; empty where nft is missing.
fn listing(netns: std::os::fd::BorrowedFd<'_>, family: &str, table: &str) -> String {
    let run = || {
        let mut nft = Command::new("nft");
        nft.args(["-a", "-t", "list", "table", family, table])
            .output()
    };
    match netns::run_in(netns, run) {
        Ok(Ok(output)) => String::from_utf8_lossy(&output.stdout).into_owned(),
        _ => String::new(),
    }
}

fn rule_text(listing: &str, handle: u64) -> Option<String> {
    let end = format!(" # handle {handle}");
    let line = listing.lines().find_map(|line| line.strip_suffix(&end))?;
    Some(line.trim().to_owned())
}

impl Shown {
    /// Deletes what conntrack has noted of the packet, as if it had not been sent.
    pub fn forget(&self) {
        for (_, flow, eye) in &self.flows {
            let conntrack = self.eyes.get(*eye).and_then(|eye| eye.conntrack.as_ref());
            // It may have gone by itself, and goes by itself otherwise.
            let _ = conntrack.map(|conntrack| conntrack.delete(flow));
        }
    }

    /// Where the packet was sent on to by the node that it came to first.
    pub fn endpoint(&self, first: &Packet) -> Option<SocketAddr> {
        let mut flows = self.flows.iter().map(|(_, flow, _)| flow);
        let rewritten =
            flows.find(|flow| flow.called == first.target() && flow.answers != flow.called);
        rewritten.map(|flow| flow.answers)
    }

    pub fn flows_at(&self, place: &Place) -> impl Iterator<Item = &Flow> {
        let here = self.flows.iter().filter(move |(at, ..)| at == place);
        here.map(|(_, flow, _)| flow)
    }

    /// How a command is run in a place: `ip netns exec sealane-node-1 `, or as it is.
    pub fn enter(&self, place: &Place) -> String {
        let eye = self.eyes.iter().find(|eye| eye.place == *place);
        let path = eye.map(|eye| netns::describe(eye.netns.as_fd()));
        let name = path
            .as_deref()
            .and_then(|path| path.strip_prefix(netns::NAMED_DIR));
        name.map_or_else(String::new, |name| {
            format!("ip netns exec {} ", name.trim_start_matches('/'))
        })
    }

    pub fn has_eye(&self, place: &Place) -> bool {
        self.eyes.iter().any(|eye| eye.place == *place)
    }
}

//! Which endpoints of a Service's port a policy may use: the rules of KEP-1669, KEP-2433 and KEP-3015.

use std::sync::Arc;

use sealane_objects::{SliceEndpoint, TrafficPolicy};

use crate::{Endpoint, NodeFacts};

/// An endpoint as a slice has it, with the port of that slice.
#[derive(Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub endpoint: &'a SliceEndpoint,
    pub port: u16,
}

/// What the two policies come to.
#[derive(Default, PartialEq, Debug)]
pub(crate) struct Chosen {
    pub cluster: Vec<Endpoint>,
    pub local: Vec<Endpoint>,
    pub has_endpoints: bool,
}

/// Which policies are asked for by any frontend of the Service.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub internal: TrafficPolicy,
    pub external: TrafficPolicy,
    /// Whether there is any frontend but the cluster IP.
    pub from_outside: bool,
}

/// For whom endpoints are reserved.
#[derive(Clone, Copy, PartialEq)]
enum Topology {
    Anybody,
    Node,
    Zone,
}

pub(crate) fn choose(all: &[Candidate<'_>], asked: Asked, node: &NodeFacts) -> Chosen {
    let locally = asked.internal == TrafficPolicy::Local
        || asked.from_outside && asked.external == TrafficPolicy::Local;
    let mut chosen = Chosen {
        cluster: cluster(all, node),
        local: Vec::new(),
        has_endpoints: all.iter().any(|c| c.endpoint.ready || c.is_draining()),
    };
    if locally {
        let here = |c: &Candidate<'_>| c.is_local(node);
        chosen.local = ready_else_draining(all, node, here);
    }
    chosen
}

fn cluster(all: &[Candidate<'_>], node: &NodeFacts) -> Vec<Endpoint> {
    let topology = topology(all, node);
    let meant = |c: &Candidate<'_>| c.endpoint.ready && c.is_meant_for(topology, node);
    let ready = collect(all, node, meant);
    if ready.is_empty() {
        // The last resort knows no zones.
        return collect(all, node, |c| c.is_draining());
    }
    ready
}

fn ready_else_draining(
    all: &[Candidate<'_>],
    node: &NodeFacts,
    among: impl Fn(&Candidate<'_>) -> bool,
) -> Vec<Endpoint> {
    let ready = collect(all, node, |c| c.endpoint.ready && among(c));
    if ready.is_empty() {
        return collect(all, node, |c| c.is_draining() && among(c));
    }
    ready
}

/// Ascending; an endpoint that is in several slices comes once.
fn collect(
    all: &[Candidate<'_>],
    node: &NodeFacts,
    wanted: impl Fn(&Candidate<'_>) -> bool,
) -> Vec<Endpoint> {
    let wanted = all.iter().filter(|c| wanted(c));
    let mut list: Vec<Endpoint> = wanted.map(|c| c.to_endpoint(node)).collect();
    // Of two that differ in `local` alone the local one comes last and is kept.
    list.sort_unstable();
    list.dedup_by(|later, kept| {
        let same = (later.address, later.port) == (kept.address, kept.port);
        kept.local |= same && later.local;
        same
    });
    list
}

/// Hints count only when every ready endpoint has one and one of them is for us: a half-written
/// set must neither overload the few that have hints nor leave anybody without.
fn topology(all: &[Candidate<'_>], node: &NodeFacts) -> Topology {
    let ready = || all.iter().filter(|c| c.endpoint.ready);
    for topology in [Topology::Node, Topology::Zone] {
        let every = ready().all(|c| c.has_hint(topology));
        if every && ready().any(|c| c.is_meant_for(topology, node)) {
            return topology;
        }
    }
    Topology::Anybody
}

impl Candidate<'_> {
    fn is_draining(&self) -> bool {
        self.endpoint.serving && self.endpoint.terminating
    }

    fn is_local(&self, node: &NodeFacts) -> bool {
        self.endpoint.node.as_deref() == Some(&*node.name)
    }

    fn has_hint(&self, topology: Topology) -> bool {
        let hints = self.endpoint.hints.as_deref();
        hints.is_some_and(|hints| match topology {
            Topology::Anybody => true,
            Topology::Node => !hints.nodes.is_empty(),
            Topology::Zone => !hints.zones.is_empty(),
        })
    }

    fn is_meant_for(&self, topology: Topology, node: &NodeFacts) -> bool {
        let hints = self.endpoint.hints.as_deref();
        match topology {
            Topology::Anybody => true,
            Topology::Node => hints.is_some_and(|h| h.nodes.contains(&node.name)),
            Topology::Zone => {
                let ours = node.zone.as_ref();
                hints.is_some_and(|h| ours.is_some_and(|zone| h.zones.contains(zone)))
            }
        }
    }

    fn to_endpoint(self, node: &NodeFacts) -> Endpoint {
        Endpoint {
            address: self.endpoint.address,
            port: self.port,
            local: self.is_local(node),
        }
    }
}

/// An empty list takes no room.
pub(crate) fn share(list: Vec<Endpoint>) -> Arc<[Endpoint]> {
    match list.is_empty() {
        true => Arc::default(),
        false => list.into(),
    }
}

//! Endpoints of a Service: which there are, and what keeps the others from being any.

use std::net::IpAddr;

use sealane_net::Family;
use sealane_objects::{ObjectName, SliceEndpoint, TrafficPolicy};
use sealane_service::{Endpoint, ServicePort};

use crate::blame;
use crate::trace::{Death, Line};
use crate::{NodeView, PodView, ServiceView, Snapshot};

/// How many others a list shows before it only counts.
pub(crate) const SHOWN: usize = 4;

/// Addresses that the name of a headless Service stands for.
pub(crate) fn ready_addresses(world: &Snapshot, service: &ObjectName) -> Vec<IpAddr> {
    let endpoints = world
        .slices_of(service)
        .flat_map(|slice| slice.net.endpoints.iter());
    let mut ready: Vec<IpAddr> = endpoints.filter(|e| e.ready).map(|e| e.address).collect();
    ready.sort();
    ready.dedup();
    ready
}

/// Whose endpoint it is, where that is known: `default/web-1 10.244.2.7:8080 on node-2`.
pub(crate) fn called(world: &Snapshot, endpoint: &Endpoint) -> String {
    let at = std::net::SocketAddr::new(endpoint.address, endpoint.port);
    match world.pod_at(endpoint.address) {
        Some(pod) => format!("{at}  pod {} on {}", pod.net.name, pod.net.node_name),
        None => match world.node_at(endpoint.address) {
            Some(node) => format!("{at}  on node {}", node.net.name),
            None => format!("{at}  outside of the cluster"),
        },
    }
}

/// Why the other endpoints are not the one: equal ones first, then those that may not be used.
pub(crate) fn others(
    world: &Snapshot,
    node: &NodeView,
    port: &ServicePort,
    usable: &[Endpoint],
    chosen: &Endpoint,
    policy: TrafficPolicy,
) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut say = |label, text| lines.push(Line { label, text });
    let equal: Vec<_> = usable.iter().filter(|other| *other != chosen).collect();
    for other in equal.iter().take(SHOWN) {
        say("equal", called(world, other));
    }
    if equal.len() > SHOWN {
        say("equal", format!("and {} more", equal.len() - SHOWN));
    }
    let family = port.key.family;
    let mut left_out = 0;
    for (endpoint, target) in all(world, port) {
        let same = |one: &Endpoint| one.address == endpoint.address;
        if usable.iter().any(same) || family != Family::from(endpoint.address) {
            continue;
        }
        left_out += 1;
        if left_out <= SHOWN {
            let called = called(world, &target);
            let why = why_not(world, node, endpoint, policy);
            say("not", format!("{called}: {why}"));
        }
    }
    for pod in missing(world, &port.key.service).take(SHOWN) {
        let why = pod.not_ready.as_deref().unwrap_or("it has no address");
        say("not", format!("pod {}: {why}", pod.net.name));
    }
    if left_out > SHOWN {
        say("not", format!("and {} more", left_out - SHOWN));
    }
    lines
}

/// The endpoints that slices have for a port of a Service, with the number that they serve at.
fn all<'a>(
    world: &'a Snapshot,
    port: &'a ServicePort,
) -> impl Iterator<Item = (&'a SliceEndpoint, Endpoint)> {
    let slices = world.slices_of(&port.key.service);
    slices.flat_map(move |slice| {
        let number = slice
            .net
            .ports
            .iter()
            .find(|one| one.name == port.key.name && one.protocol == port.key.protocol)
            .map(|one| one.port);
        let target = move |endpoint: &'a SliceEndpoint| {
            let target = Endpoint {
                address: endpoint.address,
                port: number?,
                local: false,
            };
            Some((endpoint, target))
        };
        slice.net.endpoints.iter().filter_map(target)
    })
}

/// Selected pods that have no address, so that no slice names them.
fn missing<'a>(world: &'a Snapshot, service: &'a ObjectName) -> impl Iterator<Item = &'a PodView> {
    let service = world.service(service);
    world.pods.iter().filter(move |pod| {
        service.is_some_and(|service| blame::selects(service, pod))
            && pod.net.pod_ips.is_empty()
            && !pod.net.finished
    })
}

fn why_not(
    world: &Snapshot,
    node: &NodeView,
    endpoint: &SliceEndpoint,
    policy: TrafficPolicy,
) -> String {
    if !endpoint.ready {
        if endpoint.terminating {
            return "it is being deleted".to_owned();
        }
        let pod = world.pod_at(endpoint.address);
        let why = pod.and_then(|pod| pod.not_ready.as_deref());
        return format!("not ready: {}", why.unwrap_or("its slice says so"));
    }
    if policy == TrafficPolicy::Local && endpoint.node.as_deref() != Some(&*node.net.name) {
        let there = endpoint.node.as_deref().unwrap_or("no node");
        return format!("it is on {there}, and the policy is Local");
    }
    match (&endpoint.hints, &node.zone) {
        (Some(hints), zone) => {
            let zones: Vec<&str> = hints.zones.iter().map(|zone| &**zone).collect();
            let zone = zone.as_deref().unwrap_or("none");
            format!("it is meant for zone {}, ours is {zone}", zones.join(", "))
        }
        _ => "others are preferred".to_owned(),
    }
}

/// Why a Service has nobody to serve it.
pub(crate) fn none_ready(
    world: &Snapshot,
    service: &ServiceView,
    port: Option<&ServicePort>,
) -> Death {
    blame::no_endpoints(world, service, port)
}

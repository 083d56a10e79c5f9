//! Which endpoints a Service has.
//!
//! | pod | ready | serving | terminating |
//! |---|---|---|---|
//! | ready | true | true | false |
//! | not ready | false, or true with `publishNotReadyAddresses` | false | false |
//! | being deleted, still ready | false, or true with `publishNotReadyAddresses` | true | true |
//!
//! A pod without an address, or whose containers have all ended, is none.
//! Endpoints, the older form, list pods that are being deleted only with
//! `publishNotReadyAddresses`, and the addresses of one family alone.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::pack::Group;
use super::service::{Address, EndpointsView, Nearness, Service};
use super::slice::{AddressType, Conditions, Endpoint, Hints, Place, Port, TargetRef};
use crate::view::PodView;
use sealane_objects::ObjectName;

/// Endpoints, by what lets them share a slice.
pub type Groups = BTreeMap<Group, Vec<Endpoint>>;

/// Kubernetes' limit for Endpoints.
const MOST_ADDRESSES: usize = 1000;

/// The endpoints of a Service with a selector.
pub fn of_service<'a>(
    service: &Service,
    pods: impl Iterator<Item = (&'a ObjectName, &'a PodView)>,
    zone_of: impl Fn(&str) -> Option<String>,
) -> Groups {
    let mut groups = Groups::new();
    for (name, pod) in pods.filter(|(_, pod)| !pod.facts.is_finished()) {
        let ports = service.ports_of(&pod.facts);
        for family in &service.families {
            let Some(address) = address(pod, *family) else {
                continue;
            };
            let group = Group {
                address_type: *family,
                ports: ports.clone(),
            };
            let zone = pod.node.as_deref().and_then(&zone_of);
            let endpoint = endpoint(service, name, pod, address, zone);
            groups.entry(group).or_default().push(endpoint);
        }
    }
    add_placeholders(&mut groups, &service.families);
    groups
}

/// A family without endpoints has one slice that says so.
fn add_placeholders(groups: &mut Groups, families: &[AddressType]) {
    for family in families {
        if !groups.keys().any(|group| group.address_type == *family) {
            let group = Group {
                address_type: *family,
                ports: Vec::new(),
            };
            groups.insert(group, Vec::new());
        }
    }
}

fn address(pod: &PodView, family: AddressType) -> Option<IpAddr> {
    let fits = |ip: &&IpAddr| ip.is_ipv4() == (family == AddressType::IPv4);
    pod.facts.addresses.iter().find(fits).copied()
}

fn endpoint(
    service: &Service,
    name: &ObjectName,
    pod: &PodView,
    address: IpAddr,
    zone: Option<String>,
) -> Endpoint {
    let serving = pod.facts.is_ready();
    let ready = service.publish_not_ready || (serving && !pod.deleting);
    Endpoint {
        addresses: vec![address.to_string()],
        conditions: Conditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(pod.deleting),
        },
        hostname: hostname(service, pod),
        hints: service
            .prefers
            .filter(|_| ready)
            .and_then(|prefers| hints(prefers, pod.node.as_deref(), zone.as_deref())),
        node_name: pod.node.clone(),
        zone,
        target_ref: Some(target(name, pod)),
    }
}

/// Clients near an endpoint are led to it, as Kubernetes' controller has it: those of its zone,
/// and first those of its node if that is asked for.
fn hints(prefers: Nearness, node: Option<&str>, zone: Option<&str>) -> Option<Hints> {
    let place = |name: &str| Place {
        name: name.to_owned(),
    };
    let hints = Hints {
        for_nodes: node
            .filter(|_| prefers == Nearness::SameNode)
            .map(place)
            .into_iter()
            .collect(),
        for_zones: zone.map(place).into_iter().collect(),
    };
    (hints != Hints::default()).then_some(hints)
}

/// A pod has a name of its own below its Service if it says so.
fn hostname(service: &Service, pod: &PodView) -> Option<String> {
    let below = pod.facts.subdomain.as_ref() == Some(&service.head.name.name);
    pod.facts.hostname.clone().filter(|_| below)
}

fn target(name: &ObjectName, pod: &PodView) -> TargetRef {
    TargetRef {
        kind: "Pod".to_owned(),
        namespace: name.namespace.clone(),
        name: name.name.clone(),
        uid: pod.uid.clone(),
    }
}

/// The endpoints that a person has written down for a Service without a selector.
pub fn of_endpoints(endpoints: &EndpointsView) -> Groups {
    let mut groups = Groups::new();
    for subset in &endpoints.subsets {
        let mut ports = subset.ports.clone();
        ports.sort();
        let ready = subset.addresses.iter().map(|address| (address, true));
        let others = subset.not_ready_addresses.iter();
        for (address, ready) in ready.chain(others.map(|address| (address, false))) {
            let Ok(ip) = address.ip.parse::<IpAddr>() else {
                continue;
            };
            let group = Group {
                address_type: if ip.is_ipv4() {
                    AddressType::IPv4
                } else {
                    AddressType::IPv6
                },
                ports: ports.clone(),
            };
            let endpoint = mirrored(address, ready);
            groups.entry(group).or_default().push(endpoint);
        }
    }
    groups
}

fn mirrored(address: &Address, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Conditions {
            ready: Some(ready),
            ..Conditions::default()
        },
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        zone: None,
        target_ref: address.target_ref.clone(),
        hints: None,
    }
}

/// `.subsets` of the Endpoints beside the slices.
pub fn subsets<'a>(
    service: &Service,
    pods: impl Iterator<Item = (&'a ObjectName, &'a PodView)>,
) -> Value {
    let Some(family) = service.families.first() else {
        return json!([]);
    };
    let mut by_ports: BTreeMap<Vec<Port>, [Vec<(IpAddr, Value)>; 2]> = BTreeMap::new();
    let counts =
        |pod: &PodView| !pod.facts.is_finished() && (service.publish_not_ready || !pod.deleting);
    let pods = pods.filter(|(_, pod)| counts(pod)).take(MOST_ADDRESSES);
    for (name, pod) in pods {
        let Some(ip) = address(pod, *family) else {
            continue;
        };
        let ready = service.publish_not_ready || pod.facts.is_ready();
        let shown = shown_address(service, name, pod, ip);
        let lists = by_ports.entry(service.ports_of(&pod.facts)).or_default();
        lists[usize::from(!ready)].push((ip, shown));
    }
    let subset = |(ports, [ready, not_ready]): (Vec<Port>, [Vec<(IpAddr, Value)>; 2])| {
        let mut subset = json!({});
        for (field, list) in [("addresses", ready), ("notReadyAddresses", not_ready)] {
            if !list.is_empty() {
                subset[field] = sorted(list);
            }
        }
        if !ports.is_empty() {
            subset["ports"] = ports.iter().map(shown_port).collect();
        }
        subset
    };
    by_ports.into_iter().map(subset).collect()
}

fn sorted(mut list: Vec<(IpAddr, Value)>) -> Value {
    list.sort_by_key(|(ip, _)| *ip);
    list.into_iter().map(|(_, shown)| shown).collect()
}

fn shown_address(service: &Service, name: &ObjectName, pod: &PodView, ip: IpAddr) -> Value {
    let mut shown = json!({"ip": ip.to_string(), "targetRef": target(name, pod)});
    if let Some(node) = &pod.node {
        shown["nodeName"] = json!(node);
    }
    if let Some(hostname) = hostname(service, pod) {
        shown["hostname"] = json!(hostname);
    }
    shown
}

fn shown_port(port: &Port) -> Value {
    let mut shown = json!({"port": port.port, "protocol": port.protocol});
    if !port.name.is_empty() {
        shown["name"] = json!(port.name);
    }
    if let Some(protocol) = &port.app_protocol {
        shown["appProtocol"] = json!(protocol);
    }
    shown
}

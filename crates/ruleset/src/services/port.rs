//! A port of a Service in the maps: its id, which slot has which endpoint, and the elements that follow.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use sealane_net::Family;
use sealane_objects::TrafficPolicy;
use sealane_service::{Endpoint, Frontend, Kind, ServicePort, Way, pod_with_ports};

use super::element::{Bytes, Element, Map};
use super::number::{Gate, Number, Step, Style};
use crate::Interval;

/// A port of a Service as it is in the maps.
pub(super) struct Port {
    /// Half of the ids: twice it is that of all endpoints, and one more that of those on this node.
    pub half_id: u32,
    pub served: Arc<ServicePort>,
    pub cluster: Slots,
    pub local: Slots,
}

/// Endpoints in the order of their slots, which nobody changes who need not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Slots(pub Vec<Slot>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub address: IpAddr,
    pub port: u16,
    /// The endpoint's number where clients stay with theirs, else 0.
    pub number: u32,
}

impl Slots {
    /// Takes over the endpoints: those that stay keep their slots, and the last ones move into holes.
    pub(super) fn update(&mut self, endpoints: &[Endpoint], mut number: impl FnMut() -> u32) {
        let room = Step::MAX.slots() as usize;
        let endpoints = &endpoints[..endpoints.len().min(room)];
        let at = |slot: &Slot| {
            let key = (slot.address, slot.port);
            endpoints.binary_search_by_key(&key, |e| (e.address, e.port))
        };
        let mut known = vec![false; endpoints.len()];
        let mut hole = 0;
        while hole < self.0.len() {
            match at(&self.0[hole]) {
                Ok(index) if !known[index] => {
                    known[index] = true;
                    hole += 1;
                }
                _ => {
                    self.0.swap_remove(hole);
                }
            }
        }
        let new = endpoints.iter().zip(known).filter(|(_, known)| !known);
        self.0.extend(new.map(|(endpoint, _)| Slot {
            address: endpoint.address,
            port: endpoint.port,
            number: 0,
        }));
        for slot in &mut self.0 {
            if slot.number == 0 {
                slot.number = number();
            }
        }
    }

    fn step(&self) -> Step {
        Step::for_count(self.0.len())
    }

    fn put_elements(&self, id: u32, out: &mut Vec<Element>) {
        for (index, slot) in self.0.iter().enumerate() {
            let key = Bytes::default().mark(index as u32).mark(id);
            let value = Bytes::default().address(slot.address).port(slot.port);
            if slot.number == 0 {
                out.push(Element::value(Map::Eps, key, value));
            } else {
                out.push(Element::number(Map::StickyEps, key, slot.number));
                let number = Bytes::default().mark(slot.number);
                out.push(Element::value(Map::Endpoints, number, value));
            }
        }
    }
}

impl Port {
    pub(super) fn id(&self, policy: TrafficPolicy) -> u32 {
        2 * self.half_id + u32::from(policy == TrafficPolicy::Local)
    }

    fn slots(&self, policy: TrafficPolicy) -> &Slots {
        match policy {
            TrafficPolicy::Cluster => &self.cluster,
            TrafficPolicy::Local => &self.local,
        }
    }

    fn style(&self) -> Style {
        Style {
            affinity_seconds: self.served.affinity_seconds.unwrap_or(0),
            ..Style::PLAIN
        }
    }

    /// The chains that it needs.
    pub(super) fn needs(&self) -> Vec<(Style, Step)> {
        let mut needs = Vec::new();
        self.each_number(|_, number, inside| {
            for number in [Some(number), inside].into_iter().flatten() {
                if number.step != Step::NONE && !needs.contains(&(number.style, number.step)) {
                    needs.push((number.style, number.step));
                }
            }
        });
        needs
    }

    /// Each frontend with its number, and the one for clients on this node where that is another.
    fn each_number(&self, mut take: impl FnMut(At, Number, Option<Number>)) {
        for (frontend, kind) in self.served.frontends() {
            let loopback = is_all_loopback(&self.served, &frontend, kind);
            let (policy, gate) = match loopback {
                true => (TrafficPolicy::Cluster, self.gate_of_loopback()),
                false => (self.policy(kind), self.gate(kind)),
            };
            let step = match gate {
                Gate::Refuse | Gate::Drop => Step::NONE,
                _ => self.slots(policy).step(),
            };
            let number = Number {
                gate: Some(gate),
                style: Style {
                    loopback,
                    ..self.style()
                },
                step,
            };
            let inside = matches!(gate, Gate::Local | Gate::GuardedLocal).then(|| Number {
                gate: None,
                style: Style {
                    inside: true,
                    ..self.style()
                },
                step: self.cluster.step(),
            });
            let key = key_of(&self.served, &frontend, kind);
            take(At { key, policy }, number, inside);
        }
    }

    fn policy(&self, kind: Kind) -> TrafficPolicy {
        match kind {
            Kind::ClusterIp => self.served.internal_policy,
            _ => self.served.external_policy,
        }
    }

    fn gate(&self, kind: Kind) -> Gate {
        let way = match kind {
            Kind::ClusterIp => self.served.internal(),
            _ => self.served.external(),
        };
        let guarded = kind == Kind::LoadBalancer && self.served.source_ranges.is_some();
        match (kind, way, self.policy(kind)) {
            (_, Way::Refuse, _) => Gate::Refuse,
            (Kind::ClusterIp, Way::Drop, _) => Gate::Drop,
            (Kind::ClusterIp, Way::Endpoints(_), _) => Gate::ClusterIp,
            (_, _, TrafficPolicy::Cluster) if guarded => Gate::GuardedExternal,
            (_, _, TrafficPolicy::Cluster) => Gate::External,
            (_, _, TrafficPolicy::Local) if guarded => Gate::GuardedLocal,
            (_, _, TrafficPolicy::Local) => Gate::Local,
        }
    }

    /// Only the node itself calls there, which may use all endpoints whatever the policy.
    fn gate_of_loopback(&self) -> Gate {
        match self.served.inside() {
            Way::Refuse => Gate::Refuse,
            Way::Drop | Way::Endpoints(_) => Gate::External,
        }
    }

    /// Puts all its elements to others; each key comes once.
    pub(super) fn put_elements(&self, out: &mut Vec<Element>) {
        let mut guarded = false;
        let (mut leads_to_all, mut leads_to_local) = (false, false);
        self.each_number(|At { key, policy }, number, inside| {
            out.push(Element::number(Map::PickerOf, key, number.value()));
            let gate = number.gate.unwrap_or(Gate::Refuse);
            guarded |= matches!(gate, Gate::GuardedExternal | Gate::GuardedLocal);
            if !matches!(gate, Gate::Refuse | Gate::Drop) {
                leads_to_all |= policy == TrafficPolicy::Cluster;
                leads_to_local |= policy == TrafficPolicy::Local;
                out.push(Element::number(Map::Frontends, key, self.id(policy)));
            }
            if let Some(inside) = inside {
                out.push(Element::number(Map::Inside, key, inside.value()));
                leads_to_all = true;
                let id = self.id(TrafficPolicy::Cluster);
                out.push(Element::number(Map::InsideIds, key, id));
            }
        });
        // What nothing leads to would not be found again.
        for (leads, policy) in [
            (leads_to_all, TrafficPolicy::Cluster),
            (leads_to_local, TrafficPolicy::Local),
        ] {
            if leads {
                self.slots(policy).put_elements(self.id(policy), out);
            }
        }
        if guarded {
            let id = self.id(self.served.external_policy);
            let ranges = self.served.source_ranges.iter().flat_map(|r| r.iter());
            let ranges = Interval::of_networks(self.served.key.family, ranges.copied());
            let before = Bytes::default().mark(id);
            let each = ranges.iter();
            out.extend(each.map(|range| Element::range(Map::SourceRanges, before, range)));
        }
    }

    /// The addresses of endpoints on this node, each once.
    pub(super) fn hairpins(&self) -> Vec<IpAddr> {
        let all = self.served.cluster.iter().chain(self.served.local.iter());
        let mut own: Vec<IpAddr> = all.filter(|e| e.local).map(|e| e.address).collect();
        own.sort_unstable();
        own.dedup();
        own
    }
}

/// A frontend in the maps.
struct At {
    key: Bytes,
    policy: TrafficPolicy,
}

/// The frontends in the maps.
pub(super) fn keys(served: &ServicePort) -> impl Iterator<Item = Bytes> {
    let all = served.frontends().into_iter();
    all.map(|(frontend, kind)| key_of(served, &frontend, kind))
}

fn key_of(served: &ServicePort, frontend: &Frontend, kind: Kind) -> Bytes {
    let address = match is_all_loopback(served, frontend, kind) {
        true => IpAddr::from([Ipv4Addr::LOCALHOST.octets()[0], 0, 0, 0]),
        false => frontend.address,
    };
    Bytes::default()
        .address(address)
        .protocol(frontend.protocol)
        .port(frontend.port)
}

/// Whether all of 127.0.0.0/8 is meant: by a node port of a Service, for which the port is kept free everywhere. A pod's
/// host port is not: at another of these addresses a program of the node may have it, such as a stub resolver.
fn is_all_loopback(served: &ServicePort, frontend: &Frontend, kind: Kind) -> bool {
    kind == Kind::NodePort
        && frontend.address == IpAddr::V4(Ipv4Addr::LOCALHOST)
        && pod_with_ports(&served.key.service).is_none()
}

/// The endpoints that a kernel has in the slots of an id, as far as they follow each other.
pub(super) fn slots_in(image: &super::Image, id: u32, sticky: bool, family: Family) -> Slots {
    let value = |map, key: &Bytes| match image.get(map, key) {
        Some(super::Data::Value(value)) => Some(*value),
        _ => None,
    };
    let width = usize::from(family.address_bits() / 8);
    let slot = |index: u32| {
        let key = Bytes::default().mark(index).mark(id);
        let (number, value) = if sticky {
            let number = value(Map::StickyEps, &key)?.mark_at(0)?;
            (
                number,
                value(Map::Endpoints, &Bytes::default().mark(number))?,
            )
        } else {
            (0, value(Map::Eps, &key)?)
        };
        Some(Slot {
            address: value.address_at(0, family)?,
            port: value.port_at(width)?,
            number,
        })
    };
    Slots((0..).map_while(slot).collect())
}

//! From a question to what there is.
//!
//! ```text
//! cluster.local                      SOA, NS
//! ├── dns-version                    TXT
//! ├── dns ── ns                      addresses of the servers
//! ├── svc ── NAMESPACE ── SERVICE    addresses, or CNAME
//! │                       ├── HOST               addresses of an endpoint
//! │                       └── _PROTOCOL ── _PORT SRV
//! └── pod ── NAMESPACE ── ADDRESS    that address
//! ```
//!
//! A name is there if it has records of some kind, or if a name below it is there (RFC 8020): then a
//! question for what it does not have is answered with nothing (NODATA) instead of with NXDOMAIN.
//! `svc` and `pod` are always there, a namespace as long as its object or one of its Services is.

use std::net::IpAddr;
use std::sync::Arc;

use sealane_message::{Class, Kind, Name, Question};
use sealane_net::Protocol;

use crate::answer::{Addresses, Answer, Outcome, Ports};
use crate::label::{Label, dashed, undashed};
use crate::reverse;
use crate::service::{Object, Service, Target};
use crate::settings::is_reverse;
use crate::{PodRecords, Settings, Zone};

/// How many names may stand for each other before it is taken for a circle.
const MAX_ALIASES: usize = 8;

/// What a question comes to.
#[derive(Debug)]
pub enum Found<'z> {
    /// The name is not the cluster's, or the settings leave it to others: fallthrough.
    Outside,
    /// The name is the cluster's, whether it is there or not.
    Inside(Answer<'z>),
}

/// The labels of a name left of its zone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path<'n> {
    wire: &'n [u8],
    starts: [u8; MAX_LABELS],
    count: usize,
}

/// `_port._protocol.service.namespace.svc` is the longest that there is.
const MAX_LABELS: usize = 5;

impl<'n> Path<'n> {
    /// The labels of `name` left of `zone`; none if it is not within.
    pub(crate) fn new(name: &'n Name, zone: &Name) -> Option<Self> {
        let wire = name.as_wire();
        let end = wire.len().checked_sub(zone.len())?;
        if &wire[end..] != zone.as_wire() {
            return None;
        }
        let mut path = Path {
            wire: &wire[..end],
            starts: [0; MAX_LABELS],
            count: 0,
        };
        let mut at = 0;
        while at < end {
            if let Some(start) = path.starts.get_mut(path.count) {
                *start = at as u8;
            }
            path.count += 1;
            at += 1 + usize::from(wire[at]);
        }
        (at == end).then_some(path)
    }

    /// Label `at`, the leftmost first; empty if it is not there.
    fn label(&self, at: usize) -> &'n [u8] {
        let Some(&start) = self.starts[..self.count.min(MAX_LABELS)].get(at) else {
            return &[];
        };
        let start = usize::from(start);
        let length = usize::from(self.wire[start]);
        &self.wire[start + 1..start + 1 + length]
    }

    pub(crate) fn is_apex(&self) -> bool {
        self.count == 0
    }

    /// All labels, the leftmost first; none if there are more than a name of ours has.
    pub(crate) fn labels_in_order(&self) -> Vec<&'n [u8]> {
        let count = match self.count {
            0..=MAX_LABELS => self.count,
            _ => 0,
        };
        (0..count).map(|at| self.label(at)).collect()
    }

    /// Whether it is `namespace.svc`.
    pub(crate) fn is_namespace(&self, namespace: &str) -> bool {
        self.count == 2
            && self.label(1) == b"svc"
            && self.label(0).eq_ignore_ascii_case(namespace.as_bytes())
    }

    /// The bytes of labels `from` up to `to`, with their lengths.
    fn labels(&self, from: usize, to: usize) -> &'n [u8] {
        &self.wire[usize::from(self.starts[from])..usize::from(self.starts[to])]
    }
}

impl Zone {
    /// What there is for a question. A name that the cluster has, but with another class, has nothing.
    #[must_use]
    pub fn find<'z>(&'z self, settings: &'z Settings, question: &Question) -> Found<'z> {
        let Some(apex) = settings.zone_of(&question.name) else {
            return Found::Outside;
        };
        let kind = match question.class {
            Class::IN | Class::ANY => question.kind,
            _ => Kind(0),
        };
        let outcome = self.look(settings, apex, &question.name, kind);
        if matches!(outcome, Outcome::NoName) && settings.falls_through(&question.name) {
            return Found::Outside;
        }
        let mut answer = Answer {
            zone: self,
            settings,
            apex,
            chain: Vec::new(),
            outcome,
        };
        while let Outcome::Alias(target) = answer.outcome
            && kind != Kind::CNAME
        {
            let is_known = answer.chain.contains(target) || *target == question.name;
            if is_known || answer.chain.len() == MAX_ALIASES {
                answer.chain.clear();
                answer.outcome = Outcome::Circle;
                break;
            }
            answer.chain.push(*target);
            answer.outcome = match settings.zone_of(target) {
                None => Outcome::GoOn,
                Some(apex) => {
                    answer.apex = apex;
                    self.look(settings, apex, target, kind)
                }
            };
            if matches!(answer.outcome, Outcome::NoName) && settings.falls_through(target) {
                answer.outcome = Outcome::GoOn;
            }
        }
        Found::Inside(answer)
    }

    fn look<'z>(
        &'z self,
        settings: &'z Settings,
        apex: &'z Name,
        name: &Name,
        kind: Kind,
    ) -> Outcome<'z> {
        let Some(path) = Path::new(name, apex) else {
            return Outcome::NoName;
        };
        if path.count == 0 {
            return match kind {
                Kind::SOA => Outcome::Start,
                Kind::NS => Outcome::Servers,
                _ => Outcome::NoData,
            };
        }
        if is_reverse(apex) {
            return reverse::look(self, settings, name, kind);
        }
        let last = path.label(path.count.min(MAX_LABELS) - 1);
        match (path.count, last) {
            (MAX_LABELS.., _) if path.count > MAX_LABELS => Outcome::NoName,
            (_, b"svc") => self.service(settings, &path, kind),
            (_, b"pod") => self.pod(settings, &path, kind),
            (1, b"dns-version") if kind == Kind::TXT => Outcome::Version,
            (1, b"dns-version" | b"dns") => Outcome::NoData,
            (2, b"dns") if path.label(0) == b"ns" => {
                addresses(Addresses::List(&settings.servers), kind)
            }
            _ => Outcome::NoName,
        }
    }

    fn has_namespace(&self, settings: &Settings, namespace: &[u8]) -> bool {
        let known = self.namespaces.get(namespace);
        known.is_some_and(|known| known.exists()) && settings.exposes(namespace)
    }

    /// Whether there is a Service object of that name.
    pub(crate) fn has_service(&self, name: &[u8], namespace: &str) -> bool {
        let mut key = Vec::with_capacity(name.len() + namespace.len() + 2);
        for label in [name, namespace.as_bytes()] {
            key.push(label.len() as u8);
            key.extend(label.to_ascii_lowercase());
        }
        let service = self.services.get(&*key);
        service.is_some_and(|service| service.object.is_some())
    }

    /// Names that end in `svc`.
    fn service<'z>(&'z self, settings: &Settings, path: &Path<'_>, kind: Kind) -> Outcome<'z> {
        let count = path.count;
        if count == 1 {
            return Outcome::NoData;
        }
        let namespace = path.label(count - 2);
        if !settings.exposes(namespace) {
            return Outcome::NoName;
        }
        if count == 2 {
            return match self.has_namespace(settings, namespace) {
                true => Outcome::NoData,
                false => Outcome::NoName,
            };
        }
        let Some((key, service)) = self
            .services
            .get_key_value(path.labels(count - 3, count - 1))
        else {
            return Outcome::NoName;
        };
        let Some(object) = service.named(settings) else {
            return Outcome::NoName;
        };
        let ports = |wanted| Ports {
            key,
            service,
            object,
            wanted,
        };
        match (count, &object.target) {
            (3, Target::Name(name)) => Outcome::Alias(name),
            (3, _) if kind == Kind::SRV => ports(None).outcome(kind),
            (3, Target::Addresses(own)) => addresses(Addresses::List(own), kind),
            (3, _) => addresses(Addresses::All(service), kind),
            (_, Target::Name(_)) => Outcome::NoName,
            (4, _) => match protocol(path.label(0)) {
                Some(protocol) => ports(None).of_protocol(protocol),
                None if settings.no_endpoints => Outcome::NoName,
                None => service.endpoint(path.label(0), kind),
            },
            _ => match (path.label(0), protocol(path.label(1))) {
                ([b'_', port @ ..], Some(protocol)) => {
                    let wanted = (port.into(), protocol);
                    ports(Some(wanted)).outcome(kind)
                }
                _ => Outcome::NoName,
            },
        }
    }

    /// Names that end in `pod`.
    fn pod(&self, settings: &Settings, path: &Path<'_>, kind: Kind) -> Outcome<'_> {
        if path.count == 1 {
            return Outcome::NoData;
        }
        let namespace = path.label(path.count - 2);
        if settings.pods == PodRecords::Disabled || !self.has_namespace(settings, namespace) {
            return Outcome::NoName;
        }
        let spelled = match path.count {
            2 => return Outcome::NoData,
            3 => undashed(path.label(0)),
            _ => None,
        };
        match spelled {
            Some(address) if self.has_pod(settings, address, namespace) => {
                addresses(Addresses::One(address), kind)
            }
            _ => Outcome::NoName,
        }
    }

    fn has_pod(&self, settings: &Settings, address: IpAddr, namespace: &[u8]) -> bool {
        settings.pods == PodRecords::Insecure || {
            let first = (address, Label::default());
            let mut there = self.pod_addresses.range(first..);
            there
                .by_ref()
                .take_while(|((at, _), _)| *at == address)
                .any(|((_, of), _)| **of == *namespace)
        }
    }
}

impl Service {
    /// The Service's object, if its name is there at all.
    pub(crate) fn named(&self, settings: &Settings) -> Option<&Object> {
        let has_endpoints = !settings.no_endpoints && self.has_endpoints();
        let object = self.object.as_ref()?;
        match object.target {
            Target::Unusable(_) => None,
            Target::Endpoints if !has_endpoints => None,
            Target::Addresses(_) if settings.ignore_empty_service && !has_endpoints => None,
            _ => Some(object),
        }
    }

    /// The endpoint of a hostname, or of an address where there is none.
    fn endpoint(&self, host: &[u8], kind: Kind) -> Outcome<'_> {
        let given = self.host(host);
        if !given.is_empty() {
            return addresses(Addresses::Counted(given), kind);
        }
        match self.nameless(host) {
            Some(address) => addresses(Addresses::One(address), kind),
            None => Outcome::NoName,
        }
    }

    /// The addresses of an endpoint, by its hostname or spelled.
    pub(crate) fn addresses_of(&self, host: &[u8]) -> Vec<IpAddr> {
        let given = self.host(host).iter().map(|(address, _)| *address);
        let given: Vec<IpAddr> = given.collect();
        match given.is_empty() {
            true => self.nameless(host).into_iter().collect(),
            false => given,
        }
    }

    /// The address that is spelled, if an endpoint without a hostname has it.
    fn nameless(&self, spelled: &[u8]) -> Option<IpAddr> {
        let address = undashed(spelled)?;
        let mut there = self.at(address);
        let is_there = there.any(|endpoint| endpoint.host.is_none());
        // One address has one name.
        let is_it = dashed(address).as_bytes() == spelled;
        (is_there && is_it).then_some(address)
    }
}

fn addresses(addresses: Addresses<'_>, kind: Kind) -> Outcome<'_> {
    let has = match kind {
        Kind::A => addresses.has_family(true),
        Kind::AAAA => addresses.has_family(false),
        _ => false,
    };
    match has {
        true => Outcome::Addresses(addresses),
        false => Outcome::NoData,
    }
}

fn protocol(label: &[u8]) -> Option<Protocol> {
    match label {
        b"_tcp" => Some(Protocol::Tcp),
        b"_udp" => Some(Protocol::Udp),
        b"_sctp" => Some(Protocol::Sctp),
        _ => None,
    }
}

impl<'z> Ports<'z> {
    /// SRV records, if there are such ports.
    fn outcome(self, kind: Kind) -> Outcome<'z> {
        match (self.is_any(), kind) {
            (true, Kind::SRV) => Outcome::Ports(self),
            (true, _) => Outcome::NoData,
            // The Service's own name is there without ports.
            (false, _) if self.wanted.is_none() => Outcome::NoData,
            (false, _) => Outcome::NoName,
        }
    }

    /// `_tcp.…`: there while a port is named below it.
    fn of_protocol(self, protocol: Protocol) -> Outcome<'z> {
        let named =
            |port: &crate::service::Port| !port.name.is_empty() && port.protocol == protocol;
        match self.lists().any(|ports| ports.iter().any(named)) {
            true => Outcome::NoData,
            false => Outcome::NoName,
        }
    }

    /// The ports of the Service, or of each of its endpoints.
    fn lists(&self) -> impl Iterator<Item = &'z [crate::service::Port]> {
        let of_endpoints = matches!(self.object.target, Target::Endpoints);
        let own = (!of_endpoints).then_some(&*self.object.ports);
        let endpoints = of_endpoints.then(|| self.service.endpoints());
        let mut before: Option<&Arc<[_]>> = None;
        let endpoints = endpoints.into_iter().flatten();
        // Nearly all endpoints share one list.
        let lists = endpoints.filter_map(move |endpoint| {
            let known = before.replace(&endpoint.ports);
            let is_new = known.is_none_or(|known| !Arc::ptr_eq(known, &endpoint.ports));
            is_new.then_some(&*endpoint.ports)
        });
        own.into_iter().chain(lists)
    }

    fn is_any(&self) -> bool {
        self.lists().flatten().any(|port| self.takes(port))
    }

    pub(crate) fn takes(&self, port: &crate::service::Port) -> bool {
        match &self.wanted {
            None => true,
            Some((name, protocol)) => port.is(name, *protocol),
        }
    }
}

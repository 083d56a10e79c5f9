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

use sealane_message::{Class, Kind, Name, Question};
use sealane_net::Protocol;

use crate::answer::{Addresses, Answer, Outcome};
use crate::label::{Label, join, undashed};
use crate::path::{MAX_LABELS, Path};
use crate::ports::Ports;
use crate::reverse;
use crate::service::{Service, Target};
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
        let key = join(name, &namespace.to_ascii_lowercase().into_bytes());
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
                None => endpoint(service, path.label(0), kind),
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

/// The endpoint of a hostname, or of an address where there is none.
fn endpoint<'z>(service: &'z Service, host: &[u8], kind: Kind) -> Outcome<'z> {
    let given = service.host(host);
    if !given.is_empty() {
        return addresses(Addresses::Counted(given), kind);
    }
    match service.nameless(host) {
        Some(address) => addresses(Addresses::One(address), kind),
        None => Outcome::NoName,
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

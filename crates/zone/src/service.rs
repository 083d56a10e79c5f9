//! What the zone holds of one Service: its object, and the endpoints of all its slices together.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use sealane_message::Name;
use sealane_net::Protocol;
use sealane_objects::{DnsTarget, PortDns, ServiceDns};
use smallvec::SmallVec;

use crate::Settings;
use crate::label::{Label, dashed, label, undashed};

/// A Service, or slices that wait for theirs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Service {
    pub object: Option<Object>,
    /// How many slices there are of it.
    pub slices: u32,
    /// Endpoints that are not ready, and so have no name.
    pub not_ready: u32,
    /// Ready ones, and how many slices name each: the same may be in two while it moves.
    endpoints: BTreeMap<Endpoint, u32>,
    /// Those with names of their own.
    hosts: BTreeMap<Label, Vec<(IpAddr, u32)>>,
}

/// What there is to know of the Service object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Object {
    pub target: Target,
    pub ports: Box<[Port]>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// In place, since they are what is asked for most.
    Addresses(SmallVec<[IpAddr; 2]>),
    Endpoints,
    Name(Box<Name>),
    /// An `externalName` that is no name, as it is written.
    Unusable(Box<str>),
}

/// A port; an empty name is none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Port {
    pub name: Box<[u8]>,
    pub protocol: Protocol,
    pub number: u16,
}

/// A ready endpoint. Addresses come first in the order, IPv4 before IPv6.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Endpoint {
    pub address: IpAddr,
    /// Its hostname; none if its address stands for it.
    pub host: Option<Label>,
    pub ports: Arc<[Port]>,
}

impl Object {
    pub(crate) fn new(service: &ServiceDns) -> Self {
        Self {
            target: match &service.target {
                DnsTarget::Addresses(addresses) => {
                    Target::Addresses(addresses.iter().copied().collect())
                }
                DnsTarget::Endpoints => Target::Endpoints,
                DnsTarget::Name(name) => elsewhere(name),
            },
            ports: ports(&service.ports).into(),
        }
    }

    pub(crate) fn addresses(&self) -> &[IpAddr] {
        match &self.target {
            Target::Addresses(addresses) => addresses,
            _ => &[],
        }
    }
}

/// An address is no name, even if Kubernetes takes it for one: no client could follow it.
fn elsewhere(text: &str) -> Target {
    let name = text.parse::<Name>().ok();
    match name.filter(|name| !name.is_root() && text.parse::<IpAddr>().is_err()) {
        Some(name) => Target::Name(Box::new(name)),
        None => Target::Unusable(text.into()),
    }
}

/// Ports with names that can be in a name, or with none.
pub(crate) fn ports(ports: &[PortDns]) -> Vec<Port> {
    let port = |port: &PortDns| {
        let name = match &*port.name {
            "" => Vec::new(),
            name => label(name).filter(|name| name.len() < 63)?,
        };
        Some(Port {
            name: name.into(),
            protocol: port.protocol,
            number: port.port,
        })
    };
    ports.iter().filter_map(port).collect()
}

impl Port {
    /// Whether it is the port that `_name._protocol` asks for.
    pub(crate) fn is(&self, name: &[u8], protocol: Protocol) -> bool {
        !self.name.is_empty() && *self.name == *name && self.protocol == protocol
    }
}

impl Service {
    /// Whether nobody speaks of it any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.object.is_none() && self.slices == 0
    }

    pub(crate) fn has_endpoints(&self) -> bool {
        !self.endpoints.is_empty()
    }

    /// No fewer than there are addresses.
    pub(crate) fn endpoint_count(&self) -> usize {
        self.endpoints.len()
    }

    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &Endpoint> + Clone {
        self.endpoints.keys()
    }

    /// Each address once.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> + Clone {
        let mut before = None;
        self.endpoints
            .keys()
            .map(|endpoint| endpoint.address)
            .filter(move |address| before.replace(*address) != Some(*address))
    }

    /// Whether there is an address of IPv4 (else of IPv6): those of IPv4 are the first.
    pub(crate) fn has_family(&self, is_v4: bool) -> bool {
        let edge = match is_v4 {
            true => self.endpoints.first_key_value(),
            false => self.endpoints.last_key_value(),
        };
        edge.is_some_and(|(endpoint, _)| endpoint.address.is_ipv4() == is_v4)
    }

    /// The endpoints at an address: one, unless slices disagree.
    pub(crate) fn at(&self, address: IpAddr) -> impl Iterator<Item = &Endpoint> {
        let first = Endpoint {
            address,
            host: None,
            ports: Arc::default(),
        };
        self.endpoints
            .range(first..)
            .map(|(endpoint, _)| endpoint)
            .take_while(move |endpoint| endpoint.address == address)
    }

    /// The addresses of a hostname.
    pub(crate) fn host(&self, host: &[u8]) -> &[(IpAddr, u32)] {
        self.hosts.get(host).map_or(&[], Vec::as_slice)
    }

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
    pub(crate) fn nameless(&self, spelled: &[u8]) -> Option<IpAddr> {
        let address = undashed(spelled)?;
        let mut there = self.at(address);
        let is_there = there.any(|endpoint| endpoint.host.is_none());
        // One address has one name.
        let is_it = dashed(address).as_bytes() == spelled;
        (is_there && is_it).then_some(address)
    }

    /// Ports that another slice has named already: most have the same.
    pub(crate) fn shared_ports(&self, ports: Vec<Port>) -> Arc<[Port]> {
        let known = [
            self.endpoints.first_key_value(),
            self.endpoints.last_key_value(),
        ];
        let known = known.into_iter().flatten().map(|(known, _)| &known.ports);
        let same = known.into_iter().find(|known| ***known == *ports);
        same.map_or_else(|| ports.into(), Arc::clone)
    }

    pub(crate) fn add(&mut self, endpoint: &Endpoint) {
        if let Some(host) = &endpoint.host {
            let addresses = self.hosts.entry(Arc::clone(host)).or_default();
            match addresses.binary_search_by_key(&endpoint.address, |(address, _)| *address) {
                Ok(at) => addresses[at].1 += 1,
                Err(at) => {
                    addresses.reserve_exact(1);
                    addresses.insert(at, (endpoint.address, 1));
                }
            }
        }
        *self.endpoints.entry(endpoint.clone()).or_default() += 1;
    }

    pub(crate) fn remove(&mut self, endpoint: &Endpoint) {
        if let Some(count) = self.endpoints.get_mut(endpoint) {
            *count -= 1;
            if *count == 0 {
                self.endpoints.remove(endpoint);
            }
        }
        let Some(host) = &endpoint.host else { return };
        let Some(addresses) = self.hosts.get_mut(host) else {
            return;
        };
        if let Ok(at) = addresses.binary_search_by_key(&endpoint.address, |(address, _)| *address) {
            addresses[at].1 -= 1;
            if addresses[at].1 == 0 {
                addresses.remove(at);
            }
        }
        if addresses.is_empty() {
            self.hosts.remove(host);
        }
    }
}

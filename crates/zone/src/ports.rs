//! SRV records: the ports of a Service at its own addresses, or those of its endpoints at theirs.

use std::net::IpAddr;
use std::sync::Arc;

use sealane_message::{Data, Full, Kind, Name};
use sealane_net::Protocol;

use crate::answer::{Outcome, Sink};
use crate::label::{Key, dashed, service_name};
use crate::service::{Object, Port, Service, Target};

/// Endpoints that are looked at for one answer: no message has room for more, and asking must not be
/// a way to keep the server busy.
const MOST: usize = 4096;

/// Ports of a Service, or of its endpoints.
#[derive(Debug)]
pub(crate) struct Ports<'z> {
    pub key: &'z Key,
    pub service: &'z Service,
    pub object: &'z Object,
    /// The name and protocol that are asked for; none: all, with or without names.
    pub wanted: Option<(Box<[u8]>, Protocol)>,
}

impl<'z> Ports<'z> {
    /// SRV records, if there are such ports.
    pub(crate) fn outcome(self, kind: Kind) -> Outcome<'z> {
        match (self.is_any(), kind) {
            (true, Kind::SRV) => Outcome::Ports(self),
            (true, _) => Outcome::NoData,
            // The Service's own name is there without ports.
            (false, _) if self.wanted.is_none() => Outcome::NoData,
            (false, _) => Outcome::NoName,
        }
    }

    /// `_tcp.…`: there while a port is named below it.
    pub(crate) fn of_protocol(self, protocol: Protocol) -> Outcome<'z> {
        let named = |port: &Port| !port.name.is_empty() && port.protocol == protocol;
        match self.lists().any(|ports| ports.iter().any(named)) {
            true => Outcome::NoData,
            false => Outcome::NoName,
        }
    }

    /// The ports of the Service, or of each of its endpoints.
    fn lists(&self) -> impl Iterator<Item = &'z [Port]> {
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

    fn takes(&self, port: &Port) -> bool {
        match &self.wanted {
            None => true,
            Some((name, protocol)) => port.is(name, *protocol),
        }
    }
}

impl Ports<'_> {
    pub(crate) fn write(
        &self,
        to: &mut Sink<'_, '_>,
        owner: &Name,
        domain: &Name,
    ) -> Result<(), Full> {
        // A Service's name has been asked for, so with the domain it fits.
        let Ok(name) = service_name(self.key, domain) else {
            return Ok(());
        };
        match self.object.target {
            Target::Endpoints => self.write_endpoints(to, owner, &name),
            _ => self.write_own(to, owner, &name),
        }
    }

    /// The Service's ports, at its own addresses.
    fn write_own(&self, to: &mut Sink<'_, '_>, owner: &Name, name: &Name) -> Result<(), Full> {
        let ports: Vec<_> = self
            .object
            .ports
            .iter()
            .filter(|port| self.takes(port))
            .collect();
        for port in &ports {
            to.push(owner, &srv(port.number, ports.len(), name))?;
        }
        to.additional(|to| {
            let mut addresses = self.object.addresses().iter();
            addresses.try_for_each(|address| to.address(name, *address))
        })
    }

    /// The endpoints' ports, at their names. One with two addresses is one.
    fn write_endpoints(
        &self,
        to: &mut Sink<'_, '_>,
        owner: &Name,
        name: &Name,
    ) -> Result<(), Full> {
        let mut targets: Vec<(Host<'_>, u16)> = Vec::new();
        for endpoint in self.service.endpoints().take(MOST) {
            let host = match &endpoint.host {
                Some(host) => Host::Given(host),
                None => Host::Address(endpoint.address),
            };
            let ports = endpoint.ports.iter().filter(|port| self.takes(port));
            targets.extend(ports.map(|port| (host, port.number)));
        }
        targets.sort_unstable();
        targets.dedup();
        for (host, port) in &targets {
            if let Some(name) = host.below(name) {
                to.push(owner, &srv(*port, targets.len(), &name))?;
            }
        }
        targets.dedup_by_key(|(host, _)| *host);
        to.additional(|to| {
            for (host, _) in &targets {
                let Some(name) = host.below(name) else {
                    continue;
                };
                match host {
                    Host::Address(address) => to.address(&name, *address)?,
                    Host::Given(host) => {
                        for (address, _) in self.service.host(host) {
                            to.address(&name, *address)?;
                        }
                    }
                }
            }
            Ok(())
        })
    }
}

/// How an endpoint is called.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Host<'z> {
    Given(&'z [u8]),
    Address(IpAddr),
}

impl Host<'_> {
    /// Its name below its Service's; none if that is too long.
    fn below(&self, service: &Name) -> Option<Name> {
        match self {
            Self::Given(host) => service.child(host).ok(),
            Self::Address(address) => service.child(dashed(*address)).ok(),
        }
    }
}

/// All are worth the same: equal shares of a hundred, at least one.
fn srv(port: u16, count: usize, target: &Name) -> Data<'static> {
    Data::Srv {
        priority: 0,
        weight: (100 / count.max(1)).max(1) as u16,
        port,
        target: *target,
    }
}

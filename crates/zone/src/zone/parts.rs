//! A zone taken apart into the objects that it was made of, for somebody who makes it anew.

use std::net::IpAddr;
use std::sync::Arc;

use sealane_objects::{DnsTarget, EndpointDns, ObjectName, PodDns, PortDns, ServiceDns, SliceDns};

use super::Zone;
use crate::label::{Key, parts, text};
use crate::service::{Object, Port, Target};

/// An object, as far as names are made of it: what cannot be part of a name is left out, and so are endpoints that
/// are not ready.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// A Namespace.
    Namespace(String),
    /// A Service.
    Service(ObjectName, ServiceDns),
    /// An EndpointSlice. Endpoints that are called as their pods have that as their hostname.
    Slice(ObjectName, SliceDns),
    /// A Pod's addresses, for [`crate::PodRecords::Verified`].
    Pod(ObjectName, Vec<IpAddr>),
}

/// Which one.
#[derive(Clone, Debug)]
pub struct PartKey(Which);

#[derive(Clone, Debug)]
enum Which {
    Namespace(String),
    Service(Key),
    Slice(ObjectName),
    Pod(ObjectName),
}

impl Zone {
    /// What there is, in no order. Each is had from [`Zone::part`], so that nobody has to wait while all are.
    #[must_use]
    pub fn parts(&self) -> Vec<PartKey> {
        let namespaces = self.namespaces.iter().filter(|(_, known)| known.object);
        let namespaces = namespaces.map(|(label, _)| Which::Namespace(text(label)));
        let services = self.services.iter();
        let services = services.filter(|(_, service)| service.object.is_some());
        let services = services.map(|(key, _)| Which::Service(Arc::clone(key)));
        let slices = self.slices.keys().cloned().map(Which::Slice);
        let pods = self.pods.keys().cloned().map(Which::Pod);
        let all = namespaces.chain(services).chain(slices).chain(pods);
        all.map(PartKey).collect()
    }

    /// One of them, if it is still there.
    #[must_use]
    pub fn part(&self, key: &PartKey) -> Option<Part> {
        Some(match &key.0 {
            Which::Namespace(name) => Part::Namespace(name.clone()),
            Which::Service(key) => {
                let object = self.services.get(key)?.object.as_ref()?;
                Part::Service(name_of(key), service(object))
            }
            Which::Slice(name) => Part::Slice(name.clone(), self.slice_as_it_came(name)?),
            Which::Pod(name) => Part::Pod(name.clone(), self.pods.get(name)?.to_vec()),
        })
    }

    /// Takes in what another zone was made of.
    pub fn put(&mut self, part: Part) {
        match part {
            Part::Namespace(name) => self.set_namespace(&name, true),
            Part::Service(name, service) => self.set_service(&name, Some(service)),
            Part::Slice(name, slice) => self.set_slice(&name, Some(slice)),
            Part::Pod(name, addresses) => {
                let pod = PodDns {
                    addresses,
                    ..PodDns::default()
                };
                self.set_pod(&name, Some(&pod));
            }
        }
    }

    fn slice_as_it_came(&self, name: &ObjectName) -> Option<SliceDns> {
        let slice = self.slices.get(name)?;
        let (service, _) = parts(&slice.service);
        let ports = slice
            .endpoints
            .first()
            .map_or(&[][..], |first| &first.ports);
        let endpoints = slice.endpoints.iter().map(|endpoint| EndpointDns {
            address: endpoint.address,
            ready: true,
            hostname: endpoint.host.as_deref().map(|host| text(host).into()),
            pod: None,
        });
        Some(SliceDns {
            service: text(service).into(),
            ports: ports.iter().map(port).collect(),
            endpoints: endpoints.collect(),
        })
    }
}

fn name_of(key: &Key) -> ObjectName {
    let (name, namespace) = parts(key);
    ObjectName::new(text(namespace), text(name))
}

fn service(object: &Object) -> ServiceDns {
    ServiceDns {
        target: match &object.target {
            Target::Addresses(addresses) => DnsTarget::Addresses(addresses.to_vec()),
            Target::Endpoints => DnsTarget::Endpoints,
            Target::Name(name) => DnsTarget::Name(name.to_string()),
            Target::Unusable(text) => DnsTarget::Name(text.to_string()),
        },
        ports: object.ports.iter().map(port).collect(),
    }
}

fn port(port: &Port) -> PortDns {
    PortDns {
        name: text(&port.name).into(),
        protocol: port.protocol,
        port: port.number,
    }
}

//! EndpointSlices: each gives its endpoints to its Service, and takes them back.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use sealane_objects::{ObjectName, SliceDns};

use super::Zone;
use crate::explain::Cause;
use crate::label::{Key, Label, key, label};
use crate::service::{Endpoint, Service, ports};

/// What a slice has added to its Service.
#[derive(Debug)]
pub(super) struct Slice {
    pub(super) service: Key,
    /// In order.
    pub(super) endpoints: Box<[Endpoint]>,
    not_ready: u32,
}

impl Zone {
    /// Takes in an EndpointSlice, or that it is gone.
    pub fn set_slice(&mut self, name: &ObjectName, slice: Option<SliceDns>) {
        let slice = slice.and_then(|slice| self.slice(&name.namespace, slice));
        match slice {
            Some(slice) => self.put_slice(name, slice),
            None => self.drop_slice(name),
        }
    }

    /// Takes in all EndpointSlices there are: what is not named is gone.
    pub fn replace_slices(&mut self, all: impl IntoIterator<Item = (ObjectName, SliceDns)>) {
        let mut named = HashSet::new();
        for (name, slice) in all {
            self.set_slice(&name, Some(slice));
            named.insert(name);
        }
        self.retain_slices(&named);
    }

    /// Forgets EndpointSlices that are not named, as [`Zone::retain_services`] does Services.
    pub fn retain_slices(&mut self, named: &HashSet<ObjectName>) {
        let known = self.slices.keys();
        let gone: Vec<_> = known
            .filter(|name| !named.contains(*name))
            .cloned()
            .collect();
        for name in gone {
            self.drop_slice(&name);
        }
    }

    /// The slices of a Service that have one of these addresses ready. It looks at all slices.
    pub(crate) fn slices_with(&self, key: &[u8], addresses: &[IpAddr]) -> Vec<Cause> {
        let has = |slice: &Slice| {
            let mut endpoints = slice.endpoints.iter();
            *slice.service == *key && endpoints.any(|known| addresses.contains(&known.address))
        };
        let slices = self.slices.iter().filter(|(_, slice)| has(slice));
        let mut slices: Vec<Cause> = slices
            .map(|(name, _)| Cause {
                kind: "EndpointSlice",
                name: name.clone(),
            })
            .collect();
        slices.sort();
        slices
    }

    /// A slice as it is kept; none if it is no Service's.
    fn slice(&self, namespace: &str, slice: SliceDns) -> Option<Slice> {
        let service = self.own(key(namespace, &slice.service)?);
        let ports = ports(&slice.ports);
        let ports = match self.services.get(&*service) {
            Some(known) => known.shared_ports(ports),
            None => ports.into(),
        };
        let all = slice.endpoints.len();
        let ready = slice
            .endpoints
            .into_iter()
            .filter(|endpoint| endpoint.ready);
        let mut endpoints: Vec<Endpoint> = ready
            .map(|endpoint| {
                let pod = endpoint.pod.filter(|_| self.pod_names);
                let host = endpoint.hostname.as_deref().and_then(label);
                let host = host.or_else(|| pod.as_deref().and_then(label));
                Endpoint {
                    address: endpoint.address,
                    host: host.map(Label::from),
                    ports: Arc::clone(&ports),
                }
            })
            .collect();
        endpoints.sort_unstable();
        Some(Slice {
            service,
            not_ready: (all - endpoints.len()) as u32,
            endpoints: endpoints.into(),
        })
    }

    fn put_slice(&mut self, name: &ObjectName, slice: Slice) {
        if self
            .slices
            .get(name)
            .is_some_and(|known| known.service != slice.service)
        {
            self.drop_slice(name);
        }
        let key = Arc::clone(&slice.service);
        let known = self.slices.remove(name);
        let entry = self.services.entry(Arc::clone(&key)).or_default();
        entry.slices += u32::from(known.is_none());
        entry.not_ready += slice.not_ready;
        entry.not_ready -= known.as_ref().map_or(0, |known| known.not_ready);
        let before = known.as_ref().map_or(&[][..], |known| &known.endpoints);
        let touched = exchange(entry, before, &slice.endpoints);
        if known.is_none_or(|known| !touched.is_empty() || known.not_ready != slice.not_ready) {
            self.changed();
        }
        for address in touched {
            self.hold(address, &key);
        }
        self.slices.insert(name.clone(), slice);
    }

    fn drop_slice(&mut self, name: &ObjectName) {
        let Some(known) = self.slices.remove(name) else {
            return;
        };
        self.changed();
        let Some(entry) = self.services.get_mut(&*known.service) else {
            return;
        };
        entry.slices -= 1;
        entry.not_ready -= known.not_ready;
        for address in exchange(entry, &known.endpoints, &[]) {
            self.hold(address, &known.service);
        }
        self.forget(&known.service);
    }
}

/// Puts `after` in the place of `before`, both in order; the addresses of those that differ.
fn exchange(service: &mut Service, before: &[Endpoint], after: &[Endpoint]) -> Vec<IpAddr> {
    let mut touched = Vec::new();
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (Some(old), Some(new)) => old.cmp(new),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => return touched,
        };
        if order.is_le()
            && let Some(gone) = old.next()
            && order.is_lt()
        {
            service.remove(gone);
            touched.push(gone.address);
        }
        if order.is_ge()
            && let Some(come) = new.next()
            && order.is_gt()
        {
            service.add(come);
            touched.push(come.address);
        }
    }
}

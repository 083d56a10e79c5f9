//! The objects that names are made of, taken in one by one.

mod parts;
mod slices;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::FixedState;
use sealane_objects::{ObjectName, PodDns, ServiceDns};

use crate::label::{Key, Label, key, label, parts};
use crate::service::{Object, Service};
pub use parts::{Part, PartKey};
use slices::Slice;

/// Tables that are asked for every name. The hash has no secret: who may write the objects that are in
/// the table may fill it anyway, and who asks for names adds nothing to it.
type Table<K, V> = HashMap<K, V, FixedState>;

/// All that the cluster's objects say of names.
///
/// Objects come in any order: a slice may be there before its Service, and a Service before its
/// namespace. A change costs what the object itself has in it, and the logarithm of what there is beside it.
#[derive(Debug, Default)]
pub struct Zone {
    pub(crate) services: Table<Key, Service>,
    pub(crate) namespaces: Table<Label, Namespace>,
    slices: HashMap<ObjectName, Slice, FixedState>,
    /// Who has an address: by cluster IP or by endpoint.
    pub(crate) holders: BTreeSet<(IpAddr, Key)>,
    pods: HashMap<ObjectName, Box<[IpAddr]>, FixedState>,
    /// Addresses of pods in their namespaces, and how many pods say so.
    pub(crate) pod_addresses: BTreeMap<(IpAddr, Label), u32>,
    pod_names: bool,
    changes: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Namespace {
    /// There is an object of it.
    object: bool,
    /// Services in it.
    services: u32,
}

impl Namespace {
    pub(crate) fn exists(&self) -> bool {
        self.object || self.services > 0
    }
}

impl Zone {
    /// An empty zone.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether an endpoint without a hostname has the name of its pod instead of its address (`endpoint_pod_names`).
    /// That is so for slices which are taken in from now on; [`Zone::replace_slices`] makes it so for all.
    pub fn set_pod_names(&mut self, yes: bool) {
        self.pod_names = yes;
    }

    /// How often something has changed; the zone's serial number is made of it.
    #[must_use]
    pub fn changes(&self) -> u32 {
        self.changes
    }

    /// How many Services, and how many of their ready endpoints, are known. It counts them.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        let services = self.services.values();
        let known = services.clone().filter(|service| service.object.is_some());
        let endpoints = services.map(Service::endpoint_count).sum();
        (known.count(), endpoints)
    }

    /// Whether nothing at all is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self {
            services,
            namespaces,
            slices,
            holders,
            pods,
            pod_addresses,
            ..
        } = self;
        let objects = services.is_empty() && slices.is_empty() && namespaces.is_empty();
        objects && holders.is_empty() && pods.is_empty() && pod_addresses.is_empty()
    }

    /// Takes in a Service, or that it is gone.
    pub fn set_service(&mut self, name: &ObjectName, service: Option<ServiceDns>) {
        let Some(key) = key(&name.namespace, &name.name) else {
            return;
        };
        let object = service.map(|service| Object::new(&service));
        let known = self.services.get(&*key);
        if known.and_then(|known| known.object.as_ref()) == object.as_ref() {
            return;
        }
        self.changed();
        let key = self.own(key);
        let entry = self.services.entry(Arc::clone(&key)).or_default();
        let (was, is) = (entry.object.is_some(), object.is_some());
        let before = std::mem::replace(&mut entry.object, object);
        self.count_in_namespace(&key, was, is);
        for address in before.iter().flat_map(Object::addresses) {
            self.hold(*address, &key);
        }
        let now: Vec<IpAddr> = match &self.services[&*key].object {
            Some(object) => object.addresses().to_vec(),
            None => Vec::new(),
        };
        for address in now {
            self.hold(address, &key);
        }
        self.forget(&key);
    }

    /// Takes in all Services there are: what is not named is gone.
    pub fn replace_services(&mut self, all: impl IntoIterator<Item = (ObjectName, ServiceDns)>) {
        let mut named = HashSet::new();
        for (name, service) in all {
            self.set_service(&name, Some(service));
            named.insert(name);
        }
        self.retain_services(&named);
    }

    /// Forgets Services that are not named. With [`Zone::set_service`] for each of a long list it does what
    /// [`Zone::replace_services`] does, and whoever asks for names meanwhile does not wait for all of it.
    pub fn retain_services(&mut self, named: &HashSet<ObjectName>) {
        let known = self
            .services
            .iter()
            .filter(|(_, entry)| entry.object.is_some());
        let known = known.map(|(key, _)| {
            let (name, namespace) = parts(key);
            ObjectName::new(crate::label::text(namespace), crate::label::text(name))
        });
        let gone: Vec<_> = known.filter(|name| !named.contains(name)).collect();
        for name in gone {
            self.set_service(&name, None);
        }
    }

    /// Takes in a Pod, or that it is gone. Only [`crate::PodRecords::Verified`] asks for pods.
    pub fn set_pod(&mut self, name: &ObjectName, pod: Option<&PodDns>) {
        let addresses = pod.map_or(&[][..], |pod| &pod.addresses);
        let known = self.pods.get(name).map_or(&[][..], |known| known);
        let Some(namespace) = label(&name.namespace).filter(|_| known != addresses) else {
            return;
        };
        self.changed();
        // Most namespaces are known, and named by one label for all.
        let known = self.namespaces.get_key_value(&*namespace);
        let namespace = known.map_or_else(|| namespace.into(), |(known, _)| Arc::clone(known));
        for address in self.pods.remove(name).into_iter().flatten() {
            let at = (address, Arc::clone(&namespace));
            if let Some(count) = self.pod_addresses.get_mut(&at) {
                *count -= 1;
                if *count == 0 {
                    self.pod_addresses.remove(&at);
                }
            }
        }
        for address in addresses {
            let at = (*address, Arc::clone(&namespace));
            *self.pod_addresses.entry(at).or_default() += 1;
        }
        if !addresses.is_empty() {
            self.pods.insert(name.clone(), addresses.into());
        }
    }

    /// Takes in all Pods there are: what is not named is gone.
    pub fn replace_pods<'a>(
        &mut self,
        all: impl IntoIterator<Item = (&'a ObjectName, &'a PodDns)>,
    ) {
        let mut named = HashSet::new();
        for (name, pod) in all {
            self.set_pod(name, Some(pod));
            named.insert(name);
        }
        let known = self.pods.keys();
        let gone: Vec<_> = known
            .filter(|name| !named.contains(*name))
            .cloned()
            .collect();
        for name in gone {
            self.set_pod(&name, None);
        }
    }

    /// Takes in that a Namespace is there, or that it is gone.
    pub fn set_namespace(&mut self, name: &str, exists: bool) {
        let Some(label) = label(name) else { return };
        let was = self
            .namespaces
            .get(&*label)
            .is_some_and(|known| known.object);
        if was == exists {
            return;
        }
        self.changed();
        let label: Label = label.into();
        let namespace = self.namespaces.entry(Arc::clone(&label)).or_default();
        namespace.object = exists;
        if !namespace.exists() {
            self.namespaces.remove(&label);
        }
    }

    /// Takes in all Namespaces there are: what is not named is gone.
    pub fn replace_namespaces<'a>(&mut self, all: impl IntoIterator<Item = &'a str>) {
        let mut named = HashSet::new();
        for name in all {
            self.set_namespace(name, true);
            named.extend(label(name));
        }
        let known = self.namespaces.iter();
        let gone = known.filter(|(name, known)| known.object && !named.contains(&***name));
        let gone: Vec<String> = gone.map(|(name, _)| crate::label::text(name)).collect();
        for name in gone {
            self.set_namespace(&name, false);
        }
    }

    /// The pods with an address. It looks at all of them.
    pub(crate) fn pods_at(&self, address: IpAddr) -> impl Iterator<Item = &ObjectName> {
        let pods = self.pods.iter();
        let pods = pods.filter(move |(_, addresses)| addresses.contains(&address));
        pods.map(|(name, _)| name)
    }

    fn changed(&mut self) {
        self.changes = self.changes.wrapping_add(1);
    }

    /// The key as the table has it already, so that it is there once.
    fn own(&self, key: Key) -> Key {
        let known = self.services.get_key_value(&*key);
        known.map_or(key, |(known, _)| Arc::clone(known))
    }

    fn count_in_namespace(&mut self, key: &Key, was: bool, is: bool) {
        let (_, name) = parts(key);
        match (was, is) {
            (false, true) => match self.namespaces.get_mut(name) {
                Some(namespace) => namespace.services += 1,
                None => {
                    let first = Namespace {
                        object: false,
                        services: 1,
                    };
                    self.namespaces.insert(name.into(), first);
                }
            },
            (true, false) => {
                let Some(namespace) = self.namespaces.get_mut(name) else {
                    return;
                };
                namespace.services -= 1;
                if !namespace.exists() {
                    self.namespaces.remove(name);
                }
            }
            _ => {}
        }
    }

    /// Notes whether a Service has an address, by whichever way.
    fn hold(&mut self, address: IpAddr, key: &Key) {
        let holds = self.services.get(&**key).is_some_and(|service| {
            let own = service.object.as_ref().map_or(&[][..], Object::addresses);
            own.contains(&address) || service.at(address).next().is_some()
        });
        let holder = (address, Arc::clone(key));
        match holds {
            true => self.holders.insert(holder),
            false => self.holders.remove(&holder),
        };
    }

    fn forget(&mut self, key: &Key) {
        if self.services.get(&**key).is_some_and(Service::is_gone) {
            self.services.remove(&**key);
        }
    }
}

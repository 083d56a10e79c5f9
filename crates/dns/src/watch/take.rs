//! One change of one kind of objects, in portions that keep nobody waiting.

use std::collections::HashSet;
use std::sync::RwLock;

use sealane_kube::Change;
use sealane_objects::{ObjectName, PodDns, ServiceDns, SliceDns};
use sealane_zone::{Clients, Zone};

use super::write;

/// Objects that are taken in while questions wait: some ten microseconds.
const PORTION: usize = 64;

pub fn service(zone: &RwLock<Zone>, change: Change<ServiceDns>) {
    match change {
        Change::Reset(all) => {
            let put =
                |zone: &mut Zone, name: &ObjectName, service| zone.set_service(name, Some(service));
            let named = portions(zone, all, put);
            write(zone, |zone| zone.retain_services(&named));
        }
        Change::Applied(name, service) => {
            write(zone, |zone| zone.set_service(&name, Some(service)))
        }
        Change::Deleted(name, _) => write(zone, |zone| zone.set_service(&name, None)),
    }
}

pub fn slice(zone: &RwLock<Zone>, change: Change<SliceDns>) {
    match change {
        Change::Reset(all) => {
            let put = |zone: &mut Zone, name: &ObjectName, slice| zone.set_slice(name, Some(slice));
            let named = portions(zone, all, put);
            write(zone, |zone| zone.retain_slices(&named));
        }
        Change::Applied(name, slice) => write(zone, |zone| zone.set_slice(&name, Some(slice))),
        Change::Deleted(name, _) => write(zone, |zone| zone.set_slice(&name, None)),
    }
}

/// A listing may be long: others come in between. Returns what is named in it.
fn portions<O>(
    zone: &RwLock<Zone>,
    all: Vec<(ObjectName, O)>,
    put: impl Fn(&mut Zone, &ObjectName, O),
) -> HashSet<ObjectName> {
    let mut named = HashSet::with_capacity(all.len());
    let mut all = all.into_iter().peekable();
    while all.peek().is_some() {
        write(zone, |zone| {
            for (name, object) in all.by_ref().take(PORTION) {
                put(zone, &name, object);
                named.insert(name);
            }
        });
    }
    named
}

pub fn namespace(zone: &RwLock<Zone>, change: Change<()>) {
    write(zone, |zone| match change {
        Change::Reset(all) => zone.replace_namespaces(all.iter().map(|(name, ())| &*name.name)),
        Change::Applied(name, ()) => zone.set_namespace(&name.name, true),
        Change::Deleted(name, ()) => zone.set_namespace(&name.name, false),
    });
}

pub fn pod(zone: &RwLock<Zone>, change: Change<PodDns>) {
    write(zone, |zone| match change {
        Change::Reset(all) => zone.replace_pods(all.iter().map(|(name, pod)| (name, pod))),
        Change::Applied(name, pod) => zone.set_pod(&name, Some(&pod)),
        Change::Deleted(name, _) => zone.set_pod(&name, None),
    });
}

pub fn client(clients: &RwLock<Clients>, change: Change<PodDns>) {
    write(clients, |clients| match change {
        Change::Reset(all) => clients.replace_pods(all),
        Change::Applied(name, pod) => clients.set_pod(&name, Some(pod)),
        Change::Deleted(name, _) => clients.set_pod(&name, None),
    });
}

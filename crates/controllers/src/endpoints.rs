//! Where the traffic of a Service goes: EndpointSlices, and Endpoints beside them.
//!
//! ```text
//!  Pods, Nodes, Services ──> desired (pure) ──> pack (pure) ──> writes of EndpointSlices
//!                                          └──> subsets     ──> write of Endpoints
//!  Endpoints made by hand ──> desired ──> pack ──> writes of mirrored EndpointSlices
//! ```
//!
//! A Service without a selector is left to whoever made it: its Endpoints, if
//! any, are mirrored into slices. A pod's Services are found by their labels
//! and kept as sets of members, so that a pod that turns ready costs a look at
//! its Services and no more.
//!
//! Slices belong to their Service (or mirrored ones to their Endpoints) and go
//! with it by garbage collection; Endpoints are deleted here, since in
//! Kubernetes they have no owner either.

mod desired;
mod members;
mod pack;
mod service;
mod slice;
#[cfg(test)]
mod tests;
mod trigger;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use sealane_kube::{Change, Mirror};
use sealane_objects::ObjectName;
use serde_json::{Value, json};

use crate::action::{Action, Controller, Input, Key, Kind, Outcome, Part};
use crate::view::{NodeView, PodView};
use crate::workloads::desk::Desk;
use crate::workloads::head::Head;
use crate::workloads::news::News;
use crate::workloads::pod::Names;
use desired::Groups;
use k8s_openapi::jiff::Timestamp;
use members::Members;
pub use service::{EndpointsView, Service};
pub use slice::Slice;
use slice::{MANAGED_BY, SERVICE_NAME};
use trigger::{LAST_CHANGE, Triggers};

/// Labels say so of slices made from Services.
const FROM_SERVICES: &str = "endpointslice-controller.k8s.io";
/// And of slices made from Endpoints.
const FROM_ENDPOINTS: &str = "endpointslicemirroring-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";
const ENDPOINTS_MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const ZONE: &str = "topology.kubernetes.io/zone";

/// The controller of EndpointSlices and Endpoints.
pub struct EndpointSlices {
    members: Members,
    /// The zone of each node.
    zones: BTreeMap<String, Option<String>>,
    slices: Mirror<Arc<Slice>>,
    /// Slices of each Service.
    slices_of: BTreeMap<ObjectName, BTreeSet<ObjectName>>,
    endpoints: Mirror<Arc<EndpointsView>>,
    triggers: Triggers,
    desk: Desk,
    names: Names,
    concerned: BTreeSet<Key>,
    nodes_synced: bool,
}

impl EndpointSlices {
    pub fn new(seed: u64) -> Self {
        Self {
            members: Members::default(),
            zones: BTreeMap::new(),
            slices: Mirror::default(),
            slices_of: BTreeMap::new(),
            endpoints: Mirror::default(),
            triggers: Triggers::default(),
            desk: Desk::default(),
            names: Names::new(seed),
            concerned: BTreeSet::new(),
            nodes_synced: false,
        }
    }

    fn is_synced(&self) -> bool {
        self.members.is_synced()
            && self.nodes_synced
            && self.slices.is_synced()
            && self.endpoints.is_synced()
    }

    fn nodes_changed(&mut self, change: &Change<NodeView>) {
        let zone = |node: &NodeView| node.labels.get(ZONE).cloned();
        let changed = match change {
            Change::Reset(all) => {
                self.nodes_synced = true;
                let zones = all
                    .iter()
                    .map(|(name, node)| (name.name.clone(), zone(node)));
                self.zones = zones.collect();
                true
            }
            Change::Applied(name, node) => {
                let zone = zone(node);
                self.zones.insert(name.name.clone(), zone.clone()) != Some(zone)
            }
            Change::Deleted(name, _) => self.zones.remove(&name.name).is_some(),
        };
        if changed {
            self.concern_all();
        }
    }

    fn services_changed(&mut self, change: &Change<Arc<Service>>) {
        self.members.services_changed(change);
        match change {
            Change::Reset(_) => self.concern_all(),
            Change::Applied(name, _) => {
                self.concern(Kind::Service, name);
                self.concern(Kind::Endpoints, name);
            }
            Change::Deleted(name, service) => {
                self.desk.forget(&key(Kind::Service, name));
                self.triggers.forget(name);
                if service.selector.is_some() {
                    self.concern(Kind::Service, name); // To delete its Endpoints.
                }
                self.concern(Kind::Endpoints, name);
            }
        }
    }

    fn pods_changed(&mut self, change: &Change<Arc<PodView>>) {
        for service in self.members.pods_changed(change) {
            self.concern(Kind::Service, &service);
        }
    }

    fn slices_changed(&mut self, change: &Change<Arc<Slice>>) {
        if let Change::Applied(name, _) | Change::Deleted(name, _) = change
            && let Some(before) = self.slices.get(name).cloned()
        {
            self.unlist(name, &before);
        }
        self.slices.apply(change.clone());
        match change {
            Change::Reset(all) => {
                self.slices_of.clear();
                for (name, slice) in all {
                    self.list(name, slice);
                }
                self.concern_all();
            }
            Change::Applied(name, slice) => self.list(name, slice),
            Change::Deleted(name, _) => {
                let waited = self.desk.gone(Kind::EndpointSlice, name);
                self.concerned.extend(waited);
            }
        }
    }

    fn list(&mut self, name: &ObjectName, slice: &Slice) {
        let head = &slice.head;
        let waited = self
            .desk
            .seen(Kind::EndpointSlice, name, &head.uid, head.deleting);
        self.concerned.extend(waited);
        let service = service_of(slice);
        let theirs = self.slices_of.entry(service.clone()).or_default();
        theirs.insert(name.clone());
        self.concern_writer(&service, slice);
    }

    fn unlist(&mut self, name: &ObjectName, slice: &Slice) {
        let service = service_of(slice);
        if let Some(theirs) = self.slices_of.get_mut(&service) {
            theirs.remove(name);
            if theirs.is_empty() {
                self.slices_of.remove(&service);
            }
        }
        self.concern_writer(&service, slice);
    }

    /// Whoever wrote a slice must look after it.
    fn concern_writer(&mut self, service: &ObjectName, slice: &Slice) {
        match slice.label(MANAGED_BY) {
            FROM_SERVICES => self.concern(Kind::Service, service),
            FROM_ENDPOINTS => self.concern(Kind::Endpoints, service),
            _ => {}
        }
    }

    fn endpoints_changed(&mut self, change: &Change<Arc<EndpointsView>>) {
        self.endpoints.apply(change.clone());
        match change {
            Change::Reset(_) => self.concern_all(),
            Change::Applied(name, endpoints) => {
                let head = &endpoints.head;
                let waited = self
                    .desk
                    .seen(Kind::Endpoints, name, &head.uid, head.deleting);
                self.concerned.extend(waited);
                self.concern(Kind::Service, name);
                self.concern(Kind::Endpoints, name);
            }
            Change::Deleted(name, _) => {
                self.desk.gone(Kind::Endpoints, name);
                self.desk.forget(&key(Kind::Endpoints, name));
                self.concern(Kind::Service, name);
                self.concern(Kind::Endpoints, name);
            }
        }
    }

    fn concern(&mut self, kind: Kind, name: &ObjectName) {
        self.concerned.insert(key(kind, name));
    }

    fn concern_all(&mut self) {
        let services = self.members.services().map(|(name, _)| name);
        let services = services.map(|name| key(Kind::Service, name));
        let endpoints = self.endpoints.iter().map(|(name, _)| name);
        let endpoints = endpoints.map(|name| key(Kind::Endpoints, name));
        let all: Vec<_> = services.chain(endpoints).collect();
        self.concerned.extend(all);
    }

    fn plan_all(&mut self, now: Instant, actions: &mut Vec<Action>) {
        while let Some(key) = self.concerned.pop_first() {
            if self.desk.rests(&key, now) {
                continue;
            }
            match key.kind {
                Kind::Service => self.plan_service(&key, actions),
                Kind::Endpoints => self.plan_mirror(&key, actions),
                _ => {}
            }
        }
    }

    fn plan_service(&mut self, key: &Key, actions: &mut Vec<Action>) {
        let Some(service) = self.members.service(&key.name).cloned() else {
            return self.delete_endpoints(key, actions);
        };
        if service.selector.is_none() || service.head.deleting {
            return;
        }
        let zone_of = |node: &str| self.zones.get(node).cloned().flatten();
        let groups = desired::of_service(&service, self.members.of(&key.name), zone_of);
        let subsets = desired::subsets(&service, self.members.of(&key.name));
        let mut labels = service.head.labels.clone();
        if service.headless {
            labels.insert(HEADLESS.to_owned(), String::new());
        }
        let author = Author {
            head: &service.head,
            managed_by: FROM_SERVICES,
            labels: &labels,
            since: self.triggers.look(
                &service,
                self.members.of(&key.name),
                self.slices_of.contains_key(&key.name),
            ),
        };
        if self.write_slices(key, &author, groups, actions) {
            self.triggers.written(&key.name);
        }
        self.write_endpoints(key, labels.clone(), subsets, actions);
    }

    /// Endpoints that a person has made for a Service without a selector.
    fn plan_mirror(&mut self, key: &Key, actions: &mut Vec<Action>) {
        let service = self.members.service(&key.name);
        let alone = service.is_some_and(|service| service.selector.is_none());
        let endpoints = self.endpoints.get(&key.name).cloned();
        match endpoints.filter(|endpoints| alone && !endpoints.skips_mirror()) {
            Some(endpoints) => {
                let author = Author {
                    head: &endpoints.head,
                    managed_by: FROM_ENDPOINTS,
                    labels: &endpoints.head.labels,
                    since: None,
                };
                let groups = desired::of_endpoints(&endpoints);
                self.write_slices(key, &author, groups, actions);
            }
            None => {
                for slice in self.written(&key.name, FROM_ENDPOINTS) {
                    self.delete(key, &slice.head, actions);
                }
            }
        }
    }

    /// Slices of a Service by one writer.
    fn written(&self, service: &ObjectName, managed_by: &str) -> Vec<Arc<Slice>> {
        let names = self.slices_of.get(service).into_iter().flatten();
        names
            .filter_map(|name| self.slices.get(name))
            .filter(|slice| slice.label(MANAGED_BY) == managed_by && !slice.head.deleting)
            .filter(|slice| {
                let head = &slice.head;
                !self.desk.is_deleting(head.kind, &head.name, &head.uid)
            })
            .cloned()
            .collect()
    }

    /// Asks for what is to be written; whether that is all, and nothing has to wait.
    fn write_slices(
        &mut self,
        key: &Key,
        author: &Author<'_>,
        groups: Groups,
        actions: &mut Vec<Action>,
    ) -> bool {
        if self
            .desk
            .creating(key, Kind::EndpointSlice)
            .next()
            .is_some()
        {
            return false; // What is being made counts, and will be seen in a moment.
        }
        let existing = self.written(&key.name, author.managed_by);
        let existing: Vec<_> = existing.iter().map(|slice| &**slice).collect();
        let packing = pack::pack(groups, &existing);
        for (group, endpoints) in packing.create {
            let start = format!("{}-", key.name.name);
            let name = ObjectName::new(&*key.name.namespace, self.names.next(&start));
            let mut slice = json!({
                "apiVersion": Kind::EndpointSlice.api_version(),
                "kind": Kind::EndpointSlice.to_string(),
                "metadata": {
                    "name": name.name, "generateName": start, "namespace": name.namespace,
                    "labels": author.labels_of(&key.name),
                    "ownerReferences": [author.head.reference()],
                },
                "addressType": group.address_type,
                "endpoints": endpoints,
            });
            slice["ports"] = json!(group.ports);
            if let Some(since) = author.since {
                slice["metadata"]["annotations"] = json!({ LAST_CHANGE: since.to_string() });
            }
            actions.push(self.desk.create(key, Kind::EndpointSlice, name, slice));
        }
        let mut changed: Vec<(&Head, Value)> = Vec::new();
        for (slice, endpoints) in &packing.update {
            let mut patch = json!({"endpoints": endpoints});
            if author.since.is_some() || slice.head.annotations.contains_key(LAST_CHANGE) {
                let since = author.since.map(|since| since.to_string());
                patch["metadata"] = json!({ "annotations": { LAST_CHANGE: since } });
            }
            changed.push((&slice.head, patch));
        }
        for slice in &existing {
            self.relabel(&key.name, author, slice, &mut changed);
        }
        let mut is_all = true;
        for (head, mut patch) in changed {
            patch["metadata"]["uid"] = json!(head.uid);
            patch["metadata"]["resourceVersion"] = json!(head.version);
            let asked = self.desk.patch_of(key, head, Part::Object, patch);
            is_all &= asked.is_some();
            actions.extend(asked);
        }
        for slice in packing.delete {
            self.delete(key, &slice.head, actions);
        }
        is_all
    }

    /// A slice has the labels of its Service.
    fn relabel<'a>(
        &self,
        service: &ObjectName,
        author: &Author<'_>,
        slice: &'a Slice,
        changed: &mut Vec<(&'a Head, Value)>,
    ) {
        let wanted = author.labels_of(service);
        if slice.head.labels == wanted {
            return;
        }
        let mut labels = json!(wanted);
        for key in slice
            .head
            .labels
            .keys()
            .filter(|k| !wanted.contains_key(*k))
        {
            labels[key] = Value::Null;
        }
        match changed
            .iter_mut()
            .find(|(head, _)| head.name == slice.head.name)
        {
            Some((_, patch)) => patch["metadata"]["labels"] = labels,
            None => changed.push((&slice.head, json!({"metadata": {"labels": labels}}))),
        }
    }

    fn write_endpoints(
        &mut self,
        key: &Key,
        mut labels: BTreeMap<String, String>,
        subsets: Value,
        actions: &mut Vec<Action>,
    ) {
        let ours = "endpoint-controller".to_owned();
        labels.insert(ENDPOINTS_MANAGED_BY.to_owned(), ours);
        let Some(endpoints) = self.endpoints.get(&key.name).cloned() else {
            if self.desk.creating(key, Kind::Endpoints).next().is_none() {
                let object = json!({
                    "apiVersion": "v1", "kind": "Endpoints",
                    "metadata": {"name": key.name.name, "namespace": key.name.namespace, "labels": labels},
                    "subsets": subsets,
                });
                let name = key.name.clone();
                actions.push(self.desk.create(key, Kind::Endpoints, name, object));
            }
            return;
        };
        let nothing = |value: &Value| value.is_null() || *value == json!([]);
        let same = endpoints.raw == subsets || (nothing(&endpoints.raw) && nothing(&subsets));
        if same && endpoints.head.labels == labels {
            return;
        }
        let patch = json!({
            "metadata": {"uid": endpoints.head.uid, "resourceVersion": endpoints.head.version, "labels": labels},
            "subsets": subsets,
        });
        let patch = self
            .desk
            .patch_of(key, &endpoints.head, Part::Object, patch);
        actions.extend(patch);
    }

    /// Endpoints of a Service that is gone.
    fn delete_endpoints(&mut self, key: &Key, actions: &mut Vec<Action>) {
        let endpoints = self.endpoints.get(&key.name).cloned();
        if let Some(endpoints) = endpoints
            && endpoints.head.labels.contains_key(ENDPOINTS_MANAGED_BY)
        {
            self.delete(key, &endpoints.head, actions);
        }
    }

    fn delete(&mut self, key: &Key, head: &Head, actions: &mut Vec<Action>) {
        if !self.desk.is_deleting(head.kind, &head.name, &head.uid) {
            actions.push(self.desk.delete(key, head.kind, &head.name, &head.uid));
        }
    }

    fn ended(&mut self, action: &Action, outcome: &Outcome, now: Instant) {
        if let Action::Create { by, .. } | Action::Patch { by, .. } | Action::Delete { by, .. } =
            action
            && matches!(by.kind, Kind::Service | Kind::Endpoints)
        {
            self.desk.ended(action, outcome, now);
            self.concerned.insert(by.clone());
        }
    }
}

/// In whose name slices are written.
struct Author<'a> {
    /// Their owner.
    head: &'a Head,
    managed_by: &'static str,
    labels: &'a BTreeMap<String, String>,
    /// The first of the changes that are to be told.
    since: Option<Timestamp>,
}

impl Author<'_> {
    fn labels_of(&self, service: &ObjectName) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        labels.remove(ENDPOINTS_MANAGED_BY);
        labels.insert(SERVICE_NAME.to_owned(), service.name.clone());
        labels.insert(MANAGED_BY.to_owned(), self.managed_by.to_owned());
        labels
    }
}

fn service_of(slice: &Slice) -> ObjectName {
    ObjectName::new(&*slice.head.name.namespace, slice.label(SERVICE_NAME))
}

fn key(kind: Kind, name: &ObjectName) -> Key {
    Key {
        kind,
        name: name.clone(),
    }
}

impl Controller for EndpointSlices {
    fn handle(&mut self, input: &Input, now: Instant, actions: &mut Vec<Action>) {
        self.desk.set_now(now);
        match input {
            Input::Pods(change) => self.pods_changed(change),
            Input::Nodes(change) => self.nodes_changed(change),
            Input::Workloads(News::Services(change)) => self.services_changed(change),
            Input::Workloads(News::Slices(change)) => self.slices_changed(change),
            Input::Workloads(News::Endpoints(change)) => self.endpoints_changed(change),
            Input::Ended(action, outcome) => self.ended(action, outcome, now),
            Input::Tick => {
                let due = self.desk.due(now);
                self.concerned.extend(due);
            }
            Input::Workloads(_) | Input::Leases(_) => {}
        }
        if self.is_synced() {
            self.plan_all(now, actions);
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        self.desk.wake_at()
    }

    fn state(&self, _now: Instant) -> Value {
        json!({
            "synced": self.is_synced(),
            "services": self.members.services().count(),
            "slices": self.slices.len(),
            "endpoints": self.endpoints.len(),
            "desk": self.desk.state(),
        })
    }
}

//! Which pods are behind which Services.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use sealane_kube::{Change, Mirror};
use sealane_objects::ObjectName;

use super::service::Service;
use crate::view::PodView;

/// Services, pods, and who is behind whom.
#[derive(Default)]
pub struct Members {
    services: Mirror<Arc<Service>>,
    pods: Mirror<Arc<PodView>>,
    /// The pods of each Service.
    of: BTreeMap<ObjectName, BTreeSet<ObjectName>>,
    /// Services by the first label that they select, so that a pod need not be held against all of them.
    by_label: HashMap<Label, BTreeSet<ObjectName>>,
}

/// A label in a namespace.
#[derive(PartialEq, Eq, Hash)]
struct Label {
    namespace: String,
    key: String,
    value: String,
}

impl Members {
    pub fn is_synced(&self) -> bool {
        self.services.is_synced() && self.pods.is_synced()
    }

    pub fn service(&self, name: &ObjectName) -> Option<&Arc<Service>> {
        self.services.get(name)
    }

    pub fn services(&self) -> impl Iterator<Item = (&ObjectName, &Arc<Service>)> {
        self.services.iter()
    }

    /// The pods of a Service.
    pub fn of(&self, service: &ObjectName) -> impl Iterator<Item = (&ObjectName, &PodView)> {
        let names = self.of.get(service).into_iter().flatten();
        names.filter_map(|name| Some((name, &**self.pods.get(name)?)))
    }

    pub fn services_changed(&mut self, change: &Change<Arc<Service>>) {
        match change {
            Change::Reset(_) => {
                self.services.apply(change.clone());
                self.of.clear();
                self.by_label.clear();
                let all: Vec<_> = self.services.values().cloned().collect();
                for service in all {
                    self.enter(&service);
                }
            }
            Change::Applied(name, service) => {
                self.leave(name);
                self.services.apply(change.clone());
                self.enter(service);
            }
            Change::Deleted(name, _) => {
                self.leave(name);
                self.services.apply(change.clone());
            }
        }
    }

    fn enter(&mut self, service: &Service) {
        let name = &service.head.name;
        let (Some(selector), Some(label)) = (&service.selector, Label::of(service)) else {
            return;
        };
        self.by_label.entry(label).or_default().insert(name.clone());
        let pods = self.pods.iter().filter(|(pod, view)| {
            pod.namespace == name.namespace && selector.matches(&view.facts.labels)
        });
        let pods = pods.map(|(pod, _)| pod.clone()).collect();
        self.of.insert(name.clone(), pods);
    }

    fn leave(&mut self, name: &ObjectName) {
        self.of.remove(name);
        let label = self
            .services
            .get(name)
            .and_then(|service| Label::of(service));
        if let Some(label) = label
            && let Some(theirs) = self.by_label.get_mut(&label)
        {
            theirs.remove(name);
            if theirs.is_empty() {
                self.by_label.remove(&label);
            }
        }
    }

    /// Takes in what happened to pods, and says which Services that concerns.
    pub fn pods_changed(&mut self, change: &Change<Arc<PodView>>) -> BTreeSet<ObjectName> {
        match change {
            Change::Reset(_) => {
                self.pods.apply(change.clone());
                let all: Vec<_> = self.services.values().cloned().collect();
                for service in &all {
                    self.leave(&service.head.name);
                    self.enter(service);
                }
                all.iter()
                    .map(|service| service.head.name.clone())
                    .collect()
            }
            Change::Applied(name, pod) => {
                let mut concerned = self.drop_out(name);
                self.pods.apply(change.clone());
                for service in self.selected_by(name, pod) {
                    let members = self.of.entry(service.clone()).or_default();
                    members.insert(name.clone());
                    concerned.insert(service);
                }
                concerned
            }
            Change::Deleted(name, _) => {
                let concerned = self.drop_out(name);
                self.pods.apply(change.clone());
                concerned
            }
        }
    }

    /// Takes a pod out of all Services that it was behind.
    fn drop_out(&mut self, name: &ObjectName) -> BTreeSet<ObjectName> {
        let Some(pod) = self.pods.get(name) else {
            return BTreeSet::new();
        };
        let services = self.selected_by(name, pod);
        for service in &services {
            if let Some(members) = self.of.get_mut(service) {
                members.remove(name);
            }
        }
        services
    }

    fn selected_by(&self, name: &ObjectName, pod: &PodView) -> BTreeSet<ObjectName> {
        let labels = pod.facts.labels.iter();
        let candidates = labels.filter_map(|(key, value)| {
            self.by_label.get(&Label {
                namespace: name.namespace.clone(),
                key: key.clone(),
                value: value.clone(),
            })
        });
        let selects = |service: &&ObjectName| {
            let selector = self.services.get(service).and_then(|s| s.selector.as_ref());
            selector.is_some_and(|selector| selector.matches(&pod.facts.labels))
        };
        candidates.flatten().filter(selects).cloned().collect()
    }
}

impl Label {
    fn of(service: &Service) -> Option<Self> {
        let selector = service.selector.as_ref()?;
        let (key, value) = selector.match_labels.first_key_value()?;
        Some(Self {
            namespace: service.head.name.namespace.clone(),
            key: key.clone(),
            value: value.clone(),
        })
    }
}

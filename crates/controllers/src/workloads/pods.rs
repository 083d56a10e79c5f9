//! All pods, found by who keeps them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use sealane_objects::ObjectName;

use crate::view::PodView;

/// What the watch of pods has told.
#[derive(Default)]
pub struct Pods {
    all: BTreeMap<ObjectName, Arc<PodView>>,
    names: HashMap<String, ObjectName>,
    /// By the uid of the owner that keeps them.
    of_owner: HashMap<String, BTreeSet<ObjectName>>,
    /// Those that nobody keeps.
    loose: BTreeSet<ObjectName>,
    synced: bool,
}

impl Pods {
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn get(&self, name: &ObjectName) -> Option<&PodView> {
        self.all.get(name).map(|pod| &**pod)
    }

    pub fn name_of(&self, uid: &str) -> Option<&ObjectName> {
        self.names.get(uid)
    }

    pub fn reset(&mut self, all: &[(ObjectName, Arc<PodView>)]) {
        *self = Self {
            synced: true,
            ..Self::default()
        };
        for (name, pod) in all {
            self.insert(name, pod);
        }
    }

    /// Puts a pod in, and returns what it was before.
    pub fn insert(&mut self, name: &ObjectName, pod: &Arc<PodView>) -> Option<Arc<PodView>> {
        let before = self.remove(name);
        match &pod.facts.controller {
            Some(controller) => {
                let theirs = self.of_owner.entry(controller.uid.clone()).or_default();
                theirs.insert(name.clone());
            }
            None => drop(self.loose.insert(name.clone())),
        }
        self.names.insert(pod.uid.clone(), name.clone());
        self.all.insert(name.clone(), Arc::clone(pod));
        before
    }

    pub fn remove(&mut self, name: &ObjectName) -> Option<Arc<PodView>> {
        let pod = self.all.remove(name)?;
        self.names.remove(&pod.uid);
        self.loose.remove(name);
        if let Some(controller) = &pod.facts.controller
            && let Some(theirs) = self.of_owner.get_mut(&controller.uid)
        {
            theirs.remove(name);
            if theirs.is_empty() {
                self.of_owner.remove(&controller.uid);
            }
        }
        Some(pod)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&ObjectName, &PodView)> {
        self.all.iter().map(|(name, pod)| (name, &**pod))
    }

    /// All pods of a namespace.
    pub fn in_namespace<'a, 'n>(
        &'a self,
        namespace: &'n str,
    ) -> impl Iterator<Item = (&'a ObjectName, &'a PodView)> + use<'a, 'n> {
        let first = ObjectName::new(namespace, "");
        self.all
            .range(first..)
            .take_while(move |(name, _)| name.namespace == namespace)
            .map(|(name, pod)| (name, &**pod))
    }

    fn entry(&self, name: &ObjectName) -> Option<(&ObjectName, &PodView)> {
        let (name, pod) = self.all.get_key_value(name)?;
        Some((name, pod))
    }

    /// Pods that the owner with this uid keeps.
    pub fn of_owner<'a>(
        &'a self,
        uid: &str,
    ) -> impl Iterator<Item = (&'a ObjectName, &'a PodView)> + use<'a> {
        let names = self.of_owner.get(uid).into_iter().flatten();
        names.filter_map(|name| self.entry(name))
    }

    /// Pods of a namespace that nobody keeps.
    pub fn loose_in<'a, 'n>(
        &'a self,
        namespace: &'n str,
    ) -> impl Iterator<Item = (&'a ObjectName, &'a PodView)> + use<'a, 'n> {
        let first = ObjectName::new(namespace, "");
        self.loose
            .range(first..)
            .take_while(move |name| name.namespace == namespace)
            .filter_map(|name| self.entry(name))
    }
}

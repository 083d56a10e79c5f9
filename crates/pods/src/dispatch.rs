//! From the API's pods to one worker each.
//!
//! ```text
//! API server ──watch (spec.nodeName = us)──> dispatch ──watch: Desired──> worker (one per pod)
//! folders on disk ──at start───────────────>    │    <──its end────────────┘
//!                                               └──Directory──> server, /debug/state
//! ```
//!
//! Pods found on disk get their worker before the API is asked, so that what
//! crashes meanwhile is restarted; those of which the API then says nothing are
//! taken down. Pods are known by UID: a pod that is made anew under a name that
//! is still being taken down is another pod, and neither waits for the other.
//!
//! A new pod is measured against those that are here before it gets its worker
//! ([`crate::admission`]), in the order in which the API names them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use sealane_kube::events::Severity;
use sealane_kube::{Change, Filter};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};

use crate::admission::{Guests, Site};
use crate::desired::Desired;
use crate::heartbeat::Returns;
use crate::node::Node;
use crate::record::End;
use crate::summary;
use crate::worker::{View, Worker};

/// Whether a UID can be a part of a path; an API server is not trusted that far.
fn is_plain(uid: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    !uid.is_empty() && uid.len() <= 64 && uid.chars().all(plain)
}

/// The pods of this node, for whoever wants to look.
#[derive(Clone, Default)]
pub struct Directory {
    entries: Arc<Mutex<BTreeMap<String, Entry>>>,
}

struct Entry {
    desired: watch::Sender<Desired>,
    view: watch::Receiver<Arc<View>>,
    /// The worker has ended: nothing of the pod is left here.
    done: bool,
}

impl Directory {
    /// The pod of this name; of two, the one that is not leaving.
    pub fn find(&self, namespace: &str, name: &str) -> Option<watch::Receiver<Arc<View>>> {
        let entries = self.lock();
        let named = entries.values().filter(|entry| {
            let view = entry.view.borrow();
            !entry.done && view.desired.namespace() == namespace && view.desired.name() == name
        });
        let found = named.min_by_key(|entry| entry.view.borrow().desired.grace().is_some());
        found.map(|entry| entry.view.clone())
    }

    /// All pods as last seen.
    pub fn pods(&self) -> Vec<Pod> {
        let entries = self.lock();
        entries
            .values()
            .map(|entry| (*entry.view.borrow().desired.pod).clone())
            .collect()
    }

    /// Pods of which something runs.
    pub fn running(&self) -> Vec<summary::Pod> {
        let entries = self.lock();
        let present = entries.values().filter(|entry| !entry.done);
        present
            .filter_map(|entry| summary::Pod::of(&entry.view.borrow()))
            .collect()
    }

    /// What is known of each pod, for `/debug/state`.
    pub fn shown(&self) -> Value {
        let entries = self.lock();
        let shown = |entry: &Entry| {
            let view = entry.view.borrow();
            json!({
                "namespace": view.desired.namespace(),
                "name": view.desired.name(),
                "shim": view.shim.as_ref().map(sealane_runtime::Shim::pid),
                "leaving": view.desired.grace().is_some(),
                "done": entry.done,
                "record": view.record,
            })
        };
        entries
            .iter()
            .map(|(uid, entry)| (uid.clone(), shown(entry)))
            .collect()
    }

    /// A panic elsewhere must not take the directory away.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that owns the workers. Dropping it ends them; their pods go on.
pub struct Dispatch {
    node: Arc<Node>,
    directory: Directory,
    confirmed: watch::Sender<bool>,
    workers: JoinSet<()>,
    uids: BTreeMap<Id, String>,
    guests: Guests,
    site: watch::Receiver<Arc<Site>>,
}

impl Dispatch {
    /// A dispatch without pods; `confirmed` becomes true once the API has named all.
    pub fn new(
        node: Arc<Node>,
        directory: Directory,
        confirmed: watch::Sender<bool>,
        site: watch::Receiver<Arc<Site>>,
    ) -> Self {
        Self {
            guests: Guests::default(),
            site,
            node,
            directory,
            confirmed,
            workers: JoinSet::new(),
            uids: BTreeMap::new(),
        }
    }

    /// Takes up the pods that were found on disk.
    pub fn resume(&mut self, pods: Vec<Pod>) {
        for pod in pods {
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            self.guests.keep(&uid, &pod);
            self.engage(uid, Desired::new(Arc::new(pod)), None);
        }
    }

    /// Follows the API for ever; anew when the node has `returned` from where it could not reach it.
    pub async fn run(mut self, node_name: &str, mut returned: watch::Receiver<Returns>) {
        let pods = Api::<Pod>::all(self.node.client.clone());
        let filter = Filter::fields(format!("spec.nodeName={node_name}"));
        let mut changes = Box::pin(sealane_kube::watch(pods, &filter));
        loop {
            tokio::select! {
                Some(change) = changes.next() => self.change(change),
                Ok(()) = returned.changed() => {
                    let pods = Api::<Pod>::all(self.node.client.clone());
                    changes = Box::pin(sealane_kube::watch(pods, &filter));
                }
                Some(ended) = self.workers.join_next_with_id() => self.ended(ended),
                else => return,
            }
        }
    }

    fn change(&mut self, change: Change<Pod>) {
        match change {
            Change::Applied(_, pod) => self.want(pod),
            Change::Deleted(_, pod) => {
                let uid = pod.metadata.uid.clone().unwrap_or_default();
                self.update(
                    &uid,
                    Desired {
                        pod: Arc::new(pod),
                        gone: true,
                    },
                );
            }
            Change::Reset(all) => self.reset(all.into_iter().map(|(_, pod)| pod).collect()),
        }
    }

    fn reset(&mut self, all: Vec<Pod>) {
        let named = |uid: &String| all.iter().any(|pod| pod.metadata.uid.as_ref() == Some(uid));
        let entries = self.directory.lock();
        let gone = entries.iter().filter(|(uid, _)| !named(uid));
        let gone: Vec<_> = gone
            .map(|(uid, entry)| (uid.clone(), Arc::clone(&entry.desired.borrow().pod)))
            .collect();
        drop(entries);
        for (uid, pod) in gone {
            self.update(&uid, Desired { pod, gone: true });
        }
        for pod in all {
            self.want(pod);
        }
        self.confirmed.send_replace(true);
    }

    /// The API wants this pod to be as it says; a new one gets a worker.
    fn want(&mut self, pod: Pod) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        if !is_plain(&uid) {
            return tracing::error!("pod with UID {uid:?}: not a name for a folder; it is not run");
        }
        let desired = Desired::new(Arc::new(pod));
        if desired.ended() {
            self.guests.leave(&uid);
        }
        if !self.directory.lock().contains_key(&uid) {
            let refusal = self.admit(&uid, &desired);
            return self.engage(uid, desired, refusal);
        }
        self.update(&uid, desired);
    }

    /// Why a pod that is new here is not taken. One that has begun elsewhere in time, before its
    /// folder was lost, is; one that ends anyway need not fit.
    fn admit(&mut self, uid: &str, desired: &Desired) -> Option<End> {
        if desired.ended() || desired.grace().is_some() {
            return None;
        }
        let status = desired.pod.status.as_ref();
        if status.is_some_and(|status| status.start_time.is_some()) {
            self.guests.keep(uid, &desired.pod);
            return None;
        }
        let site = Arc::clone(&self.site.borrow());
        let end = self.guests.admit(uid, &desired.pod, &site).err()?;
        let message = end.message.trim_start_matches("Pod was rejected: ");
        tracing::warn!("pod {}: {}: {message}", desired.in_words(), end.reason);
        self.node
            .tell(&desired.pod, Severity::Warning, &end.reason, message);
        Some(end)
    }

    fn engage(&mut self, uid: String, desired: Desired, refusal: Option<End>) {
        let (sender, receiver) = watch::channel(desired);
        let (worker, view) = Worker::new(Arc::clone(&self.node), receiver, refusal);
        let handle = self.workers.spawn(worker.run());
        self.uids.insert(handle.id(), uid.clone());
        self.directory.lock().insert(
            uid,
            Entry {
                desired: sender,
                view,
                done: false,
            },
        );
    }

    /// A pod has changed; one that is gone from the API and from here is forgotten.
    fn update(&mut self, uid: &str, desired: Desired) {
        // The scheduler may give its room away from now on, and does before our own work is over.
        if desired.gone {
            self.guests.leave(uid);
        }
        let mut entries = self.directory.lock();
        let Some(entry) = entries.get(uid) else {
            return;
        };
        if desired.gone && entry.done {
            entries.remove(uid);
            return;
        }
        entry.desired.send_replace(desired);
    }

    /// A worker is done: its pod is kept in mind until the API has forgotten it,
    /// so that a pod with finalizers does not get another one.
    fn ended(&mut self, ended: Result<(Id, ()), tokio::task::JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let Some(uid) = self.uids.remove(&id) else {
            return;
        };
        let mut entries = self.directory.lock();
        let Some(entry) = entries.get_mut(&uid) else {
            return;
        };
        let desired = entry.desired.borrow().clone();
        if let Err(error) = ended {
            tracing::error!(
                "worker of pod {}: {error}; it is started again",
                desired.in_words()
            );
            entries.remove(&uid);
            drop(entries);
            return self.engage(uid, desired, None);
        }
        entry.done = true;
        self.guests.leave(&uid);
        if desired.gone {
            entries.remove(&uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_uids_become_folders() {
        assert!(is_plain("0b5e0cf4-3a35-4bd4-8f0e-6e4a3f1f2a10"));
        for uid in ["", "..", "a/b", "a.b", "é", &"a".repeat(65)] {
            assert!(!is_plain(uid), "{uid}");
        }
    }
}

//! Edge: following the objects that pods refer to.
//!
//! ```text
//! API server ──watch (metadata.name=NAME)──> one task for each object ──watch: Known──> workers
//! ```
//!
//! An object that several pods refer to is followed once, for as long as one of
//! them does. Channels hold the latest value alone, so nothing can be full.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use kube::{Api, Client, Resource};
use sealane_kube::{Change, Filter};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::{Data, Kind, Known, Reference, Services, Snapshot};
use crate::env::links::Link;

/// All objects that are followed on this node.
pub struct Sources {
    client: Client,
    followed: Mutex<BTreeMap<(String, Reference), Weak<Followed>>>,
}

/// One object that is followed until this is dropped.
struct Followed {
    known: watch::Receiver<Known>,
    task: AbortHandle,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What one pod refers to, followed until this is dropped.
#[derive(Default)]
pub struct Subscription {
    entries: Vec<Entry>,
}

struct Entry {
    reference: Reference,
    known: watch::Receiver<Known>,
    _followed: Arc<Followed>,
}

impl Sources {
    /// Nothing is followed yet.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            followed: Mutex::default(),
        }
    }

    /// Follows these objects of a namespace.
    pub fn subscribe(
        &self,
        namespace: &str,
        references: impl IntoIterator<Item = Reference>,
    ) -> Subscription {
        let entry = |reference: Reference| {
            let followed = self.follow(namespace, &reference);
            Entry {
                reference,
                known: followed.known.clone(),
                _followed: followed,
            }
        };
        Subscription {
            entries: references.into_iter().map(entry).collect(),
        }
    }

    fn follow(&self, namespace: &str, reference: &Reference) -> Arc<Followed> {
        let mut all = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.to_owned(), reference.clone());
        if let Some(known) = all.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        all.retain(|_, followed| followed.strong_count() > 0);
        let (sender, known) = watch::channel(Known::Unread);
        let states = self.states(namespace, reference);
        let task = tokio::spawn(tell(states, sender)).abort_handle();
        let followed = Arc::new(Followed { known, task });
        all.insert(key, Arc::downgrade(&followed));
        followed
    }

    fn states(&self, namespace: &str, reference: &Reference) -> BoxStream<'static, Known> {
        let client = self.client.clone();
        match reference.kind {
            Kind::ConfigMap => one(Api::<ConfigMap>::namespaced(client, namespace), reference),
            Kind::Secret => one(Api::<Secret>::namespaced(client, namespace), reference),
            Kind::Services => services(Api::namespaced(client, namespace)),
        }
    }
}

async fn tell(mut states: BoxStream<'static, Known>, sender: watch::Sender<Known>) {
    while let Some(known) = states.next().await {
        sender.send_if_modified(|before| {
            let same = same(before, &known);
            *before = known;
            !same
        });
    }
}

fn same(before: &Known, now: &Known) -> bool {
    match (before, now) {
        (Known::Unread, Known::Unread) | (Known::Absent, Known::Absent) => true,
        (Known::Present(before), Known::Present(now)) => before == now,
        (Known::Services(before), Known::Services(now)) => Arc::ptr_eq(before, now),
        _ => false,
    }
}

/// The states of one object.
fn one<K>(api: Api<K>, reference: &Reference) -> BoxStream<'static, Known>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + 'static,
    Data: From<K>,
{
    let filter = Filter::fields(format!("metadata.name={}", reference.name));
    let present = |data: Data| Known::Present(Arc::new(data));
    sealane_kube::watch_as(api, &filter, Data::from)
        .map(move |change| match change {
            Change::Reset(mut all) => all.pop().map_or(Known::Absent, |(_, data)| present(data)),
            Change::Applied(_, data) => present(data),
            Change::Deleted(..) => Known::Absent,
        })
        .boxed()
}

/// The states of a namespace's Services, cut down to what variables are made from.
fn services(api: Api<Service>) -> BoxStream<'static, Known> {
    let links = Services::default();
    sealane_kube::watch_as(api, &Filter::all(), Link::of)
        .map(move |change| {
            enter(
                &mut links.lock().unwrap_or_else(PoisonError::into_inner),
                change,
            );
            Known::Services(Arc::clone(&links))
        })
        .boxed()
}

fn enter(links: &mut BTreeMap<String, Link>, change: Change<Option<Link>>) {
    match change {
        Change::Reset(all) => {
            let all = all.into_iter().filter_map(|(_, link)| link);
            *links = all.map(|link| (link.name.clone(), link)).collect();
        }
        Change::Applied(name, Some(link)) => drop(links.insert(name.name, link)),
        Change::Applied(name, None) | Change::Deleted(name, _) => drop(links.remove(&name.name)),
    }
}

impl Subscription {
    /// What is known now.
    pub fn snapshot(&self) -> Snapshot {
        let known = |entry: &Entry| (entry.reference.clone(), entry.known.borrow().clone());
        Snapshot::new(self.entries.iter().map(known))
    }

    /// Waits until something has become known that was not before. Services do not count:
    /// what a container was started with stays.
    pub async fn changed(&mut self) {
        let of_files = self
            .entries
            .iter_mut()
            .filter(|entry| entry.reference.kind != Kind::Services || is_unread(&entry.known));
        let changes: Vec<_> = of_files
            .map(|entry| Box::pin(changed(&mut entry.known)))
            .collect();
        if changes.is_empty() {
            return std::future::pending().await;
        }
        futures::future::select_all(changes).map(drop).await;
    }
}

fn is_unread(known: &watch::Receiver<Known>) -> bool {
    matches!(*known.borrow(), Known::Unread)
}

async fn changed(known: &mut watch::Receiver<Known>) {
    if known.changed().await.is_err() {
        std::future::pending().await
    }
}

//! A watch that never ends: the full set, then changes, whatever happens to the connection.
//!
//! ```text
//!            list                       watch from its version
//! start ───────────> Reset(everything) ───────────────────────> Applied / Deleted …
//!   ^                                        │ cut: resumes from the last version seen, nothing is missed
//!   └────────────────────────────────────────┘ version too old (410): a new Reset
//! ```
//!
//! A consumer therefore knows three things: nothing is known before the first
//! `Reset`; after it, it is in sync; and what a later `Reset` does not name is
//! gone. Errors are not passed on, since no consumer can do anything but wait;
//! they are logged, once when they begin and then every half minute.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use k8s_openapi::serde::de::DeserializeOwned;
use kube::api::{ApiResource, DynamicObject, ObjectMeta, PartialObjectMeta};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use sealane_objects::ObjectName;

use crate::{Backoff, explain};

const REMIND: Duration = Duration::from_secs(30);

/// One step of a watch. The namespace of a cluster-wide object's name is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<T> {
    /// Everything there is. First of all, and again after a gap.
    Reset(Vec<(ObjectName, T)>),
    /// Added or changed.
    Applied(ObjectName, T),
    /// Removed; with its last state.
    Deleted(ObjectName, T),
}

/// Which objects to watch; all of them by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// A label selector, such as `app=web,tier!=cache`.
    pub labels: Option<String>,
    /// A field selector, such as `spec.nodeName=node-1`.
    pub fields: Option<String>,
}

impl Filter {
    /// No restriction.
    pub fn all() -> Self {
        Self::default()
    }

    /// Objects that match this label selector.
    pub fn labels(selector: impl Into<String>) -> Self {
        Self {
            labels: Some(selector.into()),
            fields: None,
        }
    }

    /// Objects that match this field selector.
    pub fn fields(selector: impl Into<String>) -> Self {
        Self {
            labels: None,
            fields: Some(selector.into()),
        }
    }

    fn config(&self) -> watcher::Config {
        let mut config = watcher::Config::default();
        config.label_selector.clone_from(&self.labels);
        config.field_selector.clone_from(&self.fields);
        config
    }
}

/// Watches whole objects, without their `managedFields`.
pub fn watch<K>(api: Api<K>, filter: &Filter) -> impl Stream<Item = Change<K>> + Send + use<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watch_as(api, filter, |object| object)
}

/// Watches objects cut down by `slim` as soon as they arrive, so that the rest is never kept.
///
/// For names, owners and the like alone, [`watch_metadata`] is cheaper: the
/// server then sends nothing else.
pub fn watch_as<K, T, F>(
    api: Api<K>,
    filter: &Filter,
    slim: F,
) -> impl Stream<Item = Change<T>> + Send + use<K, T, F>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    T: Send + 'static,
    F: FnMut(K) -> T + Send + 'static,
{
    let events = watcher(api, filter.config()).boxed();
    follow(events, K::plural(&()).into_owned(), slim)
}

/// Watches objects of a kind that is known by name, in all namespaces, cut down by `slim` as they arrive.
pub fn watch_objects<T, F>(
    client: Client,
    kind: &ApiResource,
    slim: F,
) -> impl Stream<Item = Change<T>> + Send + use<T, F>
where
    T: Send + 'static,
    F: FnMut(DynamicObject) -> T + Send + 'static,
{
    let api = Api::<DynamicObject>::all_with(client, kind);
    let events = watcher(api, watcher::Config::default()).boxed();
    follow(events, kind.plural.clone(), slim)
}

/// Watches the metadata of all objects of a kind that is known by name alone, in all namespaces.
pub fn watch_metadata<T, F>(
    client: Client,
    kind: &ApiResource,
    mut slim: F,
) -> impl Stream<Item = Change<T>> + Send + use<T, F>
where
    T: Send + 'static,
    F: FnMut(ObjectMeta) -> T + Send + 'static,
{
    let api = Api::<PartialObjectMeta<DynamicObject>>::all_with(client, kind);
    let events = watcher(api, watcher::Config::default()).boxed();
    follow(events, kind.plural.clone(), move |object| {
        slim(object.metadata)
    })
}

fn follow<K, T, F>(
    events: BoxStream<'static, watcher::Result<Event<K>>>,
    of: String,
    slim: F,
) -> impl Stream<Item = Change<T>> + Send + use<K, T, F>
where
    K: Resource + Send + 'static,
    T: Send + 'static,
    F: FnMut(K) -> T + Send + 'static,
{
    let progress = Progress {
        events,
        steps: Steps::new(slim),
        complaints: Complaints::new(of),
        backoff: Backoff::reconnect(),
    };
    stream::unfold(progress, |mut progress| async {
        Some((progress.next().await?, progress))
    })
}

/// A watch under way.
struct Progress<K, T, F> {
    events: BoxStream<'static, watcher::Result<Event<K>>>,
    steps: Steps<T, F>,
    complaints: Complaints,
    backoff: Backoff,
}

impl<K: Resource, T, F: FnMut(K) -> T> Progress<K, T, F> {
    /// The next change, however many attempts it takes.
    async fn next(&mut self) -> Option<Change<T>> {
        loop {
            match self.events.next().await? {
                Ok(event) => {
                    // `Init` is said before anything is asked: no sign that the server is back.
                    if !matches!(event, Event::Init) {
                        self.complaints.clear();
                        self.backoff.reset();
                    }
                    if let Some(change) = self.steps.take(event) {
                        return Some(change);
                    }
                }
                Err(error) => {
                    self.complaints.note(&error);
                    tokio::time::sleep(self.backoff.next_delay()).await;
                }
            }
        }
    }
}

/// Gathers the events of one listing into one `Reset`.
struct Steps<T, F> {
    slim: F,
    listed: Vec<(ObjectName, T)>,
}

impl<T, F> Steps<T, F> {
    fn new(slim: F) -> Self {
        Self {
            slim,
            listed: Vec::new(),
        }
    }

    fn take<K: Resource>(&mut self, event: Event<K>) -> Option<Change<T>>
    where
        F: FnMut(K) -> T,
    {
        match event {
            Event::Init => {
                self.listed.clear();
                None
            }
            Event::InitApply(object) => {
                let named = self.named(object);
                self.listed.push(named);
                None
            }
            Event::InitDone => Some(Change::Reset(std::mem::take(&mut self.listed))),
            Event::Apply(object) => {
                let (name, object) = self.named(object);
                Some(Change::Applied(name, object))
            }
            Event::Delete(object) => {
                let (name, object) = self.named(object);
                Some(Change::Deleted(name, object))
            }
        }
    }

    fn named<K: Resource>(&mut self, mut object: K) -> (ObjectName, T)
    where
        F: FnMut(K) -> T,
    {
        object.managed_fields_mut().clear();
        let name = ObjectName::new(object.namespace().unwrap_or_default(), object.name_any());
        (name, (self.slim)(object))
    }
}

/// Logs the start of an outage and reminds of it, but not every attempt.
struct Complaints {
    of: String,
    last: Option<Instant>,
}

impl Complaints {
    fn new(of: String) -> Self {
        Self { of, last: None }
    }

    fn note(&mut self, error: &watcher::Error) {
        let of = &self.of;
        if self.last.is_none_or(|last| last.elapsed() >= REMIND) {
            self.last = Some(Instant::now());
            tracing::warn!("watch {of}: {}; trying again", Cause(error));
        } else {
            tracing::debug!("watch {of}: {}; trying again", Cause(error));
        }
    }

    fn clear(&mut self) {
        if self.last.take().is_some() {
            tracing::info!("watch {}: connected again", self.of);
        }
    }
}

struct Cause<'a>(&'a watcher::Error);

impl std::fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => write!(f, "{}", explain(error)),
            watcher::Error::WatchError(status) => {
                write!(f, "{} ({})", status.message, status.code)
            }
            watcher::Error::NoResourceVersion => {
                write!(f, "an object arrived without a resourceVersion")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};

    use super::*;

    fn pod(name: &str) -> Pod {
        Pod {
            metadata: ObjectMeta {
                namespace: Some("default".into()),
                name: Some(name.into()),
                managed_fields: Some(vec![ManagedFieldsEntry::default()]),
                ..ObjectMeta::default()
            },
            ..Pod::default()
        }
    }

    fn run(events: Vec<Event<Pod>>) -> Vec<Change<usize>> {
        let managed = |pod: Pod| pod.metadata.managed_fields.map_or(0, |list| list.len());
        let mut steps = Steps::new(managed);
        events.into_iter().filter_map(|e| steps.take(e)).collect()
    }

    #[test]
    fn a_listing_is_one_reset_and_managed_fields_never_reach_the_consumer() {
        let name = |name: &str| ObjectName::new("default", name);
        let changes = run(vec![
            Event::Init,
            Event::InitApply(pod("a")),
            Event::InitApply(pod("b")),
            Event::InitDone,
            Event::Apply(pod("c")),
            Event::Delete(pod("a")),
        ]);
        assert_eq!(
            changes,
            [
                Change::Reset(vec![(name("a"), 0), (name("b"), 0)]),
                Change::Applied(name("c"), 0),
                Change::Deleted(name("a"), 0),
            ]
        );
    }

    #[test]
    fn an_empty_cluster_is_a_reset_too_and_a_broken_listing_is_forgotten() {
        assert_eq!(
            run(vec![Event::Init, Event::InitDone]),
            [Change::Reset(vec![])]
        );
        let changes = run(vec![
            Event::Init,
            Event::InitApply(pod("old")),
            Event::Init,
            Event::InitApply(pod("new")),
            Event::InitDone,
        ]);
        assert_eq!(
            changes,
            [Change::Reset(vec![(ObjectName::new("default", "new"), 0)])]
        );
    }
}

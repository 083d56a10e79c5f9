//! Events: what `kubectl describe` shows under an object.
//!
//! ```text
//! any task ──record()──> queue (256, the newest is dropped when full) ──> writer task ──> API server
//! ```
//!
//! Events are best effort: whoever records never waits and never fails. An
//! event that repeats, same object, reason and message, is counted on the
//! Event that exists instead of written anew, as kubectl's `x12 over 3m` shows.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::mpsc;

use crate::{Backoff, explain, is_not_found, is_unreachable};

const QUEUE: usize = 256;
const REMEMBERED: usize = 512;
const ATTEMPTS: u32 = 3;

/// Whether an event is good or bad news.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// Nothing to do.
    Normal,
    /// Something for a person to look at.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        })
    }
}

/// Writes Events about objects. Cheap to clone; the last clone that is dropped ends the writer.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<News>,
}

/// What happened to which object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct News {
    about: About,
    severity: Severity,
    reason: String,
    message: String,
}

/// An `ObjectReference` that can be a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct About {
    api_version: Option<String>,
    kind: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
    field_path: Option<String>,
}

impl Recorder {
    /// Starts the writer on the current tokio runtime. `component` and `host` tell readers who speaks.
    pub fn new(client: Client, component: &str, host: &str) -> Self {
        let (queue, news) = mpsc::channel(QUEUE);
        let writer = Writer {
            client,
            component: component.to_owned(),
            host: host.to_owned(),
            memory: Memory::default(),
        };
        tokio::spawn(writer.run(news));
        Self { queue }
    }

    /// Records `reason` (one CamelCase word) and `message` (a sentence) about an object.
    ///
    /// `Resource::object_ref(&())` of `kube` makes the reference of an object at hand.
    pub fn record(
        &self,
        about: &ObjectReference,
        severity: Severity,
        reason: &str,
        message: impl Into<String>,
    ) {
        let news = News {
            about: About::from(about),
            severity,
            reason: reason.to_owned(),
            message: message.into(),
        };
        if self.queue.try_send(news).is_err() {
            tracing::debug!("event {reason} is dropped: the queue of events is full");
        }
    }
}

impl From<&ObjectReference> for About {
    fn from(reference: &ObjectReference) -> Self {
        Self {
            api_version: reference.api_version.clone(),
            kind: reference.kind.clone(),
            namespace: reference.namespace.clone(),
            name: reference.name.clone(),
            uid: reference.uid.clone(),
            field_path: reference.field_path.clone(),
        }
    }
}

impl About {
    /// Events live in their object's namespace; those of cluster-wide objects in `default`.
    fn event_namespace(&self) -> &str {
        match self.namespace.as_deref() {
            Some(namespace) if !namespace.is_empty() => namespace,
            _ => "default",
        }
    }

    fn to_reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: self.api_version.clone(),
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            field_path: self.field_path.clone(),
            resource_version: None,
        }
    }
}

/// Owns the memory of events that can still be counted up.
struct Writer {
    client: Client,
    component: String,
    host: String,
    memory: Memory,
}

impl Writer {
    async fn run(mut self, mut news: mpsc::Receiver<News>) {
        while let Some(news) = news.recv().await {
            if let Err(error) = self.write(&news).await {
                let (reason, message) = (&news.reason, &news.message);
                tracing::warn!(
                    "write event {reason} ({message}): {}; it is lost",
                    explain(&error)
                );
            }
        }
    }

    async fn write(&mut self, news: &News) -> Result<(), kube::Error> {
        let mut backoff = Backoff::reconnect();
        loop {
            match self.write_once(news).await {
                Err(error) if is_unreachable(&error) && backoff.failures() + 1 < ATTEMPTS => {
                    tokio::time::sleep(backoff.next_delay()).await;
                }
                result => return result,
            }
        }
    }

    async fn write_once(&mut self, news: &News) -> Result<(), kube::Error> {
        let now = Timestamp::now();
        let events = Api::<Event>::namespaced(self.client.clone(), news.about.event_namespace());
        if let Some((name, count)) = self.memory.again(news) {
            let more = json!({"count": count, "lastTimestamp": Time(now)});
            match events
                .patch(&name, &PatchParams::default(), &Patch::Merge(more))
                .await
            {
                // It has expired, or somebody deleted it: write it anew.
                Err(error) if is_not_found(&error) => self.memory.forget(news),
                result => return result.map(drop),
            }
        }
        let event = self.event(news, now);
        let name = event.metadata.name.clone().unwrap_or_default();
        events.create(&PostParams::default(), &event).await?;
        self.memory.remember(news.clone(), name);
        Ok(())
    }

    fn event(&self, news: &News, now: Timestamp) -> Event {
        let object = news.about.name.as_deref().unwrap_or("unknown");
        Event {
            metadata: ObjectMeta {
                // As client-go names them: the object, then the time in hexadecimal.
                name: Some(format!("{object}.{:x}", now.as_nanosecond())),
                namespace: Some(news.about.event_namespace().to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: news.about.to_reference(),
            type_: Some(news.severity.to_string()),
            reason: Some(news.reason.clone()),
            message: Some(news.message.clone()),
            count: Some(1),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            source: Some(EventSource {
                component: Some(self.component.clone()),
                host: Some(self.host.clone()),
            }),
            reporting_component: Some(self.component.clone()),
            reporting_instance: Some(self.host.clone()),
            ..Event::default()
        }
    }
}

/// The latest events: the name of each, and how often it happened.
#[derive(Default)]
struct Memory {
    written: HashMap<News, (String, i32)>,
    oldest_first: VecDeque<News>,
}

impl Memory {
    /// Counts news that were written before; the Event's name and the new count.
    fn again(&mut self, news: &News) -> Option<(String, i32)> {
        let (name, count) = self.written.get_mut(news)?;
        *count = count.saturating_add(1);
        Some((name.clone(), *count))
    }

    fn remember(&mut self, news: News, name: String) {
        if self.oldest_first.len() >= REMEMBERED
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.written.remove(&oldest);
        }
        self.oldest_first.push_back(news.clone());
        self.written.insert(news, (name, 1));
    }

    fn forget(&mut self, news: &News) {
        self.written.remove(news);
        self.oldest_first.retain(|other| other != news);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(object: &str) -> News {
        News {
            about: About::from(&ObjectReference {
                kind: Some("Pod".into()),
                namespace: Some("default".into()),
                name: Some(object.into()),
                ..ObjectReference::default()
            }),
            severity: Severity::Warning,
            reason: "FailedScheduling".into(),
            message: "0/2 nodes are available".into(),
        }
    }

    #[test]
    fn the_same_news_are_counted_and_others_are_not() {
        let mut memory = Memory::default();
        assert_eq!(memory.again(&news("a")), None);
        memory.remember(news("a"), "a.1".into());
        assert_eq!(memory.again(&news("a")), Some(("a.1".into(), 2)));
        assert_eq!(memory.again(&news("a")), Some(("a.1".into(), 3)));
        assert_eq!(memory.again(&news("b")), None);
        memory.forget(&news("a"));
        assert_eq!(memory.again(&news("a")), None);
    }

    #[test]
    fn the_memory_is_bounded_and_the_oldest_goes_first() {
        let mut memory = Memory::default();
        for n in 0..=REMEMBERED {
            memory.remember(news(&n.to_string()), n.to_string());
        }
        assert_eq!(memory.written.len(), REMEMBERED);
        assert_eq!(memory.again(&news("0")), None);
        assert!(memory.again(&news("1")).is_some());
    }

    #[test]
    fn events_of_cluster_wide_objects_live_in_default() {
        let node = About::from(&ObjectReference {
            kind: Some("Node".into()),
            name: Some("node-1".into()),
            ..ObjectReference::default()
        });
        assert_eq!(node.event_namespace(), "default");
        assert_eq!(news("a").about.event_namespace(), "default");
    }
}

//! The controller of HorizontalPodAutoscalers.
//!
//! ```text
//!  watch of autoscalers ──> who is due ──> look: scale, pods, metrics ──> decide (pure) ──> scale, status, Events
//!                              ^                                             │
//!                              └──── in 15 seconds, with what was wanted lately
//! ```
//!
//! How many pods there should be is decided in `sealane-autoscaling`. Here an autoscaler is looked
//! at when it is new or its spec has changed, and then every `interval` ([`run`]); without
//! autoscalers nothing runs. It is apart from the other controllers since what it scales may be of a
//! kind that is known at run time only, and since it asks for pods and metrics instead of watching
//! them: a few requests in 15 seconds cost less than a copy of every pod.

mod look;
mod spec;
mod status;

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::{Api, Client};
use sealane_autoscaling::Memory;
use sealane_kube::events::Recorder;
use sealane_kube::{Change, Filter, watch_as};
use sealane_objects::ObjectName;
use tokio::task::JoinSet;

use look::Looker;
use spec::Spec;

/// Looks at once: each makes some requests, one after the other.
const AT_ONCE: usize = 4;

/// Nobody waits for autoscalers, but nodes wait for their subnets when a cluster comes up.
const START_PAUSE: Duration = Duration::from_millis(500);

/// An autoscaler and what it remembers.
struct Entry {
    spec: Arc<Spec>,
    due: Instant,
    /// Taken while it is being looked at.
    memory: Option<Memory>,
}

/// What came of a look.
struct Looked {
    name: ObjectName,
    uid: String,
    memory: Memory,
}

/// Scales until it is dropped.
pub async fn run(client: Client, events: Recorder, interval: Duration) {
    let api = Api::<HorizontalPodAutoscaler>::all(client.clone());
    let mut changes = watch_as(api, &Filter::all(), |object| Arc::new(Spec::of(&object))).boxed();
    let mut task = Task {
        entries: BTreeMap::new(),
        looker: Looker::new(client, events),
        looks: JoinSet::new(),
        interval,
    };
    tokio::time::sleep(START_PAUSE).await;
    loop {
        let wake_at = task.wake_at();
        tokio::select! {
            change = changes.next() => match change {
                Some(change) => task.take(change),
                None => return, // Watches never end.
            },
            Some(looked) = task.looks.join_next() => match looked {
                Ok(looked) => task.keep(looked),
                Err(error) => tracing::error!("a look of an autoscaler broke off: {error}"),
            },
            () = sleep_until(wake_at) => {}
        }
        task.look();
    }
}

struct Task {
    entries: BTreeMap<ObjectName, Entry>,
    looker: Looker,
    looks: JoinSet<Looked>,
    interval: Duration,
}

impl Task {
    fn take(&mut self, change: Change<Arc<Spec>>) {
        match change {
            Change::Reset(all) => {
                let all: BTreeMap<_, _> = all.into_iter().collect();
                self.entries.retain(|name, _| all.contains_key(name));
                for (name, spec) in all {
                    self.set(name, spec);
                }
            }
            Change::Applied(name, spec) => self.set(name, spec),
            Change::Deleted(name, _) => {
                self.entries.remove(&name);
            }
        }
    }

    fn set(&mut self, name: ObjectName, spec: Arc<Spec>) {
        let now = Instant::now();
        let fresh = || Entry {
            spec: Arc::clone(&spec),
            due: now,
            memory: Some(Memory::default()),
        };
        let entry = self.entries.entry(name).or_insert_with(fresh);
        if entry.spec.uid != spec.uid {
            *entry = fresh();
        } else if entry.spec.is_other(&spec) {
            entry.due = now;
        }
        entry.spec = spec;
    }

    /// Takes back the memory of an autoscaler, if it is still the same.
    fn keep(&mut self, looked: Looked) {
        if let Some(entry) = self.entries.get_mut(&looked.name)
            && entry.spec.uid == looked.uid
        {
            entry.memory = Some(looked.memory);
        }
    }

    /// Begins the looks that are due.
    fn look(&mut self) {
        let now = Instant::now();
        for (name, entry) in &mut self.entries {
            if self.looks.len() >= AT_ONCE {
                return;
            }
            if entry.due > now {
                continue;
            }
            let Some(mut memory) = entry.memory.take() else {
                continue;
            };
            entry.due = now + self.interval;
            let (looker, spec, name) = (self.looker.clone(), Arc::clone(&entry.spec), name.clone());
            self.looks.spawn(async move {
                looker.look(&name, &spec, &mut memory).await;
                let uid = spec.uid.clone();
                Looked { name, uid, memory }
            });
        }
    }

    /// When the next look is due, of those that are not under way; a look that ends wakes us too.
    fn wake_at(&self) -> Option<Instant> {
        if self.looks.len() >= AT_ONCE {
            return None;
        }
        let idle = self.entries.values().filter(|entry| entry.memory.is_some());
        idle.map(|entry| entry.due).min()
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => pending().await,
    }
}

//! Garbage collection: objects whose owners are gone go too.
//!
//! What kube-controller-manager's garbage collector does, through the API
//! alone, for every kind that can be listed, watched and deleted. The API
//! server says with finalizers how an owner is to be deleted, this one draws
//! the conclusions:
//!
//! - *background*: the owner is gone; a dependent of which no owner is left is deleted;
//! - *foreground* (finalizer `foregroundDeletion`): the owner stays until the
//!   dependents that block its deletion are gone, then loses the finalizer;
//! - *orphan* (finalizer `orphan`): the dependents lose their reference, then
//!   the owner its finalizer.
//!
//! ```text
//!  discovery ──> a watch of metadata for each kind ──> Input ──> Collector ──> actions ──> API server
//!                                                        ^                        │
//!                                                        └──── tick, ended <──────┘
//! ```
//!
//! Kinds come and go with custom resource definitions: whenever one has changed, the collector asks
//! again which kinds there are, and begins anew if they are others.
//!
//! One task owns the [`collect::Collector`], as [`crate::lead`] does the other
//! controllers; it is apart from them because its kinds are known at run time
//! only. Up to [`AT_ONCE`] requests are in flight, the others wait in order.
//! Inputs are pulled, so nothing queues but what the connections hold.
//!
//! Kubernetes' collector reads every object again before it deletes it. Here
//! each request carries the version that was judged as a precondition
//! instead, which says the same in one request and leaves no gap in between.

mod act;
mod action;
mod collect;
mod discover;
mod graph;
mod judge;
mod kinds;
mod object;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::stream::{self, BoxStream, StreamExt};
use kube::Client;
use kube::api::ApiResource;
use sealane_introspect::{Counter, Introspect};
use sealane_kube::events::Recorder;
use sealane_kube::{Change, watch_metadata};
use serde_json::Value;
use tokio::task::JoinSet;

use act::Actor;
use action::{Action, Outcome};
use collect::{Collector, Input};
use kinds::{KindId, Kinds};
use object::Meta;

/// Requests in flight: each holds a connection.
const AT_ONCE: usize = 8;
/// Nobody waits for garbage, but nodes wait for their subnets when a cluster comes up.
const START_PAUSE: Duration = Duration::from_millis(500);

/// Definitions come in crowds, and are served a moment after they change.
const LOOK_PAUSE: Duration = Duration::from_millis(500);

/// The collector's state, shared with `/debug/state` alone; none until the kinds are known.
pub type Shared = Arc<Mutex<Option<Collector>>>;

/// What the collector knows, for `/debug/state`.
pub fn state(collector: &Collector) -> Value {
    collector.state()
}

/// Collects until it is dropped.
pub async fn run(client: Client, events: Recorder, shared: Shared, introspect: &Introspect) {
    let performed = introspect.counter(
        "sealane_garbage_collector_actions_total",
        "Requests that the garbage collector made.",
        &[],
    );
    tokio::time::sleep(START_PAUSE).await;
    loop {
        let (kinds, resources) = discover::discover(&client).await;
        *lock(&shared) = Some(Collector::new(kinds.clone(), Instant::now()));
        let inputs = inputs(&client, &kinds, &resources);
        let task = Task {
            client: client.clone(),
            definitions: kinds.resolve("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
            look_at: None,
            shared: Arc::clone(&shared),
            inputs,
            actor: Actor::new(client.clone(), events.clone(), kinds, resources),
            waiting: VecDeque::new(),
            running: JoinSet::new(),
            performed: performed.clone(),
        };
        task.run().await;
    }
}

struct Task {
    client: Client,
    /// The kind whose objects make other kinds.
    definitions: Option<KindId>,
    /// When to look which kinds there are, since a definition has changed.
    look_at: Option<Instant>,
    shared: Shared,
    inputs: BoxStream<'static, Input>,
    actor: Actor,
    waiting: VecDeque<Action>,
    running: JoinSet<(Action, Outcome)>,
    performed: Counter,
}

impl Task {
    /// Runs until there are other kinds: those that are new, or that are no more.
    async fn run(mut self) {
        loop {
            let wake_at = self.with(|collector| collector.wake_at()).flatten();
            tokio::select! {
                input = self.inputs.next() => match input {
                    Some(input) => self.take(input),
                    None => return, // Watches never end.
                },
                Some(ended) = self.running.join_next() => match ended {
                    Ok((action, outcome)) => self.take(Input::Ended(action, outcome)),
                    Err(error) => tracing::error!("a request of the garbage collector broke off: {error}"),
                },
                () = sleep_until(wake_at) => self.take(Input::Tick),
                () = sleep_until(self.look_at) => {
                    self.look_at = None;
                    let (kinds, _) = discover::discover(&self.client).await;
                    if self.with(|collector| *collector.kinds() != kinds) == Some(true) {
                        return;
                    }
                }
            }
            self.start_waiting();
        }
    }

    fn take(&mut self, input: Input) {
        if let Input::Changed(kind, change) = &input
            && Some(*kind) == self.definitions
            && !matches!(change, Change::Reset(all) if all.is_empty())
        {
            self.look_at = Some(Instant::now() + LOOK_PAUSE);
        }
        let mut actions = Vec::new();
        self.with(|collector| collector.handle(input, Instant::now(), &mut actions));
        self.waiting.extend(actions);
    }

    fn start_waiting(&mut self) {
        while self.running.len() < AT_ONCE
            && let Some(action) = self.waiting.pop_front()
        {
            self.with(|collector| tracing::debug!("{}", action.show(collector.kinds())));
            self.performed.inc();
            let actor = self.actor.clone();
            self.running.spawn(async move {
                let outcome = actor.perform(&action).await;
                (action, outcome)
            });
        }
    }

    fn with<T>(&self, look: impl FnOnce(&mut Collector) -> T) -> Option<T> {
        lock(&self.shared).as_mut().map(look)
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, Option<Collector>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn inputs(client: &Client, kinds: &Kinds, resources: &[ApiResource]) -> BoxStream<'static, Input> {
    let watches = kinds.ids().zip(resources).map(|(kind, resource)| {
        watch_metadata(client.clone(), resource, Meta::of)
            .map(move |change| Input::Changed(kind, change))
            .boxed()
    });
    stream::select_all(watches).boxed()
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => pending().await,
    }
}

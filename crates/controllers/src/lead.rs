//! The task of the leader: it owns all controllers' state and nobody else touches it.
//!
//! ```text
//!  watch nodes ──┐                                      ┌──> action ─┐
//!  watch pods  ──┼──> Input ──> controllers ──> actions ┼──> action ─┼──> API server
//!  watch leases ─┤      ^           │ wake_at           └──> action ─┘
//!  workloads    ─┘      │           v                        │
//!                       └──── tick, ended actions <──────────┘
//! ```
//!
//! Inputs are pulled, so nothing queues but what the connection holds. Actions
//! run at once, up to [`AT_ONCE`] in flight, the others wait in the order in
//! which they were decided. When leadership ends the task is dropped, and with
//! it everything that is in flight; the next leader starts from a full list.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures::stream::{self, BoxStream, StreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Client};
use sealane_introspect::{Counter, Introspect, Readiness};
use sealane_kube::events::Recorder;
use sealane_kube::{Change, Filter, watch_as};
use tokio::task::JoinSet;

use crate::act::Actor;
use crate::action::{Action, Input, Outcome};
use crate::controllers::Controllers;
use crate::pools::Pools;
use crate::view::{LeaseView, NodeView, PodView};
use crate::workloads::news;

/// Requests in flight: each holds a connection.
const AT_ONCE: usize = 8;

/// The controllers' state, shared with `/debug/state` alone. Never locked across an await.
pub type Shared = Arc<Mutex<Controllers>>;

pub struct Leader {
    controllers: Shared,
    actor: Actor,
    inputs: BoxStream<'static, Input>,
    waiting: VecDeque<Action>,
    running: JoinSet<(Action, Outcome)>,
    unsynced: Unsynced,
    readiness: Readiness,
    performed: Counter,
}

impl Leader {
    pub fn new(
        client: &Client,
        events: Recorder,
        controllers: Shared,
        introspect: &Introspect,
        readiness: Readiness,
    ) -> Self {
        let performed = introspect.counter(
            "sealane_controllers_actions_total",
            "Changes of the cluster that controllers carried out or tried to.",
            &[],
        );
        Self {
            controllers,
            actor: Actor::new(client.clone(), events),
            inputs: inputs(client),
            waiting: VecDeque::new(),
            running: JoinSet::new(),
            unsynced: Unsynced::default(),
            readiness,
            performed,
        }
    }

    /// Leads until it is dropped.
    pub async fn run(mut self) {
        loop {
            let wake_at = self.lock().wake_at();
            tokio::select! {
                input = self.inputs.next() => match input {
                    Some(input) => self.take(&input),
                    None => return, // Watches never end.
                },
                Some(ended) = self.running.join_next() => match ended {
                    Ok((action, outcome)) => self.take(&Input::Ended(action, outcome)),
                    Err(error) => tracing::error!("an action broke off: {error}"),
                },
                () = sleep_until(wake_at) => self.take(&Input::Tick),
            }
            self.start_waiting();
        }
    }

    fn take(&mut self, input: &Input) {
        self.unsynced.note(input, &self.readiness);
        let mut actions = Vec::new();
        let now = Instant::now();
        let mut controllers = self.lock();
        controllers.set_wall(now, Timestamp::now());
        controllers.handle(input, now, &mut actions);
        drop(controllers);
        self.waiting.extend(actions);
    }

    fn start_waiting(&mut self) {
        while self.running.len() < AT_ONCE
            && let Some(action) = self.waiting.pop_front()
        {
            log(&action);
            self.performed.inc();
            let actor = self.actor.clone();
            self.running.spawn(async move {
                let outcome = actor.perform(&action).await;
                (action, outcome)
            });
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Controllers> {
        self.controllers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an operator wants to see without asking.
fn log(action: &Action) {
    match action {
        Action::Tell {
            reason: "CIDRNotAvailable",
            message,
            ..
        } => tracing::error!("{message}"),
        Action::Tell { .. } => tracing::debug!("{action}"),
        Action::MarkUnknown { .. } | Action::Evict { .. } | Action::Collect { .. } => {
            tracing::warn!("{action}");
        }
        _ => tracing::info!("{action}"),
    }
}

/// Which watches have not given their first full set.
struct Unsynced {
    nodes: bool,
    pods: bool,
    leases: bool,
}

impl Default for Unsynced {
    fn default() -> Self {
        Self {
            nodes: true,
            pods: true,
            leases: true,
        }
    }
}

impl Unsynced {
    fn note(&mut self, input: &Input, readiness: &Readiness) {
        match input {
            Input::Nodes(Change::Reset(_)) => self.nodes = false,
            Input::Pods(Change::Reset(_)) => self.pods = false,
            Input::Leases(Change::Reset(_)) => self.leases = false,
            _ => return,
        }
        if !(self.nodes || self.pods || self.leases) {
            readiness.ready();
        }
    }
}

fn inputs(client: &Client) -> BoxStream<'static, Input> {
    let all = Filter::all();
    let nodes = watch_as(Api::all(client.clone()), &all, NodeView::of).map(Input::Nodes);
    let mut pools = Pools::default();
    let pods = watch_as(Api::all(client.clone()), &all, move |pod| {
        Arc::new(PodView::of(pod, &mut pools))
    });
    let pods = pods.map(Input::Pods);
    let leases = Api::<Lease>::namespaced(client.clone(), "kube-node-lease");
    let leases = watch_as(leases, &all, LeaseView::of).map(Input::Leases);
    let workloads = news::watches(client).into_iter();
    let workloads = workloads.map(|watch| watch.map(Input::Workloads).boxed());
    let inputs = [nodes.boxed(), pods.boxed(), leases.boxed()];
    stream::select_all(inputs.into_iter().chain(workloads)).boxed()
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => pending().await,
    }
}

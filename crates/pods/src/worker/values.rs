//! The worker's steps that concern what comes from the API into the pod: the
//! objects that it refers to, its tokens, and the files of volumes made from them.
//!
//! An object that changes reaches the files of a running pod at once; a token
//! when it is due. Variables stay as a container was started with them.

use std::time::Duration;

use jiff::Timestamp;
use sealane_kube::events::Severity;

use super::Worker;
use crate::decide::outcome;
use crate::desired::Desired;
use crate::downward::Facts;
use crate::record::Sandbox;
use crate::sources::follow::Subscription;
use crate::sources::{Snapshot, references};
use crate::tokens::Tokens;
use crate::volumes::{self, Places, VolumeError, files};
use crate::{env, etc};

/// How long the API is waited for before the lack of an answer is an error.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause after files could not be brought up to date.
const PAUSE: Duration = Duration::from_secs(20);

/// What a worker holds of the API besides its pod.
#[derive(Default)]
pub(super) struct Values {
    subscription: Option<Subscription>,
    /// Until when the API is waited for.
    patience_until: Timestamp,
    tokens: Tokens,
    /// When files of volumes are looked at again.
    refresh_at: Option<Timestamp>,
    /// Labels and annotations that the files were made from.
    shown: Option<Desired>,
}

impl Values {
    fn snapshot(&self) -> Snapshot {
        let subscription = self.subscription.as_ref();
        subscription.map(Subscription::snapshot).unwrap_or_default()
    }

    /// The moment before which nothing is started, since the API has not told everything yet.
    pub(super) fn unread_until(&self) -> Option<Timestamp> {
        let unread = !self.snapshot().is_read();
        unread.then_some(self.patience_until)
    }

    /// When files of volumes are looked at again.
    pub(super) fn refresh_at(&self) -> Option<Timestamp> {
        self.refresh_at
    }

    /// Waits until an object that the pod refers to has changed.
    pub(super) async fn changed(&mut self) {
        match &mut self.subscription {
            Some(subscription) => subscription.changed().await,
            None => std::future::pending().await,
        }
    }
}

impl Worker {
    /// Follows what the pod refers to for as long as it is wanted.
    pub(super) fn follow(&mut self, pod: &Desired, now: Timestamp) {
        let over = pod.grace().is_some()
            || self.record.ended_before
            || self.record.refused.is_some()
            || outcome(pod, &self.record).is_some();
        if over {
            self.values.subscription = None;
            self.values.refresh_at = None;
            return;
        }
        if self.values.subscription.is_none() {
            let references = references(pod.spec());
            let subscription = self.node.sources.subscribe(pod.namespace(), references);
            self.values.subscription = Some(subscription);
            self.values.patience_until = now + PATIENCE;
            self.values.refresh_at = Some(now);
        }
        let shown = self.values.shown.as_ref();
        if shown.is_some_and(|shown| is_told_otherwise(shown, pod)) {
            self.values.refresh_at = Some(now);
        }
    }

    /// An object that the pod refers to has changed: what waits for it is tried at once.
    pub(super) fn sources_changed(&mut self) {
        let now = Timestamp::now();
        self.values.refresh_at = Some(now);
        if let Some(failure) = &mut self.record.failure {
            failure.retry_at = now;
        }
        for container in self.record.containers.values_mut() {
            let by_config =
                |hold: &crate::record::Hold| hold.reason == "CreateContainerConfigError";
            if container.hold.as_ref().is_some_and(by_config) {
                container.hold = None;
            }
        }
        self.secrets_changed();
    }

    /// What variables are made from.
    pub(super) fn with_env<T>(&self, pod: &Desired, ask: impl FnOnce(env::Origin<'_>) -> T) -> T {
        let sources = self.values.snapshot();
        self.with_facts(pod, |facts| {
            ask(env::Origin {
                facts,
                sources: &sources,
                api_server: self.node.api_server.as_ref(),
            })
        })
    }

    fn with_facts<T>(&self, pod: &Desired, ask: impl FnOnce(Facts<'_>) -> T) -> T {
        let host_ips = &self.node.ips;
        ask(Facts {
            pod,
            ips: match pod.host_network() {
                true => host_ips,
                false => &self.record.ips,
            },
            host_ips,
            hostname: &etc::kernel_hostname(pod, &self.node.cluster_domain),
            allocatable: self.node.allocatable,
        })
    }

    /// Makes all volumes of a pod that is about to be built.
    pub(super) async fn make_volumes(&mut self, pod: &Desired) -> Result<(), VolumeError> {
        self.values.tokens.renew(&self.node.client, pod).await;
        let planned = volumes::plan(pod.spec());
        let disk = self.folder.volumes();
        let places = Places {
            disk: &disk,
            memory: self.folder.memory(),
        };
        volumes::make(&planned, places, volumes::group(pod.spec()))?;
        self.write_files(pod)
    }

    fn write_files(&mut self, pod: &Desired) -> Result<(), VolumeError> {
        let disk = self.folder.volumes();
        let places = Places {
            disk: &disk,
            memory: self.folder.memory(),
        };
        let sources = self.values.snapshot();
        let planned = volumes::plan(pod.spec());
        let written = self.with_facts(pod, |facts| {
            let origin = files::Origin {
                facts,
                sources: &sources,
                tokens: &self.values.tokens,
            };
            volumes::refresh(&planned, places, volumes::group(pod.spec()), origin)
        });
        self.values.shown = Some(pod.clone());
        self.values.refresh_at = self.values.tokens.refresh_at();
        written.map(drop)
    }

    /// Brings the files of a running pod up to date.
    pub(super) async fn refresh(&mut self, pod: &Desired) {
        debug_assert_eq!(self.record.sandbox, Sandbox::Ready);
        self.values.tokens.renew(&self.node.client, pod).await;
        if let Err(error) = self.write_files(pod) {
            tracing::warn!("pod {}: {error}", pod.in_words());
            let message = error.to_string();
            self.node
                .tell(&pod.pod, Severity::Warning, "FailedMount", message);
            self.values.refresh_at = Some(Timestamp::now() + PAUSE);
        }
    }
}

/// Whether files may show a pod's labels or annotations as they no longer are.
fn is_told_otherwise(shown: &Desired, pod: &Desired) -> bool {
    let (shown, pod) = (&shown.pod.metadata, &pod.pod.metadata);
    shown.labels != pod.labels || shown.annotations != pod.annotations
}

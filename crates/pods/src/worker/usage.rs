//! The worker's part in limits of disk space: it looks now and then, and evicts.

use std::time::Duration;

use jiff::Timestamp;
use sealane_kube::events::Severity;
use tokio::task::JoinHandle;

use super::Worker;
use crate::decide::outcome;
use crate::desired::Desired;
use crate::record::{End, Sandbox};
use crate::usage;

/// Between two looks, as the kubelet's eviction manager.
const PERIOD: Duration = Duration::from_secs(10);
/// What containers get to end when their pod is evicted for disk space.
const GRACE: Duration = Duration::from_secs(1);

/// When a pod's files are looked at, and the look that is under way.
#[derive(Default)]
pub(super) struct Usage {
    next: Option<Timestamp>,
    look: Option<JoinHandle<Option<String>>>,
}

impl Usage {
    /// When to look next.
    pub(super) fn next_look(&self) -> Option<Timestamp> {
        self.next
    }

    /// What the look that is under way has found; never, if there is none.
    pub(super) async fn found(&mut self) -> Option<String> {
        let Some(look) = &mut self.look else {
            return std::future::pending().await;
        };
        let found = look.await;
        self.look = None;
        found.unwrap_or_default()
    }
}

impl Worker {
    /// Looks at the pod's files if it has limits and the time has come.
    pub(super) fn watch_usage(&mut self, pod: &Desired, now: Timestamp) {
        let over = pod.grace().is_some() || outcome(pod, &self.record).is_some();
        if over || self.record.sandbox != Sandbox::Ready {
            self.usage.next = None;
            return;
        }
        if self.usage.look.is_some() || self.usage.next.is_some_and(|next| next > now) {
            return;
        }
        let Some(quotas) = usage::quotas(pod.spec(), &self.folder) else {
            return;
        };
        self.usage.next = Some(now + PERIOD);
        self.usage.look = Some(tokio::task::spawn_blocking(move || quotas.excess()));
    }

    /// Ends a pod that has taken too much.
    pub(super) fn evict(&mut self, message: String) {
        let pod = self.desired.borrow().clone();
        if pod.grace().is_some() || outcome(&pod, &self.record).is_some() {
            return;
        }
        self.node
            .tell(&pod.pod, Severity::Warning, "Evicted", &message);
        self.record.end = Some(End {
            reason: "Evicted".to_owned(),
            message,
        });
        self.record.stop_within(GRACE, Timestamp::now());
    }
}

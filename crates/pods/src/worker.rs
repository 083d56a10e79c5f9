//! One pod's worker: a loop that asks [`decide`] what is next, and does it.
//!
//! ```text
//!   dispatch ──watch: Desired (latest only)──> worker ──watch: View (latest only)──> server, dispatch
//!   shim ──ShimEvent (unbounded, small)──────>   │
//!   network, confirmed ──watch──────────────>    └──watch: Wish (latest only)──> publisher ──> API server
//! ```
//!
//! Nothing here can be full: channels hold the latest value, and a shim sends
//! one event for each exit. One step is taken at a time, so a pod's own steps
//! never overlap; pods do not wait for each other. A step that has begun is not
//! given up when the pod is deleted meanwhile: half a CNI ADD is worse than one too many.
//!
//! The record is kept on disk before each step, see [`crate::record`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use sealane_kube::events::Severity;
use sealane_runtime::{Shim, ShimEvent};
use tokio::sync::{mpsc, watch};

use crate::decide::{Live, Step, decide, outcome};
use crate::desired::Desired;
use crate::folder::Folder;
use crate::messages;
use crate::node::Node;
use crate::observe;
use crate::publish::Publisher;
use crate::record::{End, Record, Sandbox};
use crate::review::review;
use crate::sandbox::{self, Built, SandboxError};
use crate::status::{self, Surroundings};
use crate::sysctls;
use hooks::Hooks;
use images::Pulls;
use probes::Probes;
use usage::Usage;
use values::Values;

pub use containers::signal_of;

mod changes;
mod containers;
mod hooks;
mod images;
mod probes;
mod usage;
mod values;

/// Pause after a sandbox could not be taken down.
const TEAR_DOWN_PAUSE: Duration = Duration::from_secs(1);
/// The clock may be set: no wait for a moment is longer than this.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// What others may see of a pod.
#[derive(Debug)]
pub struct View {
    /// What is wanted.
    pub desired: Desired,
    /// What is known.
    pub record: Record,
    /// Its shim, while there is one.
    pub shim: Option<Shim>,
    /// Its folder.
    pub dir: PathBuf,
}

/// One pod's worker.
pub struct Worker {
    node: Arc<Node>,
    desired: watch::Receiver<Desired>,
    view: watch::Sender<Arc<View>>,
    folder: Folder,
    record: Record,
    /// What is on disk.
    kept: Kept,
    shim: Option<Shim>,
    events: Option<mpsc::UnboundedReceiver<ShimEvent>>,
    rest_until: Option<Timestamp>,
    publisher: Option<Publisher>,
    status: PodStatus,
    values: Values,
    probes: Probes,
    hooks: Hooks,
    usage: Usage,
    pulls: Pulls,
}

#[derive(Default)]
struct Kept {
    record: Option<Record>,
    pod: Option<Arc<Pod>>,
}

impl Worker {
    /// A worker for a pod, with what was kept of it, and the view of it; `refusal` says why it was not admitted.
    pub fn new(
        node: Arc<Node>,
        desired: watch::Receiver<Desired>,
        refusal: Option<End>,
    ) -> (Self, watch::Receiver<Arc<View>>) {
        let pod = desired.borrow().clone();
        let folder = node.folder(pod.uid());
        let record = folder.record();
        let kept = Kept {
            record: record.clone(),
            pod: None,
        };
        let mut record = record.unwrap_or_else(|| fresh(&pod));
        record.end = record.end.or(refusal);
        let dir = folder.dir().to_owned();
        let view = View {
            desired: pod.clone(),
            record: record.clone(),
            shim: None,
            dir,
        };
        let (view, viewed) = watch::channel(Arc::new(view));
        let worker = Self {
            publisher: Some(Publisher::start(node.client.clone(), &pod)),
            status: pod.pod.status.clone().unwrap_or_default(),
            node,
            desired,
            view,
            folder,
            record,
            kept,
            shim: None,
            events: None,
            rest_until: None,
            values: Values::default(),
            probes: Probes::default(),
            hooks: Hooks::default(),
            usage: Usage::default(),
            pulls: Pulls::default(),
        };
        (worker, viewed)
    }

    /// Works until the pod is gone.
    pub async fn run(mut self) {
        self.adopt().await;
        self.forget_hooks();
        self.forget_pulls();
        self.review();
        loop {
            self.listen();
            let pod = self.desired.borrow_and_update().clone();
            let now = Timestamp::now();
            self.notice_changes(&pod);
            self.watch_usage(&pod, now);
            self.limit_end(&pod, now);
            self.keep(&pod);
            self.show(&pod, now);
            self.follow(&pod, now);
            self.supervise(&pod);
            let decision = decide(&pod, &self.record, self.live(), now);
            if decision.step != Step::Wait {
                tracing::debug!("pod {}: {:?}", pod.in_words(), decision.step);
            }
            match decision.step {
                Step::Finish => return self.finish(&pod).await,
                Step::Wait => {
                    if !self.wait(decision.wake).await {
                        return;
                    }
                }
                step => self.take(step, &pod).await,
            }
        }
    }

    async fn take(&mut self, step: Step, pod: &Desired) {
        match step {
            Step::Build => self.build(pod).await,
            Step::Refresh => self.refresh(pod).await,
            Step::TearDown => self.tear_down(pod).await,
            Step::Start(name) => self.start(pod, &name).await,
            Step::ShelveImage(name) => self.shelve_image(pod, &name),
            Step::AnnounceBackOff(name) => self.announce_back_off(pod, &name),
            Step::Stop(name, how) => self.stop(pod, &name, how).await,
            Step::Expire => self.expire(pod),
            Step::Wait | Step::Finish => {}
        }
    }

    /// Sets the moment at which what still runs is killed, once the pod leaves or has ended.
    fn limit_end(&mut self, pod: &Desired, now: Timestamp) {
        if let Some(grace) = pod.grace() {
            return self.record.stop_within(grace, now);
        }
        if self.record.kill_at.is_none() && outcome(pod, &self.record).is_some() {
            self.record.stop_within(pod.own_grace(), now);
        }
    }

    /// Ends a pod that has run for as long as it may.
    fn expire(&mut self, pod: &Desired) {
        let message = "Pod was active on the node longer than the specified deadline";
        self.node
            .tell(&pod.pod, Severity::Normal, "DeadlineExceeded", message);
        self.record.end = Some(End {
            reason: "DeadlineExceeded".to_owned(),
            message: message.to_owned(),
        });
    }

    fn live(&self) -> Live {
        Live {
            shim: self.shim.is_some(),
            network: self.node.network.borrow().is_ok(),
            confirmed: *self.node.confirmed.borrow(),
            rest_until: self.rest_until,
            unread_until: self.values.unread_until(),
            refresh_at: self.values.refresh_at(),
        }
    }

    /// Takes over the shim that a former process of ours has left.
    async fn adopt(&mut self) {
        if self.record.sandbox != Sandbox::Ready {
            return;
        }
        let socket = self.node.sandbox(&self.desired.borrow()).socket;
        let adopted = sealane_runtime::adopt(&socket).await;
        match adopted {
            Ok(shim) => self.attach(shim).await,
            Err(error) => tracing::warn!("{error}; its pod is made anew"),
        }
    }

    async fn attach(&mut self, shim: Shim) {
        self.events = Some(shim.events());
        match shim.state().await {
            Ok(state) => {
                observe::adopt(&mut self.record, &state, Timestamp::now());
                self.collect_messages();
                self.shim = Some(shim);
            }
            Err(error) => tracing::warn!("{error}"),
        }
    }

    /// Looks once for what this node cannot do.
    fn review(&mut self) {
        let pod = self.desired.borrow().clone();
        if self.record.sandbox_attempt > 0 || self.record.ended_before || pod.grace().is_some() {
            return;
        }
        if let Some(reason) = sysctls::forbidden(pod.spec(), &self.node.rules.unsafe_sysctls) {
            return self.reject(&pod, "SysctlForbidden", &reason);
        }
        let review = review(pod.spec());
        for ignored in review.ignored {
            self.node
                .tell(&pod.pod, Severity::Warning, "NotSupported", ignored);
        }
        self.record.refused = None;
        if !review.refused.is_empty() {
            let reasons = review.refused.join("; ");
            let message = format!("this pod is not started: {reasons}");
            self.node
                .tell(&pod.pod, Severity::Warning, "NotSupported", &message);
            self.record.refused = Some(reasons);
        }
    }

    /// Turns the pod away before anything of it is made, in the kubelet's words.
    fn reject(&mut self, pod: &Desired, reason: &str, why: &str) {
        self.node.tell(&pod.pod, Severity::Warning, reason, why);
        self.record.end = Some(End {
            reason: reason.to_owned(),
            message: format!("Pod was rejected: {why}"),
        });
    }

    /// Enters what the shim has told since last time.
    fn listen(&mut self) {
        while let Some(event) = self
            .events
            .as_mut()
            .and_then(|events| events.try_recv().ok())
        {
            self.hear(event);
        }
    }

    fn hear(&mut self, event: ShimEvent) {
        match event {
            ShimEvent::Exited {
                name,
                attempt,
                exit,
            } => {
                tracing::debug!("container {name}.{attempt} ended with {}", exit.code);
                observe::exited(&mut self.record, &name, attempt, &exit);
                self.collect_messages();
            }
            ShimEvent::Gone => self.lose_shim(),
        }
    }

    fn collect_messages(&mut self) {
        let pod = self.desired.borrow().clone();
        messages::collect(&mut self.record, &pod, self.folder.dir());
    }

    fn lose_shim(&mut self) {
        self.shim = None;
        self.events = None;
    }

    /// Keeps on disk what has changed.
    fn keep(&mut self, pod: &Desired) {
        let new = self.kept.record.is_none() && self.record.sandbox_attempt == 0;
        if new && (pod.grace().is_some() || self.record.ended_before) {
            return;
        }
        if let Err(error) = self.keep_all(pod) {
            tracing::error!("keep state of pod {}: {error}", pod.in_words());
        }
    }

    fn keep_all(&mut self, pod: &Desired) -> Result<(), crate::folder::FolderError> {
        if self.kept.record.is_none() {
            self.folder.make()?;
        }
        if self
            .kept
            .pod
            .as_ref()
            .is_none_or(|kept| is_news(kept, &pod.pod))
        {
            self.folder.keep_pod(&pod.pod)?;
            self.kept.pod = Some(Arc::clone(&pod.pod));
        }
        if self.kept.record.as_ref() != Some(&self.record) {
            self.folder.keep_record(&self.record)?;
            self.kept.record = Some(self.record.clone());
        }
        Ok(())
    }

    /// Shows the pod's state to the server, and its status to the API.
    fn show(&mut self, pod: &Desired, now: Timestamp) {
        let view = View {
            desired: pod.clone(),
            record: self.record.clone(),
            shim: self.shim.clone(),
            dir: self.folder.dir().to_owned(),
        };
        self.view.send_replace(Arc::new(view));
        if !self.has_status(pod) {
            return;
        }
        self.status = self.compile(pod, now);
        if let Some(publisher) = &self.publisher {
            publisher.show(&self.status, pod);
        }
    }

    /// A pod that was nothing here has no status to tell.
    fn has_status(&self, pod: &Desired) -> bool {
        let nothing = self.record.sandbox_attempt == 0 && pod.grace().is_some();
        !(pod.gone || self.record.ended_before || nothing)
    }

    fn compile(&self, pod: &Desired, now: Timestamp) -> PodStatus {
        let mut previous = pod.pod.status.clone().unwrap_or_default();
        status::prefer_own(&mut previous, &self.status);
        let around = Surroundings {
            host_ips: &self.node.ips,
            previous: &previous,
            now,
        };
        status::compile(pod, &self.record, around)
    }

    /// Waits for news, or for the moment to ask again; `false` at the end of this process.
    async fn wait(&mut self, wake: Option<Timestamp>) -> bool {
        let wake = wake.into_iter().chain(self.usage.next_look()).min();
        let pause = wake.map(|wake| Duration::try_from(wake.duration_since(Timestamp::now())));
        let pause = pause
            .map_or(LONGEST_SLEEP, Result::unwrap_or_default)
            .min(LONGEST_SLEEP);
        let mut network = self.node.network.clone();
        let mut confirmed = self.node.confirmed.clone();
        network.mark_unchanged();
        confirmed.mark_unchanged();
        let event = tokio::select! {
            changed = self.desired.changed() => return changed.is_ok(),
            event = next(&mut self.events) => event,
            () = self.values.changed() => {
                self.sources_changed();
                None
            }
            verdict = self.probes.next() => {
                self.judge(&verdict);
                None
            }
            ended = self.pulls.next() => {
                self.pull_ended(ended);
                None
            }
            ended = self.hooks.next() => {
                self.hook_ended(ended);
                None
            }
            found = self.usage.found() => {
                if let Some(message) = found {
                    self.evict(message);
                }
                None
            }
            Ok(()) = network.changed() => None,
            Ok(()) = confirmed.changed() => None,
            () = tokio::time::sleep(pause) => None,
        };
        if let Some(event) = event {
            self.hear(event);
        }
        true
    }

    async fn build(&mut self, pod: &Desired) {
        if let Err(error) = self.folder.make() {
            return self.cannot_build(pod, &error.into());
        }
        if let Err(error) = self.make_volumes(pod).await {
            return self.cannot_build(pod, &error.into());
        }
        self.record.sandbox_attempt += 1;
        self.record.sandbox = Sandbox::Partial;
        self.keep(pod);
        let (node, attempt) = (Arc::clone(&self.node), self.record.sandbox_attempt);
        match sandbox::build(&node, pod, attempt, &self.folder).await {
            Ok(Built { shim, ips }) => {
                self.events = Some(shim.events());
                self.shim = Some(shim);
                self.record.ips = ips;
                self.record.failure = None;
                self.record.sandbox = Sandbox::Ready;
            }
            Err(error) => self.cannot_build(pod, &error),
        }
    }

    fn cannot_build(&mut self, pod: &Desired, error: &SandboxError) {
        let reason = error.reason();
        let message = match reason {
            "FailedCreatePodSandBox" => format!("Failed to create pod sandbox: {error}"),
            _ => error.to_string(),
        };
        tracing::warn!("pod {}: {message}", pod.in_words());
        self.node
            .tell(&pod.pod, Severity::Warning, reason, &message);
        self.record.failed(message, Timestamp::now());
    }

    async fn tear_down(&mut self, pod: &Desired) {
        let died = self.record.sandbox == Sandbox::Ready && self.shim.is_none();
        if died && pod.grace().is_none() {
            let message = "Pod sandbox changed, it will be killed and re-created.";
            self.node
                .tell(&pod.pod, Severity::Normal, "SandboxChanged", message);
        }
        self.record.sandbox = Sandbox::Partial;
        self.keep(pod);
        let (node, attempt) = (Arc::clone(&self.node), self.record.sandbox_attempt);
        match sandbox::tear_down(&node, pod, attempt, self.shim.as_ref()).await {
            Ok(()) => self.torn_down(pod),
            Err(error) => {
                tracing::warn!("pod {}: {error}", pod.in_words());
                let message = format!("error killing pod: {error}");
                node.tell(&pod.pod, Severity::Warning, error.reason(), message);
                self.rest_until = Some(Timestamp::now() + TEAR_DOWN_PAUSE);
            }
        }
    }

    fn torn_down(&mut self, pod: &Desired) {
        self.listen();
        self.lose_shim();
        self.rest_until = None;
        observe::read_exits(&mut self.record, self.folder.dir());
        self.collect_messages();
        let again = pod.grace().is_none() && outcome(pod, &self.record).is_none();
        self.record
            .sandbox_gone(&pod.init_names(), again, Timestamp::now());
    }

    /// Removes what is left on disk and tells the API that the pod is gone.
    async fn finish(&mut self, pod: &Desired) {
        if let Err(error) = self.folder.remove() {
            tracing::error!(
                "pod {}: {error}; it is removed at the next start",
                pod.in_words()
            );
        }
        let Some(publisher) = self.publisher.take() else {
            return;
        };
        if pod.gone {
            return;
        }
        let last = self.has_status(pod).then(|| self.status.clone());
        publisher.finish(last, pod).await;
    }
}

/// The state of a pod of which nothing was kept.
fn fresh(pod: &Desired) -> Record {
    let mut record = Record::new(Timestamp::now());
    record.ended_before = pod.ended();
    record
}

/// Whether a pod differs in more than its status.
fn is_news(kept: &Pod, pod: &Pod) -> bool {
    let essence = |pod: &Pod| {
        let metadata = &pod.metadata;
        let words = (metadata.labels.clone(), metadata.annotations.clone());
        (
            metadata.deletion_timestamp.clone(),
            metadata.deletion_grace_period_seconds,
            words,
        )
    };
    essence(kept) != essence(pod) || kept.spec != pod.spec
}

/// The next event; never, while there is no shim.
async fn next(events: &mut Option<mpsc::UnboundedReceiver<ShimEvent>>) -> Option<ShimEvent> {
    match events {
        Some(receiver) => Some(receiver.recv().await.unwrap_or(ShimEvent::Gone)),
        None => std::future::pending().await,
    }
}

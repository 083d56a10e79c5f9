//! The worker's part in lifecycle hooks: postStart holds up the containers after it and dooms its
//! own when it fails; preStop comes before SIGTERM, within the grace period.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::LifecycleHandler;
use sealane_kube::events::Severity;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::Worker;
use crate::desired::Desired;
use crate::probe::ask::{Answer, Bad, Question};
use crate::record::Doom;

/// A hook that hangs: preStop is cut short by the grace period, postStart by the pod's end.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Which hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Which {
    PostStart,
    PreStop,
}

/// A hook that has come to its end.
pub(super) struct Ended {
    container: String,
    attempt: u32,
    which: Which,
    answer: Result<(), Bad>,
}

/// The hooks of one pod that run.
pub(super) struct Hooks {
    running: BTreeMap<String, Hook>,
    sender: mpsc::UnboundedSender<Ended>,
    ended: mpsc::UnboundedReceiver<Ended>,
}

/// A hook that runs until this is dropped.
struct Hook(AbortHandle);

impl Drop for Hook {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Default for Hooks {
    fn default() -> Self {
        let (sender, ended) = mpsc::unbounded_channel();
        Self {
            running: BTreeMap::new(),
            sender,
            ended,
        }
    }
}

impl Hooks {
    /// The next hook that comes to its end.
    pub(super) async fn next(&mut self) -> Ended {
        match self.ended.recv().await {
            Some(ended) => ended,
            None => std::future::pending().await,
        }
    }
}

impl Worker {
    /// Runs a container's postStart hook, if it has one.
    pub(super) fn after_start(&mut self, pod: &Desired, name: &str) {
        let lifecycle = pod.container(name).and_then(|spec| spec.lifecycle.as_ref());
        let hook = lifecycle.and_then(|lifecycle| lifecycle.post_start.clone());
        if let Some(hook) = hook {
            self.record.container_mut(name).post_start = true;
            self.run_hook(pod, name, Which::PostStart, &hook);
        }
    }

    /// Runs a container's preStop hook.
    pub(super) fn before_stop(&mut self, pod: &Desired, name: &str) {
        let lifecycle = pod.container(name).and_then(|spec| spec.lifecycle.as_ref());
        match lifecycle.and_then(|lifecycle| lifecycle.pre_stop.clone()) {
            Some(hook) => self.run_hook(pod, name, Which::PreStop, &hook),
            None => self.record.container_mut(name).hook_ended = Some(Timestamp::now()),
        }
    }

    fn run_hook(&mut self, pod: &Desired, name: &str, which: Which, hook: &LifecycleHandler) {
        let (Some(target), Some(spec)) = (self.target(pod, name), pod.container(name)) else {
            return;
        };
        let question = Question::of_hook(hook, spec, target.ip);
        let sender = self.hooks.sender.clone();
        let (container, attempt) = (name.to_owned(), self.record.container(name).attempt);
        let task = tokio::spawn(async move {
            let answer = match question {
                Ok(question) => question.ask(&target, LONGEST).await.and_then(Answer::given),
                Err(why) => Err(why),
            };
            // A worker that is gone has nobody to tell.
            let _ = sender.send(Ended {
                container,
                attempt,
                which,
                answer,
            });
        });
        let hook = Hook(task.abort_handle());
        self.hooks.running.insert(name.to_owned(), hook);
    }

    /// SIGTERM does not wait for a hook any longer.
    pub(super) fn give_up_hook(&mut self, name: &str) {
        self.hooks.running.remove(name);
        let container = self.record.container_mut(name);
        container.post_start = false;
        if container.stopping == Some(crate::record::Stop::Hook) {
            container.hook_ended.get_or_insert_with(Timestamp::now);
        }
    }

    /// A hook has come to its end.
    pub(super) fn hook_ended(&mut self, ended: Ended) {
        let pod = self.desired.borrow().clone();
        let now = Timestamp::now();
        let name = &ended.container;
        let container = self.record.container_mut(name);
        if container.attempt != ended.attempt {
            return;
        }
        self.hooks.running.remove(name);
        let reason = match ended.which {
            Which::PostStart => "PostStartHook",
            Which::PreStop => "PreStopHook",
        };
        match ended.which {
            Which::PostStart => container.post_start = false,
            Which::PreStop => container.hook_ended = Some(now),
        }
        let Err(Bad(why)) = ended.answer else {
            return;
        };
        if ended.which == Which::PostStart {
            container.doom.get_or_insert(Doom {
                message: "FailedPostStartHook".to_owned(),
                kill_at: now + pod.own_grace(),
                changed: false,
            });
        }
        // Its output may hold secrets, so that people are not told more.
        tracing::warn!(
            "{reason} of container {name} in pod {}: {why}",
            pod.in_words()
        );
        let (event, message) = (format!("Failed{reason}"), format!("{reason} failed"));
        self.node
            .tell_of(&pod, name, Severity::Warning, &event, message);
    }

    /// Hooks that ran when a former process of ours ended are over.
    pub(super) fn forget_hooks(&mut self) {
        let now = Timestamp::now();
        for container in self.record.containers.values_mut() {
            container.post_start = false;
            if container.stopping == Some(crate::record::Stop::Hook) {
                container.hook_ended.get_or_insert(now);
            }
        }
    }
}

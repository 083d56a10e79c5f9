//! A pod, as the scheduler keeps it.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sealane_kube::events::Severity;
use sealane_objects::ObjectName;
use sealane_scheduling::{ClassId, Refusal};

use crate::action::{About, Action};
use crate::view::PodView;

/// Pods that name another scheduler are left to it.
const OUR_NAME: &str = "default-scheduler";
/// The words of Kubernetes' API server.
const GATED: &str = "Scheduling is blocked due to non-empty scheduling gates";
const FIRST_SILENCE: Duration = Duration::from_secs(1);
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// A pod's place in the queue: by priority, then by arrival.
pub type Place = (Reverse<i32>, u64);

pub struct Pod {
    pub view: Arc<PodView>,
    pub class: ClassId,
    /// The node that we gave it and that the API does not show yet.
    pub assumed: Option<String>,
    pub queued: Option<Place>,
    pub failures: u32,
    /// A binding failed: not to be tried before.
    pub not_before: Option<Instant>,
    /// Why it fitted nowhere when it was last tried.
    pub refusal: Option<Refusal>,
    /// The node on which room is being made for it.
    pub nominated: Option<String>,
    /// Who has to go for that, by name and uid.
    pub victims: Vec<(ObjectName, String)>,
    /// What was said about that.
    words: Words,
}

/// What people were told of a pod without a node. Reasons change with every
/// pod that comes or goes; they are told at growing intervals.
#[derive(Default)]
struct Words {
    said: Option<String>,
    nominated: Option<String>,
    silent_until: Option<Instant>,
    times: u32,
}

impl Pod {
    /// A pod that is seen again keeps what we decided about it, until the API shows it.
    pub fn of(view: &Arc<PodView>, class: ClassId, before: Option<Self>) -> Self {
        let said = view.refused.clone();
        let Some(before) = before else {
            return Self {
                view: Arc::clone(view),
                class,
                assumed: None,
                queued: None,
                failures: 0,
                not_before: None,
                refusal: None,
                nominated: view.nominated.clone(),
                victims: Vec::new(),
                words: Words {
                    said,
                    nominated: view.nominated.clone(),
                    ..Words::default()
                },
            };
        };
        let unchanged = before.class == class && before.view.gated == view.gated;
        Self {
            assumed: before.assumed.filter(|_| view.node.is_none()),
            // What others write over our words is not put right: they come with the next refusal.
            words: Words {
                said: before.words.said.or(said),
                ..before.words
            },
            refusal: before.refusal.filter(|_| unchanged),
            view: Arc::clone(view),
            class,
            ..before
        }
    }

    /// The node on which it takes up a place.
    pub fn holds(&self) -> Option<&str> {
        let node = self.view.node.as_deref().or(self.assumed.as_deref());
        node.filter(|_| !self.view.finished)
    }

    /// Whether it is for us to give it a node.
    pub fn is_wanting(&self) -> bool {
        let view = &self.view;
        let unplaced = view.node.is_none() && self.assumed.is_none();
        unplaced && !view.deleting && !view.finished && view.scheduler == OUR_NAME
    }

    /// Gives it a node.
    pub fn bind(&mut self, name: &ObjectName, node: String) -> Action {
        self.assumed = Some(node.clone());
        self.refusal = None;
        self.nominated = None;
        self.victims.clear();
        Action::Bind {
            pod: name.clone(),
            uid: self.view.uid.clone(),
            node,
        }
    }

    /// Says that it has to wait until its gates are taken away.
    pub fn hold_back(&mut self, name: &ObjectName, actions: &mut Vec<Action>) {
        if self.words.said.as_deref() != Some(GATED) {
            actions.push(self.condition(name, "SchedulingGated", GATED.to_owned()));
        }
    }

    /// Says why there is no node, unless that is what was said last; or when it may be said.
    pub fn refuse(
        &mut self,
        name: &ObjectName,
        refusal: Refusal,
        now: Instant,
        actions: &mut Vec<Action>,
    ) -> Option<Instant> {
        let message = refusal.to_string();
        self.refusal = Some(refusal);
        let nominates = self.words.nominated != self.nominated;
        if self.words.said.as_ref() == Some(&message) && !nominates {
            return None;
        }
        let silent = self.words.silent_until.filter(|until| *until > now);
        if let Some(until) = silent.filter(|_| !nominates) {
            return Some(until);
        }
        let silence = FIRST_SILENCE.saturating_mul(1 << self.words.times.min(10));
        self.words.silent_until = Some(now + silence.min(LONGEST_SILENCE));
        self.words.times += 1;
        actions.push(self.tell(name, Severity::Warning, "FailedScheduling", message.clone()));
        actions.push(self.condition(name, "Unschedulable", message));
        None
    }

    fn condition(&mut self, name: &ObjectName, reason: &'static str, message: String) -> Action {
        let before = self.words.said.replace(message.clone());
        let nominated = (self.words.nominated != self.nominated)
            .then(|| self.nominated.clone().unwrap_or_default());
        self.words.nominated = self.nominated.clone();
        Action::Refuse {
            pod: name.clone(),
            uid: self.view.uid.clone(),
            version: self.view.version.clone(),
            reason,
            message,
            turns: before.is_none(),
            nominated,
        }
    }

    pub fn tell(
        &self,
        name: &ObjectName,
        severity: Severity,
        reason: &'static str,
        message: String,
    ) -> Action {
        Action::Tell {
            about: About::Pod {
                name: name.clone(),
                uid: self.view.uid.clone(),
            },
            severity,
            reason,
            message,
        }
    }

    /// What was last said of why it has no node.
    pub fn said(&self) -> Option<&str> {
        self.words.said.as_deref()
    }

    /// The condition did not reach the API: it has to be said again.
    pub fn unsaid(&mut self) {
        self.words.said = None;
        self.words.nominated = self.view.nominated.clone();
        self.words.silent_until = None;
    }
}

//! Why no node will do, in the words of kube-scheduler, and what could change that.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// Why a node is out of the question.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Reason {
    Cordoned,
    /// By key and value.
    Taint(String, String),
    /// The pod's affinity names other nodes.
    NotNamed,
    NodeAffinity,
    HostPorts,
    TooManyPods,
    Insufficient(String),
    SpreadLabel,
    Spread,
    Near,
    Away,
    KeptAway,
}

/// A node's answer: reasons of the first rule that it fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub reasons: Vec<Reason>,
    /// Whether it might fit if pods of the node went away.
    pub curable: bool,
}

/// Something that happened in the cluster and may help a pod that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A node came, or changed; or a namespace did.
    Node,
    /// A pod came to a node.
    PodCame,
    /// A pod left a node.
    PodLeft,
}

/// Why no node will do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Refusal {
    nodes: usize,
    failing: BTreeMap<Reason, usize>,
    /// What limits the first node that has too many pods.
    note: Option<String>,
    preemption: Preemption,
}

/// What pushing other pods aside would bring.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Preemption {
    never: bool,
    /// Nodes that would be of use if pods went away, but all of them count as much as this one.
    without_victims: usize,
    /// Nodes where pods of lower priority stand that might be pushed aside.
    with_victims: usize,
    attempt: Attempt,
}

/// What came of pushing other pods aside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Attempt {
    /// It was not tried.
    #[default]
    None,
    /// Room is being made.
    Made,
    /// Those who were pushed aside are still going.
    Awaited,
    /// It would not help: what still fails on nodes without their pods of lower priority, counted.
    Vain(BTreeMap<String, usize>),
}

impl Reason {
    pub(crate) fn text(&self) -> String {
        let text = match self {
            Self::Cordoned => "node(s) were unschedulable",
            Self::Taint(key, value) => {
                return format!("node(s) had untolerated taint {{{key}: {value}}}");
            }
            Self::NotNamed => "node(s) didn't satisfy plugin(s) [NodeAffinity]",
            Self::NodeAffinity => "node(s) didn't match Pod's node affinity/selector",
            Self::HostPorts => "node(s) didn't have free ports for the requested pod ports",
            Self::TooManyPods => "Too many pods",
            Self::Insufficient(resource) => return format!("Insufficient {resource}"),
            Self::SpreadLabel => {
                "node(s) didn't match pod topology spread constraints (missing required label)"
            }
            Self::Spread => "node(s) didn't match pod topology spread constraints",
            Self::Near => "node(s) didn't match pod affinity rules",
            Self::Away => "node(s) didn't match pod anti-affinity rules",
            Self::KeptAway => "node(s) didn't satisfy existing pods anti-affinity rules",
        };
        text.to_owned()
    }

    fn helped_by(&self, happening: Happening) -> bool {
        let (came, left) = match self {
            Self::Cordoned
            | Self::Taint(..)
            | Self::NotNamed
            | Self::NodeAffinity
            | Self::SpreadLabel => (false, false),
            Self::HostPorts
            | Self::TooManyPods
            | Self::Insufficient(_)
            | Self::Away
            | Self::KeptAway => (false, true),
            Self::Near => (true, false),
            Self::Spread => (true, true),
        };
        match happening {
            Happening::Node => true,
            Happening::PodCame => came,
            Happening::PodLeft => left,
        }
    }
}

impl Rejection {
    /// A rule that no leaving pod would change.
    pub fn lasting(reason: Reason) -> Self {
        Self {
            reasons: vec![reason],
            curable: false,
        }
    }

    /// A rule that the node might satisfy without some of its pods.
    pub fn curable(reason: Reason) -> Self {
        Self {
            reasons: vec![reason],
            curable: true,
        }
    }
}

impl Refusal {
    /// A refusal to which nodes add their answers.
    pub(crate) fn new(preempts: bool) -> Self {
        let preemption = Preemption {
            never: !preempts,
            ..Preemption::default()
        };
        Self {
            preemption,
            ..Self::default()
        }
    }

    /// One node's answer; `victims`: whether pods of lower priority stand there.
    pub(crate) fn add(&mut self, rejection: Rejection, victims: bool) {
        self.nodes += 1;
        match (rejection.curable, victims) {
            (true, true) => self.preemption.with_victims += 1,
            (true, false) => self.preemption.without_victims += 1,
            (false, _) => {}
        }
        for reason in rejection.reasons {
            *self.failing.entry(reason).or_default() += 1;
        }
    }

    /// What limits a node that has too many pods; the first one is told.
    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        self.note.get_or_insert_with(text);
    }

    /// Whether pushing other pods aside might help.
    pub fn might_preempt(&self) -> bool {
        !self.preemption.never && self.preemption.with_victims > 0
    }

    /// Takes note of what came of that.
    pub fn attempted(&mut self, attempt: Attempt) {
        self.preemption.attempt = attempt;
    }

    /// Whether the pod should be tried again after this.
    pub fn helped_by(&self, happening: Happening) -> bool {
        match happening {
            Happening::Node => true,
            _ => self
                .failing
                .keys()
                .any(|reason| reason.helped_by(happening)),
        }
    }
}

/// `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable. preemption: …`
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes == 0 {
            return write!(f, "no nodes available to schedule pods");
        }
        let failing = self.failing.iter();
        let parts = failing.map(|(reason, count)| format!("{count} {}", reason.text()));
        write!(f, "{}", available(self.nodes, parts.collect()))?;
        if let Some(note) = &self.note {
            write!(f, " {note}")?;
        }
        match self.preemption.attempt {
            Attempt::Made => Ok(()),
            _ => write!(f, " preemption: {}", self.preemption.text(self.nodes)),
        }
    }
}

fn available(nodes: usize, mut parts: Vec<String>) -> String {
    parts.sort();
    format!("0/{nodes} nodes are available: {}.", parts.join(", "))
}

impl Preemption {
    fn text(&self, nodes: usize) -> String {
        if self.never {
            return "not eligible due to preemptionPolicy=Never.".to_owned();
        }
        let known = BTreeMap::new();
        let failing = match &self.attempt {
            Attempt::Awaited => {
                return "not eligible due to a terminating pod on the nominated node.".to_owned();
            }
            Attempt::Vain(failing) => failing,
            Attempt::None | Attempt::Made => &known,
        };
        // Nodes that were tried in vain say why.
        let tried = if failing.is_empty() {
            0
        } else {
            self.with_victims
        };
        let parts = [
            (
                self.without_victims,
                "No preemption victims found for incoming pod",
            ),
            (
                nodes - self.without_victims - tried,
                "Preemption is not helpful for scheduling",
            ),
        ];
        let failing = failing.iter().map(|(text, count)| (*count, text.as_str()));
        let parts = parts.into_iter().chain(failing);
        let parts = parts.filter(|(count, _)| *count > 0);
        available(
            nodes,
            parts
                .map(|(count, text)| format!("{count} {text}"))
                .collect(),
        )
    }
}

//! What a walk was like: the result, before it is printed.

use std::fmt;

use sealane_objects::ObjectName;
use serde::Serialize;

use crate::Packet;

/// A packet's walk, and the way back of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trace {
    /// Who sends, as asked.
    pub from: String,
    /// Who is meant, as asked.
    pub to: String,
    /// How it ends.
    pub outcome: Outcome,
    /// The places that the packet passes, each once, for the picture.
    pub hops: Vec<Hop>,
    /// The way there.
    pub there: Vec<Stage>,
    /// The way back; empty when the packet does not arrive.
    pub back: Vec<Stage>,
    /// What the walk does not show.
    pub notes: Vec<String>,
    /// What became of a packet that was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<Live>,
}

/// How a walk ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "result")]
pub enum Outcome {
    /// Where it was to go.
    Arrives {
        /// `default/web-1 10.244.2.7:8080`
        at: String,
    },
    /// Somewhere else, for this reason.
    Dies(Death),
}

/// Where and why a packet does not go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Death {
    /// What becomes of it.
    pub why: String,
    /// The object at fault, as kubectl names it.
    pub object: Option<String>,
    /// What lies behind it, one thing on each line.
    pub details: Vec<String>,
    /// What to look at next.
    pub next: Option<String>,
}

/// A place, for the picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hop {
    /// What sort of place.
    pub kind: HopKind,
    /// What it is called.
    pub name: String,
    /// Its address.
    pub address: String,
}

/// What sort of place a hop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum HopKind {
    /// A pod.
    Pod,
    /// A node.
    Node,
    /// Neither.
    Outside,
}

/// Where something happens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// In a pod's network namespace.
    Pod(ObjectName),
    /// In a node's.
    Node(String),
    /// On the machine that is the nodes' way out, or beyond.
    Outside,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(name) => write!(f, "pod {name}"),
            Self::Node(name) => write!(f, "{name}"),
            Self::Outside => f.write_str("outside"),
        }
    }
}

/// One thing that happens to the packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// Where.
    pub place: Place,
    /// What, in a word or two.
    pub title: String,
    /// Facts: what decides it, what was rewritten.
    pub lines: Vec<Line>,
    /// The packet before, where it was rewritten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Packet>,
    /// The packet afterwards; none before there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packet: Option<Packet>,
    /// What the kernel showed of it while a packet passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
}

/// What became of a packet that was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Live {
    /// The packet, as it was sent.
    pub sent: String,
    /// What its sender was told.
    pub answer: String,
    /// How long the answer took, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_us: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
    /// How many stages the kernel showed as they were told.
    pub confirmed: usize,
    /// How many it showed otherwise.
    pub differs: usize,
    /// How many could not be seen.
    pub not_seen: usize,
    /// What could not be looked at, and why.
    pub blind: Vec<String>,
}

/// A stage as the kernel showed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// Beside what is told.
    pub verdict: Verdict,
    /// By what.
    pub evidence: Vec<String>,
}

/// A told stage beside what the kernel showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// As told.
    Confirmed,
    /// Otherwise than told.
    Differs,
    /// Nobody looked there, or nothing came by.
    NotSeen,
}

/// A fact with its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// `route`, `rule`, `chosen`.
    pub label: &'static str,
    /// What it says.
    pub text: String,
}

impl Stage {
    pub(crate) fn new(place: Place, title: impl Into<String>) -> Self {
        Self {
            place,
            title: title.into(),
            lines: Vec::new(),
            before: None,
            packet: None,
            seen: None,
        }
    }

    pub(crate) fn line(mut self, label: &'static str, text: impl Into<String>) -> Self {
        self.lines.push(Line {
            label,
            text: text.into(),
        });
        self
    }

    pub(crate) fn lines(
        self,
        label: &'static str,
        texts: impl IntoIterator<Item = String>,
    ) -> Self {
        texts
            .into_iter()
            .fold(self, |stage, text| stage.line(label, text))
    }

    pub(crate) fn with(mut self, packet: &Packet) -> Self {
        self.packet = Some(packet.clone());
        self
    }

    pub(crate) fn rewritten(mut self, before: Packet, after: &Packet) -> Self {
        self.before = Some(before);
        self.with(after)
    }
}

impl Death {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            object: None,
            details: Vec::new(),
            next: None,
        }
    }

    pub(crate) fn of(mut self, object: impl Into<String>) -> Self {
        self.object = Some(object.into());
        self
    }

    pub(crate) fn because(mut self, details: impl IntoIterator<Item = String>) -> Self {
        self.details.extend(details);
        self
    }

    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}

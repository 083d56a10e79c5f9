//! What a pod would get for a name, and why: the engine of `sealane dns lookup`.
//!
//! ```text
//! API ── observe ──► World ─┐
//!                           ├── look_up ──► Lookup ── render ──► text, JSON
//! NAME, TYPE, pod ──────────┘    resolver of the pod, its search, one Asked for each name
//! ```
//!
//! Nothing is sent: the answers follow from the objects of the API and from the Corefile, by the
//! functions that `sealane dns` answers with. What others are asked for is not known then, so a name
//! outside of the cluster ends at who would be asked.

mod ask;
mod observe;
mod record;
mod render;
mod resolver;
mod walk;
mod world;

use serde::Serialize;

pub use observe::{ObserveError, Wanted, observe};
pub use render::render;
pub use resolver::{NodeResolver, PodResolver};
pub use walk::look_up;
pub use world::{PodView, World};

/// What a pod gets for a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lookup {
    /// The name, as it was typed.
    pub name: String,
    /// The pod, as kubectl writes it.
    pub from: String,
    /// The pod's `/etc/resolv.conf`.
    pub resolver: PodResolver,
    /// How its resolver goes about it.
    pub search: String,
    /// The names that are asked for, up to the one that ends it.
    pub steps: Vec<Step>,
    /// Whether the first question is answered with the last one's answer, and why or why not.
    pub one_round_trip: OneRoundTrip,
    /// What it comes to.
    pub result: Outcome,
}

/// Whether a search takes one question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OneRoundTrip {
    /// Whether it does.
    pub yes: bool,
    /// Why.
    pub why: String,
}

/// A name that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// The name, with the dot at its end.
    pub name: String,
    /// What is answered, for each type that is asked for.
    pub asked: Vec<Asked>,
}

/// A question and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// The type: `A`, `AAAA`, …
    pub kind: String,
    /// What it comes to.
    pub outcome: Outcome,
    /// The plugin that answers: `kubernetes`, `hosts`, `forward`, …
    pub plugin: &'static str,
    /// Why, in words.
    pub because: String,
    /// The objects behind it: `service default/web`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<String>,
    /// The records, as zone files have them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<String>,
}

/// What a question comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Outcome {
    /// There are records.
    Records,
    /// The name is there, without records of this type: NOERROR and nothing.
    NoData,
    /// There is no such name: NXDOMAIN.
    NoName,
    /// Others are asked; what they say is not known here.
    Forwarded,
    /// There is no answer: SERVFAIL, REFUSED, or none at all.
    Failed,
}

#[cfg(test)]
mod tests;

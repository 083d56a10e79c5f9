//! Task: a packet's walk through the cluster, stage by stage, or the stage where it dies and the
//! object at fault.
//!
//! ```text
//!   FROM, TO ── ask ──┐
//!                     ├── resolve ── walk ──► Trace ── render ──► text, JSON
//!   API ── observe ───┘    names     service, route
//!          Snapshot        of TO     blame
//! ```
//!
//! All but `observe` is pure. Nothing is asked of nodes: what their agents put into the kernel
//! follows from the objects, by the same functions that the agents use (crates service, route,
//! zone, ruleset), so the walk is what the kernel does, unless somebody has changed the kernel, or the
//! agents run with other settings than [`Settings`] says.

mod ask;
mod blame;
mod endpoints;
mod ladder;
pub mod live;
mod names;
mod observe;
mod packet;
mod picture;
mod render;
mod resolve;
mod rules;
mod service;
mod snapshot;
mod trace;
mod walk;

pub use ask::{AskError, From, Host, To};
pub use observe::{ObserveError, observe};
pub use packet::{Ethernet, Packet};
pub use render::{Colour, render};
pub use sealane_service::NodePortAddresses;
pub use snapshot::{NodeView, PodView, ServiceView, Settings, SliceView, Snapshot};
pub use trace::{Death, Hop, HopKind, Line, Live, Outcome, Place, Seen, Stage, Trace, Verdict};
pub use walk::{Known, TraceError, trace};

#[cfg(test)]
mod tests;

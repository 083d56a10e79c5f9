//! Task: what is wrong on a node and what to do about it, and taking off it what is ours.
//!
//! ```text
//!  links, routes, sysctls, counters ─┐
//!  rules of others (nft, iptables)   │
//!  folders of the container runtime  ├─ observe ─► Snapshot ─ judge ─► findings ─► people, JSON
//!  the agent's own words             │   IO                   pure
//!  Nodes of the API server ──────────┘
//! ```
//!
//! * [`observe`] reads and changes nothing; what it cannot read it says.
//! * [`judge`] holds the rules, each over the [`snapshot`] alone.
//! * [`firewall`] follows a packet through the rules of others on paper.
//! * [`cleanup`] plans what to remove, and removes it.
//! * [`check()`] does all of it for one node.
//!
//! It works without an agent and without an API server, since it is for the
//! times when those are what is broken. What it takes from the agent's crate
//! are words: settings, and how leases are held against links.

mod api;
pub mod cleanup;
pub mod finding;
pub mod firewall;
pub mod judge;
pub mod observe;
mod report;
pub mod snapshot;

pub use api::ask;
pub use finding::{Finding, Report, Severity, Skipped};
pub use observe::Outside;
pub use report::render;

use sealane_netlink::netns;
use snapshot::AgentSettings;

/// A node to look at.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// Name of its network namespace; `None` is the one of this thread.
    pub netns: Option<String>,
    /// What its agent was told, or would be.
    pub settings: AgentSettings,
    /// What is known from outside.
    pub outside: Outside,
}

/// Looks at a node and judges it.
///
/// # Errors
/// When its network namespace cannot be entered.
pub fn check(target: Target) -> anyhow::Result<Report> {
    let Target {
        netns,
        settings,
        outside,
    } = target;
    let node = settings.node_name.clone();
    let look = move || observe::observe(settings, outside);
    let snapshot = match netns {
        Some(name) => netns::run_in(netns::open_named(&name)?, look)?,
        None => look(),
    };
    Ok(Report {
        node,
        findings: judge::judge(&snapshot),
        skipped: snapshot.skipped,
    })
}

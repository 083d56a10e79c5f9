//! What a decision comes to, and how it ended: values that can be printed and compared.

use std::fmt;
use std::time::Instant;

use ipnet::IpNet;
use sealane_kube::Change;
use sealane_kube::events::Severity;
use sealane_objects::ObjectName;

use crate::view::{LeaseView, NodeView, PodView};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    Nodes(Change<NodeView>),
    Pods(Change<PodView>),
    /// Node heartbeats: Leases of namespace `kube-node-lease`.
    Leases(Change<LeaseView>),
    /// An action came to its end.
    Ended(Action, Outcome),
    /// Time has passed.
    Tick,
}

/// One change of the cluster that a controller wants. Every action names the
/// object's uid or version, so that it does nothing to what took its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Give a node its pod subnets.
    SetSubnets {
        node: String,
        uid: String,
        subnets: Vec<IpNet>,
    },
    /// Give a pod its node.
    Bind {
        pod: ObjectName,
        uid: String,
        node: String,
    },
    /// Say on the pod why it has no node.
    Refuse {
        pod: ObjectName,
        uid: String,
        version: String,
        message: String,
        /// Whether the condition turns to False with this, or was so before.
        turns: bool,
    },
    /// Say that nothing is known of a node any more.
    MarkUnknown {
        node: String,
        uid: String,
        version: String,
        conditions: Vec<String>,
        reason: &'static str,
        message: &'static str,
    },
    /// Remove a pod at once, provided that its node does not exist.
    RemoveOrphan {
        pod: ObjectName,
        uid: String,
        node: String,
    },
    /// Record an Event.
    Tell {
        about: About,
        severity: Severity,
        reason: &'static str,
        message: String,
    },
}

/// The object of an Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    Node { name: String, uid: String },
    Pod { name: ObjectName, uid: String },
}

/// How an action ended. An API server that does not answer is not an end: the action is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// The object no longer exists.
    Gone,
    /// The object has changed since; a watch will tell.
    Outdated,
    /// The API server refuses, for this reason.
    Refused(String),
}

/// A set of decisions with the state they need. Pure: the time comes in as an
/// argument, everything wanted goes out as actions.
pub trait Controller {
    /// Takes in what happened and adds what is now wanted to `actions`.
    fn handle(&mut self, input: &Input, now: Instant, actions: &mut Vec<Action>);

    /// When the controller wants a tick, if nothing happens before.
    fn wake_at(&self) -> Option<Instant> {
        None
    }

    /// What it knows, for `/debug/state`.
    fn state(&self, now: Instant) -> serde_json::Value;
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetSubnets { node, subnets, .. } => {
                let list: Vec<_> = subnets.iter().map(ToString::to_string).collect();
                write!(f, "give node {node} pod subnets {}", list.join(","))
            }
            Self::Bind { pod, node, .. } => write!(f, "bind pod {pod} to node {node}"),
            Self::Refuse { pod, message, .. } => write!(f, "leave pod {pod} pending: {message}"),
            Self::MarkUnknown { node, reason, .. } => {
                write!(f, "mark node {node} unknown: {reason}")
            }
            Self::RemoveOrphan { pod, node, .. } => {
                write!(f, "remove pod {pod} of node {node}, which no longer exists")
            }
            Self::Tell {
                reason, message, ..
            } => write!(f, "record event {reason}: {message}"),
        }
    }
}

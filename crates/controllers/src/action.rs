//! What a decision comes to, and how it ended: values that can be printed and compared.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use k8s_openapi::jiff::Timestamp;
use sealane_kube::Change;
use sealane_kube::events::Severity;
use sealane_objects::ObjectName;

use crate::facts::Controller as Keeper;
use crate::view::{LeaseView, NodeView, PodView};
use crate::workloads::head::Head;
use crate::workloads::news::News;
use sealane_objects::Taint;
use serde_json::Value;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    Nodes(Change<NodeView>),
    Pods(Change<Arc<PodView>>),
    /// Node heartbeats: Leases of namespace `kube-node-lease`.
    Leases(Change<LeaseView>),
    /// Deployments and the like.
    Workloads(News),
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
        reason: &'static str,
        message: String,
        /// Whether the condition turns to False with this, or was so before.
        turns: bool,
        /// The node on which room is being made for it; empty if on none any more.
        nominated: Option<String>,
    },
    /// Delete a pod, gracefully, to make room for one of higher priority.
    Preempt {
        pod: ObjectName,
        uid: String,
        /// For whom.
        by: ObjectName,
    },
    /// Say that nothing is known of a node any more.
    MarkUnknown {
        node: String,
        uid: String,
        version: String,
        /// The last renewal of its Lease that was seen.
        renewed: Option<Timestamp>,
        conditions: Vec<String>,
        reason: &'static str,
        message: &'static str,
    },
    /// Change a node's taints; those with the same key and effect are the same.
    Taint {
        node: String,
        uid: String,
        add: Vec<Taint>,
        remove: Vec<Taint>,
    },
    /// Say that a pod is not ready, since nothing is heard of its node.
    Unready {
        pod: ObjectName,
        uid: String,
        version: String,
    },
    /// Delete a pod, gracefully, that does not bear a taint of its node (any longer).
    Evict { pod: ObjectName, uid: String },
    /// Remove a pod at once that nobody else will.
    Collect {
        pod: ObjectName,
        uid: String,
        /// It has ended by itself: its status stays.
        ended: bool,
        cause: Cause,
    },
    /// Make an object.
    Create {
        by: Key,
        kind: Kind,
        name: ObjectName,
        object: Box<Value>,
    },
    /// Change an object, or its status.
    Patch {
        by: Key,
        kind: Kind,
        name: ObjectName,
        part: Part,
        patch: Box<Value>,
    },
    /// Delete an object, gracefully.
    Delete {
        by: Key,
        kind: Kind,
        name: ObjectName,
        uid: String,
    },
    /// Ask how many pods somebody of any kind keeps.
    AskScale { by: Key, keeper: Arc<Keeper> },
    /// Record an Event.
    Tell {
        about: About,
        severity: Severity,
        reason: &'static str,
        message: String,
    },
}

/// Why a pod is removed at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its node does not exist, which is looked up once more.
    NodeGone(String),
    /// It is to go, and its node was declared out of service.
    OutOfService(String),
    /// There are too many pods that have ended.
    TooMany,
    /// It is to go, and never had a node.
    Unscheduled,
}

/// The object of an Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    Node {
        name: String,
        uid: String,
    },
    Pod {
        name: ObjectName,
        uid: String,
    },
    Object {
        kind: Kind,
        name: ObjectName,
        uid: String,
    },
}

impl About {
    /// About an object that watches show with its head.
    pub fn of(head: &Head) -> Self {
        Self::Object {
            kind: head.kind,
            name: head.name.clone(),
            uid: head.uid.clone(),
        }
    }
}

/// Kinds that controllers make, change or delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Pod,
    Service,
    Endpoints,
    EndpointSlice,
    ReplicationController,
    ReplicaSet,
    Deployment,
    DaemonSet,
    StatefulSet,
    ControllerRevision,
    Job,
    CronJob,
    PodDisruptionBudget,
}

/// An object that a controller looks after: the one for whose sake an action is taken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub kind: Kind,
    pub name: ObjectName,
}

/// What a patch changes, and how it is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A JSON merge patch.
    Object,
    /// A strategic merge patch: entries of owner references are merged by uid, finalizers one by one.
    Owners,
    /// A JSON merge patch of subresource `status`.
    Status,
}

impl Kind {
    pub fn api_version(self) -> &'static str {
        match self {
            Self::Pod | Self::Service | Self::Endpoints | Self::ReplicationController => "v1",
            Self::EndpointSlice => "discovery.k8s.io/v1",
            Self::ReplicaSet
            | Self::Deployment
            | Self::DaemonSet
            | Self::StatefulSet
            | Self::ControllerRevision => "apps/v1",
            Self::Job | Self::CronJob => "batch/v1",
            Self::PodDisruptionBudget => "policy/v1",
        }
    }

    pub fn plural(self) -> &'static str {
        match self {
            Self::Pod => "pods",
            Self::Service => "services",
            Self::Endpoints => "endpoints",
            Self::EndpointSlice => "endpointslices",
            Self::ReplicationController => "replicationcontrollers",
            Self::ReplicaSet => "replicasets",
            Self::Deployment => "deployments",
            Self::DaemonSet => "daemonsets",
            Self::StatefulSet => "statefulsets",
            Self::ControllerRevision => "controllerrevisions",
            Self::Job => "jobs",
            Self::CronJob => "cronjobs",
            Self::PodDisruptionBudget => "poddisruptionbudgets",
        }
    }
}

/// As the API writes it: `ReplicaSet`.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
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
    /// He who was asked for keeps so many pods.
    Keeps(i32),
}

/// A set of decisions with the state they need. Pure: the time comes in as an
/// argument, everything wanted goes out as actions.
pub trait Controller {
    /// Takes in what happened and adds what is now wanted to `actions`.
    fn handle(&mut self, input: &Input, now: Instant, actions: &mut Vec<Action>);

    /// Takes in what the clock on the wall shows at `now`. A machine that sleeps, or whose clock is set, tears the
    /// two apart.
    fn set_wall(&mut self, _now: Instant, _wall: Timestamp) {}

    /// When the controller wants a tick, if nothing happens before.
    fn wake_at(&self) -> Option<Instant> {
        None
    }

    /// What it knows, for `/debug/state`.
    fn state(&self, now: Instant) -> serde_json::Value;
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeGone(node) => write!(f, "its node {node} no longer exists"),
            Self::OutOfService(node) => write!(f, "its node {node} is out of service"),
            Self::TooMany => write!(f, "too many pods that have ended are kept"),
            Self::Unscheduled => write!(f, "it has no node"),
        }
    }
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
            Self::Preempt { pod, by, .. } => write!(f, "make room for pod {by}: delete pod {pod}"),
            Self::MarkUnknown { node, reason, .. } => {
                write!(f, "mark node {node} unknown: {reason}")
            }
            Self::Taint {
                node, add, remove, ..
            } => {
                let added = add.iter().map(|taint| ('+', taint));
                let all = added.chain(remove.iter().map(|taint| ('-', taint)));
                let words = all.map(|(sign, t)| format!(" {sign}{}:{:?}", t.key, t.effect));
                write!(f, "taint node {node}:{}", words.collect::<String>())
            }
            Self::Unready { pod, .. } => {
                write!(f, "mark pod {pod} not ready: its node is silent")
            }
            Self::Evict { pod, .. } => write!(f, "evict pod {pod}"),
            Self::Collect { pod, cause, .. } => write!(f, "remove pod {pod}: {cause}"),
            Self::AskScale { by, keeper } => {
                write!(f, "{by}: ask how {} {} is scaled", keeper.kind, keeper.name)
            }
            Self::Create { by, kind, name, .. } => write!(f, "{by}: create {kind} {name}"),
            Self::Patch {
                by,
                kind,
                name,
                part: Part::Status,
                ..
            } if by.kind == *kind => write!(f, "write the status of {kind} {name}"),
            Self::Patch {
                by,
                kind,
                name,
                patch,
                ..
            } => {
                write!(f, "{by}: change {kind} {name}: {patch}")
            }
            Self::Delete { by, kind, name, .. } => write!(f, "{by}: delete {kind} {name}"),
            Self::Tell {
                reason, message, ..
            } => write!(f, "record event {reason}: {message}"),
        }
    }
}

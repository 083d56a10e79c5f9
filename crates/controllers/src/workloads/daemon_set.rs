//! DaemonSets: one pod on every node that may have one.
//!
//! A node is *eligible* when the template's selector and affinity allow it and
//! its taints are borne; a pod that is there already stays until a taint says
//! `NoExecute`. Each pod is bound to its node by an affinity to the node's
//! name, and left to the scheduler, as in Kubernetes.
//!
//! An update replaces pods that are not available at once, and others as far
//! as `maxUnavailable` allows. With `maxSurge` a node gets its new pod beside
//! the old one, which goes when the new one is available; pods that are not
//! available do not count as surge.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::api::DynamicObject;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::deployment::Share;
use super::head::{Condition, Head, is_zero};
use super::replica_set::take;
use super::revision::HASH_LABEL;
use sealane_objects::{Effect, Placement, Selector, Taint};

use crate::action::Kind;
use crate::facts::Phase;
use crate::view::PodView;

/// A DaemonSet.
#[derive(Clone, Debug, PartialEq)]
pub struct DaemonSet {
    pub head: Head,
    pub selector: Selector,
    pub template: Value,
    /// What the template asks of nodes, and what all daemons bear.
    pub placement: Placement,
    /// How many may be missing while they are updated; none: somebody deletes them.
    pub max_unavailable: Option<Share>,
    /// How many nodes may have a new pod beside the old one; none: the old one goes first.
    pub max_surge: Option<Share>,
    pub min_ready: Duration,
    pub history: usize,
    pub status: Status,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    pub current_number_scheduled: i32,
    pub number_misscheduled: i32,
    pub desired_number_scheduled: i32,
    pub number_ready: i32,
    #[serde(skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub updated_number_scheduled: i32,
    #[serde(skip_serializing_if = "is_zero")]
    pub number_available: i32,
    #[serde(skip_serializing_if = "is_zero")]
    pub number_unavailable: i32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collision_count: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    selector: Selector,
    template: Value,
    update_strategy: Value,
    min_ready_seconds: u64,
    revision_history_limit: Option<usize>,
}

/// A node, as far as daemons care.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
}

/// Taints that every daemon bears, with the effect.
const BORNE: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

impl DaemonSet {
    pub fn of(mut object: DynamicObject) -> Self {
        let spec: Spec = take(&mut object.data, "spec");
        let strategy = &spec.update_strategy;
        let limit = Share::of(&strategy["rollingUpdate"]["maxUnavailable"]);
        let limit = limit.unwrap_or(Share::Count(1));
        let surge = Share::of(&strategy["rollingUpdate"]["maxSurge"]);
        let surge =
            surge.filter(|surge| surge.rounded_up(100) > 0 && strategy["type"] != "OnDelete");
        let bearing = bearing(&spec.template);
        Self {
            selector: spec.selector,
            placement: serde_json::from_value(bearing["spec"].clone())
                .map(|spec| sealane_kube::placement(&spec))
                .unwrap_or_default(),
            template: spec.template,
            max_surge: surge,
            max_unavailable: (strategy["type"] != "OnDelete").then_some(limit),
            min_ready: Duration::from_secs(spec.min_ready_seconds),
            history: spec.revision_history_limit.unwrap_or(10),
            status: take(&mut object.data, "status"),
            head: Head::of(Kind::DaemonSet, object.metadata),
        }
    }

    /// The template of the pod for a node.
    pub fn template_for(&self, node: &str, hash: &str) -> Value {
        let mut template = bearing(&self.template);
        template["metadata"]["labels"][HASH_LABEL] = json!(hash);
        let named = json!({"key": "metadata.name", "operator": "In", "values": [node]});
        let affinity = &mut template["spec"]["affinity"]["nodeAffinity"];
        affinity["requiredDuringSchedulingIgnoredDuringExecution"] =
            json!({"nodeSelectorTerms": [{"matchFields": [named]}]});
        template
    }

    /// Whether a pod should come to a node, and whether one that is there may stay.
    fn eligible(&self, name: &str, node: &Node) -> (bool, bool) {
        if !self.placement.allows(name, &node.labels) {
            return (false, false);
        }
        let bears = |effects: &[Effect]| {
            let untolerated = self.placement.untolerated(&node.taints, effects);
            untolerated.is_none()
        };
        let stays = bears(&[Effect::NoExecute]);
        (stays && bears(&[Effect::NoSchedule]), stays)
    }
}

/// The template with the tolerations that all daemons have.
fn bearing(template: &Value) -> Value {
    let mut template = template.clone();
    let mut tolerations = template["spec"]["tolerations"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let network = ("node.kubernetes.io/network-unavailable", "NoSchedule");
    let on_host = template["spec"]["hostNetwork"] == true;
    for (key, effect) in BORNE.into_iter().chain(on_host.then_some(network)) {
        let toleration = json!({"key": key, "operator": "Exists", "effect": effect});
        if !tolerations.contains(&toleration) {
            tolerations.push(toleration);
        }
    }
    template["spec"]["tolerations"] = json!(tolerations);
    template
}

/// What is to be done for a DaemonSet.
#[derive(Debug, Default, PartialEq)]
pub struct Plan<'a> {
    /// Nodes that lack a pod.
    pub create: Vec<String>,
    pub delete: Vec<&'a PodView>,
    pub status: Status,
    pub wake_in: Option<Duration>,
}

/// Decides for one set. `pods` are its own that have not ended, or have and are to be replaced.
pub fn plan<'a>(
    set: &DaemonSet,
    nodes: &BTreeMap<String, Node>,
    pods: &[&'a PodView],
    hash: &str,
    now: Timestamp,
) -> Plan<'a> {
    let by_node = by_node(pods);
    let mut plan = Plan {
        status: status(set, nodes, &by_node, hash, now),
        ..Plan::default()
    };
    let waits = pods
        .iter()
        .filter_map(|pod| pod.facts.available_in(set.min_ready, now));
    plan.wake_in = waits.filter(|wait| !wait.is_zero()).min();
    if set.head.deleting {
        return plan;
    }
    for (name, node) in nodes {
        let there = by_node.get(name.as_str()).map_or(&[][..], Vec::as_slice);
        let (comes, stays) = set.eligible(name, node);
        let hash = set.max_surge.map(|_| hash);
        keep_one(name, there, (comes, stays), hash, &mut plan);
    }
    for (node, there) in &by_node {
        if !nodes.contains_key(*node) {
            // Of a node that is no more, or that it was never bound to.
            plan.delete.extend(
                there
                    .iter()
                    .filter(|pod| !pod.deleting && pod.node.is_none()),
            );
        }
    }
    match set.max_surge {
        Some(surge) => surge_over(set, nodes, &by_node, (hash, surge), now, &mut plan),
        None => replace_old(set, nodes, &by_node, hash, now, &mut plan),
    }
    plan
}

/// A pod's node, or the one that it is meant for.
fn by_node<'a, 'p>(pods: &'p [&'a PodView]) -> BTreeMap<&'p str, Vec<&'a PodView>> {
    let mut by_node: BTreeMap<&str, Vec<&'a PodView>> = BTreeMap::new();
    for pod in pods {
        let node = pod
            .node
            .as_deref()
            .or_else(|| pod.demand.placement.only_node());
        by_node
            .entry(node.unwrap_or_default())
            .or_default()
            .push(pod);
    }
    for there in by_node.values_mut() {
        there.sort_by(|a, b| (a.facts.created, &a.uid).cmp(&(b.facts.created, &b.uid)));
    }
    by_node
}

fn keep_one<'a>(
    node: &str,
    there: &[&'a PodView],
    (comes, stays): (bool, bool),
    surging: Option<&str>,
    plan: &mut Plan<'a>,
) {
    if comes && there.is_empty() {
        plan.create.push(node.to_owned());
    }
    // With a surge, one of the new revision and one of an old one may be there together.
    let (mut new, mut old) = (0, 0);
    for pod in there.iter().filter(|pod| !pod.deleting) {
        let ended = matches!(pod.facts.phase, Phase::Failed | Phase::Succeeded);
        let is_new = surging.is_some_and(|hash| is_current(pod, hash));
        let others = if is_new { &mut new } else { &mut old };
        if !stays || ended || *others > 0 {
            plan.delete.push(pod);
        } else {
            *others += 1;
        }
    }
}

/// New pods come beside old ones, and old ones go when the new ones are available.
fn surge_over<'a>(
    set: &DaemonSet,
    nodes: &BTreeMap<String, Node>,
    by_node: &BTreeMap<&str, Vec<&'a PodView>>,
    (hash, surge): (&str, Share),
    now: Timestamp,
    plan: &mut Plan<'a>,
) {
    let eligible = nodes
        .iter()
        .filter(|(name, node)| set.eligible(name, node).0);
    let eligible: Vec<_> = eligible.map(|(name, _)| name.as_str()).collect();
    let most = surge.rounded_up(i32::try_from(eligible.len()).unwrap_or(i32::MAX));
    let mut room = usize::try_from(most).unwrap_or(0);
    let mut candidates = Vec::new();
    for node in eligible {
        let there = by_node.get(node).map_or(&[][..], Vec::as_slice);
        let staying = there.iter().copied().filter(|pod| !pod.deleting);
        let (new, old): (Vec<_>, Vec<_>) = staying.partition(|pod| is_current(pod, hash));
        let is_available = |pod: &PodView| pod.facts.is_available(set.min_ready, now);
        match (new.first(), old.first()) {
            (_, None) => {}
            (None, Some(old)) if !is_available(old) => plan.create.push(node.to_owned()),
            (None, Some(_)) => candidates.push(node.to_owned()),
            (Some(new), Some(old)) if is_available(new) || !old.facts.is_ready() => {
                if !plan.delete.contains(old) {
                    plan.delete.push(old);
                }
            }
            (Some(_), Some(_)) => room = room.saturating_sub(1),
        }
    }
    plan.create.extend(candidates.into_iter().take(room));
}

fn replace_old<'a>(
    set: &DaemonSet,
    nodes: &BTreeMap<String, Node>,
    by_node: &BTreeMap<&str, Vec<&'a PodView>>,
    hash: &str,
    now: Timestamp,
    plan: &mut Plan<'a>,
) {
    let Some(limit) = set.max_unavailable else {
        return;
    };
    let eligible = nodes
        .iter()
        .filter(|(name, node)| set.eligible(name, node).0);
    let eligible: Vec<_> = eligible.map(|(name, _)| name.as_str()).collect();
    let most = limit
        .rounded_up(i32::try_from(eligible.len()).unwrap_or(i32::MAX))
        .max(1);
    let mut missing = 0;
    let mut candidates = Vec::new();
    for node in eligible {
        let pod = by_node
            .get(node)
            .and_then(|there| there.iter().find(|pod| !pod.deleting));
        match pod {
            Some(pod) if !pod.facts.is_available(set.min_ready, now) => {
                missing += 1;
                if !is_current(pod, hash) && !plan.delete.contains(pod) {
                    plan.delete.push(pod); // Nobody misses it.
                }
            }
            Some(pod) if !is_current(pod, hash) => candidates.push(*pod),
            Some(_) => {}
            None => missing += 1,
        }
    }
    let room = usize::try_from(most - missing).unwrap_or(0);
    plan.delete.extend(candidates.into_iter().take(room));
}

fn is_current(pod: &PodView, hash: &str) -> bool {
    pod.facts
        .labels
        .get(HASH_LABEL)
        .is_some_and(|held| held == hash)
}

fn status(
    set: &DaemonSet,
    nodes: &BTreeMap<String, Node>,
    by_node: &BTreeMap<&str, Vec<&PodView>>,
    hash: &str,
    now: Timestamp,
) -> Status {
    let mut status = Status {
        observed_generation: set.head.generation,
        conditions: set.status.conditions.clone(),
        collision_count: set.status.collision_count,
        ..Status::default()
    };
    for (name, node) in nodes {
        let first = by_node.get(name.as_str()).and_then(|there| there.first());
        if !set.eligible(name, node).0 {
            status.number_misscheduled += i32::from(first.is_some());
            continue;
        }
        status.desired_number_scheduled += 1;
        let Some(pod) = first else { continue };
        status.current_number_scheduled += 1;
        status.number_ready += i32::from(pod.facts.is_ready());
        status.number_available += i32::from(pod.facts.is_available(set.min_ready, now));
        status.updated_number_scheduled += i32::from(is_current(pod, hash));
    }
    status.number_unavailable = status.desired_number_scheduled - status.number_available;
    status
}

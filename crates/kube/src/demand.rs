//! From a pod's spec to the words that its placement is decided from.
//!
//! What depends on the pod's own namespace and labels is resolved here:
//! terms without namespaces mean the pod's own, and `matchLabelKeys` and
//! `mismatchLabelKeys` become requirements of the selector, as the API server
//! of Kubernetes 1.34 writes them into it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use sealane_objects::resources::{Role, together};
use sealane_objects::{
    Demand, Effect, Expression, HostPort, Operator, Placement, PodAffinity, PodTerm, Requirement,
    Resources, Selector, Spread, Taint, Term, Toleration,
};

type Labels = BTreeMap<String, String>;

/// What a container that asks for nothing counts as when nodes are compared, as in kube-scheduler.
const SMALL_CPU_MILLIS: u64 = 100;
const SMALL_MEMORY_BYTES: u64 = 200 << 20;

/// All that a pod with these labels asks of its place.
pub fn demand(spec: &core::PodSpec, namespace: &str, labels: &Labels) -> Demand {
    let affinity = spec.affinity.as_ref();
    let home = Home { namespace, labels };
    Demand {
        placement: placement(spec),
        requests: requests(spec, false),
        weight: requests(spec, true),
        ports: host_ports(spec),
        near: affinity
            .and_then(|affinity| affinity.pod_affinity.as_ref())
            .map(|affinity| home.near(affinity))
            .unwrap_or_default(),
        away: affinity
            .and_then(|affinity| affinity.pod_anti_affinity.as_ref())
            .map(|affinity| home.away(affinity))
            .unwrap_or_default(),
        spread: spec
            .topology_spread_constraints
            .iter()
            .flatten()
            .map(|constraint| home.spread(constraint))
            .collect(),
        priority: spec.priority.unwrap_or(0),
        preempts: spec.preemption_policy.as_deref() != Some("Never"),
    }
}

/// What a pod asks of its node alone.
pub fn placement(spec: &core::PodSpec) -> Placement {
    let affinity = spec.affinity.as_ref();
    let affinity = affinity.and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| {
        let required = &affinity.required_during_scheduling_ignored_during_execution;
        Some(&required.as_ref()?.node_selector_terms)
    });
    let preferred = affinity
        .and_then(|affinity| {
            affinity
                .preferred_during_scheduling_ignored_during_execution
                .as_ref()
        })
        .into_iter()
        .flatten();
    Placement {
        selector: spec.node_selector.clone().unwrap_or_default(),
        terms: required.map(|terms| terms.iter().map(term).collect()),
        preferred: preferred
            .map(|preferred| (preferred.weight, term(&preferred.preference)))
            .collect(),
        tolerations: spec.tolerations.iter().flatten().map(toleration).collect(),
    }
}

/// A node's taints, without those that cannot be read.
pub fn taints(node: &core::Node) -> Vec<Taint> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    let taints = taints.into_iter().flatten();
    taints
        .filter_map(|taint| {
            Some(Taint {
                key: taint.key.clone(),
                value: taint.value.clone().unwrap_or_default(),
                effect: Effect::of(&taint.effect)?,
            })
        })
        .collect()
}

/// What a node has for pods, and how many pods it takes: `.status.allocatable`.
pub fn allocatable(node: &core::Node) -> (Resources, Option<usize>) {
    let list = node.status.as_ref().and_then(|s| s.allocatable.as_ref());
    let pods = list.and_then(|list| list.get("pods")?.0.parse().ok());
    (amounts(list), pods)
}

fn term(term: &core::NodeSelectorTerm) -> Term {
    let requirements = |all: &Option<Vec<core::NodeSelectorRequirement>>| {
        let requirement = |one: &core::NodeSelectorRequirement| Requirement {
            key: one.key.clone(),
            operator: one.operator.clone(),
            values: one.values.clone().unwrap_or_default(),
        };
        all.iter().flatten().map(requirement).collect::<Vec<_>>()
    };
    Term {
        labels: requirements(&term.match_expressions),
        names: requirements(&term.match_fields),
    }
}

fn toleration(toleration: &core::Toleration) -> Toleration {
    Toleration {
        key: toleration.key.clone().unwrap_or_default(),
        exists: toleration.operator.as_deref() == Some("Exists"),
        value: toleration.value.clone().unwrap_or_default(),
        effect: toleration.effect.as_deref().and_then(Effect::of),
        seconds: toleration.toleration_seconds,
    }
}

fn amounts(list: Option<&BTreeMap<String, Quantity>>) -> Resources {
    let list = list.into_iter().flatten();
    Resources::of(list.map(|(name, amount)| (name.as_str(), amount.0.as_str())))
}

/// What the pod asks for as a whole; `weighed` counts a container that asks for nothing as a small one.
fn requests(spec: &core::PodSpec, weighed: bool) -> Resources {
    let role = |container: &core::Container| match container.restart_policy.as_deref() {
        Some("Always") => Role::Sidecar,
        _ => Role::Init,
    };
    let init = spec.init_containers.iter().flatten();
    let init = init.map(|container| (role(container), asked(container, weighed)));
    let main = spec.containers.iter();
    let main = main.map(|container| (Role::Main, asked(container, weighed)));
    let containers: Vec<_> = init.chain(main).collect();
    let mut sum = together(containers.iter().map(|(role, amounts)| (*role, amounts)));
    for (name, amount) in of_whole_pod(spec).iter() {
        if amount > 0 {
            sum.set(name, amount);
        }
    }
    sum.add(&amounts(spec.overhead.as_ref()));
    sum
}

/// `.spec.resources` of the pod, where a limit without a request is one.
fn of_whole_pod(spec: &core::PodSpec) -> Resources {
    let resources = spec.resources.as_ref();
    let mut asked = amounts(resources.and_then(|r| r.limits.as_ref()));
    let requests = resources.and_then(|r| r.requests.as_ref());
    for (name, amount) in amounts(requests).iter() {
        if amount > 0 {
            asked.set(name, amount);
        }
    }
    asked
}

fn asked(container: &core::Container, weighed: bool) -> Resources {
    let list = container.resources.as_ref();
    let list = list.and_then(|resources| resources.requests.as_ref());
    let mut asked = amounts(list);
    let silent = |name: &str| weighed && list.is_none_or(|list| !list.contains_key(name));
    if silent("cpu") {
        asked.cpu_millis = SMALL_CPU_MILLIS;
    }
    if silent("memory") {
        asked.memory_bytes = SMALL_MEMORY_BYTES;
    }
    asked
}

fn host_ports(spec: &core::PodSpec) -> Vec<HostPort> {
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars);
    let ports = ports.flat_map(|container| container.ports.iter().flatten());
    let port = |port: &core::ContainerPort| {
        let number = port.host_port.and_then(|port| u16::try_from(port).ok());
        let ip = port.host_ip.as_deref().and_then(|ip| ip.parse().ok());
        Some(HostPort {
            ip: ip.filter(|ip: &std::net::IpAddr| !ip.is_unspecified()),
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            port: number.filter(|port| *port > 0)?,
        })
    };
    ports.filter_map(port).collect()
}

/// Where the pod itself is, in the world of names.
struct Home<'a> {
    namespace: &'a str,
    labels: &'a Labels,
}

impl Home<'_> {
    fn near(&self, affinity: &core::PodAffinity) -> PodAffinity {
        self.affinity(
            affinity
                .required_during_scheduling_ignored_during_execution
                .as_deref(),
            affinity
                .preferred_during_scheduling_ignored_during_execution
                .as_deref(),
        )
    }

    fn away(&self, affinity: &core::PodAntiAffinity) -> PodAffinity {
        self.affinity(
            affinity
                .required_during_scheduling_ignored_during_execution
                .as_deref(),
            affinity
                .preferred_during_scheduling_ignored_during_execution
                .as_deref(),
        )
    }

    fn affinity(
        &self,
        required: Option<&[core::PodAffinityTerm]>,
        preferred: Option<&[core::WeightedPodAffinityTerm]>,
    ) -> PodAffinity {
        let required = required.unwrap_or_default().iter();
        let preferred = preferred.unwrap_or_default().iter();
        PodAffinity {
            required: required.map(|term| self.term(term)).collect(),
            preferred: preferred
                .map(|one| (one.weight, self.term(&one.pod_affinity_term)))
                .collect(),
        }
    }

    fn term(&self, term: &core::PodAffinityTerm) -> PodTerm {
        let mut namespaces: std::collections::BTreeSet<_> =
            term.namespaces.iter().flatten().cloned().collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.insert(self.namespace.to_owned());
        }
        PodTerm {
            selector: term.label_selector.as_ref().map(|labels| {
                let same = self.keyed(term.match_label_keys.as_deref(), Operator::In);
                let other = self.keyed(term.mismatch_label_keys.as_deref(), Operator::NotIn);
                selector(labels, same.chain(other))
            }),
            namespaces,
            namespace_selector: term
                .namespace_selector
                .as_ref()
                .map(|labels| selector(labels, [])),
            topology_key: term.topology_key.clone(),
        }
    }

    fn spread(&self, constraint: &core::TopologySpreadConstraint) -> Spread {
        let honours = |policy: &Option<String>, default: bool| match policy.as_deref() {
            Some(policy) => policy == "Honor",
            None => default,
        };
        Spread {
            topology_key: constraint.topology_key.clone(),
            max_skew: u32::try_from(constraint.max_skew).unwrap_or(1).max(1),
            hard: constraint.when_unsatisfiable == "DoNotSchedule",
            selector: constraint.label_selector.as_ref().map(|labels| {
                let keys = constraint.match_label_keys.as_deref();
                selector(labels, self.keyed(keys, Operator::In))
            }),
            min_domains: constraint
                .min_domains
                .and_then(|least| u32::try_from(least).ok())
                .unwrap_or(1),
            honours_affinity: honours(&constraint.node_affinity_policy, true),
            honours_taints: honours(&constraint.node_taints_policy, false),
        }
    }

    /// Requirements that a pod's labels of these names are, or are not, as our own; names that we lack do not count.
    fn keyed(
        &self,
        keys: Option<&[String]>,
        operator: Operator,
    ) -> impl Iterator<Item = Expression> {
        keys.unwrap_or_default().iter().filter_map(move |key| {
            Some(Expression {
                key: key.clone(),
                operator,
                values: vec![self.labels.get(key)?.clone()],
            })
        })
    }
}

fn selector(labels: &LabelSelector, more: impl IntoIterator<Item = Expression>) -> Selector {
    let expressions = labels.match_expressions.iter().flatten();
    let expressions = expressions.map(|expression| {
        let values = expression.values.clone().unwrap_or_default();
        let (operator, values) = match &*expression.operator {
            "In" => (Operator::In, values),
            "NotIn" => (Operator::NotIn, values),
            "Exists" => (Operator::Exists, Vec::new()),
            "DoesNotExist" => (Operator::DoesNotExist, Vec::new()),
            // One that does not exist: nothing can satisfy it.
            _ => (Operator::In, Vec::new()),
        };
        Expression {
            key: expression.key.clone(),
            operator,
            values,
        }
    });
    Selector {
        match_labels: labels.match_labels.clone().unwrap_or_default(),
        match_expressions: expressions.chain(more).collect(),
    }
}

#[cfg(test)]
mod tests;

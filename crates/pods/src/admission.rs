//! Whether this node takes a pod that the API gave it, as the kubelet decides.
//!
//! The scheduler has asked the same questions, but a pod may have been bound by hand,
//! or by a scheduler that knew less. A pod that is not taken ends at once, with
//! phase Failed, the reason (`OutOfcpu`, `NodeAffinity`, …) and the words of
//! the kubelet (`pkg/kubelet/lifecycle/predicate.go`).
//!
//! Pods that ran here before this process started are taken without a question: nothing
//! that runs is ended because a node shrank.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use sealane_objects::{Demand, Effect, HostPort, Resources, Taint};
use sealane_scheduling::{Shortage, shortages};

use crate::record::End;

/// What a pod is measured by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// The node's name.
    pub name: String,
    /// What it has for pods.
    pub allocatable: Resources,
    /// How many pods it takes.
    pub max_pods: usize,
    /// Labels and taints of the Node object, once it has been seen.
    pub seen: Option<Seen>,
}

/// What the API says of the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Taints.
    pub taints: Vec<Taint>,
}

/// Pods that were taken and have not ended.
#[derive(Debug, Default)]
pub struct Guests {
    demands: BTreeMap<String, Demand>,
    used: Resources,
}

impl Guests {
    /// Takes a pod if it fits.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn admit(&mut self, uid: &str, pod: &Pod, site: &Site) -> Result<(), End> {
        let demand = demand(pod);
        match self.reject(&demand, site) {
            Some((reason, message)) => Err(End {
                reason,
                message: format!("Pod was rejected: {message}"),
            }),
            None => {
                self.enter(uid, demand);
                Ok(())
            }
        }
    }

    /// Takes a pod that is here already.
    pub fn keep(&mut self, uid: &str, pod: &Pod) {
        self.enter(uid, demand(pod));
    }

    /// A pod has ended, or is gone.
    pub fn leave(&mut self, uid: &str) {
        if let Some(demand) = self.demands.remove(uid) {
            self.used.subtract(&demand.requests);
        }
    }

    fn enter(&mut self, uid: &str, demand: Demand) {
        self.leave(uid);
        self.used.add(&demand.requests);
        self.demands.insert(uid.to_owned(), demand);
    }

    /// The first reason, and what it says.
    fn reject(&self, demand: &Demand, site: &Site) -> Option<(String, String)> {
        let mut requests = demand.requests.clone();
        // Resources that no node has are somebody else's business, as in the kubelet.
        requests
            .others
            .retain(|name, _| site.allocatable.others.contains_key(name));
        let missing = shortages(
            &requests,
            (&self.used, self.demands.len()),
            (&site.allocatable, Some(site.max_pods)),
        );
        if let Some(short) = missing.first() {
            return Some((format!("OutOf{}", short.resource), in_words(short)));
        }
        if let Some(seen) = &site.seen
            && !demand.placement.allows(&site.name, &seen.labels)
        {
            let why = "node(s) didn't match Pod's node affinity/selector";
            return Some(failed("NodeAffinity", why));
        }
        if demand.ports.iter().any(|port| self.is_taken(port)) {
            let why = "node(s) didn't have free ports for the requested pod ports";
            return Some(failed("NodePorts", why));
        }
        let taints = site.seen.as_ref().map(|seen| seen.taints.as_slice());
        let driven_out = [Effect::NoExecute];
        let taint = demand
            .placement
            .untolerated(taints.unwrap_or_default(), &driven_out);
        taint.map(|_| {
            let why = "node(s) had taints that the pod didn't tolerate";
            failed("TaintToleration", why)
        })
    }

    fn is_taken(&self, port: &HostPort) -> bool {
        let mut ports = self.demands.values().flat_map(|demand| &demand.ports);
        ports.any(|other| other.conflicts(port))
    }
}

fn demand(pod: &Pod) -> Demand {
    let spec = pod.spec.clone().unwrap_or_default();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    sealane_kube::demand(&spec, namespace, &labels)
}

fn in_words(short: &Shortage) -> String {
    format!(
        "Node didn't have enough resource: {}, requested: {}, used: {}, capacity: {}",
        short.resource, short.requested, short.used, short.capacity
    )
}

fn failed(rule: &str, why: &str) -> (String, String) {
    (rule.to_owned(), format!("Predicate {rule} failed: {why}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn site() -> Site {
        Site {
            name: "node-1".into(),
            allocatable: Resources::of([("cpu", "2"), ("memory", "1Gi")]),
            max_pods: 3,
            seen: Some(Seen {
                labels: [("zone".to_owned(), "a".to_owned())].into(),
                taints: Vec::new(),
            }),
        }
    }

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    fn asking(cpu: &str) -> Pod {
        pod(json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}))
    }

    fn refused(guests: &mut Guests, pod: &Pod, site: &Site) -> (String, String) {
        let end = guests.admit("new", pod, site).unwrap_err();
        (end.reason, end.message)
    }

    #[test]
    fn what_does_not_fit_is_refused_in_the_kubelets_words_until_room_is_made() {
        let mut guests = Guests::default();
        guests.admit("a", &asking("1500m"), &site()).unwrap();
        let (reason, message) = refused(&mut guests, &asking("1"), &site());
        assert_eq!(reason, "OutOfcpu");
        assert_eq!(
            message,
            "Pod was rejected: Node didn't have enough resource: cpu, \
             requested: 1000, used: 1500, capacity: 2000"
        );
        guests.leave("a");
        guests.admit("b", &asking("1"), &site()).unwrap();
        guests.keep("c", &asking("9"));
        guests.admit("d", &asking("0"), &site()).unwrap();
        let (reason, message) = refused(&mut guests, &asking("0"), &site());
        assert_eq!(reason, "OutOfpods");
        assert!(
            message.ends_with("pods, requested: 1, used: 3, capacity: 3"),
            "{message}"
        );
    }

    #[test]
    fn a_pod_that_the_node_is_not_for_is_refused() {
        let cases = [
            (json!({"nodeSelector": {"zone": "b"}}), Some("NodeAffinity")),
            (json!({"nodeSelector": {"zone": "a"}}), None),
            (
                json!({"containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": 80}]}]}),
                Some("NodePorts"),
            ),
            (json!({"tolerations": [{"operator": "Exists"}]}), None),
        ];
        for (spec, expected) in cases {
            let mut guests = Guests::default();
            let taken = json!({"containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": 80}]}]});
            guests.keep("old", &pod(taken));
            let mut whole = json!({"containers": []});
            whole
                .as_object_mut()
                .unwrap()
                .extend(spec.as_object().unwrap().clone());
            let answer = guests.admit("new", &pod(whole), &site());
            assert_eq!(
                answer.err().map(|end| end.reason).as_deref(),
                expected,
                "{spec}"
            );
        }
        let taint = Taint {
            effect: Effect::NoExecute,
            ..Taint::no_schedule("x")
        };
        let mut tainted = site();
        tainted.seen.as_mut().unwrap().taints = vec![taint];
        let answer = refused(
            &mut Guests::default(),
            &pod(json!({"containers": []})),
            &tainted,
        );
        assert_eq!(answer.0, "TaintToleration");
        let blind = Site {
            seen: None,
            ..site()
        };
        let elsewhere = pod(json!({"containers": [], "nodeSelector": {"zone": "b"}}));
        Guests::default().admit("new", &elsewhere, &blind).unwrap();
    }
}

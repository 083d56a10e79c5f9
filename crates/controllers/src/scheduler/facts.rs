//! From a Node, as the controllers see it, to what the choice of a node needs.

use ipnet::IpNet;
use sealane_ipam::Pool;
use sealane_objects::Taint;
use sealane_scheduling::NodeFacts;

use crate::view::{NodeView, Truth};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// What the choice needs to know of a node.
pub fn facts(node: &NodeView) -> NodeFacts {
    let mut taints = node.taints.clone();
    taints.extend(implied(node));
    let limit = limiting_subnet(node);
    NodeFacts {
        labels: node.labels.clone(),
        taints,
        cordoned: node.unschedulable,
        allocatable: node.allocatable.clone(),
        max_pods: node.max_pods,
        limited_by: limit.map(|subnet| format!("subnet {subnet} has addresses for")),
    }
}

/// The taint that a node in trouble is about to get: until it has it, it counts as having it.
fn implied(node: &NodeView) -> Option<Taint> {
    let key = match node.ready {
        Some(Truth::True) => return None,
        Some(Truth::Unknown) => UNREACHABLE,
        Some(Truth::False) | None => NOT_READY,
    };
    let taint = Taint::no_schedule(key);
    let tainted = node
        .taints
        .iter()
        .any(|other| other.key == taint.key && other.effect == taint.effect);
    (!tainted).then_some(taint)
}

/// The subnet with as few addresses as the node says that it takes pods.
fn limiting_subnet(node: &NodeView) -> Option<IpNet> {
    let most = node.max_pods? as u128;
    let room = |subnet: &IpNet| Pool::new(*subnet, []).map_or(0, |pool| pool.size());
    let mut subnets = node.pod_cidrs.iter().copied();
    subnets.find(|subnet| room(subnet) <= most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::node;

    #[test]
    fn a_node_in_trouble_counts_as_tainted_and_is_not_tainted_twice() {
        let keys = |ready, taints: Vec<Taint>| {
            let view = NodeView {
                ready,
                taints,
                ..node("n")
            };
            let taints = facts(&view).taints.into_iter();
            taints.map(|taint| taint.key).collect::<Vec<_>>()
        };
        assert!(keys(Some(Truth::True), vec![]).is_empty());
        assert_eq!(keys(Some(Truth::False), vec![]), [NOT_READY]);
        assert_eq!(keys(None, vec![]), [NOT_READY]);
        assert_eq!(keys(Some(Truth::Unknown), vec![]), [UNREACHABLE]);
        let tainted = vec![Taint::no_schedule(UNREACHABLE)];
        assert_eq!(keys(Some(Truth::Unknown), tainted), [UNREACHABLE]);
    }

    #[test]
    fn a_node_whose_subnet_is_used_up_is_told_from_one_that_takes_no_more() {
        let limited_by = |max_pods| {
            let view = NodeView {
                max_pods: Some(max_pods),
                pod_cidrs: vec!["10.77.0.0/29".parse().unwrap()],
                ..node("n")
            };
            facts(&view).limited_by
        };
        let subnet = "subnet 10.77.0.0/29 has addresses for";
        assert_eq!(limited_by(5).as_deref(), Some(subnet));
        assert_eq!(limited_by(4), None);
    }
}

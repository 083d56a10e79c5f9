//! What one object takes of a namespace's quota.

use sealane_objects::Quantity;
use serde_json::Value;

use crate::amounts::Amounts;
use crate::pod::{items, total};

/// The resource of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource<'a> {
    /// API group; empty for the core group.
    pub group: &'a str,
    /// Plural name.
    pub plural: &'a str,
}

/// Kinds of the core group that are counted under their plain names too.
const COUNTED: [&str; 6] = [
    "configmaps",
    "persistentvolumeclaims",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
];

impl Resource<'_> {
    /// Whether these are pods.
    pub fn is_pods(&self) -> bool {
        self.group.is_empty() && self.plural == "pods"
    }

    /// Whether these are Services.
    pub fn is_services(&self) -> bool {
        self.group.is_empty() && self.plural == "services"
    }

    /// `count/deployments.apps`
    fn counted(&self) -> String {
        match self.group {
            "" => format!("count/{}", self.plural),
            group => format!("count/{}.{group}", self.plural),
        }
    }

    /// Whether a quota of `name` is about objects of this kind.
    pub fn is_meant_by(&self, name: &str) -> bool {
        if name == self.counted() {
            return true;
        }
        if !self.group.is_empty() {
            return false;
        }
        match self.plural {
            "pods" => is_of_pods(name),
            "services" => name == "services" || name.starts_with("services."),
            plural => COUNTED.contains(&plural) && name == plural,
        }
    }
}

/// Whether a quota of `name` is about what pods ask for, or their number.
pub fn is_of_pods(name: &str) -> bool {
    ["pods", "cpu", "memory", "ephemeral-storage"].contains(&name)
        || ((name.starts_with("requests.") || name.starts_with("limits."))
            && name != "requests.storage")
        || name.starts_with("hugepages-")
}

/// What an object takes; `is_over` says of a pod that it takes no more than its place in the store.
pub fn of(resource: Resource<'_>, object: &Value, is_over: bool) -> Amounts {
    let one = Quantity::whole(1);
    let mut taken = Amounts::default();
    taken.add(&resource.counted(), one);
    if !resource.group.is_empty() {
        return taken;
    }
    match resource.plural {
        "pods" if is_over => {}
        "pods" => {
            taken.add("pods", one);
            pod(object, &mut taken);
        }
        "services" => {
            taken.add("services", one);
            service(object, &mut taken);
        }
        plural if COUNTED.contains(&plural) => taken.add(plural, one),
        _ => {}
    }
    taken
}

fn pod(pod: &Value, taken: &mut Amounts) {
    for (name, amount) in total(pod, "requests").0 {
        taken.add(&format!("requests.{name}"), amount);
        if ["cpu", "memory", "ephemeral-storage"].contains(&name.as_str())
            || name.starts_with("hugepages-")
        {
            taken.add(&name, amount);
        }
    }
    for (name, amount) in total(pod, "limits").0 {
        taken.add(&format!("limits.{name}"), amount);
    }
}

fn service(service: &Value, taken: &mut Amounts) {
    let spec = &service["spec"];
    let ports = items(&spec["ports"]);
    let all = ports.len();
    let node_ports = match spec["type"].as_str() {
        Some("NodePort") => all,
        Some("LoadBalancer") => {
            taken.add("services.loadbalancers", Quantity::whole(1));
            let has = |port: &&Value| port["nodePort"].as_i64().is_some_and(|port| port != 0);
            match spec["allocateLoadBalancerNodePorts"].as_bool() {
                Some(false) => ports.iter().filter(has).count(),
                _ => all,
            }
        }
        _ => 0,
    };
    if node_ports > 0 {
        let node_ports = i128::try_from(node_ports).unwrap_or(i128::MAX);
        taken.add("services.nodeports", Quantity::whole(node_ports));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_take_what_they_ask_for() {
        let resource = |group, plural| Resource { group, plural };
        let pod = json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "500m", "x.io/gpu": "1"}, "limits": {"cpu": "1"}}}]}});
        let balanced =
            json!({"spec": {"type": "LoadBalancer", "ports": [{"port": 1}, {"port": 2}]}});
        let direct = json!({"spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{"port": 1, "nodePort": 30000}, {"port": 2}]}});
        for (resource, object, over, expected) in [
            (
                resource("", "pods"),
                &pod,
                false,
                "count/pods=1,cpu=500m,limits.cpu=1,pods=1,requests.cpu=500m,requests.x.io/gpu=1",
            ),
            (resource("", "pods"), &pod, true, "count/pods=1"),
            (
                resource("", "services"),
                &balanced,
                false,
                "count/services=1,services=1,services.loadbalancers=1,services.nodeports=2",
            ),
            (
                resource("", "services"),
                &direct,
                false,
                "count/services=1,services=1,services.loadbalancers=1,services.nodeports=1",
            ),
            (
                resource("", "secrets"),
                &json!({}),
                false,
                "count/secrets=1,secrets=1",
            ),
            (
                resource("", "endpoints"),
                &json!({}),
                false,
                "count/endpoints=1",
            ),
            (
                resource("apps", "deployments"),
                &json!({}),
                false,
                "count/deployments.apps=1",
            ),
        ] {
            let taken = of(resource, object, over);
            assert_eq!(taken.to_string(), expected);
            for name in taken.0.keys() {
                assert!(resource.is_meant_by(name), "{resource:?} {name}");
            }
        }
        assert!(!resource("", "pods").is_meant_by("services"));
        assert!(!resource("apps", "deployments").is_meant_by("pods"));
    }
}

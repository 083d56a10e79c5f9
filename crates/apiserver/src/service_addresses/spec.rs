//! What a Service's spec says of addresses and node ports.

use std::{collections::BTreeSet, net::IpAddr};

use serde_json::{Value, json};

/// The texts of a list, without empty ones.
pub fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(|text| text.as_str())
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The ports of a spec.
pub fn ports(spec: &Value) -> &[Value] {
    spec["ports"].as_array().map_or(&[], Vec::as_slice)
}

/// A number that is a port, and not the zero that stands for none.
pub fn port_number(value: &Value) -> Option<u16> {
    u16::try_from(value.as_u64()?).ok().filter(|port| *port > 0)
}

/// The cluster addresses of a Service.
pub fn addresses(spec: &Value) -> BTreeSet<IpAddr> {
    let texts = texts(&spec["clusterIPs"]);
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

/// The node ports of a Service's ports.
pub fn node_ports(spec: &Value) -> BTreeSet<u16> {
    let ports = ports(spec).iter();
    ports
        .filter_map(|port| port_number(&port["nodePort"]))
        .collect()
}

/// All ports that a Service has on nodes: with that which says whether there are endpoints.
pub fn all_node_ports(spec: &Value) -> BTreeSet<u16> {
    let health = port_number(&spec["healthCheckNodePort"]);
    node_ports(spec).into_iter().chain(health).collect()
}

/// The type of a Service.
pub fn kind(spec: &Value) -> &str {
    spec["type"].as_str().unwrap_or("ClusterIP")
}

/// Whether there are pods behind it by this cluster's own knowledge.
pub fn has_selector(spec: &Value) -> bool {
    spec["selector"]
        .as_object()
        .is_some_and(|all| !all.is_empty())
}

pub fn is_headless(spec: &Value) -> bool {
    spec["clusterIP"] == "None" || spec["clusterIPs"][0] == "None"
}

/// Whether it has an address in the cluster, of which `None` is one.
pub fn needs_cluster_ip(spec: &Value) -> bool {
    kind(spec) != "ExternalName"
}

/// Whether each of its ports is to have a node port.
pub fn needs_node_port(spec: &Value) -> bool {
    match kind(spec) {
        "NodePort" => true,
        "LoadBalancer" => spec["allocateLoadBalancerNodePorts"] != json!(false),
        _ => false,
    }
}

/// Whether load balancers ask nodes if they have endpoints of it.
pub fn needs_health_check(spec: &Value) -> bool {
    kind(spec) == "LoadBalancer" && spec["externalTrafficPolicy"] == "Local"
}

/// Whether it can be reached from outside of the cluster.
pub fn is_external(spec: &Value) -> bool {
    match kind(spec) {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => !texts(&spec["externalIPs"]).is_empty(),
        _ => false,
    }
}

/// Takes a field away.
pub fn remove(of: &mut Value, field: &str) {
    if let Some(of) = of.as_object_mut() {
        of.remove(field);
    }
}

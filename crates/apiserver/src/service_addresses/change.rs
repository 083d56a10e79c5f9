//! What a Service keeps of its former state when it is written anew, and what it loses.
//!
//! Clients send objects without what the server has added to them, so what was allocated is put
//! back. When the type changes, what the new type has no use for goes, unless the client has
//! changed that too: then it is refused by validation.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::spec::{
    is_external, kind, needs_cluster_ip, needs_health_check, needs_node_port, node_ports,
    port_number, ports, remove, texts,
};
use crate::object::elements_mut;

/// Puts back what was allocated and is not mentioned.
pub fn keep(new: &mut Value, old: &Value) {
    if needs_cluster_ip(old) && needs_cluster_ip(new) {
        if is_unset(&new["clusterIP"]) && !is_unset(&old["clusterIP"]) {
            new["clusterIP"] = old["clusterIP"].clone();
        }
        if is_unset(&new["clusterIPs"]) && new["clusterIP"] == old["clusterIP"] {
            copy(new, old, "clusterIPs");
        }
    }
    if needs_node_port(old) && needs_node_port(new) {
        keep_node_ports(new, old);
    }
    if needs_health_check(old)
        && needs_health_check(new)
        && port_number(&new["healthCheckNodePort"]).is_none()
    {
        copy(new, old, "healthCheckNodePort");
    }
}

/// Ports are the same by their name; a node port that is used by another is not put back.
fn keep_node_ports(new: &mut Value, old: &Value) {
    let mut used: BTreeSet<u16> = &node_ports(old) & &node_ports(new);
    for port in elements_mut(new, "ports") {
        if port_number(&port["nodePort"]).is_some() {
            continue;
        }
        let name = |port: &Value| port["name"].as_str().unwrap_or("").to_owned();
        let same = ports(old).iter().rev().find(|one| name(one) == name(port));
        let had = same.and_then(|same| port_number(&same["nodePort"]));
        if let Some(had) = had.filter(|had| used.insert(*had)) {
            port["nodePort"] = had.into();
        }
    }
}

/// Brings the single address and the list into agreement, as far as it is clear what is meant:
/// clients know the one field or both.
pub fn align(new: &mut Value, old: Option<&Value>) {
    let Some(old) = old else {
        if is_unset(&new["clusterIPs"]) && !is_unset(&new["clusterIP"]) {
            new["clusterIPs"] = json!([new["clusterIP"]]);
        }
        return;
    };
    if is_unset(&new["clusterIPs"]) && same(new, old, "clusterIP") {
        copy(new, old, "clusterIPs");
    }
    if same(new, old, "clusterIP") || !same(new, old, "clusterIPs") {
        return;
    }
    if is_unset(&new["clusterIP"]) {
        remove(new, "clusterIPs");
    } else {
        new["clusterIPs"] = json!([new["clusterIP"]]);
    }
}

/// Takes away what the new type has no use for.
pub fn drop_unused(new: &mut Value, old: &Value) {
    if needs_cluster_ip(old) && !needs_cluster_ip(new) {
        if same(new, old, "clusterIPs") {
            remove(new, "clusterIP");
        }
        for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            drop_same(new, old, field);
        }
    }
    if needs_node_port(old) && !needs_node_port(new) && node_ports(old) == node_ports(new) {
        elements_mut(new, "ports").for_each(|port| remove(port, "nodePort"));
    }
    if needs_health_check(old) && !needs_health_check(new) {
        drop_same(new, old, "healthCheckNodePort");
    }
    if kind(old) == "LoadBalancer" && kind(new) != "LoadBalancer" {
        drop_same(new, old, "allocateLoadBalancerNodePorts");
        drop_same(new, old, "loadBalancerClass");
    }
    if is_external(old) && !is_external(new) {
        drop_same(new, old, "externalTrafficPolicy");
    }
}

fn drop_same(new: &mut Value, old: &Value, field: &str) {
    if same(new, old, field) {
        remove(new, field);
    }
}

/// Whether a field is as it was; an empty one is none.
pub fn same(new: &Value, old: &Value, field: &str) -> bool {
    let (is, was) = (&new[field], &old[field]);
    match was {
        Value::Array(_) => texts(is) == texts(was),
        _ => is == was || (is_unset(is) && is_unset(was)),
    }
}

fn is_unset(value: &Value) -> bool {
    value.is_null() || *value == "" || *value == json!([])
}

fn copy(new: &mut Value, old: &Value, field: &str) {
    if !old[field].is_null() {
        new[field] = old[field].clone();
    }
}

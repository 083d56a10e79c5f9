//! What a Service has if nothing is said, where that depends on its other fields.

use serde_json::{Value, json};

use crate::{
    object::elements_mut,
    service_addresses::spec::{is_external, kind, remove},
};

/// How long a client stays with an endpoint.
const AFFINITY_SECONDS: i64 = 10_800;

pub fn complete(service: &mut Value) {
    if !service["spec"].is_object() {
        return;
    }
    let spec = &mut service["spec"];
    match spec["sessionAffinity"].as_str() {
        Some("ClientIP") => default(
            &mut spec["sessionAffinityConfig"]["clientIP"],
            "timeoutSeconds",
            json!(AFFINITY_SECONDS),
        ),
        None | Some("" | "None") => remove(spec, "sessionAffinityConfig"),
        Some(_) => {}
    }
    if kind(spec) != "ExternalName" {
        default(spec, "internalTrafficPolicy", json!("Cluster"));
    }
    if is_external(spec) {
        default(spec, "externalTrafficPolicy", json!("Cluster"));
    }
    let balanced = kind(spec) == "LoadBalancer";
    if balanced {
        default(spec, "allocateLoadBalancerNodePorts", json!(true));
    }
    for port in elements_mut(spec, "ports") {
        let unset = [json!(0), json!(""), Value::Null].contains(&port["targetPort"]);
        if unset {
            port["targetPort"] = port["port"].clone();
        }
    }
    if balanced && service["status"]["loadBalancer"].is_object() {
        for ingress in elements_mut(&mut service["status"]["loadBalancer"], "ingress") {
            if ingress["ip"].as_str().is_some_and(|ip| !ip.is_empty()) {
                default(ingress, "ipMode", json!("VIP"));
            }
        }
    }
}

fn default(of: &mut Value, field: &str, value: Value) {
    if of[field].is_null() || of[field] == "" {
        of[field] = value;
    }
}

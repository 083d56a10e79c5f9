//! What a Service's spec says of addresses and node ports.

use serde_json::{Value, json};

use super::Item;
use crate::{check::Findings, object::elements_mut};

/// The texts of a list, without empty ones.
pub fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(|text| text.as_str())
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The addresses and node ports that a Service has.
pub fn items(service: &Value) -> Vec<Item> {
    let addresses = texts(&service["spec"]["clusterIPs"]);
    let addresses = addresses
        .iter()
        .filter_map(|text| text.parse().ok())
        .map(Item::Address);
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let ports = ports.filter_map(|port| u16::try_from(port["nodePort"].as_u64()?).ok());
    let mut items: Vec<Item> = addresses
        .chain(ports.filter(|port| *port > 0).map(Item::Port))
        .collect();
    items.dedup();
    items
}

/// A Service without a cluster address keeps none.
pub fn strip(spec: &mut Value) {
    for port in elements_mut(spec, "ports") {
        port.as_object_mut().map(|port| port.remove("nodePort"));
    }
    if let Some(spec) = spec.as_object_mut() {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            spec.remove(field);
        }
    }
}

/// An update that says nothing of what was allocated keeps it.
pub fn inherit(new: &mut Value, old: &Value) {
    let (is, was) = (kind_of(new).to_owned(), kind_of(old));
    if is == "ExternalName" || was == "ExternalName" {
        return;
    }
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        let (value, before) = (&new["spec"][field], &old["spec"][field]);
        if (value.is_null() || *value == "" || *value == json!([])) && !before.is_null() {
            new["spec"][field] = before.clone();
        }
    }
    let (to_cluster_ip, before) = (is == "ClusterIP", old["spec"]["ports"].as_array());
    let before = before.cloned().unwrap_or_default();
    for port in elements_mut(&mut new["spec"], "ports") {
        let same = before
            .iter()
            .find(|one| one["port"] == port["port"] && one["protocol"] == port["protocol"]);
        if to_cluster_ip {
            // A Service that no longer has node ports need not say so of each.
            let kept = same.is_some_and(|same| same["nodePort"] == port["nodePort"]);
            if kept && let Some(port) = port.as_object_mut() {
                port.remove("nodePort");
            }
            continue;
        }
        if port["nodePort"].as_u64().unwrap_or(0) == 0
            && let Some(same) = same.filter(|same| !same["nodePort"].is_null())
        {
            port["nodePort"] = same["nodePort"].clone();
        }
    }
}

fn kind_of(service: &Value) -> &str {
    service["spec"]["type"].as_str().unwrap_or("ClusterIP")
}

/// The first address stays once it is set.
pub fn unchanged(new: &Value, old: &Value, findings: &mut Findings) {
    if kind_of(new) == "ExternalName" || kind_of(old) == "ExternalName" {
        return;
    }
    let (is, was) = (&new["spec"]["clusterIPs"], &old["spec"]["clusterIPs"]);
    if !was[0].is_null() && is[0] != was[0] {
        findings.invalid("spec.clusterIPs[0]", is, "may not change once set");
    }
}

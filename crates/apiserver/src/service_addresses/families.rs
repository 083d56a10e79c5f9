//! Which IP families a Service has: what it says, completed from its policy and addresses.

use ipnet::IpNet;
use serde_json::{Value, json};

use super::spec::texts;
use crate::check::{Findings, format};

/// The name of a range's family.
pub fn of(range: &IpNet) -> &'static str {
    match range {
        IpNet::V4(_) => "IPv4",
        IpNet::V6(_) => "IPv6",
    }
}

fn of_address(address: &str) -> &'static str {
    if address.contains(':') {
        "IPv6"
    } else {
        "IPv4"
    }
}

/// Completes `clusterIP(s)`, `ipFamilies` and `ipFamilyPolicy` of a spec, as far as they follow
/// from what is said; the ranges are the cluster's, the first one's family is the default.
pub fn settle(spec: &mut Value, ranges: &[IpNet], findings: &mut Findings) {
    let served: Vec<&str> = ranges.iter().map(of).collect();
    let Some(primary) = served.first() else {
        return;
    };
    settle_addresses(spec, findings);
    let headless = spec["clusterIP"] == "None";
    let addresses = texts(&spec["clusterIPs"]);
    let mut families = texts(&spec["ipFamilies"]);
    if spec["ipFamilyPolicy"].is_null() {
        let two = families.len() == 2 || addresses.len() == 2;
        spec["ipFamilyPolicy"] = json!(if two {
            "RequireDualStack"
        } else {
            "SingleStack"
        });
    }
    let policy = spec["ipFamilyPolicy"].as_str().unwrap_or("").to_owned();
    if policy == "RequireDualStack" && served.len() < 2 {
        let why = "this cluster is not configured for dual-stack services";
        findings.invalid("spec.ipFamilyPolicy", &json!(policy), why);
        return;
    }
    if let Some(other) = families
        .iter()
        .find(|family| !served.contains(&family.as_str()))
    {
        let why = "not configured on this cluster";
        findings.invalid("spec.ipFamilies[0]", &json!(other), why);
        return;
    }
    if !headless {
        for (index, address) in addresses.iter().enumerate() {
            match families.get(index) {
                None => families.push(of_address(address).into()),
                Some(family) if family != of_address(address) => {
                    let why =
                        format!("expected an {family} value as indicated by `ipFamilies[{index}]`");
                    findings.invalid(format!("spec.clusterIPs[{index}]"), &json!(address), why);
                }
                Some(_) => {}
            }
        }
    }
    if families.is_empty() {
        families.push((*primary).into());
    }
    if policy != "SingleStack" && families.len() < 2 {
        let other = served.iter().find(|family| **family != families[0]);
        families.extend(other.map(|family| (*family).to_owned()));
    }
    if policy == "SingleStack" && families.len() > 1 {
        let why = "may only hold up to 1 value when `ipFamilyPolicy` is SingleStack";
        findings.invalid("spec.ipFamilies", &json!(families), why);
    }
    spec["ipFamilies"] = json!(families);
}

/// Brings the single address and the list into agreement.
fn settle_addresses(spec: &mut Value, findings: &mut Findings) {
    let one = spec["clusterIP"].as_str().unwrap_or("").to_owned();
    let many = texts(&spec["clusterIPs"]);
    match (one.as_str(), many.first().map(String::as_str)) {
        ("", None) => return,
        ("", Some(first)) => spec["clusterIP"] = json!(first),
        (one, None) => spec["clusterIPs"] = json!([one]),
        (one, Some(first)) if one != first => {
            findings.invalid(
                "spec.clusterIPs",
                &json!(many),
                "first value must match `clusterIP`",
            );
        }
        _ => {}
    }
    let addresses = texts(&spec["clusterIPs"]);
    if addresses.len() > 2 {
        let why = "may only hold up to 2 values";
        findings.invalid("spec.clusterIPs", &json!(addresses), why);
    }
    for (index, address) in addresses
        .iter()
        .filter(|address| *address != "None")
        .enumerate()
    {
        for why in format::ip_address(address) {
            findings.invalid(format!("spec.clusterIPs[{index}]"), &json!(address), why);
        }
    }
}

//! Which IP families a Service has: what it says, completed from its policy and addresses.

use ipnet::IpNet;
use serde_json::{Value, json};

use super::{
    change::same,
    spec::{has_selector, is_headless, kind, texts},
};
use crate::{check::Findings, kinds::service_addresses_agree};

/// The names of the families, each the other's other.
const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];

/// The name of a range's family.
pub fn of(range: &IpNet) -> &'static str {
    FAMILIES[usize::from(range.network().is_ipv6())]
}

/// The name of an address's family, by how it is written.
pub fn of_address(address: &str) -> &'static str {
    FAMILIES[usize::from(address.contains(':'))]
}

/// Completes `ipFamilies` and `ipFamilyPolicy` of a spec, as far as they follow from what is said
/// and was so before; `served` are the cluster's families, the default one first.
pub fn settle(spec: &mut Value, old: Option<&Value>, served: &[&str], findings: &mut Findings) {
    if kind(spec) == "ExternalName" || old.is_some_and(|old| prefers_as_before(spec, old)) {
        return;
    }
    let apart = is_headless(spec) && !has_selector(spec);
    if spec["ipFamilyPolicy"].is_null() {
        let before = old.map(|old| &old["ipFamilyPolicy"]);
        spec["ipFamilyPolicy"] = match before.filter(|before| !before.is_null()) {
            Some(before) => before.clone(),
            // Whoever writes down the endpoints knows which families they have.
            None if apart => "RequireDualStack".into(),
            None => "SingleStack".into(),
        };
    }
    service_addresses_agree(spec, findings);
    if !findings.is_empty() {
        return;
    }
    match old {
        Some(old) if is_single(spec) => narrow(spec, old),
        Some(old) => not_reduced(spec, old, findings),
        None => {}
    }
    if is_single(spec) {
        one_of_each(spec, findings);
    }
    let mut families = texts(&spec["ipFamilies"]);
    infer(spec, &mut families, served, findings);
    if findings.is_empty() && !apart {
        are_served(spec, &families, served, findings);
    }
    if !findings.is_empty() {
        return;
    }
    if families.is_empty() {
        families.extend(served.first().map(|&family| family.to_owned()));
    }
    if !is_single(spec) && families.len() == 1 && (apart || served.len() == 2) {
        let other = FAMILIES.iter().find(|family| **family != families[0]);
        families.extend(other.map(|&family| family.to_owned()));
    }
    spec["ipFamilies"] = json!(families);
}

fn is_single(spec: &Value) -> bool {
    spec["ipFamilyPolicy"] == "SingleStack"
}

/// A Service that takes what there is stays as it is when the cluster changes: only its owner
/// gives it a second address or takes it away.
fn prefers_as_before(new: &Value, old: &Value) -> bool {
    let prefers = |spec: &Value| spec["ipFamilyPolicy"] == "PreferDualStack";
    kind(new) == kind(old)
        && prefers(new)
        && prefers(old)
        && same(new, old, "clusterIPs")
        && same(new, old, "ipFamilies")
}

/// To ask for one family alone is to give the second one up, without more words.
fn narrow(spec: &mut Value, old: &Value) {
    for field in ["clusterIPs", "ipFamilies"] {
        if same(spec, old, field)
            && let Some(list) = spec[field].as_array_mut()
        {
            list.truncate(1);
        }
    }
}

fn not_reduced(spec: &Value, old: &Value, findings: &mut Findings) {
    for (field, what) in [("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")] {
        let (is, was) = (texts(&spec[field]).len(), texts(&old[field]).len());
        if is > 0 && is < was {
            let why = format!("must be 'SingleStack' to release the secondary {what}");
            findings.invalid("spec.ipFamilyPolicy", &spec["ipFamilyPolicy"], why);
        }
    }
}

fn one_of_each(spec: &Value, findings: &mut Findings) {
    for (field, what) in [("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")] {
        if texts(&spec[field]).len() == 2 {
            let why = format!(
                "must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
            );
            findings.invalid("spec.ipFamilyPolicy", &spec["ipFamilyPolicy"], why);
        }
    }
}

/// Addresses without a word on their family have that which they are of.
fn infer(spec: &Value, families: &mut Vec<String>, served: &[&str], findings: &mut Findings) {
    if is_headless(spec) {
        return;
    }
    let addresses = texts(&spec["clusterIPs"]);
    for (index, address) in addresses.iter().enumerate().skip(families.len()) {
        let family = of_address(address);
        if served.contains(&family) {
            families.push(family.into());
        } else {
            let field = format!("spec.clusterIPs[{index}]");
            let why = format!("{family} is not configured on this cluster");
            findings.invalid(field, &spec["clusterIPs"], why);
        }
    }
}

fn are_served(spec: &Value, families: &[String], served: &[&str], findings: &mut Findings) {
    if spec["ipFamilyPolicy"] == "RequireDualStack" && served.len() < 2 {
        let why = "this cluster is not configured for dual-stack services";
        findings.invalid("spec.ipFamilyPolicy", &spec["ipFamilyPolicy"], why);
    }
    for (index, family) in families.iter().enumerate() {
        if !served.contains(&family.as_str()) {
            let why = "not configured on this cluster";
            findings.invalid(format!("spec.ipFamilies[{index}]"), &json!(family), why);
        }
    }
}

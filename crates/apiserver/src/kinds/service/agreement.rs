//! Whether a Service's addresses, families and policy can be together.

use serde_json::{Value, json};

use crate::{
    check::{Findings, format},
    service_addresses::{
        family_of,
        spec::{is_headless, kind, texts},
    },
};

const ADDRESSES: &str = "spec.clusterIPs";
const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];
const POLICIES: [&str; 3] = ["PreferDualStack", "RequireDualStack", "SingleStack"];

/// Checks the fields that say which addresses a Service has, also before it has them.
pub fn addresses_agree(spec: &Value, findings: &mut Findings) {
    if kind(spec) == "ExternalName" {
        return;
    }
    one_and_all(spec, findings);
    families(spec, findings);
    let policy = &spec["ipFamilyPolicy"];
    if !policy.is_null() && !POLICIES.iter().any(|one| policy == one) {
        findings.unsupported("spec.ipFamilyPolicy", policy, &POLICIES);
    }
    if addresses(spec, findings) {
        each_of_its_family(spec, findings);
    }
}

/// The single address is the first of the list.
fn one_and_all(spec: &Value, findings: &mut Findings) {
    let (one, all) = (
        spec["clusterIP"].as_str().unwrap_or(""),
        &spec["clusterIPs"],
    );
    let texts = texts(all);
    match texts.first() {
        None if !one.is_empty() => findings.required(ADDRESSES, ""),
        Some(_) if one.is_empty() => {
            let why = "must be empty when `clusterIP` is not specified";
            findings.invalid(ADDRESSES, all, why);
        }
        Some(first) if first != one => {
            findings.invalid(ADDRESSES, all, "first value must match `clusterIP`");
        }
        _ => {}
    }
}

fn families(spec: &Value, findings: &mut Findings) {
    let families = texts(&spec["ipFamilies"]);
    for (index, family) in families.iter().enumerate() {
        let field = format!("spec.ipFamilies[{index}]");
        if !FAMILIES.contains(&family.as_str()) {
            findings.unsupported(field.clone(), &json!(family), &FAMILIES);
        }
        if families[..index].contains(family) {
            findings.duplicate(field, &json!(family));
        }
    }
}

/// Whether each is an address, and it makes sense to look further.
fn addresses(spec: &Value, findings: &mut Findings) -> bool {
    let all = texts(&spec["clusterIPs"]);
    let mut right = true;
    for (index, address) in all.iter().enumerate() {
        if index == 0 && address == "None" {
            if all.len() > 1 {
                let why = "'None' must be the first and only value";
                findings.invalid(ADDRESSES, &json!(all), why);
                right = false;
            }
            continue;
        }
        for why in format::ip_address(address) {
            findings.invalid(format!("{ADDRESSES}[{index}]"), &json!(address), why);
            right = false;
        }
    }
    if all.len() > 2 {
        findings.invalid(ADDRESSES, &json!(all), "may only hold up to 2 values");
    }
    right
}

fn each_of_its_family(spec: &Value, findings: &mut Findings) {
    let all = texts(&spec["clusterIPs"]);
    if all.len() > 1 && (all.len() > 2 || family_of(&all[0]) == family_of(&all[1])) {
        let why = "may specify no more than one IP for each IP family";
        findings.invalid(ADDRESSES, &json!(all), why);
    }
    if is_headless(spec) {
        return;
    }
    let families = texts(&spec["ipFamilies"]);
    for (index, (address, family)) in all.iter().zip(&families).enumerate() {
        if FAMILIES.contains(&family.as_str()) && family_of(address) != family {
            let why = format!("expected an {family} value as indicated by `ipFamilies[{index}]`");
            findings.invalid(format!("{ADDRESSES}[{index}]"), &json!(address), why);
        }
    }
}

//! What may change of a Service.
//!
//! A second address or family may come and go; the first ones stay, unless the type was or
//! becomes ExternalName.

use serde_json::{Value, json};

use crate::{
    check::Findings,
    service_addresses::spec::{is_headless, kind, texts},
};

const STAYS: &str = "may not change once set";

pub fn service(new: &Value, old: &Value, findings: &mut Findings) {
    let (new, old) = (&new["spec"], &old["spec"]);
    let balanced = |spec: &Value| kind(spec) == "LoadBalancer";
    if balanced(new) && balanced(old) && new["loadBalancerClass"] != old["loadBalancerClass"] {
        findings.invalid("spec.loadBalancerClass", &new["loadBalancerClass"], STAYS);
    }
    let named = |spec: &Value| kind(spec) == "ExternalName";
    if named(new) || named(old) {
        return;
    }
    if !(is_headless(new) && is_headless(old)) {
        list(new, old, "clusterIPs", "clusterIP", findings);
    }
    list(new, old, "ipFamilies", "ipFamily", findings);
}

fn list(new: &Value, old: &Value, field: &str, one: &str, findings: &mut Findings) {
    let (is, was) = (texts(&new[field]), texts(&old[field]));
    let first = format!("spec.{field}[0]");
    if is.len() == was.len() {
        for index in (0..is.len()).filter(|&index| is[index] != was[index]) {
            findings.invalid(format!("spec.{field}[{index}]"), &json!(is), STAYS);
        }
        return;
    }
    match (is.first(), was.first()) {
        (None, Some(_)) => {
            findings.invalid(first, &json!(is), format!("primary {one} can not be unset"));
        }
        (Some(is_first), Some(was_first)) if is_first != was_first => {
            findings.invalid(first, &json!(is), STAYS);
        }
        _ => {}
    }
    if is.len() == 1 && was.len() == 2 && new["ipFamilyPolicy"] != "SingleStack" {
        let why = format!("must be set to 'SingleStack' when releasing the secondary {one}");
        findings.invalid("spec.ipFamilyPolicy", &new["ipFamilyPolicy"], why);
    }
}

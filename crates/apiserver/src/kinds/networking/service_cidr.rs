//! ServiceCIDR: the ranges that Services have their addresses from.

use ipnet::IpNet;
use k8s_openapi::api::networking::v1 as networking;
use serde_json::{Value, json};

use super::{items, text};
use crate::{
    check::{Findings, format},
    kinds::{
        Kind, PLAIN,
        column::{AGE, Cell, NAME, column},
        typed,
    },
};

pub static SERVICE_CIDR: Kind = Kind {
    group: "networking.k8s.io",
    kind: "ServiceCIDR",
    plural: "servicecidrs",
    singular: "servicecidr",
    namespaced: false,
    status: true,
    status_on_create: true,
    decode: typed::<networking::ServiceCIDR>,
    validate,
    validate_update,
    columns: &[
        NAME,
        column(
            "CIDRs",
            Cell::Of(|object, _| {
                let cidrs: Vec<&str> = items(&object["spec"]["cidrs"]).iter().map(text).collect();
                cidrs.join(",").into()
            }),
            "Ranges of addresses.",
        ),
        AGE,
    ],
    ..PLAIN
};

fn validate(object: &Value, findings: &mut Findings) {
    let field = "spec.cidrs";
    let cidrs = items(&object["spec"]["cidrs"]);
    if cidrs.is_empty() {
        findings.required(field, "at least one CIDR required");
    }
    if cidrs.len() > 2 {
        findings.invalid(
            field,
            &object["spec"]["cidrs"],
            "may only hold up to 2 values",
        );
    }
    let families = cidrs.iter().map(|cidr| text(cidr).contains(':'));
    let six = families.filter(|six| *six).count();
    if cidrs.len() == 2 && six != 1 {
        let why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and \
                   2001:db8::/96";
        findings.invalid(field, &object["spec"]["cidrs"], why);
    }
    for (index, cidr) in cidrs.iter().enumerate() {
        for why in strict_cidr(text(cidr)) {
            findings.invalid(format!("{field}[{index}]"), cidr, why);
        }
    }
}

/// A subnet written as Kubernetes writes it.
fn strict_cidr(said: &str) -> Vec<String> {
    let Ok(cidr) = said.parse::<IpNet>() else {
        return format::cidr(said);
    };
    if cidr.trunc() != cidr {
        return vec!["must not have bits set beyond the prefix length".into()];
    }
    if cidr.to_string() != said {
        return vec![format!(
            "must be in canonical form ({:?})",
            cidr.to_string()
        )];
    }
    Vec::new()
}

/// A range stays; one of the other family may be added.
fn validate_update(new: &Value, old: &Value, findings: &mut Findings) {
    let why = "field is immutable";
    let (is, was) = (items(&new["spec"]["cidrs"]), items(&old["spec"]["cidrs"]));
    if is.len() != was.len() && (was.len(), is.len()) != (1, 2) {
        return findings.invalid("spec.cidrs", &json!(is), why);
    }
    for (index, (is, _)) in is
        .iter()
        .zip(was)
        .enumerate()
        .filter(|(_, (is, was))| is != was)
    {
        findings.invalid(format!("spec.cidrs[{index}]"), is, why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(judge: impl FnOnce(&mut Findings)) -> String {
        let mut findings = Findings::default();
        judge(&mut findings);
        if findings.is_empty() {
            String::new()
        } else {
            findings.to_string()
        }
    }

    fn object(cidrs: Value) -> Value {
        json!({"metadata": {"name": "some"}, "spec": {"cidrs": cidrs}})
    }

    #[test]
    fn ranges_are_judged() {
        for (cidrs, expected) in [
            (json!(["10.0.0.0/8", "fd00::/112"]), ""),
            (
                json!([]),
                "spec.cidrs: Required value: at least one CIDR required",
            ),
            (
                json!(["10.0.0.1/8"]),
                "spec.cidrs[0]: Invalid value: \"10.0.0.1/8\": must not have bits set beyond the prefix length",
            ),
            (
                json!(["FD00::/112"]),
                "spec.cidrs[0]: Invalid value: \"FD00::/112\": must be in canonical form (\"fd00::/112\")",
            ),
        ] {
            let found = words(|findings| validate(&object(cidrs.clone()), findings));
            assert_eq!(found, expected, "{cidrs}");
        }
        let twice = object(json!(["10.0.0.0/8", "11.0.0.0/8"]));
        assert!(words(|f| validate(&twice, f)).contains("no more than one IP for each IP family"));
    }

    #[test]
    fn a_range_stays_and_another_family_may_come() {
        let old = object(json!(["10.0.0.0/8"]));
        for (cidrs, expected) in [
            (json!(["10.0.0.0/8", "fd00::/112"]), ""),
            (
                json!(["11.0.0.0/8"]),
                "spec.cidrs[0]: Invalid value: \"11.0.0.0/8\": field is immutable",
            ),
            (
                json!([]),
                "spec.cidrs: Invalid value: []: field is immutable",
            ),
        ] {
            let new = object(cidrs.clone());
            let found = words(|findings| validate_update(&new, &old, findings));
            assert_eq!(found, expected, "{cidrs}");
        }
    }
}

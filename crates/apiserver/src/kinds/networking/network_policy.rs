//! NetworkPolicy.

use ipnet::IpNet;
use k8s_openapi::api::networking::v1 as networking;
use serde_json::{Value, json};

use super::{items, text};
use crate::{
    check::{Check, Findings, Rule, format},
    kinds::{
        Generation, Kind, PLAIN,
        column::{AGE, Cell, NAME, NONE, column},
        label_selector, typed,
    },
};

pub static NETWORK_POLICY: Kind = Kind {
    group: "networking.k8s.io",
    kind: "NetworkPolicy",
    plural: "networkpolicies",
    singular: "networkpolicy",
    short_names: &["netpol"],
    decode: typed::<networking::NetworkPolicy>,
    complete,
    defaults: &[
        ("spec.podSelector", "{}"),
        ("spec.{ingress,egress}[].ports[].protocol", "\"TCP\""),
    ],
    rules: &[Rule(
        "spec.{ingress,egress}[].ports[].protocol",
        Check::OneOf(&["TCP", "UDP", "SCTP"]),
    )],
    validate,
    columns: &[
        NAME,
        column(
            "Pod-Selector",
            Cell::Of(|object, _| {
                let text = label_selector::text(&object["spec"]["podSelector"]);
                if text.is_empty() {
                    NONE.into()
                } else {
                    text.into()
                }
            }),
            "Labels of the pods that it is about.",
        ),
        AGE,
    ],
    generation: Generation::Spec,
    ..PLAIN
};

/// A policy is about incoming connections, and about outgoing ones if it has rules for them.
fn complete(policy: &mut Value) {
    let spec = &mut policy["spec"];
    if items(&spec["policyTypes"]).is_empty() {
        spec["policyTypes"] = if items(&spec["egress"]).is_empty() {
            json!(["Ingress"])
        } else {
            json!(["Ingress", "Egress"])
        };
    }
}

fn validate(policy: &Value, findings: &mut Findings) {
    let spec = &policy["spec"];
    label_selector::validate("spec.podSelector", &spec["podSelector"], findings);
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (index, rule) in items(&spec[direction]).iter().enumerate() {
            let at = format!("spec.{direction}[{index}]");
            for (number, port) in items(&rule["ports"]).iter().enumerate() {
                validate_port(&format!("{at}.ports[{number}]"), port, findings);
            }
            for (number, peer) in items(&rule[peers]).iter().enumerate() {
                validate_peer(&format!("{at}.{peers}[{number}]"), peer, findings);
            }
        }
    }
    let types = items(&spec["policyTypes"]);
    if types.len() > 2 {
        let why = "may not specify more than two policyTypes";
        return findings.invalid("spec.policyTypes", &spec["policyTypes"], why);
    }
    for (index, one) in types.iter().enumerate() {
        if !["Egress", "Ingress"].contains(&text(one)) {
            let at = format!("spec.policyTypes[{index}]");
            findings.unsupported(at, one, &["Egress", "Ingress"]);
        }
    }
}

fn validate_port(at: &str, rule: &Value, findings: &mut Findings) {
    let (port, end) = (&rule["port"], &rule["endPort"]);
    let end_field = format!("{at}.endPort");
    let number = |field: &str, value: &Value, findings: &mut Findings| {
        if value
            .as_i64()
            .is_some_and(|number| !(1..=65535).contains(&number))
        {
            findings.invalid(field, value, "must be between 1 and 65535, inclusive");
        }
    };
    match port {
        Value::Number(first) => {
            number(&format!("{at}.port"), port, findings);
            if end.as_i64() < first.as_i64() && !end.is_null() {
                let why = "must be greater than or equal to `port`";
                findings.invalid(&end_field, port, why);
            }
            number(&end_field, end, findings);
        }
        Value::String(name) => {
            if !end.is_null() {
                let why = "may not be specified when `port` is non-numeric";
                findings.invalid(&end_field, end, why);
            }
            for why in format::port_name(name) {
                findings.invalid(format!("{at}.port"), port, why);
            }
        }
        _ if !end.is_null() => {
            findings.required(
                format!("{at}.port"),
                "must be specified when `endPort` is set",
            );
        }
        _ => {}
    }
}

fn validate_peer(at: &str, peer: &Value, findings: &mut Findings) {
    let selectors = ["podSelector", "namespaceSelector"];
    let given = selectors.iter().filter(|part| !peer[**part].is_null());
    for part in given.clone() {
        label_selector::validate(&format!("{at}.{part}"), &peer[*part], findings);
    }
    let block = &peer["ipBlock"];
    match (given.count(), block.is_null()) {
        (0, true) => findings.required(at, "must specify a peer"),
        (1.., false) => findings.forbidden(at, "may not specify both ipBlock and another peer"),
        _ => {}
    }
    if !block.is_null() {
        validate_block(&format!("{at}.ipBlock"), block, findings);
    }
}

fn validate_block(at: &str, block: &Value, findings: &mut Findings) {
    let said = text(&block["cidr"]);
    if said.is_empty() {
        return findings.required(format!("{at}.cidr"), "");
    }
    for why in format::cidr(said) {
        findings.invalid(format!("{at}.cidr"), &block["cidr"], why);
    }
    let whole = said.parse::<IpNet>().ok();
    for (index, except) in items(&block["except"]).iter().enumerate() {
        let field = format!("{at}.except[{index}]");
        for why in format::cidr(text(except)) {
            findings.invalid(&field, except, why);
        }
        let (Some(whole), Ok(part)) = (whole, text(except).parse::<IpNet>()) else {
            continue;
        };
        let is_part = whole.contains(&part.network()) && whole.prefix_len() < part.prefix_len();
        if !is_part {
            findings.invalid(&field, except, "must be a strict subset of `cidr`");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(spec: Value) -> String {
        let mut policy = json!({"metadata": {"name": "p"}, "spec": spec});
        complete(&mut policy);
        let mut findings = Findings::default();
        validate(&policy, &mut findings);
        if findings.is_empty() {
            String::new()
        } else {
            findings.to_string()
        }
    }

    #[test]
    fn policies_are_judged() {
        let port = |port: Value| json!({"ingress": [{"ports": [port]}]});
        let peer = |peer: Value| json!({"egress": [{"to": [peer]}]});
        for (spec, expected) in [
            (json!({"podSelector": {}}), ""),
            (port(json!({"port": 80, "endPort": 90})), ""),
            (port(json!({"port": "http"})), ""),
            (
                port(json!({"port": 80, "endPort": 70})),
                "spec.ingress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal to `port`",
            ),
            (
                port(json!({"port": "http", "endPort": 70})),
                "spec.ingress[0].ports[0].endPort: Invalid value: 70: may not be specified when `port` is non-numeric",
            ),
            (
                port(json!({"endPort": 70})),
                "spec.ingress[0].ports[0].port: Required value: must be specified when `endPort` is set",
            ),
            (
                port(json!({"port": 0})),
                "spec.ingress[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            ),
            (
                peer(json!({"podSelector": {}, "namespaceSelector": {}})),
                "",
            ),
            (
                peer(json!({})),
                "spec.egress[0].to[0]: Required value: must specify a peer",
            ),
            (
                peer(json!({"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}})),
                "spec.egress[0].to[0]: Forbidden: may not specify both ipBlock and another peer",
            ),
            (
                peer(json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}})),
                "",
            ),
            (
                peer(json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}})),
                "spec.egress[0].to[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`",
            ),
            (
                peer(json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}})),
                "spec.egress[0].to[0].ipBlock.except[0]: Invalid value: \"10.0.0.0/8\": must be a strict subset of `cidr`",
            ),
            (
                json!({"policyTypes": ["Both"]}),
                "spec.policyTypes[0]: Unsupported value: \"Both\": supported values: \"Egress\", \"Ingress\"",
            ),
        ] {
            assert_eq!(found(spec.clone()), expected, "{spec}");
        }
    }

    #[test]
    fn a_policy_is_about_what_it_has_rules_for() {
        for (spec, expected) in [
            (json!({}), json!(["Ingress"])),
            (json!({"egress": [{}]}), json!(["Ingress", "Egress"])),
            (json!({"policyTypes": ["Egress"]}), json!(["Egress"])),
        ] {
            let mut policy = json!({"spec": spec});
            complete(&mut policy);
            assert_eq!(policy["spec"]["policyTypes"], expected, "{spec}");
        }
    }
}

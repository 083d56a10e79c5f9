//! Service.

use k8s_openapi::api::core::v1 as core;
use serde_json::{Value, json};

use super::{
    Admission, Kind, PLAIN, ProxyTo, Subresource, Warnings,
    column::{AGE, Cell, NAME, NONE, column, wide},
    typed,
};
use crate::check::{Check, Findings, NameRule, Rule, format};

pub static SERVICE: Kind = Kind {
    kind: "Service",
    plural: "services",
    singular: "service",
    short_names: &["svc"],
    categories: &["all"],
    names: NameRule::Label1035,
    status: true,
    subresources: &[Subresource::Proxy(ProxyTo::Service)],
    decode: typed::<core::Service>,
    complete,
    defaults: &[
        ("spec.type", "\"ClusterIP\""),
        ("spec.sessionAffinity", "\"None\""),
        ("spec.ports[].protocol", "\"TCP\""),
        ("status", "{\"loadBalancer\": {}}"),
    ],
    rules: &[
        Rule(
            "spec.type",
            Check::OneOf(&["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]),
        ),
        Rule("spec.sessionAffinity", Check::OneOf(&["ClientIP", "None"])),
        Rule(
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
            Check::Range(1, 86400),
        ),
        Rule("spec.ports[].port", Check::Required),
        Rule("spec.ports[].port", Check::Range(1, 65535)),
        Rule(
            "spec.ports[].protocol",
            Check::OneOf(&["SCTP", "TCP", "UDP"]),
        ),
        Rule("spec.ports[].name", Check::Format(format::dns_label)),
        Rule("spec.ports[].name", Check::Unique),
        Rule("spec.ports[].targetPort", Check::Range(1, 65535)),
        Rule("spec.ports[].targetPort", Check::Format(format::port_name)),
        Rule("spec.ports[].nodePort", Check::Range(0, 65535)),
        Rule("spec.externalIPs[]", Check::Format(format::ip_address)),
        Rule(
            "spec.loadBalancerSourceRanges[]",
            Check::Format(format::cidr),
        ),
        Rule(
            "spec.externalTrafficPolicy",
            Check::OneOf(&["Cluster", "Local"]),
        ),
        Rule(
            "spec.internalTrafficPolicy",
            Check::OneOf(&["Cluster", "Local"]),
        ),
        Rule(
            "spec.ipFamilyPolicy",
            Check::OneOf(&["PreferDualStack", "RequireDualStack", "SingleStack"]),
        ),
        Rule("spec.ipFamilies[]", Check::OneOf(&["IPv4", "IPv6"])),
    ],
    validate,
    fields: &[
        ("spec.clusterIP", "spec.clusterIP"),
        ("spec.type", "spec.type"),
    ],
    columns: &[
        NAME,
        column("Type", Cell::Path("spec.type"), "How it can be reached."),
        column(
            "Cluster-IP",
            Cell::Path("spec.clusterIP"),
            "Address within the cluster.",
        ),
        column(
            "External-IP",
            Cell::Of(|service, _| json!(external(service))),
            "Addresses from outside.",
        ),
        column(
            "Port(s)",
            Cell::Of(|service, _| json!(ports(service))),
            "Ports, node ports and protocols.",
        ),
        AGE,
        wide(
            "Selector",
            Cell::Of(|service, _| json!(selector(service))),
            "Labels of the pods behind it.",
        ),
    ],
    returns_deleted: true,
    create_on_update: true,
    admission: Admission::ServiceAddresses,
    warnings: Warnings::Always(warn),
    ..PLAIN
};

fn complete(service: &mut Value) {
    if !service["spec"].is_object() {
        return;
    }
    let spec = &mut service["spec"];
    let kind = spec["type"].as_str().unwrap_or("ClusterIP").to_owned();
    let default = |spec: &mut Value, field: &str, value: Value| {
        if spec[field].is_null() {
            spec[field] = value;
        }
    };
    if spec["sessionAffinity"] == "ClientIP" {
        default(
            &mut spec["sessionAffinityConfig"]["clientIP"],
            "timeoutSeconds",
            json!(10_800),
        );
    }
    if kind != "ExternalName" {
        default(spec, "internalTrafficPolicy", json!("Cluster"));
    }
    if kind == "NodePort" || kind == "LoadBalancer" {
        default(spec, "externalTrafficPolicy", json!("Cluster"));
    }
    if kind == "LoadBalancer" {
        default(spec, "allocateLoadBalancerNodePorts", json!(true));
    }
    for port in crate::object::elements_mut(spec, "ports") {
        let unset = [json!(0), json!(""), Value::Null].contains(&port["targetPort"]);
        if unset {
            port["targetPort"] = port["port"].clone();
        }
    }
}

fn warn(service: &Value, said: &mut Vec<String>) {
    let spec = &service["spec"];
    let some = |list: &Value| list.as_array().is_some_and(|list| !list.is_empty());
    if spec["clusterIP"] == "None" && spec["type"] != "ExternalName" {
        if some(&spec["externalIPs"]) {
            said.push("spec.externalIPs is ignored when spec.clusterIP is \"None\"".into());
        }
        if spec["sessionAffinity"] == "ClientIP" {
            said.push("spec.SessionAffinity is ignored for headless services".into());
        }
    }
    if spec["type"] == "ExternalName" && some(&spec["externalIPs"]) {
        said.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".into());
    }
    if spec["type"] != "ExternalName" && !spec["externalName"].is_null() {
        said.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".into());
    }
}

fn validate(service: &Value, findings: &mut Findings) {
    let spec = &service["spec"];
    let kind = spec["type"].as_str().unwrap_or("ClusterIP");
    let ports = spec["ports"].as_array().map_or(&[][..], Vec::as_slice);
    let headless = spec["clusterIP"] == "None";
    if ports.is_empty() && kind != "ExternalName" && !headless {
        findings.required("spec.ports", "");
    }
    let (mut pairs, many) = (Vec::new(), ports.len() > 1);
    for (index, port) in ports.iter().enumerate() {
        let at = format!("spec.ports[{index}]");
        if many && port["name"].as_str().unwrap_or("").is_empty() {
            findings.required(format!("{at}.name"), "");
        }
        let pair = (
            port["port"].as_i64(),
            port["protocol"].as_str().unwrap_or("TCP"),
        );
        if pairs.contains(&pair) {
            findings.duplicate(at.clone(), &json!({"port": pair.0, "protocol": pair.1}));
        }
        pairs.push(pair);
        if kind == "ClusterIP" && port["nodePort"].as_i64().unwrap_or(0) != 0 {
            findings.forbidden(
                format!("{at}.nodePort"),
                "may not be used when `type` is 'ClusterIP'",
            );
        }
    }
    match kind {
        "ExternalName" => {
            let name = spec["externalName"].as_str().unwrap_or("");
            if name.is_empty() {
                findings.required("spec.externalName", "");
            } else {
                let wrong = format::dns_subdomain(name.trim_end_matches('.'));
                wrong
                    .iter()
                    .for_each(|why| findings.invalid("spec.externalName", &json!(name), why));
            }
        }
        "LoadBalancer" | "NodePort" if headless => {
            let why = format!("may not be set to 'None' for {kind} services");
            findings.invalid("spec.clusterIPs[0]", &json!("None"), why);
        }
        _ => {}
    }
    selector_labels("spec.selector", &spec["selector"], findings);
}

/// Checks a map of labels that others must have.
pub fn selector_labels(field: &str, labels: &Value, findings: &mut Findings) {
    crate::check::labels(field, labels, findings);
}

fn external(service: &Value) -> String {
    let texts = |list: &Value| -> Vec<String> {
        let list = list.as_array().into_iter().flatten();
        list.filter_map(|one| one.as_str().map(str::to_owned))
            .collect()
    };
    let mut addresses = texts(&service["spec"]["externalIPs"]);
    match service["spec"]["type"].as_str() {
        Some("ExternalName") => {
            return service["spec"]["externalName"]
                .as_str()
                .unwrap_or(NONE)
                .into();
        }
        Some("LoadBalancer") => {
            let ingress = service["status"]["loadBalancer"]["ingress"].as_array();
            for one in ingress.into_iter().flatten() {
                let shown = one["ip"].as_str().or(one["hostname"].as_str());
                addresses.extend(shown.map(str::to_owned));
            }
            if addresses.is_empty() {
                return "<pending>".into();
            }
        }
        _ => {}
    }
    if addresses.is_empty() {
        NONE.into()
    } else {
        addresses.join(",")
    }
}

fn ports(service: &Value) -> String {
    let ports: Vec<String> = service["spec"]["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|port| {
            let (number, protocol) = (&port["port"], port["protocol"].as_str().unwrap_or("TCP"));
            match port["nodePort"].as_i64() {
                Some(node) if node > 0 => format!("{number}:{node}/{protocol}"),
                _ => format!("{number}/{protocol}"),
            }
        })
        .collect();
    if ports.is_empty() {
        NONE.into()
    } else {
        ports.join(",")
    }
}

fn selector(service: &Value) -> String {
    let labels = service["spec"]["selector"]
        .as_object()
        .into_iter()
        .flatten();
    let labels: Vec<String> = labels
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or("")))
        .collect();
    if labels.is_empty() {
        NONE.into()
    } else {
        labels.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check;

    fn found(spec: Value) -> String {
        let mut service = json!({"metadata": {"name": "s"}, "spec": spec});
        complete(&mut service);
        let mut findings = Findings::default();
        check::run(SERVICE.rules, &service, &mut findings);
        validate(&service, &mut findings);
        if findings.is_empty() {
            String::new()
        } else {
            findings.to_string()
        }
    }

    #[test]
    fn services_are_judged() {
        for (spec, expected) in [
            (json!({"ports": [{"port": 80}]}), ""),
            (json!({}), "spec.ports: Required value"),
            (json!({"clusterIP": "None"}), ""),
            (
                json!({"type": "ExternalName"}),
                "spec.externalName: Required value",
            ),
            (
                json!({"ports": [{"port": 80, "name": "a"}, {"port": 81}]}),
                "spec.ports[1].name: Required value",
            ),
            (
                json!({"ports": [{"port": 80, "nodePort": 30000}]}),
                "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
            ),
            (
                json!({"type": "Nope", "ports": [{"port": 80}]}),
                "spec.type: Unsupported value: \"Nope\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
            ),
        ] {
            assert_eq!(found(spec.clone()), expected, "{spec}");
        }
    }

    #[test]
    fn a_service_in_words() {
        let service = json!({"spec": {
            "type": "LoadBalancer", "selector": {"a": "b", "c": "d"},
            "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
        }});
        assert_eq!(external(&service), "<pending>");
        assert_eq!(ports(&service), "80:30080/TCP,53/UDP");
        assert_eq!(selector(&service), "a=b,c=d");
    }
}

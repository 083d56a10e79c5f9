//! Ingress.

use std::net::IpAddr;

use k8s_openapi::api::networking::v1 as networking;
use serde_json::{Value, json};

use super::{backend, items, text};
use crate::{
    check::{Check, Findings, Rule, format},
    kinds::{
        Generation, Kind, PLAIN, Warnings,
        column::{AGE, Cell, NAME, column},
        typed,
    },
};

/// Hosts that a table shows.
const SHOWN: usize = 3;
/// The older way to name a class.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

pub static INGRESS: Kind = Kind {
    group: "networking.k8s.io",
    kind: "Ingress",
    plural: "ingresses",
    singular: "ingress",
    short_names: &["ing"],
    status: true,
    decode: typed::<networking::Ingress>,
    defaults: &[("status", "{\"loadBalancer\": {}}")],
    rules: &[
        Rule(
            "spec.ingressClassName",
            Check::Format(format::dns_subdomain),
        ),
        Rule(
            "spec.tls[].secretName",
            Check::Format(format::dns_subdomain),
        ),
        Rule("spec.tls[].hosts[]", Check::Format(host)),
        Rule("spec.rules[].host", Check::Format(host)),
    ],
    validate,
    columns: &[
        NAME,
        column(
            "Class",
            Cell::Path("spec.ingressClassName"),
            "Who serves it.",
        ),
        column(
            "Hosts",
            Cell::Of(|object, _| hosts(object).into()),
            "Names that requests are for.",
        ),
        column(
            "Address",
            Cell::Of(|object, _| addresses(object).into()),
            "Where it is served.",
        ),
        column(
            "Ports",
            Cell::Of(|object, _| {
                let secure = !items(&object["spec"]["tls"]).is_empty();
                if secure { "80, 443" } else { "80" }.into()
            }),
            "Ports that it is served on.",
        ),
        AGE,
    ],
    generation: Generation::Spec,
    warnings: Warnings::OnCreate(warn),
    ..PLAIN
};

/// A name, or all names directly below one.
fn host(text: &str) -> Vec<String> {
    if text.parse::<IpAddr>().is_ok() {
        return vec!["must be a DNS name, not an IP address".into()];
    }
    if text.contains('*') {
        format::wildcard_subdomain(text)
    } else {
        format::dns_subdomain(text)
    }
}

fn warn(object: &Value, said: &mut Vec<String>) {
    if !object["metadata"]["annotations"][CLASS_ANNOTATION].is_null() {
        said.push(format!(
            "annotation {CLASS_ANNOTATION:?} is deprecated, please use 'spec.ingressClassName' \
             instead"
        ));
    }
}

fn validate(object: &Value, findings: &mut Findings) {
    let spec = &object["spec"];
    let rules = items(&spec["rules"]);
    if rules.is_empty() && spec["defaultBackend"].is_null() {
        let why = "either `defaultBackend` or `rules` must be specified";
        findings.invalid("spec", &json!([]), why);
    }
    if spec["defaultBackend"].is_object() {
        backend::validate("spec.defaultBackend", &spec["defaultBackend"], findings);
    }
    for (index, rule) in rules
        .iter()
        .enumerate()
        .filter(|(_, rule)| !rule["http"].is_null())
    {
        let at = format!("spec.rules[{index}].http.paths");
        let paths = items(&rule["http"]["paths"]);
        if paths.is_empty() {
            findings.required(&at, "");
        }
        for (number, path) in paths.iter().enumerate() {
            validate_path(&format!("{at}[{number}]"), path, findings);
        }
    }
    let class = &object["metadata"]["annotations"][CLASS_ANNOTATION];
    let named = &spec["ingressClassName"];
    if !class.is_null() && !named.is_null() && class != named {
        let at = format!("annotations.{CLASS_ANNOTATION}");
        let why = "must match `ingressClassName` when both are specified";
        findings.invalid(at, class, why);
    }
}

fn validate_path(at: &str, path: &Value, findings: &mut Findings) {
    let (field, value) = (format!("{at}.path"), &path["path"]);
    let said = text(value);
    match text(&path["pathType"]) {
        "" => findings.required(format!("{at}.pathType"), "pathType must be specified"),
        "Exact" | "Prefix" => {
            if !said.starts_with('/') {
                findings.invalid(&field, &json!(said), "must be an absolute path");
            }
            for part in ["//", "/./", "/../", "%2f", "%2F"] {
                if said.contains(part) {
                    findings.invalid(&field, value, format!("must not contain '{part}'"));
                }
            }
            for end in ["/..", "/."] {
                if said.ends_with(end) {
                    findings.invalid(&field, value, format!("cannot end with '{end}'"));
                }
            }
        }
        "ImplementationSpecific" => {
            if !said.is_empty() && !said.starts_with('/') {
                findings.invalid(&field, value, "must be an absolute path");
            }
        }
        _ => {
            let known = &["Exact", "ImplementationSpecific", "Prefix"];
            findings.unsupported(format!("{at}.pathType"), &path["pathType"], known);
        }
    }
    backend::validate(&format!("{at}.backend"), &path["backend"], findings);
}

fn hosts(object: &Value) -> String {
    let rules = items(&object["spec"]["rules"]).iter();
    let hosts: Vec<&str> = rules
        .map(|rule| text(&rule["host"]))
        .filter(|host| !host.is_empty())
        .collect();
    match hosts.len() {
        0 => "*".into(),
        count if count > SHOWN => {
            format!("{} + {} more...", hosts[..SHOWN].join(","), count - SHOWN)
        }
        _ => hosts.join(","),
    }
}

fn addresses(object: &Value) -> String {
    let all = items(&object["status"]["loadBalancer"]["ingress"]).iter();
    let shown = all.filter_map(|one| {
        let (ip, name) = (text(&one["ip"]), text(&one["hostname"]));
        [ip, name].into_iter().find(|text| !text.is_empty())
    });
    shown.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check;

    fn found(spec: Value) -> String {
        let object = json!({"metadata": {"name": "i"}, "spec": spec});
        let mut findings = Findings::default();
        check::run(INGRESS.rules, &object, &mut findings);
        validate(&object, &mut findings);
        if findings.is_empty() {
            String::new()
        } else {
            findings.to_string()
        }
    }

    #[test]
    fn ingresses_are_judged() {
        let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
        let path = |kind: &str, path: &str| {
            json!({"rules": [{"host": "a.example", "http": {"paths": [
                {"path": path, "pathType": kind, "backend": backend},
            ]}}]})
        };
        let at = "spec.rules[0].http.paths[0]";
        for (spec, expected) in [
            (path("Prefix", "/"), String::new()),
            (path("ImplementationSpecific", ""), String::new()),
            (json!({"defaultBackend": backend}), String::new()),
            (
                json!({}),
                "spec: Invalid value: []: either `defaultBackend` or `rules` must be specified"
                    .into(),
            ),
            (
                path("Exact", "a"),
                format!("{at}.path: Invalid value: \"a\": must be an absolute path"),
            ),
            (
                path("Prefix", "/a//b"),
                format!("{at}.path: Invalid value: \"/a//b\": must not contain '//'"),
            ),
            (
                path("Prefix", "/a/.."),
                format!("{at}.path: Invalid value: \"/a/..\": cannot end with '/..'"),
            ),
            (
                path("Nope", "/"),
                format!(
                    "{at}.pathType: Unsupported value: \"Nope\": supported values: \"Exact\", \"ImplementationSpecific\", \"Prefix\""
                ),
            ),
            (
                path("", "/"),
                format!("{at}.pathType: Required value: pathType must be specified"),
            ),
            (
                json!({"rules": [{"host": "10.0.0.1"}]}),
                "spec.rules[0].host: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address".into(),
            ),
            (json!({"rules": [{"host": "*.example.com"}]}), String::new()),
        ] {
            assert_eq!(found(spec.clone()), expected, "{spec}");
        }
        assert!(found(json!({"rules": [{"host": "*"}]})).contains("a wildcard DNS-1123 subdomain"));
        assert!(found(json!({"rules": [{"http": {}}]})).contains("paths: Required value"));
    }

    #[test]
    fn an_ingress_in_words() {
        let rules: Vec<Value> = ["a", "b", "c", "d"]
            .map(|host| json!({"host": host}))
            .into();
        let object = json!({
            "spec": {"rules": rules},
            "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}, {"hostname": "x"}]}},
        });
        assert_eq!(hosts(&object), "a,b,c + 1 more...");
        assert_eq!(addresses(&object), "1.2.3.4,x");
        assert_eq!(
            (hosts(&json!({})), addresses(&json!({}))),
            ("*".into(), String::new())
        );
    }
}

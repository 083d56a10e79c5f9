//! IngressClass.

use k8s_openapi::api::networking::v1 as networking;
use serde_json::Value;

use super::text;
use crate::{
    check::{Check, Findings, Rule, format},
    kinds::{
        Generation, Kind, PLAIN,
        column::{AGE, Cell, NAME, NONE, column},
        typed,
    },
};

pub static INGRESS_CLASS: Kind = Kind {
    group: "networking.k8s.io",
    kind: "IngressClass",
    plural: "ingressclasses",
    singular: "ingressclass",
    namespaced: false,
    decode: typed::<networking::IngressClass>,
    defaults: &[("spec.parameters.scope", "\"Cluster\"")],
    rules: &[
        Rule("spec", Check::Required),
        Rule("spec.controller", Check::Required),
        Rule("spec.controller", Check::Format(controller)),
        Rule("spec.parameters.kind", Check::Required),
        Rule("spec.parameters.name", Check::Required),
        Rule(
            "spec.parameters.apiGroup",
            Check::Format(format::dns_subdomain),
        ),
        Rule(
            "spec.parameters.scope",
            Check::OneOf(&["Cluster", "Namespace"]),
        ),
    ],
    validate,
    immutable: &["spec.controller"],
    columns: &[
        NAME,
        column(
            "Controller",
            Cell::Path("spec.controller"),
            "Who serves it.",
        ),
        column(
            "Parameters",
            Cell::Of(|object, _| parameters(&object["spec"]["parameters"])),
            "An object with its settings.",
        ),
        AGE,
    ],
    generation: Generation::Spec,
    ..PLAIN
};

fn controller(said: &str) -> Vec<String> {
    match said.split_once('/') {
        Some((domain, path)) if !domain.is_empty() && !path.is_empty() => {
            format::dns_subdomain(domain)
        }
        _ => vec!["must be a domain-prefixed path (such as \"acme.io/foo\")".into()],
    }
}

fn validate(object: &Value, findings: &mut Findings) {
    let parameters = &object["spec"]["parameters"];
    let at = "spec.parameters.namespace";
    let has = !text(&parameters["namespace"]).is_empty();
    match text(&parameters["scope"]) {
        "Namespace" if !has => {
            findings.required(at, "`parameters.scope` is set to 'Namespace'");
        }
        "Cluster" if has => findings.forbidden(at, "`parameters.scope` is set to 'Cluster'"),
        _ => {}
    }
}

fn parameters(parameters: &Value) -> Value {
    if parameters.is_null() {
        return NONE.into();
    }
    let (kind, name) = (text(&parameters["kind"]), text(&parameters["name"]));
    match text(&parameters["apiGroup"]) {
        "" => format!("{kind}/{name}").into(),
        group => format!("{kind}.{group}/{name}").into(),
    }
}

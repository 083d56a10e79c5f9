//! Service.

mod agreement;
mod complete;
mod show;
mod status;
mod update;
mod validate;
mod warn;

use k8s_openapi::api::core::v1 as core;
use serde_json::{Value, json};

pub use agreement::addresses_agree;
use complete::complete;
use show::{external, ports, selector};

use super::{
    Admission, Kind, PLAIN, ProxyTo, Subresource, Warnings,
    column::{AGE, Cell, NAME, column, wide},
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
        Rule(
            "spec.ports[].appProtocol",
            Check::Format(format::qualified_name),
        ),
        Rule("spec.externalIPs[]", Check::Format(format::ip_address)),
        Rule(
            "spec.internalTrafficPolicy",
            Check::OneOf(&["Cluster", "Local"]),
        ),
        Rule(
            "spec.loadBalancerClass",
            Check::Format(format::qualified_name),
        ),
        Rule(
            "spec.trafficDistribution",
            Check::OneOf(&["PreferClose", "PreferSameNode", "PreferSameZone"]),
        ),
    ],
    validate: validate::service,
    validate_update: update::service,
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
    warnings: Warnings::Always(warn::service),
    ..PLAIN
};

/// Checks a map of labels that others must have.
pub fn selector_labels(field: &str, labels: &Value, findings: &mut Findings) {
    crate::check::labels(field, labels, findings);
}

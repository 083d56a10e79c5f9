//! IPAddress: an address that belongs to something, by name.

use k8s_openapi::api::networking::v1 as networking;
use serde_json::Value;

use super::text;
use crate::{
    check::{Check, NameRule, Rule, format},
    kinds::{
        Kind, PLAIN,
        column::{AGE, Cell, NAME, column},
        typed,
    },
};

pub static IP_ADDRESS: Kind = Kind {
    group: "networking.k8s.io",
    kind: "IPAddress",
    plural: "ipaddresses",
    singular: "ipaddress",
    short_names: &["ip"],
    namespaced: false,
    names: NameRule::IpAddress,
    decode: typed::<networking::IPAddress>,
    rules: &[
        Rule("spec", Check::Required),
        Rule("spec.parentRef", Check::Required),
        Rule("spec.parentRef.group", Check::Format(format::dns_subdomain)),
        Rule("spec.parentRef.resource", Check::Required),
        Rule("spec.parentRef.name", Check::Required),
        Rule(
            "spec.parentRef.{resource,name,namespace}",
            Check::Format(format::path_segment),
        ),
    ],
    immutable: &["spec.parentRef"],
    columns: &[
        NAME,
        column(
            "ParentRef",
            Cell::Of(|object, _| parent(&object["spec"]["parentRef"]).into()),
            "What the address belongs to.",
        ),
        AGE,
    ],
    ..PLAIN
};

/// `services/default/kubernetes`.
fn parent(reference: &Value) -> String {
    let parts = ["group", "resource", "namespace", "name"].map(|part| text(&reference[part]));
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("/")
}

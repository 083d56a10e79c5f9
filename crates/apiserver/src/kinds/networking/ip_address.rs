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

/// `services/default/kubernetes`, `gateways.gateway.networking.k8s.io/default/web`.
fn parent(reference: &Value) -> String {
    let part = |name: &str| text(&reference[name]);
    let resource = [part("resource"), part("group")].map(str::to_lowercase);
    let resource = join(resource.iter().map(String::as_str), ".");
    join([resource.as_str(), part("namespace"), part("name")], "/")
}

fn join<'a>(parts: impl IntoIterator<Item = &'a str>, with: &str) -> String {
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(with)
}

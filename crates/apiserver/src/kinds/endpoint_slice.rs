//! EndpointSlice.

use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use super::{
    Kind, PLAIN,
    column::{AGE, Cell, NAME, column},
    typed,
};
use crate::check::{Check, Findings, Rule, format};

const ADDRESSES_SHOWN: usize = 3;

pub static ENDPOINT_SLICE: Kind = Kind {
    group: "discovery.k8s.io",
    kind: "EndpointSlice",
    plural: "endpointslices",
    singular: "endpointslice",
    decode: typed::<EndpointSlice>,
    defaults: &[("ports[].name", "\"\""), ("ports[].protocol", "\"TCP\"")],
    rules: &[
        Rule("addressType", Check::Required),
        Rule("addressType", Check::OneOf(&["FQDN", "IPv4", "IPv6"])),
        Rule("endpoints", Check::MaxItems(1000)),
        Rule(
            "endpoints[].addresses",
            Check::RequiredWith("must contain at least 1 address"),
        ),
        Rule("endpoints[].addresses", Check::MaxItems(100)),
        Rule("endpoints[].hostname", Check::Format(format::dns_label)),
        Rule("ports", Check::MaxItems(20_000)),
        Rule("ports[].name", Check::Unique),
        Rule("ports[].name", Check::Format(format::dns_label)),
        Rule("ports[].port", Check::Range(1, 65535)),
        Rule("ports[].protocol", Check::OneOf(&["SCTP", "TCP", "UDP"])),
    ],
    validate: addresses,
    immutable: &["addressType"],
    columns: &[
        NAME,
        column(
            "AddressType",
            Cell::Path("addressType"),
            "IPv4, IPv6 or FQDN.",
        ),
        column("Ports", Cell::Of(|slice, _| ports(slice)), "Port numbers."),
        column(
            "Endpoints",
            Cell::Of(|slice, _| endpoints(slice)),
            "Addresses.",
        ),
        AGE,
    ],
    ..PLAIN
};

fn addresses(slice: &Value, findings: &mut Findings) {
    for (at, endpoint) in items(&slice["endpoints"]).iter().enumerate() {
        for (index, address) in items(&endpoint["addresses"]).iter().enumerate() {
            let (text, field) = (
                address.as_str().unwrap_or(""),
                format!("endpoints[{at}].addresses[{index}]"),
            );
            let wrong = match slice["addressType"].as_str() {
                Some("FQDN") => format::dns_subdomain(text),
                Some(family) => wrong_family(family, text),
                None => Vec::new(),
            };
            wrong
                .into_iter()
                .for_each(|why| findings.invalid(&field, address, why));
        }
    }
}

fn wrong_family(family: &str, text: &str) -> Vec<String> {
    match (family, text.parse()) {
        ("IPv4", Ok(std::net::IpAddr::V4(_))) | ("IPv6", Ok(std::net::IpAddr::V6(_))) => Vec::new(),
        (family @ ("IPv4" | "IPv6"), Ok(_)) => vec![format!("must be an {family} address")],
        _ => format::ip_address(text),
    }
}

fn ports(slice: &Value) -> Value {
    let ports: Vec<String> = items(&slice["ports"])
        .iter()
        .map(|port| {
            port["port"]
                .as_i64()
                .map_or("*".into(), |port| port.to_string())
        })
        .collect();
    shown(&ports, "<unset>")
}

fn endpoints(slice: &Value) -> Value {
    let addresses: Vec<String> = items(&slice["endpoints"])
        .iter()
        .flat_map(|endpoint| items(&endpoint["addresses"]))
        .filter_map(|address| address.as_str().map(str::to_owned))
        .collect();
    shown(&addresses, "<unset>")
}

/// The first of many, and how many more.
fn shown(all: &[String], none: &str) -> Value {
    match all.len() {
        0 => json!(none),
        count if count > ADDRESSES_SHOWN => {
            let first = all[..ADDRESSES_SHOWN].join(",");
            json!(format!("{first} + {} more...", count - ADDRESSES_SHOWN))
        }
        _ => json!(all.join(",")),
    }
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

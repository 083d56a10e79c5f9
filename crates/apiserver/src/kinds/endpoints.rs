//! Endpoints: the older form of EndpointSlices.

use k8s_openapi::api::core::v1 as core;
use serde_json::Value;

use super::{
    Kind, PLAIN,
    column::{AGE, Cell, NAME, NONE, column},
    typed,
};
use crate::check::{Check, Findings, Rule, format};

/// Addresses that a table shows.
const SHOWN: usize = 3;

pub static ENDPOINTS: Kind = Kind {
    kind: "Endpoints",
    plural: "endpoints",
    singular: "endpoints",
    short_names: &["ep"],
    decode: typed::<core::Endpoints>,
    defaults: &[("subsets[].ports[].protocol", "\"TCP\"")],
    rules: &[
        Rule(
            "subsets[].{addresses,notReadyAddresses}[].ip",
            Check::Format(format::ip_address),
        ),
        Rule(
            "subsets[].{addresses,notReadyAddresses}[].hostname",
            Check::Format(format::dns_label),
        ),
        Rule(
            "subsets[].{addresses,notReadyAddresses}[].nodeName",
            Check::Format(format::dns_subdomain),
        ),
        Rule("subsets[].ports[].name", Check::Format(format::dns_label)),
        Rule("subsets[].ports[].port", Check::Range(1, 65535)),
        Rule(
            "subsets[].ports[].protocol",
            Check::OneOf(&["SCTP", "TCP", "UDP"]),
        ),
    ],
    validate,
    columns: &[
        NAME,
        column(
            "Endpoints",
            Cell::Of(|object, _| shown(object).into()),
            "Addresses and ports.",
        ),
        AGE,
    ],
    deprecated: Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
    create_on_update: true,
    ..PLAIN
};

fn validate(object: &Value, findings: &mut Findings) {
    for (index, subset) in items(&object["subsets"]).iter().enumerate() {
        let at = format!("subsets[{index}]");
        let (ready, not_ready) = (
            items(&subset["addresses"]),
            items(&subset["notReadyAddresses"]),
        );
        if ready.is_empty() && not_ready.is_empty() {
            findings.required(&at, "must specify `addresses` or `notReadyAddresses`");
        }
        for (part, addresses) in [("addresses", ready), ("notReadyAddresses", not_ready)] {
            for (number, address) in addresses.iter().enumerate() {
                reachable(
                    &format!("{at}.{part}[{number}].ip"),
                    &address["ip"],
                    findings,
                );
            }
        }
        let ports = items(&subset["ports"]);
        for (number, port) in ports.iter().enumerate() {
            if ports.len() > 1 && port["name"].as_str().unwrap_or("").is_empty() {
                findings.required(format!("{at}.ports[{number}].name"), "");
            }
        }
    }
}

/// Addresses that would lead a client of a Service to the node itself are no endpoints.
pub fn reachable(field: &str, ip: &Value, findings: &mut Findings) {
    let text = ip.as_str().unwrap_or("");
    if text.is_empty() {
        return findings.invalid(field, ip, format::IP_ADDRESS_MESSAGE);
    }
    let Ok(address) = text.parse::<std::net::IpAddr>() else {
        return;
    };
    for (is, why) in not_an_endpoint(address) {
        if is {
            findings.invalid(field, ip, why);
        }
    }
}

fn not_an_endpoint(address: std::net::IpAddr) -> [(bool, &'static str); 4] {
    let (link_local, multicast) = match address {
        std::net::IpAddr::V4(address) => (
            address.is_link_local(),
            address.octets()[..3] == [224, 0, 0],
        ),
        std::net::IpAddr::V6(address) => (
            address.is_unicast_link_local(),
            address.segments()[0] & 0xff0f == 0xff02,
        ),
    };
    [
        (
            address.is_unspecified(),
            "may not be unspecified (0.0.0.0 or ::)",
        ),
        (
            address.is_loopback(),
            "may not be in the loopback range (127.0.0.0/8, ::1/128)",
        ),
        (
            link_local,
            "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
        ),
        (
            multicast,
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
        ),
    ]
}

fn shown(object: &Value) -> String {
    let mut all = Vec::new();
    for subset in items(&object["subsets"]) {
        let addresses = items(&subset["addresses"])
            .iter()
            .map(|address| address["ip"].as_str().unwrap_or(""));
        let ports = items(&subset["ports"]);
        if ports.is_empty() {
            all.extend(addresses.map(str::to_owned));
            continue;
        }
        for port in ports {
            let port = port["port"].as_i64().unwrap_or(0);
            all.extend(addresses.clone().map(|address| {
                if address.contains(':') {
                    format!("[{address}]:{port}")
                } else {
                    format!("{address}:{port}")
                }
            }));
        }
    }
    match all.len() {
        0 => NONE.into(),
        count if count > SHOWN => {
            format!("{} + {} more...", all[..SHOWN].join(","), count - SHOWN)
        }
        _ => all.join(","),
    }
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn endpoints_in_words() {
        let object = json!({"subsets": [
            {"addresses": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "ports": [{"port": 80}, {"port": 81}]},
        ]});
        assert_eq!(
            shown(&object),
            "10.0.0.1:80,[fd00::1]:80,10.0.0.1:81 + 1 more..."
        );
        let bare = json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}]}]});
        assert_eq!(shown(&bare), "10.0.0.1");
        assert_eq!(shown(&json!({})), "<none>");
    }

    #[test]
    fn endpoints_are_judged() {
        let found = |subset: Value| {
            let mut findings = Findings::default();
            validate(&json!({"subsets": [subset]}), &mut findings);
            findings.to_string()
        };
        for (subset, expected) in [
            (
                json!({}),
                "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`",
            ),
            (
                json!({"addresses": [{"ip": "127.0.0.1"}]}),
                "subsets[0].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
            ),
            (
                json!({"addresses": [{"ip": "10.0.0.1"}], "ports": [{"name": "a", "port": 1}, {"port": 2}]}),
                "subsets[0].ports[1].name: Required value",
            ),
        ] {
            assert_eq!(found(subset.clone()), expected, "{subset}");
        }
    }
}

//! Where an Ingress sends requests: a port of a Service, or another resource.

use serde_json::{Value, json};

use super::text;
use crate::check::{Findings, format};

/// Finds what is wrong with the backend at `field`.
pub fn validate(field: &str, backend: &Value, findings: &mut Findings) {
    let (service, resource) = (&backend["service"], &backend["resource"]);
    match (service.is_null(), resource.is_null()) {
        (false, false) => findings.invalid(
            field,
            &json!(""),
            "cannot set both resource and service backends",
        ),
        (true, true) => {
            findings.invalid(field, &json!(""), "resource or service backend is required");
        }
        (false, true) => validate_service(field, service, findings),
        (true, false) => {
            for part in ["kind", "name"] {
                if text(&resource[part]).is_empty() {
                    findings.required(format!("{field}.resource.{part}"), "");
                }
            }
        }
    }
}

fn validate_service(field: &str, service: &Value, findings: &mut Findings) {
    let at = format!("{field}.service");
    let name = text(&service["name"]);
    if name.is_empty() {
        findings.required(format!("{at}.name"), "");
    } else {
        for why in format::dns_1035_label(name) {
            findings.invalid(format!("{at}.name"), &service["name"], why);
        }
    }
    let (name, number) = (&service["port"]["name"], &service["port"]["number"]);
    match (text(name), number.as_i64().unwrap_or(0)) {
        ("", 0) => findings.required(field, "port name or number is required"),
        ("", 1..=65535) => {}
        ("", _) => findings.invalid(
            format!("{at}.port.number"),
            number,
            "must be between 1 and 65535, inclusive",
        ),
        (said, 0) => {
            for why in format::port_name(said) {
                findings.invalid(format!("{at}.port.name"), name, why);
            }
        }
        _ => findings.invalid(field, &json!(""), "cannot set both port name & port number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_are_judged() {
        let service = |port: Value| json!({"service": {"name": "web", "port": port}});
        for (backend, expected) in [
            (service(json!({"number": 80})), ""),
            (service(json!({"name": "http"})), ""),
            (json!({"resource": {"kind": "Bucket", "name": "b"}}), ""),
            (
                json!({}),
                "b: Invalid value: \"\": resource or service backend is required",
            ),
            (
                service(json!({})),
                "b: Required value: port name or number is required",
            ),
            (
                service(json!({"number": 70000})),
                "b.service.port.number: Invalid value: 70000: must be between 1 and 65535, inclusive",
            ),
            (
                service(json!({"number": 80, "name": "http"})),
                "b: Invalid value: \"\": cannot set both port name & port number",
            ),
            (
                json!({"service": {"port": {"number": 80}}}),
                "b.service.name: Required value",
            ),
        ] {
            let mut findings = Findings::default();
            validate("b", &backend, &mut findings);
            let found = if findings.is_empty() {
                String::new()
            } else {
                findings.to_string()
            };
            assert_eq!(found, expected, "{backend}");
        }
    }
}

//! What a load balancer may say of itself.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::{
    check::{Findings, format},
    service_addresses::spec::kind,
};

const MODES: [&str; 2] = ["Proxy", "VIP"];

pub fn load_balancer(service: &Value, findings: &mut Findings) {
    let field = "status.loadBalancer.ingress";
    let ingress = service["status"]["loadBalancer"]["ingress"].as_array();
    let ingress = ingress.map_or(&[][..], Vec::as_slice);
    if kind(&service["spec"]) != "LoadBalancer" {
        if !ingress.is_empty() {
            findings.forbidden(field, "may only be used when `spec.type` is 'LoadBalancer'");
        }
        return;
    }
    for (index, one) in ingress.iter().enumerate() {
        address(&format!("{field}[{index}]"), one, findings);
    }
}

fn address(at: &str, one: &Value, findings: &mut Findings) {
    let text = |part: &str| one[part].as_str().unwrap_or("").to_owned();
    let (ip, hostname, mode) = (text("ip"), text("hostname"), &one["ipMode"]);
    if !ip.is_empty() {
        for why in format::ip_address(&ip) {
            findings.invalid(format!("{at}.ip"), &json!(ip), why);
        }
    }
    let field = format!("{at}.ipMode");
    match mode.as_str() {
        None if !ip.is_empty() => findings.required(field, "must be specified when `ip` is set"),
        None => {}
        Some(_) if ip.is_empty() => {
            findings.forbidden(field, "may not be specified when `ip` is not set");
        }
        Some(text) if !MODES.contains(&text) => findings.unsupported(field, mode, &MODES),
        Some(_) => {}
    }
    if hostname.is_empty() {
        return;
    }
    let field = format!("{at}.hostname");
    for why in format::dns_subdomain(&hostname) {
        findings.invalid(&field, &json!(hostname), why);
    }
    if hostname.parse::<IpAddr>().is_ok() {
        let why = "must be a DNS name, not an IP address";
        findings.invalid(&field, &json!(hostname), why);
    }
}

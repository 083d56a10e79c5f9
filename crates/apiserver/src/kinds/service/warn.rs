//! What a Service says in vain.

use serde_json::Value;

use crate::service_addresses::spec::{is_headless, kind, texts};

pub fn service(service: &Value, said: &mut Vec<String>) {
    let spec = &service["spec"];
    let external_ips = !texts(&spec["externalIPs"]).is_empty();
    if is_headless(spec) && kind(spec) != "ExternalName" {
        if spec["loadBalancerIP"]
            .as_str()
            .is_some_and(|ip| !ip.is_empty())
        {
            said.push("spec.loadBalancerIP is ignored when spec.clusterIP is \"None\"".into());
        }
        if external_ips {
            said.push("spec.externalIPs is ignored when spec.clusterIP is \"None\"".into());
        }
        if spec["sessionAffinity"] == "ClientIP" {
            said.push("spec.SessionAffinity is ignored for headless services".into());
        }
    }
    if kind(spec) == "ExternalName" && external_ips {
        said.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".into());
    }
    if kind(spec) != "ExternalName" && !spec["externalName"].is_null() {
        said.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".into());
    }
}

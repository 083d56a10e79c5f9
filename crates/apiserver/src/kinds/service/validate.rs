//! What must hold between the fields of a Service.

use ipnet::IpNet;
use serde_json::{Value, json};

use super::{agreement::addresses_agree, selector_labels, status};
use crate::{
    check::{Findings, format},
    kinds::endpoints_reachable,
    service_addresses::spec::{
        is_external, is_headless, kind, needs_health_check, port_number, ports,
    },
};

/// What the node's own API listens on.
const KUBELET: u64 = 10250;
const AFFINITY_SECONDS_MAX: i64 = 86_400;
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";
const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const ONLY_BALANCED: &str = "may only be used when `type` is 'LoadBalancer'";
const EXTERNAL_POLICIES: [&str; 2] = ["Cluster", "Local"];

pub fn service(service: &Value, findings: &mut Findings) {
    let spec = &service["spec"];
    topology(service, findings);
    if ports(spec).is_empty() && kind(spec) != "ExternalName" && !is_headless(spec) {
        findings.required("spec.ports", "");
    }
    of_type(spec, findings);
    each_port(spec, findings);
    selector_labels("spec.selector", &spec["selector"], findings);
    affinity(spec, findings);
    addresses_agree(spec, findings);
    for (index, ip) in items(&spec["externalIPs"]).iter().enumerate() {
        endpoints_reachable(&format!("spec.externalIPs[{index}]"), ip, findings);
    }
    source_ranges(service, findings);
    for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
        if !spec[field].is_null() && kind(spec) != "LoadBalancer" {
            findings.forbidden(format!("spec.{field}"), ONLY_BALANCED);
        }
    }
    external_traffic(spec, findings);
    status::load_balancer(service, findings);
}

fn topology(service: &Value, findings: &mut Findings) {
    let annotation = |name: &str| &service["metadata"]["annotations"][name];
    let (mode, hints) = (annotation(TOPOLOGY_MODE), annotation(TOPOLOGY_HINTS));
    if !mode.is_null() && !hints.is_null() && mode != hints {
        let why = format!("must match annotations[{TOPOLOGY_HINTS}] when both are specified");
        findings.invalid(format!("metadata.annotations[{TOPOLOGY_MODE}]"), mode, why);
    }
}

fn of_type(spec: &Value, findings: &mut Findings) {
    let kind = kind(spec);
    match kind {
        "ExternalName" => external_name(spec, findings),
        "LoadBalancer" | "NodePort" if is_headless(spec) => {
            let why = format!("may not be set to 'None' for {kind} services");
            findings.invalid("spec.clusterIPs[0]", &json!("None"), why);
        }
        _ => {}
    }
    for (index, port) in ports(spec).iter().enumerate() {
        if kind == "LoadBalancer" && port["port"].as_u64() == Some(KUBELET) {
            let why =
                format!("may not expose port {KUBELET} externally since it is used by kubelet");
            findings.invalid(format!("spec.ports[{index}]"), &port["port"], why);
        }
        if kind == "ClusterIP" && port_number(&port["nodePort"]).is_some() {
            let why = "may not be used when `type` is 'ClusterIP'";
            findings.forbidden(format!("spec.ports[{index}].nodePort"), why);
        }
    }
}

fn external_name(spec: &Value, findings: &mut Findings) {
    let unset = |value: &Value| value.is_null() || *value == "" || *value == json!([]);
    for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if !unset(&spec[field]) {
            let why = "may not be set for ExternalName services";
            findings.forbidden(format!("spec.{field}"), why);
        }
    }
    let name = spec["externalName"].as_str().unwrap_or("");
    // With a dot at the end it is complete.
    match name.strip_suffix('.').unwrap_or(name) {
        "" => findings.required("spec.externalName", ""),
        bare => format::dns_subdomain(bare)
            .iter()
            .for_each(|why| findings.invalid("spec.externalName", &json!(bare), why)),
    }
}

/// Names, and no port twice: neither in the cluster nor on the nodes.
fn each_port(spec: &Value, findings: &mut Findings) {
    let ports = ports(spec);
    let protocol = |port: &Value| port["protocol"].as_str().unwrap_or("TCP").to_owned();
    let pair = |port: &Value| (port["port"].as_i64(), protocol(port));
    let node_pair = |port: &Value| Some((port_number(&port["nodePort"])?, protocol(port)));
    for (index, port) in ports.iter().enumerate() {
        let at = format!("spec.ports[{index}]");
        if ports.len() > 1 && port["name"].as_str().unwrap_or("").is_empty() {
            findings.required(format!("{at}.name"), "");
        }
        let before = &ports[..index];
        let node = node_pair(port);
        if node.is_some() && before.iter().any(|one| node_pair(one) == node) {
            findings.duplicate(format!("{at}.nodePort"), &port["nodePort"]);
        }
        if before.iter().any(|one| pair(one) == pair(port)) {
            let (number, protocol) = pair(port);
            findings.duplicate(at, &json!({"port": number, "protocol": protocol}));
        }
    }
}

fn affinity(spec: &Value, findings: &mut Findings) {
    if spec["sessionAffinity"] != "ClientIP" {
        return;
    }
    let timeout = &spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"];
    let right = timeout
        .as_i64()
        .is_some_and(|seconds| (1..=AFFINITY_SECONDS_MAX).contains(&seconds));
    if !right {
        let why = format!("must be greater than 0 and less than {AFFINITY_SECONDS_MAX}");
        findings.invalid(
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
            timeout,
            why,
        );
    }
}

/// Whom a load balancer lets in: by the field, or by the annotation that was before it.
fn source_ranges(service: &Value, findings: &mut Findings) {
    let spec = &service["spec"];
    let balanced = kind(spec) == "LoadBalancer";
    let ranges = items(&spec["loadBalancerSourceRanges"]);
    if !ranges.is_empty() {
        let field = "spec.LoadBalancerSourceRanges";
        if !balanced {
            findings.forbidden(field, ONLY_BALANCED);
        }
        for (index, range) in ranges.iter().enumerate() {
            source_range(
                &format!("{field}[{index}]"),
                range.as_str().unwrap_or(""),
                findings,
            );
        }
        return;
    }
    if let Some(said) = service["metadata"]["annotations"][SOURCE_RANGES].as_str() {
        let field = format!("metadata.annotations[{SOURCE_RANGES}]");
        if !balanced {
            findings.forbidden(&field, ONLY_BALANCED);
        }
        let ranges = said.trim().split(',').filter(|_| !said.trim().is_empty());
        ranges.for_each(|range| source_range(&field, range, findings));
    }
}

fn source_range(field: &str, said: &str, findings: &mut Findings) {
    if said.trim().parse::<IpNet>().is_err() {
        for why in format::cidr(said.trim()) {
            findings.invalid(field, &json!(said.trim()), why);
        }
    }
}

fn external_traffic(spec: &Value, findings: &mut Findings) {
    let (field, policy) = ("spec.externalTrafficPolicy", &spec["externalTrafficPolicy"]);
    match policy.as_str().unwrap_or("") {
        "" if is_external(spec) => findings.required(field, ""),
        "" => {}
        _ if !is_external(spec) => {
            findings.invalid(
                field,
                policy,
                "may only be set for externally-accessible services",
            );
        }
        said if !EXTERNAL_POLICIES.contains(&said) => {
            findings.unsupported(field, policy, &EXTERNAL_POLICIES);
        }
        _ => {}
    }
    let (field, port) = ("spec.healthCheckNodePort", &spec["healthCheckNodePort"]);
    let unset = port.is_null() || *port == 0;
    match (needs_health_check(spec), unset) {
        (true, true) => findings.required(field, ""),
        (true, false) if port_number(port).is_none() => {
            findings.invalid(field, port, "must be between 1 and 65535, inclusive");
        }
        (false, false) => {
            let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` \
                       is 'Local'";
            findings.invalid(field, port, why);
        }
        _ => {}
    }
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check,
        kinds::{self, SERVICE},
    };

    fn found(mut service: Value) -> String {
        service["metadata"]["name"] = "s".into();
        (SERVICE.complete)(&mut service);
        kinds::fill(SERVICE.defaults, &mut service);
        let mut findings = Findings::default();
        check::run(SERVICE.rules, &service, &mut findings);
        super::service(&service, &mut findings);
        if findings.is_empty() {
            String::new()
        } else {
            findings.to_string()
        }
    }

    fn with(mut spec: Value) -> Value {
        if spec["ports"].is_null() {
            spec["ports"] = json!([{"port": 80}]);
        }
        json!({ "spec": spec })
    }

    #[test]
    fn services_are_judged_in_kubernetes_words() {
        for (spec, expected) in [
            (json!({}), ""),
            (json!({"ports": []}), "spec.ports: Required value"),
            (
                json!({"ports": [], "clusterIP": "None", "clusterIPs": ["None"]}),
                "",
            ),
            (
                json!({"type": "ExternalName"}),
                "spec.externalName: Required value",
            ),
            (
                json!({"type": "ExternalName", "externalName": "a.example."}),
                "",
            ),
            (
                json!({"type": "ExternalName", "externalName": "a", "clusterIPs": ["10.0.0.1"]}),
                "spec.clusterIPs: Forbidden: may not be set for ExternalName services",
            ),
            (
                json!({"ports": [{"port": 80, "name": "a"}, {"port": 81}]}),
                "spec.ports[1].name: Required value",
            ),
            (
                json!({"ports": [{"port": 80, "nodePort": 30000}]}),
                "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
            ),
            (
                json!({"type": "Nope"}),
                "spec.type: Unsupported value: \"Nope\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
            ),
            (
                json!({"type": "NodePort", "ports": [
                    {"name": "a", "port": 80, "nodePort": 30000}, {"name": "b", "port": 81, "nodePort": 30000},
                ]}),
                "spec.ports[1].nodePort: Duplicate value: 30000",
            ),
            (
                json!({"type": "NodePort", "ports": [
                    {"name": "a", "port": 80, "nodePort": 30000},
                    {"name": "b", "port": 80, "nodePort": 30000, "protocol": "UDP"},
                ]}),
                "",
            ),
            (
                json!({"ports": [{"port": 80, "appProtocol": "a b"}]}),
                "spec.ports[0].appProtocol: Invalid value: \"a b\": name part must consist",
            ),
            (
                json!({"type": "LoadBalancer", "ports": [{"port": 10250}]}),
                "spec.ports[0]: Invalid value: 10250: may not expose port 10250 externally since it is used by kubelet",
            ),
            (
                json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}}}),
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400",
            ),
            (
                json!({"externalIPs": ["127.0.0.1"]}),
                "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range",
            ),
            (
                json!({"loadBalancerSourceRanges": ["10.0.0.0/8"]}),
                "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
            ),
            (
                json!({"type": "LoadBalancer", "loadBalancerSourceRanges": [" 10.0.0.0/8 ", "x"]}),
                "spec.LoadBalancerSourceRanges[1]: Invalid value: \"x\": must be a valid CIDR value",
            ),
            (
                json!({"loadBalancerClass": "a/b"}),
                "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'",
            ),
            (
                json!({"type": "LoadBalancer", "loadBalancerClass": "a b"}),
                "spec.loadBalancerClass: Invalid value: \"a b\": name part must consist",
            ),
            (
                json!({"allocateLoadBalancerNodePorts": false}),
                "spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'",
            ),
            (
                json!({"externalTrafficPolicy": "Local"}),
                "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services",
            ),
            (
                json!({"externalTrafficPolicy": "Local", "externalIPs": ["192.0.2.1"]}),
                "",
            ),
            (
                json!({"type": "NodePort", "externalTrafficPolicy": "x"}),
                "spec.externalTrafficPolicy: Unsupported value: \"x\": supported values: \"Cluster\", \"Local\"",
            ),
            (
                json!({"type": "NodePort", "healthCheckNodePort": 30000}),
                "spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
            ),
            (
                json!({"internalTrafficPolicy": "x"}),
                "spec.internalTrafficPolicy: Unsupported value: \"x\"",
            ),
            (
                json!({"trafficDistribution": "x"}),
                "spec.trafficDistribution: Unsupported value: \"x\": supported values: \"PreferClose\", \"PreferSameNode\", \"PreferSameZone\"",
            ),
            (
                json!({"clusterIPs": ["10.0.0.1"]}),
                "spec.clusterIPs: Invalid value: [\"10.0.0.1\"]: must be empty when `clusterIP` is not specified",
            ),
            (
                json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.2"]}),
                "first value must match `clusterIP`",
            ),
            (
                json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "10.0.0.2"]}),
                "may specify no more than one IP for each IP family",
            ),
            (
                json!({"clusterIP": "None", "clusterIPs": ["None", "10.0.0.2"]}),
                "'None' must be the first and only value",
            ),
            (
                json!({"ipFamilies": ["IPv6"], "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}),
                "spec.clusterIPs[0]: Invalid value: \"10.0.0.1\": expected an IPv6 value as indicated by `ipFamilies[0]`",
            ),
            (
                json!({"ipFamilies": ["IPv4", "IPv4"]}),
                "spec.ipFamilies[1]: Duplicate value: \"IPv4\"",
            ),
        ] {
            let found = found(with(spec.clone()));
            let right = if expected.is_empty() {
                found.is_empty()
            } else {
                found.contains(expected)
            };
            assert!(right, "{spec}\n  found {found}\n  not   {expected}");
        }
    }

    #[test]
    fn what_a_load_balancer_says_is_judged() {
        let balanced = |ingress: Value| {
            let mut service = with(json!({"type": "LoadBalancer"}));
            service["status"] = json!({"loadBalancer": {"ingress": [ingress]}});
            found(service)
        };
        for (ingress, expected) in [
            (json!({"ip": "192.0.2.1"}), ""),
            (json!({"hostname": "a.example"}), ""),
            (
                json!({"ip": "x"}),
                "status.loadBalancer.ingress[0].ip: Invalid value: \"x\"",
            ),
            (
                json!({"ip": "192.0.2.1", "ipMode": "x"}),
                "ingress[0].ipMode: Unsupported value: \"x\": supported values: \"Proxy\", \"VIP\"",
            ),
            (
                json!({"hostname": "a", "ipMode": "VIP"}),
                "ingress[0].ipMode: Forbidden: may not be specified when `ip` is not set",
            ),
            (
                json!({"hostname": "192.0.2.1"}),
                "ingress[0].hostname: Invalid value: \"192.0.2.1\": must be a DNS name, not an IP address",
            ),
        ] {
            let found = balanced(ingress.clone());
            assert!(
                found.contains(expected) && found.is_empty() == expected.is_empty(),
                "{ingress}: {found}"
            );
        }
    }

    #[test]
    fn two_words_on_topology_are_one_too_many() {
        let mut service = with(json!({}));
        service["metadata"]["annotations"] =
            json!({TOPOLOGY_MODE: "Auto", TOPOLOGY_HINTS: "Disabled"});
        assert!(
            found(service)
                .contains("must match annotations[service.kubernetes.io/topology-aware-hints]")
        );
    }
}

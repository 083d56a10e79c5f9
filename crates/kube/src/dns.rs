//! Services, EndpointSlices and Pods, cut down to what their names need.
//!
//! What cannot be parsed is left out and logged, as in `convert`.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Pod, PodDNSConfig, Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use kube::ResourceExt;
use sealane_net::Protocol;
use sealane_objects::{
    DnsConfig, DnsPolicy, DnsTarget, EndpointDns, ObjectName, PodDns, PortDns, ServiceDns, SliceDns,
};

use crate::convert::parse;

const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// What a Service's name stands for.
pub fn service_dns(service: &Service) -> ServiceDns {
    let name = ObjectName::new(service.namespace().unwrap_or_default(), service.name_any());
    let Some(spec) = &service.spec else {
        return ServiceDns::default();
    };
    ServiceDns {
        target: target(spec, &name),
        ports: spec
            .ports
            .iter()
            .flatten()
            .filter_map(|port| service_port(port, &name))
            .collect(),
    }
}

fn target(spec: &ServiceSpec, name: &ObjectName) -> DnsTarget {
    if spec.type_.as_deref() == Some("ExternalName") {
        return DnsTarget::Name(spec.external_name.clone().unwrap_or_default());
    }
    let several = spec.cluster_ips.as_deref().unwrap_or_default();
    let ips = match several {
        [] => spec.cluster_ip.as_slice(),
        several => several,
    };
    if ips.iter().any(|ip| ip == "None") {
        return DnsTarget::Endpoints;
    }
    let given = ips.iter().filter(|ip| !ip.is_empty());
    let addresses = given.filter_map(|ip| parse("service", name, "cluster IP", ip));
    DnsTarget::Addresses(addresses.collect())
}

fn service_port(port: &ServicePort, service: &ObjectName) -> Option<PortDns> {
    Some(PortDns {
        name: port.name.as_deref().unwrap_or_default().into(),
        protocol: protocol("service", service, port.protocol.as_deref())?,
        port: number(Some(port.port))?,
    })
}

fn protocol(kind: &str, name: &ObjectName, word: Option<&str>) -> Option<Protocol> {
    parse(kind, name, "protocol", word.unwrap_or("TCP"))
}

fn number(port: Option<i32>) -> Option<u16> {
    port.and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port != 0)
}

/// What an EndpointSlice tells of names.
pub fn slice_dns(slice: &EndpointSlice) -> SliceDns {
    let name = ObjectName::new(slice.namespace().unwrap_or_default(), slice.name_any());
    let labels = slice.metadata.labels.as_ref();
    let service = labels.and_then(|labels| labels.get(SERVICE_NAME));
    let has_addresses = matches!(slice.address_type.as_str(), "IPv4" | "IPv6");
    SliceDns {
        service: service.map(String::as_str).unwrap_or_default().into(),
        ports: slice
            .ports
            .iter()
            .flatten()
            .filter_map(|port| slice_port(port, &name))
            .collect(),
        endpoints: slice
            .endpoints
            .iter()
            .flatten()
            .filter(|_| has_addresses)
            .flat_map(|endpoint| addresses_of(endpoint, &name))
            .collect(),
    }
}

fn slice_port(port: &EndpointPort, slice: &ObjectName) -> Option<PortDns> {
    Some(PortDns {
        name: port.name.as_deref().unwrap_or_default().into(),
        protocol: protocol("endpoint slice", slice, port.protocol.as_deref())?,
        port: number(port.port)?,
    })
}

fn addresses_of(endpoint: &Endpoint, slice: &ObjectName) -> impl Iterator<Item = EndpointDns> {
    let conditions = endpoint.conditions.as_ref();
    let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
    let hostname = endpoint.hostname.as_deref().filter(|name| !name.is_empty());
    let reference = endpoint.target_ref.as_ref();
    let pod = reference.filter(|target| target.kind.as_deref() == Some("Pod"));
    let pod = pod.and_then(|target| target.name.as_deref());
    endpoint.addresses.iter().filter_map(move |text| {
        Some(EndpointDns {
            address: parse("endpoint slice", slice, "address", text)?,
            ready,
            hostname: hostname.map(Into::into),
            pod: pod.map(Into::into),
        })
    })
}

/// What a Pod tells of names, and how it asks for them.
pub fn pod_dns(pod: &Pod) -> PodDns {
    let name = ObjectName::new(pod.namespace().unwrap_or_default(), pod.name_any());
    let (Some(spec), status) = (&pod.spec, pod.status.as_ref()) else {
        return PodDns::default();
    };
    let phase = status.and_then(|status| status.phase.as_deref());
    let host_network = spec.host_network.unwrap_or_default();
    let has_own = !host_network && !matches!(phase, Some("Succeeded" | "Failed"));
    let ips = status.and_then(|status| status.pod_ips.as_deref());
    let ips = ips.filter(|_| has_own).unwrap_or_default();
    let address = |text: &String| parse::<IpAddr>("pod", &name, "address", text);
    PodDns {
        addresses: ips.iter().filter_map(|ip| address(&ip.ip)).collect(),
        host_network,
        policy: match spec.dns_policy.as_deref() {
            Some("ClusterFirstWithHostNet") => DnsPolicy::ClusterFirstWithHostNet,
            Some("Default") => DnsPolicy::Default,
            Some("None") => DnsPolicy::None,
            _ => DnsPolicy::ClusterFirst,
        },
        config: spec.dns_config.as_ref().map(config).unwrap_or_default(),
    }
}

fn config(config: &PodDNSConfig) -> DnsConfig {
    let options = config.options.iter().flatten();
    let ndots = options.filter(|option| option.name.as_deref() == Some("ndots"));
    // Of an option that is there twice, resolvers take the last.
    let mut ndots = ndots.filter_map(|option| option.value.as_deref()?.parse().ok());
    DnsConfig {
        searches: config.searches.clone().unwrap_or_default(),
        ndots: ndots.next_back(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_services_name_stands_for_addresses_endpoints_or_a_name() {
        for (spec, expected) in [
            (
                json!({"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9", "fd00::9"]}),
                json!({"addresses": ["10.96.0.9", "fd00::9"]}),
            ),
            (
                json!({"clusterIP": "10.96.0.9"}),
                json!({"addresses": ["10.96.0.9"]}),
            ),
            (json!({"clusterIP": ""}), json!({"addresses": []})),
            (json!({"clusterIP": "None"}), json!("endpoints")),
            (
                json!({"type": "ExternalName", "externalName": "a.example"}),
                json!({"name": "a.example"}),
            ),
        ] {
            let service = json!({"metadata": {"name": "a", "namespace": "b"}, "spec": spec});
            let dns = service_dns(&serde_json::from_value(service).unwrap());
            assert_eq!(
                serde_json::to_value(dns.target).unwrap(),
                expected,
                "{spec}"
            );
        }
    }

    #[test]
    fn each_address_of_an_endpoint_is_one_and_what_is_wrong_is_left_out() {
        let slice = serde_json::from_value(json!({
            "metadata": {"name": "db-1", "namespace": "shop", "labels": {SERVICE_NAME: "db"}},
            "addressType": "IPv4",
            "ports": [{"name": "sql", "port": 5432}, {"name": "all"}, {"name": "odd", "port": 1, "protocol": "DCCP"}],
            "endpoints": [
                {"addresses": ["10.244.1.2", "10.244.1.3", "nowhere"], "hostname": "db-0",
                    "targetRef": {"kind": "Pod", "name": "db-0"}},
                {"addresses": ["10.244.1.4"], "conditions": {"ready": false}, "hostname": "",
                    "targetRef": {"kind": "Node", "name": "node-1"}},
            ],
        }))
        .unwrap();
        let dns = slice_dns(&slice);
        assert_eq!((&*dns.service, dns.ports.len()), ("db", 1));
        let endpoints = serde_json::to_value(dns.endpoints).unwrap();
        assert_eq!(
            endpoints,
            json!([
                {"address": "10.244.1.2", "ready": true, "hostname": "db-0", "pod": "db-0"},
                {"address": "10.244.1.3", "ready": true, "hostname": "db-0", "pod": "db-0"},
                {"address": "10.244.1.4", "ready": false, "hostname": null, "pod": null},
            ])
        );
    }

    #[test]
    fn a_pod_has_no_address_on_its_nodes_network_and_when_it_has_ended() {
        let pod = |spec, phase: &str| {
            let object = json!({"metadata": {"name": "a"}, "spec": spec,
                "status": {"phase": phase, "podIPs": [{"ip": "10.244.1.2"}]}});
            pod_dns(&serde_json::from_value(object).unwrap())
        };
        let spec = json!({"containers": [], "dnsPolicy": "None", "dnsConfig": {
            "searches": ["a.example"],
            "options": [{"name": "ndots", "value": "2"}, {"name": "ndots", "value": "x"}]}});
        let running = pod(spec, "Running");
        assert_eq!(running.addresses.len(), 1);
        assert_eq!(running.policy, DnsPolicy::None);
        assert_eq!(running.config.ndots, Some(2));
        let plain = json!({"containers": []});
        assert!(pod(plain, "Failed").addresses.is_empty());
        let host = json!({"containers": [], "hostNetwork": true});
        assert!(pod(host, "Running").addresses.is_empty());
    }
}

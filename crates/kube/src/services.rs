//! Services and EndpointSlices, cut down to what serving them needs.
//!
//! What cannot be parsed is left out and logged, as in `convert`.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec, ServiceStatus};
use k8s_openapi::api::discovery::v1::{
    EndpointConditions, EndpointHints, EndpointPort, EndpointSlice,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sealane_net::{Family, IpNet, Protocol};
use sealane_objects::{
    Hints, ObjectName, ServiceNet, ServicePortNet, SliceEndpoint, SliceNet, SlicePort,
    TrafficPolicy,
};

use crate::convert::parse;

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const TRIGGERED: &str = "endpoints.kubernetes.io/last-change-trigger-time";
/// Labels that take a Service away from whoever serves them by default (KEP-2447).
const SKIP: [&str; 2] = [
    "service.kubernetes.io/service-proxy-name",
    "service.kubernetes.io/headless",
];
/// What the API server fills in where a client asks for affinity without a timeout.
const AFFINITY_SECONDS: u32 = 10_800;

/// What serving a Service needs.
pub fn service_net(service: &Service) -> ServiceNet {
    let (spec, status) = (service.spec.as_ref(), service.status.as_ref());
    service_words(&service.metadata, spec, status)
}

/// As [`service_net`], of a Service in parts.
pub(crate) fn service_words(
    metadata: &ObjectMeta,
    spec: Option<&ServiceSpec>,
    status: Option<&ServiceStatus>,
) -> ServiceNet {
    let name = name(metadata);
    let created = metadata.creation_timestamp.as_ref();
    let created = created.map_or(i64::MAX, |time| time.0.as_second());
    let Some(spec) = spec else {
        return ServiceNet {
            created,
            skipped: true,
            ..ServiceNet::default()
        };
    };
    let address = |what: &'static str| {
        let name = &name;
        move |text: &String| parse::<IpAddr>("service", name, what, text).filter(is_sane)
    };
    let list = |texts: &Option<Vec<String>>, what| -> Vec<IpAddr> {
        texts.iter().flatten().filter_map(address(what)).collect()
    };
    let one: Vec<String> = spec.cluster_ip.iter().cloned().collect();
    let cluster_ips = match &spec.cluster_ips {
        Some(all) if !all.is_empty() => Some(all.clone()),
        _ => Some(one),
    };
    let headless = cluster_ips
        .iter()
        .flatten()
        .all(|ip| ip.is_empty() || ip == "None");
    let labels = metadata.labels.as_ref();
    let labelled = SKIP
        .iter()
        .any(|label| labels.is_some_and(|labels| labels.contains_key(*label)));
    let skipped = labelled || headless || spec.type_.as_deref() == Some("ExternalName");
    if skipped {
        return ServiceNet {
            created,
            skipped,
            ..ServiceNet::default()
        };
    }
    ServiceNet {
        created,
        skipped,
        cluster_ips: list(&cluster_ips, "cluster IP"),
        external_ips: list(&spec.external_ips, "external IP"),
        load_balancer_ips: load_balancer_ips(status, &name),
        source_ranges: source_ranges(spec, &name),
        ports: spec
            .ports
            .iter()
            .flatten()
            .filter_map(|p| port(p, &name))
            .collect(),
        internal_policy: policy(spec.internal_traffic_policy.as_deref()),
        external_policy: policy(spec.external_traffic_policy.as_deref()),
        affinity_seconds: affinity(spec),
        health_check_node_port: number(spec.health_check_node_port),
    }
}

/// Nobody's traffic may be taken by serving these.
fn is_sane(address: &IpAddr) -> bool {
    !address.is_unspecified() && !address.is_loopback() && !address.is_multicast()
}

fn port(port: &ServicePort, service: &ObjectName) -> Option<ServicePortNet> {
    let protocol = protocol("service", service, port.protocol.as_deref())?;
    let Some(port_number) = number(Some(port.port)) else {
        tracing::warn!(
            "service {service}: its port {} is ignored: no such port",
            port.port
        );
        return None;
    };
    Some(ServicePortNet {
        name: port.name.as_deref().unwrap_or_default().into(),
        protocol,
        port: port_number,
        node_port: number(port.node_port),
    })
}

fn protocol(kind: &str, name: &ObjectName, word: Option<&str>) -> Option<Protocol> {
    parse(kind, name, "protocol", word.unwrap_or("TCP"))
}

/// A port's number; zero is none.
fn number(port: Option<i32>) -> Option<u16> {
    port.and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port != 0)
}

fn policy(word: Option<&str>) -> TrafficPolicy {
    match word {
        Some("Local") => TrafficPolicy::Local,
        _ => TrafficPolicy::Cluster,
    }
}

fn affinity(spec: &ServiceSpec) -> Option<u32> {
    let config = spec.session_affinity_config.as_ref();
    let seconds = config
        .and_then(|config| config.client_ip.as_ref())
        .and_then(|client| client.timeout_seconds)
        .and_then(|seconds| u32::try_from(seconds).ok())
        .filter(|seconds| *seconds > 0);
    (spec.session_affinity.as_deref() == Some("ClientIP"))
        .then(|| seconds.unwrap_or(AFFINITY_SECONDS))
}

fn source_ranges(spec: &ServiceSpec, name: &ObjectName) -> Option<Vec<IpNet>> {
    let texts = spec.load_balancer_source_ranges.as_ref();
    let texts = texts.filter(|texts| !texts.is_empty())?;
    let ranges = texts
        .iter()
        .filter_map(|text| parse::<IpNet>("service", name, "source range", text.trim()));
    Some(ranges.map(|range| range.trunc()).collect())
}

fn load_balancer_ips(status: Option<&ServiceStatus>, name: &ObjectName) -> Vec<IpAddr> {
    let ingress = status
        .and_then(|status| status.load_balancer.as_ref())
        .and_then(|balancer| balancer.ingress.as_ref());
    let served = ingress
        .into_iter()
        .flatten()
        .filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"));
    served
        .filter_map(|ingress| ingress.ip.as_ref())
        .filter_map(|text| parse("service", name, "load-balancer address", text))
        .filter(is_sane)
        .collect()
}

/// What serving needs of an EndpointSlice.
pub fn slice_net(slice: &EndpointSlice) -> SliceNet {
    let endpoints = slice.endpoints.iter().flatten().map(|endpoint| Told {
        address: endpoint.addresses.first().map(|a| AddressTold::Text(a)),
        conditions: endpoint.conditions.as_ref(),
        node: endpoint.node_name.as_ref(),
        hints: endpoint.hints.as_ref(),
    });
    let ports = slice.ports.as_deref().unwrap_or_default();
    slice_words(&slice.metadata, &slice.address_type, ports, endpoints)
}

/// What a slice tells of an endpoint.
pub(crate) struct Told<'a, N> {
    pub address: Option<AddressTold<'a>>,
    pub conditions: Option<&'a EndpointConditions>,
    pub node: Option<&'a N>,
    pub hints: Option<&'a EndpointHints>,
}

/// Its first address.
pub(crate) enum AddressTold<'a> {
    Parsed(IpAddr),
    Text(&'a str),
}

/// As [`slice_net`], of a slice in parts.
pub(crate) fn slice_words<'a, N>(
    metadata: &ObjectMeta,
    address_type: &str,
    ports: &[EndpointPort],
    endpoints: impl Iterator<Item = Told<'a, N>>,
) -> SliceNet
where
    N: Clone + Into<Arc<str>> + 'a,
{
    let name = name(metadata);
    let family = match address_type {
        "IPv4" => Some(Family::V4),
        "IPv6" => Some(Family::V6),
        _ => None,
    };
    let labels = metadata.labels.as_ref();
    let service = labels.and_then(|labels| labels.get(SERVICE_NAME));
    let annotations = metadata.annotations.as_ref();
    let triggered = annotations.and_then(|annotations| annotations.get(TRIGGERED));
    let triggered = triggered.and_then(|text| text.parse::<k8s_openapi::jiff::Timestamp>().ok());
    let ports = ports.iter().filter_map(|port| slice_port(port, &name));
    let endpoints = endpoints.filter(|_| family.is_some());
    SliceNet {
        service: service.map(String::as_str).unwrap_or_default().into(),
        family,
        ports: ports.collect(),
        endpoints: endpoints
            .filter_map(|endpoint| slice_endpoint(endpoint, &name))
            .collect(),
        triggered_ms: triggered.map(|time| time.as_millisecond()),
    }
}

fn name(metadata: &ObjectMeta) -> ObjectName {
    let word = |word: &Option<String>| word.clone().unwrap_or_default();
    ObjectName::new(word(&metadata.namespace), word(&metadata.name))
}

fn slice_port(port: &EndpointPort, slice: &ObjectName) -> Option<SlicePort> {
    Some(SlicePort {
        name: port.name.as_deref().unwrap_or_default().into(),
        protocol: protocol("endpoint slice", slice, port.protocol.as_deref())?,
        port: number(port.port)?,
    })
}

fn slice_endpoint<N>(told: Told<'_, N>, slice: &ObjectName) -> Option<SliceEndpoint>
where
    N: Clone + Into<Arc<str>>,
{
    let address = match told.address? {
        AddressTold::Parsed(address) => address,
        AddressTold::Text(text) => parse("endpoint slice", slice, "address", text)?,
    };
    let conditions = told.conditions;
    let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
    Some(SliceEndpoint {
        address,
        ready,
        serving: conditions.and_then(|c| c.serving).unwrap_or(ready),
        terminating: conditions.and_then(|c| c.terminating).unwrap_or(false),
        node: told.node.map(|node| node.clone().into()),
        hints: told.hints.and_then(hints),
    })
}

fn hints(hints: &EndpointHints) -> Option<Arc<Hints>> {
    let zones = hints.for_zones.iter().flatten();
    let nodes = hints.for_nodes.iter().flatten();
    let hints = Hints {
        zones: zones.map(|zone| zone.name.as_str().into()).collect(),
        nodes: nodes.map(|node| node.name.as_str().into()).collect(),
    };
    (hints != Hints::default()).then(|| Arc::new(hints))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_service_with_everything_and_what_is_wrong_in_it_left_out() {
        let service = serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "creationTimestamp": "1970-01-01T00:01:00Z"},
            "spec": {
                "type": "LoadBalancer", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9", "fd00::9"],
                "externalIPs": ["192.0.2.1", "127.0.0.1", "nonsense"],
                "loadBalancerSourceRanges": ["198.51.100.7/24", "any"],
                "externalTrafficPolicy": "Local", "healthCheckNodePort": 30099,
                "sessionAffinity": "ClientIP",
                "ports": [
                    {"name": "http", "port": 80, "nodePort": 30080},
                    {"name": "odd", "port": 81, "protocol": "DCCP"},
                    {"name": "none", "port": 0},
                    {"name": "sip", "port": 5060, "protocol": "UDP"},
                ],
            },
            "status": {"loadBalancer": {"ingress": [
                {"ip": "172.29.0.200"}, {"ip": "172.29.0.201", "ipMode": "Proxy"}, {"hostname": "a.example"},
            ]}},
        }))
        .unwrap();
        let net = serde_json::to_value(service_net(&service)).unwrap();
        assert_eq!(
            net,
            json!({
                "created": 60, "skipped": false, "clusterIPs": ["10.96.0.9", "fd00::9"],
                "externalIPs": ["192.0.2.1"], "loadBalancerIPs": ["172.29.0.200"],
                "sourceRanges": ["198.51.100.0/24"],
                "ports": [
                    {"name": "http", "protocol": "TCP", "port": 80, "nodePort": 30080},
                    {"name": "sip", "protocol": "UDP", "port": 5060, "nodePort": null},
                ],
                "internalPolicy": "Cluster", "externalPolicy": "Local", "affinitySeconds": 10800,
                "healthCheckNodePort": 30099,
            })
        );
    }

    #[test]
    fn services_that_are_not_ours_to_serve() {
        for (labels, spec) in [
            (json!({}), json!({"clusterIP": "None"})),
            (json!({}), json!({"clusterIP": ""})),
            (
                json!({}),
                json!({"type": "ExternalName", "externalName": "a.example"}),
            ),
            (
                json!({"service.kubernetes.io/headless": ""}),
                json!({"clusterIP": "10.96.0.9"}),
            ),
            (
                json!({"service.kubernetes.io/service-proxy-name": "mine"}),
                json!({"clusterIP": "10.96.0.9"}),
            ),
        ] {
            let service = json!({"metadata": {"name": "a", "labels": labels}, "spec": spec});
            let net = service_net(&serde_json::from_value(service).unwrap());
            assert!(net.skipped && net.cluster_ips.is_empty(), "{spec}");
        }
    }

    #[test]
    fn unknown_conditions_count_as_ready_and_serving_follows() {
        let slice = serde_json::from_value(json!({
            "metadata": {"name": "web-1", "namespace": "shop", "labels": {SERVICE_NAME: "web"},
                "annotations": {TRIGGERED: "1970-01-01T00:00:01Z"}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080}, {"name": "all"}],
            "endpoints": [
                {"addresses": ["10.244.1.2"], "nodeName": "node-1", "hints": {"forZones": [{"name": "a"}]}},
                {"addresses": ["10.244.1.3"], "conditions": {"ready": false, "serving": true, "terminating": true}},
                {"addresses": ["10.244.1.4"], "conditions": {"ready": false}},
                {"addresses": ["nowhere"]},
            ],
        }))
        .unwrap();
        let net = slice_net(&slice);
        assert_eq!(
            (&*net.service, net.ports.len(), net.triggered_ms),
            ("web", 1, Some(1000))
        );
        let flags = net
            .endpoints
            .iter()
            .map(|e| (e.ready, e.serving, e.terminating));
        assert_eq!(
            flags.collect::<Vec<_>>(),
            [
                (true, true, false),
                (false, true, true),
                (false, false, false)
            ]
        );
        assert_eq!(&*net.endpoints[0].hints.as_ref().unwrap().zones[0], "a");
    }
}

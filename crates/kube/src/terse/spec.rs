//! `.spec` of a Service, read as far as serving it needs.

use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec, SessionAffinityConfig};
use serde::{Deserialize, Deserializer};

/// What serving needs of `.spec`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Option<Vec<String>>,
    #[serde(rename = "externalIPs")]
    external_ips: Option<Vec<String>>,
    external_traffic_policy: Option<String>,
    health_check_node_port: Option<i32>,
    internal_traffic_policy: Option<String>,
    load_balancer_source_ranges: Option<Vec<String>>,
    ports: Option<Vec<Port>>,
    session_affinity: Option<String>,
    session_affinity_config: Option<SessionAffinityConfig>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    name: Option<String>,
    node_port: Option<i32>,
    port: Option<i32>,
    protocol: Option<String>,
}

/// Reads it into the whole type, whose other fields stay empty.
pub(super) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Option<ServiceSpec>, D::Error> {
    let port = |read: Port| ServicePort {
        name: read.name,
        node_port: read.node_port,
        port: read.port.unwrap_or_default(),
        protocol: read.protocol,
        ..ServicePort::default()
    };
    let spec = |read: Spec| ServiceSpec {
        cluster_ip: read.cluster_ip,
        cluster_ips: read.cluster_ips,
        external_ips: read.external_ips,
        external_traffic_policy: read.external_traffic_policy,
        health_check_node_port: read.health_check_node_port,
        internal_traffic_policy: read.internal_traffic_policy,
        load_balancer_source_ranges: read.load_balancer_source_ranges,
        ports: (read.ports).map(|ports| ports.into_iter().map(port).collect()),
        session_affinity: read.session_affinity,
        session_affinity_config: read.session_affinity_config,
        type_: read.kind,
        ..ServiceSpec::default()
    };
    Ok(Option::<Spec>::deserialize(from)?.map(spec))
}

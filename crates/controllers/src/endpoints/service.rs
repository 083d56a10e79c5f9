//! Services, and Endpoints made by hand, as far as slices are made from them.

use std::collections::BTreeMap;

use kube::api::DynamicObject;
use serde::Deserialize;
use serde_json::Value;

use super::slice::{AddressType, Port, TargetRef};
use crate::action::Kind;
use crate::facts::PodFacts;
use crate::workloads::head::Head;
use crate::workloads::replica_set::take;
use sealane_objects::Selector;

/// A Service.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    pub head: Head,
    /// None: somebody else says what is behind it.
    pub selector: Option<Selector>,
    pub ports: Vec<ServicePort>,
    pub families: Vec<AddressType>,
    pub headless: bool,
    /// Pods count from their birth, ready or not.
    pub publish_not_ready: bool,
    /// Which endpoints clients should be led to.
    pub prefers: Option<Nearness>,
}

/// `spec.trafficDistribution`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nearness {
    SameZone,
    SameNode,
}

impl Nearness {
    fn of(text: &str) -> Option<Self> {
        match text {
            "PreferClose" | "PreferSameZone" => Some(Self::SameZone),
            "PreferSameNode" => Some(Self::SameNode),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    pub name: String,
    pub protocol: Option<String>,
    pub port: i32,
    /// A number, or the name of a container's port.
    pub target_port: Value,
    pub app_protocol: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    #[serde(rename = "type")]
    kind: String,
    selector: BTreeMap<String, String>,
    ports: Vec<ServicePort>,
    ip_families: Vec<AddressType>,
    #[serde(rename = "clusterIP")]
    cluster_ip: String,
    publish_not_ready_addresses: bool,
    traffic_distribution: String,
}

impl Service {
    pub fn of(mut object: DynamicObject) -> Self {
        let spec: Spec = take(&mut object.data, "spec");
        let selects = !spec.selector.is_empty() && spec.kind != "ExternalName";
        let families = if !spec.ip_families.is_empty() {
            spec.ip_families
        } else if spec.cluster_ip.contains(':') {
            vec![AddressType::IPv6]
        } else {
            vec![AddressType::IPv4]
        };
        Self {
            selector: selects.then(|| Selector::of_labels(spec.selector)),
            ports: spec.ports,
            families,
            headless: spec.cluster_ip == "None",
            publish_not_ready: spec.publish_not_ready_addresses,
            prefers: Nearness::of(&spec.traffic_distribution),
            head: Head::of(Kind::Service, object.metadata),
        }
    }

    /// The ports at which a pod serves this Service: those that it has.
    pub fn ports_of(&self, pod: &PodFacts) -> Vec<Port> {
        let mut ports: Vec<_> = self.ports.iter().filter_map(|p| p.at(pod)).collect();
        ports.sort();
        ports
    }
}

impl ServicePort {
    fn at(&self, pod: &PodFacts) -> Option<Port> {
        let protocol = self.protocol.as_deref().unwrap_or("TCP");
        let port = match &self.target_port {
            Value::String(name) => {
                let named =
                    |p: &&crate::facts::NamedPort| p.name == *name && p.protocol == protocol;
                pod.ports.iter().find(named)?.port
            }
            Value::Number(number) => i32::try_from(number.as_i64()?).ok().filter(|n| *n > 0)?,
            _ => self.port,
        };
        Some(Port {
            name: self.name.clone(),
            port: Some(port),
            protocol: protocol.to_owned(),
            app_protocol: self.app_protocol.clone(),
        })
    }
}

/// An Endpoints object: ours, or one that a person has made.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointsView {
    pub head: Head,
    pub subsets: Vec<Subset>,
    /// As it is written, to tell whether it has to be written again.
    pub raw: Value,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Subset {
    pub addresses: Vec<Address>,
    pub not_ready_addresses: Vec<Address>,
    pub ports: Vec<Port>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Address {
    pub ip: String,
    pub hostname: Option<String>,
    pub node_name: Option<String>,
    pub target_ref: Option<TargetRef>,
}

impl EndpointsView {
    pub fn of(mut object: DynamicObject) -> Self {
        let raw = object.data.get("subsets").cloned().unwrap_or_default();
        Self {
            subsets: take(&mut object.data, "subsets"),
            raw,
            head: Head::of(Kind::Endpoints, object.metadata),
        }
    }

    /// Whether whoever made it wants no slices of it, or keeps a lock in it.
    pub fn skips_mirror(&self) -> bool {
        let skip = self
            .head
            .labels
            .get("endpointslice.kubernetes.io/skip-mirror");
        let lock = "control-plane.alpha.kubernetes.io/leader";
        skip.is_some_and(|value| value == "true") || self.head.annotations.contains_key(lock)
    }
}

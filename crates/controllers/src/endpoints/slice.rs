//! EndpointSlices, as they are read and written.

use kube::api::DynamicObject;
use serde::{Deserialize, Serialize};

use crate::action::Kind;
use crate::workloads::head::Head;
use crate::workloads::replica_set::take;

/// The Service of a slice.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Who writes a slice.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// An EndpointSlice.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    pub head: Head,
    pub address_type: AddressType,
    pub endpoints: Vec<Endpoint>,
    pub ports: Vec<Port>,
}

#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum AddressType {
    #[default]
    IPv4,
    IPv6,
    #[serde(rename = "FQDN")]
    Name,
}

/// An address behind a Service, and how it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoint {
    pub addresses: Vec<String>,
    pub conditions: Conditions,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hints: Option<Hints>,
}

/// Where the traffic to an endpoint should come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hints {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub for_nodes: Vec<Place>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub for_zones: Vec<Place>,
}

/// A node or a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Place {
    pub name: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Conditions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serving: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminating: Option<bool>,
}

/// The object behind an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct TargetRef {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// A port of all endpoints of a slice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Port {
    pub name: String,
    pub port: Option<i32>,
    pub protocol: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
}

impl Default for Port {
    fn default() -> Self {
        Self {
            name: String::new(),
            port: None,
            protocol: "TCP".to_owned(),
            app_protocol: None,
        }
    }
}

impl Slice {
    pub fn of(mut object: DynamicObject) -> Self {
        let mut ports: Vec<Port> = take(&mut object.data, "ports");
        ports.sort();
        Self {
            address_type: take(&mut object.data, "addressType"),
            endpoints: take(&mut object.data, "endpoints"),
            ports,
            head: Head::of(Kind::EndpointSlice, object.metadata),
        }
    }

    pub fn label(&self, key: &str) -> &str {
        self.head.labels.get(key).map_or("", |value| value)
    }
}

impl Endpoint {
    /// The same endpoint, in whatever condition.
    pub fn is_same(&self, other: &Self) -> bool {
        self.addresses == other.addresses
            && self.target_ref == other.target_ref
            && self.hostname == other.hostname
    }
}

use std::net::IpAddr;
use std::sync::Arc;

use sealane_net::{Family, Protocol};
use serde::{Deserialize, Serialize};

/// What serving a Service needs to know of an EndpointSlice.
///
/// There may be a hundred thousand endpoints: words are shared, and each
/// endpoint is held in one allocation with its neighbours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SliceNet {
    /// Label `kubernetes.io/service-name`: the Service in the slice's namespace; empty if there is none.
    pub service: Arc<str>,
    /// `.addressType`; none for names, which nobody can send packets to.
    pub family: Option<Family>,
    /// `.ports` that have a number.
    pub ports: Arc<[SlicePort]>,
    /// `.endpoints` that have an address.
    pub endpoints: Box<[SliceEndpoint]>,
    /// Annotation `endpoints.kubernetes.io/last-change-trigger-time`, in milliseconds since 1970.
    pub triggered_ms: Option<i64>,
}

/// A port at which all endpoints of a slice serve.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SlicePort {
    /// The name of the Service's port.
    pub name: Arc<str>,
    /// `.protocol`
    pub protocol: Protocol,
    /// `.port`
    pub port: u16,
}

/// An endpoint of a slice, at its first address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SliceEndpoint {
    /// `.addresses[0]`: all are the same endpoint, and there is one by rule.
    pub address: IpAddr,
    /// `.conditions.ready`; unknown counts as true.
    pub ready: bool,
    /// `.conditions.serving`; unknown is as `ready`.
    pub serving: bool,
    /// `.conditions.terminating`
    pub terminating: bool,
    /// `.nodeName`
    pub node: Option<Arc<str>>,
    /// `.hints`
    pub hints: Option<Arc<Hints>>,
}

/// For whom an endpoint is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hints {
    /// `.forZones`
    pub zones: Vec<Arc<str>>,
    /// `.forNodes`
    pub nodes: Vec<Arc<str>>,
}

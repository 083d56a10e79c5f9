//! Kinds of `networking.k8s.io`: who may talk to whom, how requests come in from outside, and
//! which addresses Services have.

mod backend;
mod ingress;
mod ingress_class;
mod ip_address;
mod network_policy;
mod service_cidr;

use serde_json::Value;

pub use ingress::INGRESS;
pub use ingress_class::INGRESS_CLASS;
pub use ip_address::IP_ADDRESS;
pub use network_policy::NETWORK_POLICY;
pub use service_cidr::SERVICE_CIDR;

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

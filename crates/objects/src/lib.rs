//! Words of the cluster: slim forms of the Kubernetes objects that decisions are made from.
//!
//! Each form holds only the fields that some decision reads, already parsed,
//! so that decisions never meet an address that is not one. The edge that
//! talks to the API converts (`sealane-kube`); this crate knows nothing of
//! Kubernetes' own types. Every address field is a list, since a cluster may
//! have two address families. All forms serialise, so that a daemon's debug
//! state and recorded test input are the same text.
#![warn(missing_docs)]

mod amount;
pub mod bandwidth;
mod demand;
mod dns;
pub mod format;
mod image_alias;
mod ip_pool;
mod name;
mod node;
mod placement;
mod pod;
mod port_mapping;
pub mod quantity;
pub mod resources;
mod selector;
mod service;
mod slice;
mod taint;

pub use amount::Quantity;
pub use demand::{Demand, HostPort, PodAffinity, PodTerm, Spread};
pub use dns::{
    DnsConfig, DnsPolicy, DnsTarget, EndpointDns, PodDns, PortDns, ServiceDns, SliceDns,
};
pub use image_alias::{ImageAlias, ImageAliasError, alias_of};
pub use ip_pool::{BlockSizes, PoolCondition, PoolNet};
pub use name::ObjectName;
pub use node::NodeNet;
pub use placement::{Placement, Requirement, Term};
pub use pod::PodNet;
pub use port_mapping::PortMapping;
pub use resources::Resources;
pub use selector::{Expression, Operator, Selector};
pub use service::{ServiceNet, ServicePortNet, TrafficPolicy};
pub use slice::{Hints, SliceEndpoint, SliceNet, SlicePort};
pub use taint::{Effect, Taint, Toleration};

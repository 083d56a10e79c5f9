//! Words of the cluster: slim forms of the Kubernetes objects that decisions are made from.
//!
//! Each form holds only the fields that some decision reads, already parsed,
//! so that decisions never meet an address that is not one. The edge that
//! talks to the API converts (`sealane-kube`); this crate knows nothing of
//! Kubernetes' own types. Every address field is a list, since a cluster may
//! have two address families. All forms serialise, so that a daemon's debug
//! state and recorded test input are the same text.
#![warn(missing_docs)]

mod name;
mod node;
mod pod;

pub use name::ObjectName;
pub use node::NodeNet;
pub use pod::PodNet;

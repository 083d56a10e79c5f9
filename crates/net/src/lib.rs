//! Words of the network: address families, ranges, MTU, and the names of the kernel objects that Sealane owns.
//!
//! Everything here is a plain value: no IO, no clock, no async. A value that
//! exists is valid, so the layers above never check twice: a [`Ranges`] holds
//! at most one network per family and no host bits, an [`Mtu`] can carry IP.
//!
//! Addresses with a prefix length (`10.244.1.5/24`) and networks
//! (`10.244.1.0/24`) are both [`ipnet::IpNet`]; the documentation of each field
//! says which one is meant.
#![warn(missing_docs)]

mod anti_spoofing;
mod attachment;
mod cluster_domain;
pub mod ec2;
mod family;
mod fingerprint;
mod mac;
mod mtu;
pub mod names;
mod overlap;
mod protocol;
mod proxy_mode;
mod ranges;
mod route;

pub use anti_spoofing::{AntiSpoofing, UnknownAntiSpoofing};
pub use attachment::{Attachment, UnknownAttachment};
pub use cluster_domain::{ClusterDomain, NoClusterDomain};
pub use family::Family;
pub use fingerprint::fingerprint;
pub use ipnet::{IpNet, Ipv4Net, Ipv6Net};
pub use mac::{Mac, MacError};
pub use mtu::{Mtu, MtuError};
pub use overlap::{Overlap, Use, check_overlaps};
pub use protocol::{Protocol, UnknownProtocol};
pub use proxy_mode::{ProxyMode, UnknownProxyMode};
pub use ranges::{RangeError, Ranges, parse_network};
pub use route::Route;

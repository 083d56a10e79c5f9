use sealane_net::Ipv4Net;
use sealane_net::ec2::Unit;
use serde::Serialize;

/// What stops a machine from getting more addresses: its words say whose limit it is and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "limit", rename_all = "kebab-case")]
pub enum Limit {
    /// The subnet has none.
    #[error(
        "subnet limit: {subnet}{} has no free {unit}{}; give nodes a larger subnet, or end what uses it",
        range.map(|range| format!(" ({range})")).unwrap_or_default(),
        if *unit == Unit::Prefix { ", which is 16 free addresses side by side" } else { "" }
    )]
    Subnet {
        /// Its id.
        subnet: String,
        /// Its addresses, where they are known.
        range: Option<Ipv4Net>,
        /// What was wanted.
        unit: Unit,
    },
    /// The interfaces have no place, and there may be no other one.
    #[error(
        "interface limit: all {places} places of {interface} are taken ({addresses} pod addresses on this node), and {}",
        why
    )]
    Interface {
        /// The last interface.
        interface: String,
        /// Places for pods on it.
        places: usize,
        /// Pod addresses of the node.
        addresses: usize,
        /// Why there is no further interface, and what to do.
        why: String,
    },
    /// The type of the machine allows no further interface.
    #[error(
        "instance limit: {kind} allows {interfaces} interfaces with {each} addresses each, \
         and pods have all of them ({addresses} pod addresses on this node); \
         take a larger type, let the node run fewer pods (maxPods), or use prefixes (--prefix-delegation)"
    )]
    Instance {
        /// Such as `m5.large`.
        kind: String,
        /// How many there may be.
        interfaces: usize,
        /// How many addresses each may have.
        each: usize,
        /// Pod addresses of the node.
        addresses: usize,
    },
    /// EC2 does not serve us now.
    #[error("the EC2 API does not give any: {why}")]
    Api {
        /// What it said.
        why: String,
    },
}

impl Limit {
    /// One word, for a metric.
    pub fn cause(&self) -> &'static str {
        match self {
            Limit::Subnet { .. } => "subnet",
            Limit::Interface { .. } => "interface",
            Limit::Instance { .. } => "instance",
            Limit::Api { .. } => "api",
        }
    }

    /// All causes, for a metric.
    pub const CAUSES: [&'static str; 4] = ["subnet", "interface", "instance", "api"];
}

//! Why there is no plan.

use std::fmt;

use ipnet::IpNet;
use sealane_net::{Family, Overlap};
use sealane_objects::ImageAlias;
use thiserror::Error;

/// One reason why what was asked for cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanError {
    /// A range that was asked for shares addresses with another of the cluster.
    #[error("{0}: each needs addresses of its own, change one of them")]
    Overlap(Overlap),
    /// A range that was asked for is in use on this machine.
    #[error("{overlap}: choose another range, or leave {flag} out to get a free one")]
    InUse {
        /// The range, and what uses it.
        overlap: Overlap,
        /// The flag that asked for it.
        flag: &'static str,
    },
    /// A range of a cluster that is kept on disk is in use by now.
    #[error(
        "{0}, which was not there when the cluster was made: remove that, or `sealane down` and start afresh"
    )]
    KeptInUse(Overlap),
    /// A range that no host can have an address of.
    #[error("{flag} {range}: is not made of addresses that hosts can have")]
    NotUnicast {
        /// The flag.
        flag: &'static str,
        /// What was given.
        range: IpNet,
    },
    /// Nodes and pods of different families.
    #[error(
        "{flag} {ranges}: {}, give ranges of the same families to --node-cidr and --cluster-cidr, or --ip-family",
        if *missing { format!("has no {family} range") } else { format!("has an {family} range too many") }
    )]
    Families {
        /// The flag.
        flag: &'static str,
        /// What was given.
        ranges: String,
        /// The family that is missing or too many.
        family: Family,
        /// Whether it is missing.
        missing: bool,
    },
    /// A node network whose addresses leave hosts less than half.
    #[error("--node-cidr {0}: expected a prefix of 64 bits or fewer")]
    NodesV6(IpNet),
    /// A cluster without nodes.
    #[error("--nodes 0: a cluster needs at least one node")]
    NoNodes,
    /// The node network is too small.
    #[error(
        "--nodes {nodes}: the node network {range} has room for {max}, give fewer nodes or a larger --node-cidr"
    )]
    TooManyNodes {
        /// How many were asked for.
        nodes: u32,
        /// The node network.
        range: IpNet,
        /// How many fit.
        max: u64,
    },
    /// The pod range is too small.
    #[error(
        "--cluster-cidr {range}: holds {max} pod subnets of /{mask} and {nodes} nodes need one each, give a larger range"
    )]
    TooFewSubnets {
        /// The pod range.
        range: IpNet,
        /// How many subnets fit.
        max: u64,
        /// Prefix length of a node's subnet.
        mask: u8,
        /// How many are needed.
        nodes: u32,
    },
    /// A prefix length that leaves no room for pods, or is none.
    #[error(
        "--node-cidr-mask-size-ipv4 {0}: must be between 8 and 29, so that a node has addresses for its pods"
    )]
    NodeMask(u8),
    /// The Service range is too small for the well-known addresses.
    #[error(
        "--service-cluster-ip-range {0}: is too small, /28 is the smallest that holds the addresses of `kubernetes` and DNS"
    )]
    ServiceTooSmall(IpNet),
    /// A rule for images that comes too late to count.
    #[error(
        "--image-alias {late}: never applies, since {first} comes before it and takes the same images; swap them, or leave one out"
    )]
    AliasTooLate {
        /// The rule that would never apply.
        late: ImageAlias,
        /// The rule that takes its images.
        first: ImageAlias,
    },
    /// Every fall-back is in use.
    #[error(
        "find a free range for {purpose}: every default is in use on this machine, give one with {flag}"
    )]
    NoFreeRange {
        /// What for.
        purpose: &'static str,
        /// The flag that would help.
        flag: &'static str,
    },
    /// Every port that was tried is taken.
    #[error("find a free port for the API, from {from} on: all are taken, stop what listens there")]
    NoFreePort {
        /// The first port tried.
        from: u16,
    },
}

/// All reasons at once, so that one attempt shows every mistake.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct PlanErrors(pub Vec<PlanError>);

impl fmt::Display for PlanErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

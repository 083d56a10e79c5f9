//! Flags, as errors name them.

/// Prefix length of a node's IPv4 pod subnet.
pub const MASK_FLAG: &str = "--node-cidr-mask-size-ipv4";

/// Which images stand in for others.
pub const ALIAS_FLAG: &str = "--image-alias";
/// Seconds after which a silent node is not ready.
pub const GRACE_FLAG: &str = "--node-monitor-grace-period";
/// Seconds for which pods stay on such a node.
pub const TOLERATION_FLAG: &str = "--default-toleration-seconds";

/// A flag that takes ranges, and what they are for.
#[derive(Debug, Clone, Copy)]
pub struct RangeFlag {
    /// As it is typed.
    pub flag: &'static str,
    /// What the range is for.
    pub purpose: &'static str,
}

impl RangeFlag {
    /// The purpose of a range that was asked for: `pods (--cluster-cidr)`.
    pub fn asked(&self) -> String {
        format!("{} ({})", self.purpose, self.flag)
    }
}

/// The node network.
pub const NODE: RangeFlag = RangeFlag {
    flag: "--node-cidr",
    purpose: "nodes",
};
/// The pods.
pub const CLUSTER: RangeFlag = RangeFlag {
    flag: "--cluster-cidr",
    purpose: "pods",
};
/// The Services.
pub const SERVICE: RangeFlag = RangeFlag {
    flag: "--service-cluster-ip-range",
    purpose: "Services",
};

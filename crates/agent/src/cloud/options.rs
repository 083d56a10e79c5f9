//! The flags of `--ipam ec2`.

use std::time::Duration;

use clap::Args;
use sealane_cloud::Targets;
use sealane_ec2::Place;
use sealane_net::ec2::Unit;
use serde::{Deserialize, Serialize};

use super::CloudSettings;

/// Where pods' addresses come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ipam {
    /// The Node's `.spec.podCIDRs`.
    #[default]
    PodCidrs,
    /// The machine's network interfaces at Amazon EC2.
    Ec2,
}

/// What is said about EC2, as flags and in the file.
#[derive(Args, Clone, Debug, Default)]
pub struct CloudOptions {
    /// With `--ipam ec2`: addresses that are free at any time [default: 5; with --prefix-delegation
    /// as --warm-prefix-target says]
    #[arg(long, value_name = "NUMBER")]
    pub warm_ip_target: Option<usize>,

    /// With `--ipam ec2`: addresses that the node has at least, free or not [default: 0]
    #[arg(long, value_name = "NUMBER")]
    pub minimum_ip_target: Option<usize>,

    /// With `--ipam ec2`: take prefixes of 16 addresses (/28) instead of single ones; for instance types on Nitro
    #[arg(long)]
    pub prefix_delegation: bool,

    /// With `--prefix-delegation`: prefixes without any pod [default: 1]
    #[arg(long, value_name = "NUMBER")]
    pub warm_prefix_target: Option<usize>,

    /// With `--ipam ec2`: interfaces of the node at most, others' included [default: what the instance type allows]
    #[arg(long, value_name = "NUMBER")]
    pub max_eni: Option<usize>,

    /// With `--ipam ec2`: how long an address that is not needed stays before it is given back to EC2 [default: 300]
    #[arg(long, value_name = "SECONDS")]
    pub release_after: Option<u32>,

    /// Region of this machine [default: $AWS_REGION, else what the instance's metadata say]
    #[arg(long, value_name = "REGION")]
    pub ec2_region: Option<String>,

    /// Instance id of this machine [default: what its metadata say]
    #[arg(long, value_name = "ID")]
    pub ec2_instance: Option<String>,

    /// URL of the EC2 API [default: that of the region]
    #[arg(long, value_name = "URL")]
    pub ec2_endpoint: Option<String>,

    /// URL of the instance's metadata service [default: the one of every instance]
    #[arg(long, value_name = "URL")]
    pub ec2_metadata: Option<String>,
}

impl CloudOptions {
    /// What was given here, and else what was given there.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            warm_ip_target: self.warm_ip_target.or(other.warm_ip_target),
            minimum_ip_target: self.minimum_ip_target.or(other.minimum_ip_target),
            prefix_delegation: self.prefix_delegation || other.prefix_delegation,
            warm_prefix_target: self.warm_prefix_target.or(other.warm_prefix_target),
            max_eni: self.max_eni.or(other.max_eni),
            release_after: self.release_after.or(other.release_after),
            ec2_region: self.ec2_region.or(other.ec2_region),
            ec2_instance: self.ec2_instance.or(other.ec2_instance),
            ec2_endpoint: self.ec2_endpoint.or(other.ec2_endpoint),
            ec2_metadata: self.ec2_metadata.or(other.ec2_metadata),
        }
    }

    /// With the defaults of what was not given.
    pub fn resolve(self) -> CloudSettings {
        let default = Targets::default();
        let targets = Targets {
            unit: match self.prefix_delegation {
                true => Unit::Prefix,
                false => Unit::Address,
            },
            warm: self.warm_ip_target,
            minimum: self.minimum_ip_target.unwrap_or(default.minimum),
            warm_prefixes: self.warm_prefix_target.unwrap_or(default.warm_prefixes),
            interfaces: self.max_eni,
            idle: self
                .release_after
                .map_or(default.idle, |seconds| Duration::from_secs(seconds.into())),
        };
        CloudSettings {
            targets,
            place: Place {
                region: self.ec2_region,
                instance: self.ec2_instance,
                endpoint: self.ec2_endpoint,
                metadata: self.ec2_metadata,
            },
            ..CloudSettings::default()
        }
    }
}

//! Words of a machine at Amazon EC2: its network interfaces and what limits them.
//!
//! An interface has one primary address, which is the machine's, and *ranges*
//! beside it: secondary addresses (/32) and delegated prefixes (/28). Each
//! range takes one place of the interface; the type of the machine says how
//! many places an interface has and how many interfaces there may be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::Mac;

/// Length of the prefixes that EC2 delegates.
pub const PREFIX_LEN: u8 = 28;
/// Addresses in one of them, all of which pods may have.
pub const PREFIX_SIZE: usize = 1 << (32 - PREFIX_LEN);

/// A machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// `i-…`
    pub id: String,
    /// Such as `m5.large`.
    pub kind: String,
    /// `vpc-…`
    pub vpc: String,
}

/// What a type of machine allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Interfaces of one machine.
    pub interfaces: usize,
    /// Addresses of one interface, its primary one included.
    pub addresses: usize,
}

impl Default for Limits {
    /// Of a type that nothing is known of: EC2's own refusals tell then.
    fn default() -> Self {
        Self {
            interfaces: usize::MAX,
            addresses: usize::MAX,
        }
    }
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkInterface {
    /// `eni-…`
    pub id: String,
    /// `subnet-…`
    pub subnet: String,
    /// By which the kernel's link is found.
    pub mac: Mac,
    /// The machine's own address on it.
    pub primary: Ipv4Addr,
    /// What pods may have of it.
    pub ranges: BTreeSet<Ipv4Net>,
    /// Security groups, `sg-…`.
    pub groups: Vec<String>,
    /// Made by us for this machine, as its tags say.
    pub ours: bool,
    /// `None` while it is with no machine.
    pub attachment: Option<Attachment>,
}

/// How an interface is with its machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// `eni-attach-…`
    pub id: String,
    /// Its place; 0 is the machine's first interface.
    pub device: u8,
    /// It is deleted with the machine.
    pub ends_with_instance: bool,
}

/// A subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// All its addresses.
    pub range: Ipv4Net,
    /// How many nobody has; prefixes need 16 that follow each other.
    pub free: usize,
}

/// All that concerns a machine's pod addresses, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// The machine.
    pub instance: Instance,
    /// What its type allows.
    pub limits: Limits,
    /// Its interfaces, and those that we made for it and that are not with it.
    pub interfaces: Vec<NetworkInterface>,
    /// Of the interfaces, by id; those that are not there are not known.
    pub subnets: BTreeMap<String, Subnet>,
    /// The ranges of the VPC.
    pub vpc: Vec<Ipv4Net>,
}

/// What is asked for of an interface's places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Single addresses.
    #[default]
    Address,
    /// Prefixes of 16 addresses.
    Prefix,
}

impl Unit {
    /// How many pods one serves.
    pub fn size(self) -> usize {
        match self {
            Unit::Address => 1,
            Unit::Prefix => PREFIX_SIZE,
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unit::Address => "address",
            Unit::Prefix => "/28 prefix",
        })
    }
}

impl NetworkInterface {
    /// The place at the machine.
    pub fn device(&self) -> Option<u8> {
        self.attachment.as_ref().map(|attachment| attachment.device)
    }

    /// Whether pods get addresses of it: the machine's first interface, and those that we made.
    pub fn serves_pods(&self) -> bool {
        match self.device() {
            Some(device) => device == 0 || self.ours,
            None => false,
        }
    }

    /// Addresses for pods.
    pub fn size(&self) -> usize {
        self.ranges.iter().map(size).sum()
    }
}

impl Observed {
    /// The interfaces that pods get addresses of, by their place.
    pub fn serving(&self) -> Vec<&NetworkInterface> {
        let mut serving: Vec<_> = self.interfaces.iter().filter(|i| i.serves_pods()).collect();
        serving.sort_by_key(|interface| interface.device());
        serving
    }

    /// How many interfaces are with the machine, others' included.
    pub fn attached(&self) -> usize {
        let attached = |interface: &&NetworkInterface| interface.attachment.is_some();
        self.interfaces.iter().filter(attached).count()
    }

    /// The one with this id.
    pub fn interface_mut(&mut self, id: &str) -> Option<&mut NetworkInterface> {
        self.interfaces
            .iter_mut()
            .find(|interface| interface.id == id)
    }
}

/// How many pods a range serves.
pub fn size(range: &Ipv4Net) -> usize {
    1 << (32 - range.prefix_len())
}

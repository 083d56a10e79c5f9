use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::Selector;

/// A named pool of pod addresses: an `IPPool` of `sealane.io/v1alpha1`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolNet {
    /// `.metadata.name`
    pub name: String,
    /// `.metadata.resourceVersion`: a write says which state it was decided from.
    pub resource_version: String,
    /// `.metadata.creationTimestamp` in seconds since 1970: of two that overlap the older one counts.
    pub created: i64,
    /// It is being deleted and gives out nothing more.
    pub deleting: bool,
    /// Its finalizer keeps it until no node has a block of it.
    pub kept: bool,
    /// `.spec.ranges`
    pub ranges: Vec<IpNet>,
    /// `.spec.blockSizes`: the prefix length of what a node gets at a time.
    pub block_sizes: BlockSizes,
    /// `.spec.namespaceSelector`: by the labels of the pod's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Selector>,
    /// `.spec.podSelector`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<Selector>,
    /// `.metadata.generation`: which version of the spec this is.
    #[serde(default)]
    pub generation: i64,
    /// `.status.conditions` of type `Ready`, as agents have written it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<PoolCondition>,
    /// `.status.blocks`, by node.
    #[serde(default)]
    pub blocks: BTreeMap<String, Vec<IpNet>>,
    /// What of its spec cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

/// Whether pods get addresses of a pool, and if not, why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolCondition {
    /// They do.
    pub ready: bool,
    /// In one word.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Of the spec that was looked at.
    pub generation: i64,
    /// When it became so, in Kubernetes' form; not known before it is written.
    pub since: String,
}

impl PoolCondition {
    /// Whether it says the same, whenever it became so.
    pub fn says(&self, other: &Self) -> bool {
        let words = |c: &Self| (c.ready, c.reason.clone(), c.message.clone(), c.generation);
        words(self) == words(other)
    }
}

/// Prefix lengths of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockSizes {
    /// 28 leaves 16 addresses.
    pub ipv4: u8,
    /// 122 leaves 64 addresses.
    pub ipv6: u8,
}

impl Default for BlockSizes {
    fn default() -> Self {
        Self {
            ipv4: 28,
            ipv6: 122,
        }
    }
}

impl PoolNet {
    /// Whether pods get addresses of it by their labels or their namespace's, without asking.
    pub fn selects(&self) -> bool {
        self.namespaces.is_some() || self.pods.is_some()
    }

    /// The blocks of a node.
    pub fn blocks_of(&self, node: &str) -> &[IpNet] {
        self.blocks.get(node).map_or(&[], Vec::as_slice)
    }
}

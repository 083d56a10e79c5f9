use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::ObjectName;

/// What the network needs to know of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodNet {
    /// `.metadata.namespace` and `.metadata.name`
    pub name: ObjectName,
    /// `.metadata.uid`: a pod that is deleted and made again keeps its name and changes this.
    pub uid: String,
    /// `.spec.nodeName`, empty while the pod is not scheduled.
    pub node_name: String,
    /// `.spec.hostNetwork`: the pod uses its node's namespace and has no address of its own.
    pub host_network: bool,
    /// `.status.phase` is `Succeeded` or `Failed`: no container will run again.
    pub finished: bool,
    /// `.status.podIPs`, in their order; empty until the pod has a network.
    #[serde(rename = "podIPs")]
    pub pod_ips: Vec<IpAddr>,
    /// `.metadata.labels`, which pools of addresses select by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Those of `.metadata.annotations` that begin with `sealane.io/`, and of [`crate::bandwidth`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl PodNet {
    /// Whether the pod holds, or may still get, an address of its node's subnet.
    pub fn needs_address(&self) -> bool {
        !self.host_network && !self.finished
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_finished_pod_nor_one_on_its_nodes_network_needs_an_address() {
        let running = PodNet {
            name: ObjectName::new("default", "a"),
            uid: "u".into(),
            node_name: "node-1".into(),
            ..PodNet::default()
        };
        let finished = PodNet {
            finished: true,
            ..running.clone()
        };
        let host = PodNet {
            host_network: true,
            ..running.clone()
        };
        assert!(running.needs_address());
        assert!(!finished.needs_address());
        assert!(!host.needs_address());
    }
}

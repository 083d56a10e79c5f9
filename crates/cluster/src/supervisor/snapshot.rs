//! What the supervisor knows, as it tells it on its socket.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// One line on the supervisor's socket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The supervisor's process id.
    pub pid: i32,
    /// Version of the program.
    pub version: String,
    /// Whether the API answers.
    pub api: bool,
    /// The processes that it looks after.
    pub processes: Vec<ProcessState>,
    /// The nodes of the plan, as the API shows them.
    pub nodes: Vec<NodeState>,
}

/// One process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessState {
    /// Name of its log.
    pub role: String,
    /// Its process id, while it runs.
    pub pid: Option<i32>,
    /// When it started, in milliseconds since 1970.
    pub started_ms: Option<u64>,
    /// How often it has been started again.
    pub restarts: u32,
    /// How it ended, the last time.
    pub last_end: Option<String>,
}

/// One node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    /// Its name.
    pub name: String,
    /// Whether its condition `Ready` is true.
    pub ready: bool,
    /// Why not.
    pub reason: Option<String>,
    /// Subnets of its pods to which this machine has routes.
    pub routed: Vec<IpNet>,
}

impl Snapshot {
    /// Whether the cluster is what `up` promises: the API answers, each node is
    /// ready, and this machine reaches each node's pods.
    pub fn is_ready(&self) -> bool {
        self.api && !self.nodes.is_empty() && self.nodes.iter().all(NodeState::is_ready)
    }
}

impl NodeState {
    fn is_ready(&self) -> bool {
        self.ready && !self.routed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_the_api_and_every_node_and_its_route() {
        let node = NodeState {
            name: "node-1".to_owned(),
            ready: true,
            reason: None,
            routed: vec!["10.244.0.0/24".parse().unwrap()],
        };
        let ready = Snapshot {
            api: true,
            nodes: vec![node.clone(); 2],
            ..Snapshot::default()
        };
        assert!(ready.is_ready());
        let mut changed = ready.clone();
        changed.api = false;
        assert!(!changed.is_ready());
        let mut changed = ready.clone();
        changed.nodes[1].ready = false;
        assert!(!changed.is_ready());
        let mut changed = ready.clone();
        changed.nodes[0].routed.clear();
        assert!(!changed.is_ready());
        assert!(
            !Snapshot {
                api: true,
                ..Snapshot::default()
            }
            .is_ready()
        );
    }
}

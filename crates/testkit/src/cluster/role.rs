//! The supervised processes of a cluster.

use std::fs;

use serde_json::Value;

use super::Cluster;
use crate::deadline::{SOON, eventually};
use crate::process::Process;

/// One of the supervised processes of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Starts the others and starts them again.
    Supervisor,
    /// The embedded Kubernetes API.
    ApiServer,
    /// Controllers and scheduler.
    Controllers,
    /// The kubelet's part on a node.
    Node(u32),
    /// The network of a node.
    Agent(u32),
    /// What keeps the DNS server of a node.
    Dns(u32),
}

impl Role {
    /// The name of its pid file and log.
    pub fn file_stem(self) -> String {
        match self {
            Self::Supervisor => "supervisor".to_owned(),
            Self::ApiServer => "apiserver".to_owned(),
            Self::Controllers => "controllers".to_owned(),
            Self::Node(number) => format!("node-{number}"),
            Self::Agent(number) => format!("agent-node-{number}"),
            Self::Dns(number) => format!("dns-node-{number}"),
        }
    }
}

impl Cluster {
    /// A supervised process, as its pid file names it and /proc confirms.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn process(&self, role: Role) -> Result<Process, String> {
        let path = self
            .run_dir()
            .join("pids")
            .join(format!("{}.json", role.file_stem()));
        let text = fs::read_to_string(&path)
            .map_err(|error| format!("read {}: {error}", path.display()))?;
        let entry: Value = serde_json::from_str(&text)
            .map_err(|error| format!("read {}: {error}", path.display()))?;
        let pid = entry["pid"].as_i64().and_then(|pid| pid.try_into().ok());
        let process = pid
            .and_then(Process::look)
            .ok_or_else(|| format!("{role:?} does not run ({text})"))?;
        if entry["start_time"] == process.start_time {
            Ok(process)
        } else {
            Err(format!("{text} is another's id: {process:?}"))
        }
    }

    /// All processes of a node: its own two, its shims, and whatever runs in its pods.
    pub fn processes_on(&self, node: u32) -> Vec<Process> {
        let top = format!("sealane/{}/node-{node}/", self.name());
        let own = [Role::Node(node), Role::Agent(node)];
        let own = own.into_iter().filter_map(|role| self.process(role).ok());
        let in_pods = Process::all()
            .into_iter()
            .filter(|process| process.cgroups.contains(&top));
        own.chain(in_pods).collect()
    }

    /// Kills a supervised process and waits until its successor runs.
    #[track_caller]
    pub fn kill9(&self, role: Role) -> Process {
        let before = self.process(role).unwrap_or_else(|error| panic!("{error}"));
        before.kill9();
        eventually(SOON, &format!("{role:?} is started again"), || {
            let now = self.process(role)?;
            if now == before {
                Err("the killed one still runs".to_owned())
            } else {
                Ok(now)
            }
        })
    }
}

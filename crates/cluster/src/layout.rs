//! Where a cluster keeps its files.
//!
//! ```text
//! STATE = /var/lib/sealane/NAME, or --state-dir      RUN = /run/sealane/NAME
//!   cluster.json      the plan, written first          lock               one up or down at a time
//!   kubeconfig        the administrator's              state -> STATE     so that --name finds it
//!   kubeconfigs/      one for each role                supervisor.sock    status, a line a change
//!   pki/              authority, certificates, keys    pids/ROLE.json     who runs
//!   apiserver/        the store                        ROLE/debug.sock    /debug of cluster-wide roles
//!   nodes/node-N/     cni/, agent/, dns/, pods/        node-N/            a node's sockets
//!   images/           the image store, unless STATE is in the default place: see below
//!   logs/ROLE.log     what each process says
//! ```
//!
//! STATE survives a reboot, RUN does not (it is on a tmpfs), and that is the
//! point: what is in RUN describes processes and kernel objects, which do not
//! survive either.
//!
//! Images are the machine's, in `/var/lib/sealane/images`: a cluster is made and removed in a
//! second, and what was imported for it should not have to be imported again. Only a cluster whose
//! state is elsewhere has images of its own, so that everything of it is in one place.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::plan::ClusterName;

/// Where clusters keep their state by default.
pub const STATE_ROOT: &str = "/var/lib/sealane";
/// Where clusters with their state in the default place keep images, all in one store.
pub const IMAGES: &str = "/var/lib/sealane/images";
/// What stands beside the clusters' states and so cannot be the name of one: images, and the default
/// folders of an agent and of a DNS server without a cluster, and of stand-alone bridges.
pub const NO_CLUSTERS: [&str; 4] = ["images", "agent", "dns", "bridge"];
/// Where clusters keep what does not survive a reboot.
pub const RUN_ROOT: &str = "/run/sealane";

/// Behind it stands the number of a network namespace.
const FORWARDING: &str = ".forwarding-";

/// The paths of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The cluster.
    pub name: ClusterName,
    /// The state directory, absolute.
    pub state: PathBuf,
    /// The run directory.
    pub run: PathBuf,
    /// What clusters of this machine share and does not survive a reboot.
    pub shared: PathBuf,
}

impl Layout {
    /// The paths of a cluster that keeps its state in `state`.
    pub fn new(name: ClusterName, state: PathBuf) -> Self {
        let shared = PathBuf::from(RUN_ROOT);
        let run = shared.join(name.as_str());
        Self {
            name,
            state,
            run,
            shared,
        }
    }

    /// The paths of a cluster: with the state directory that was given, else the
    /// one that the running cluster has, else the default one.
    ///
    /// # Errors
    /// When the given directory's path cannot be made absolute.
    pub fn find(name: &ClusterName, state_dir: Option<&Path>) -> io::Result<Self> {
        let state = match state_dir {
            Some(given) => std::path::absolute(given)?,
            None => {
                let link = Path::new(RUN_ROOT).join(name.as_str()).join("state");
                fs::read_link(link).unwrap_or_else(|_| Path::new(STATE_ROOT).join(name.as_str()))
            }
        };
        Ok(Self::new(name.clone(), state))
    }

    /// The plan, and the mark of a directory that is ours.
    pub fn cluster_file(&self) -> PathBuf {
        self.state.join("cluster.json")
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.state.join("kubeconfig")
    }

    /// A role's kubeconfig.
    pub fn role_kubeconfig(&self, role: &str) -> PathBuf {
        self.state
            .join("kubeconfigs")
            .join(format!("{role}.kubeconfig"))
    }

    /// Certificates and keys.
    pub fn pki(&self) -> PathBuf {
        self.state.join("pki")
    }

    /// A certificate of [`Layout::pki`].
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.pki().join(format!("{name}.crt"))
    }

    /// A key of [`Layout::pki`].
    pub fn key(&self, name: &str) -> PathBuf {
        self.pki().join(format!("{name}.key"))
    }

    /// The API server's own directory.
    pub fn apiserver_dir(&self) -> PathBuf {
        self.state.join("apiserver")
    }

    /// Logs of the cluster's processes.
    pub fn logs(&self) -> PathBuf {
        self.state.join("logs")
    }

    /// A process' log.
    pub fn log(&self, role: &str) -> PathBuf {
        self.logs().join(format!("{role}.log"))
    }

    /// The image store: the machine's, which outlives clusters, or the cluster's own where the
    /// state is in a place of its own.
    pub fn images(&self) -> PathBuf {
        if self.state.parent() == Some(Path::new(STATE_ROOT)) {
            return PathBuf::from(IMAGES);
        }
        self.state.join("images")
    }

    /// A node's state.
    pub fn node_state(&self, node: &str) -> PathBuf {
        self.state.join("nodes").join(node)
    }

    /// A node's sockets.
    pub fn node_run(&self, node: &str) -> PathBuf {
        self.run.join(node)
    }

    /// Points to the state directory.
    pub fn state_link(&self) -> PathBuf {
        self.run.join("state")
    }

    /// Where the supervisor tells its status.
    pub fn supervisor_socket(&self) -> PathBuf {
        self.run.join("supervisor.sock")
    }

    /// A process' identity.
    pub fn pid_file(&self, role: &str) -> PathBuf {
        self.pids().join(format!("{role}.json"))
    }

    /// Identities of all processes.
    pub fn pids(&self) -> PathBuf {
        self.run.join("pids")
    }

    /// The debug socket of a role that belongs to no node, in a directory of the
    /// role's own, since it may write nowhere else.
    pub fn debug_socket(&self, role: &str) -> PathBuf {
        self.run.join(role).join("debug.sock")
    }

    /// Names of the other clusters that are there, or are being made.
    pub fn others(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.shared).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.') && name != self.name.as_str())
            .collect();
        names.sort();
        names
    }

    /// Held while ranges and names are chosen, so that two clusters never choose the same.
    pub fn machine_lock(&self) -> PathBuf {
        self.shared.join(".lock")
    }

    /// Who needs this machine to forward, and how it was before, in the network namespace of this number.
    pub fn forwarding(&self, namespace: u64) -> PathBuf {
        self.shared.join(format!("{FORWARDING}{namespace}"))
    }

    /// Whether a path is one that [`Layout::forwarding`] gives for some namespace.
    pub fn is_forwarding(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(FORWARDING))
    }

    /// What a pod with this machine's file system must not see, beyond what it
    /// is never shown anyway.
    pub fn hidden(&self) -> Vec<PathBuf> {
        let mut paths = vec![PathBuf::from(STATE_ROOT), PathBuf::from(RUN_ROOT)];
        if !self.state.starts_with(STATE_ROOT) {
            paths.push(self.state.clone());
        }
        paths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_state_directory_is_made_absolute_and_hidden_from_pods() {
        let name = ClusterName::default();
        let layout = Layout::find(&name, Some(Path::new("some/where"))).unwrap();
        assert!(layout.state.is_absolute());
        assert!(layout.hidden().contains(&layout.state));
        assert_eq!(layout.images(), layout.state.join("images"));
        let default = Layout::new(name, PathBuf::from("/var/lib/sealane/sealane"));
        assert_eq!(default.images(), Path::new("/var/lib/sealane/images"));
        assert_eq!(default.hidden().len(), 2);
        assert_eq!(
            default.log("node-1"),
            Path::new("/var/lib/sealane/sealane/logs/node-1.log")
        );
    }
}

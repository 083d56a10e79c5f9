//! What holds for every pod of this node, as the flags say it.

use sealane_runtime::LogLimits;

use crate::options::Options;
use crate::seccomp::Profiles;

/// What holds for every pod of this node.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Filters of system calls.
    pub seccomp: Profiles,
    /// How much of a container's output is kept.
    pub logs: LogLimits,
    /// Processes and threads of a pod.
    pub pod_max_pids: Option<u64>,
    /// Kernel settings that pods may choose besides the safe ones.
    pub unsafe_sysctls: Vec<String>,
}

impl Rules {
    /// What the flags say.
    pub fn new(options: &Options) -> Self {
        let flags = &options.pods;
        Self {
            seccomp: Profiles {
                dir: options.state_dir.join("seccomp"),
                by_default: flags.seccomp_default,
            },
            logs: LogLimits {
                max_bytes: flags.container_log_max_size,
                max_files: flags.container_log_max_files,
            },
            pod_max_pids: u64::try_from(flags.pod_max_pids)
                .ok()
                .filter(|pids| *pids > 0),
            unsafe_sysctls: flags.allowed_unsafe_sysctls.clone(),
        }
    }
}

//! What the node process asks of a shim: a pod's sandbox, its containers, and
//! commands to run inside them.
//!
//! These types travel as JSON, over the shim's socket and in `sandbox.json` of
//! the pod's directory, so that a person can read what was asked.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::image::Image;
use crate::seccomp::Seccomp;

/// The pod's part that outlives its containers: namespaces, `/dev/shm`, cgroup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// UID of the Pod object.
    pub pod_uid: String,
    /// Namespace of the Pod object.
    pub namespace: String,
    /// Name of the Pod object.
    pub name: String,
    /// Host name inside the pod; empty keeps the one of the caller.
    pub hostname: String,
    /// Directory of the pod: logs, exit records, and whatever else the caller
    /// keeps there.
    pub dir: PathBuf,
    /// Path of the shim's socket, at most 107 bytes.
    pub socket: PathBuf,
    /// Cgroup of the pod, relative to the mount point of each hierarchy.
    pub cgroup: PathBuf,
    /// Share the network namespace of the caller instead of having one.
    #[serde(default)]
    pub host_network: bool,
    /// Share the PID namespace of the caller: containers see this machine's
    /// processes. They outlive a shim that is killed, until [`crate::reset`].
    #[serde(default)]
    pub host_pid: bool,
    /// Share the IPC namespace of the caller, and its `/dev/shm`.
    #[serde(default)]
    pub host_ipc: bool,
    /// The containers share one PID namespace, in which none of them is the first.
    #[serde(default)]
    pub share_processes: bool,
    /// There will be mounts that follow this machine's, see [`Propagation`].
    #[serde(default)]
    pub host_mounts: bool,
    /// What all containers together may use.
    #[serde(default)]
    pub limits: Limits,
    /// Settings of the pod's namespaces, by name such as `net.ipv4.tcp_syncookies`; the caller
    /// knows which ones are the namespaces' own.
    #[serde(default)]
    pub sysctls: Vec<(String, String)>,
}

impl SandboxSpec {
    /// The pod as `kubectl` writes it: `namespace/name`.
    pub fn pod(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// One attempt to run one container of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Name of the container within its pod, a DNS label.
    pub name: String,
    /// 0 for the first start, one more for each restart.
    pub attempt: u32,
    /// Root file system and default command.
    pub image: Image,
    /// Replaces the image's entry point when not empty.
    #[serde(default)]
    pub command: Vec<String>,
    /// Arguments after the command or entry point.
    #[serde(default)]
    pub args: Vec<String>,
    /// Environment; of two equal names the later one counts.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// Working directory inside the container; made when absent. Default `/`.
    #[serde(default)]
    pub working_dir: Option<PathBuf>,
    /// Bind mounts into the container.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// Keep standard input open for those who attach; without, it is at its end from the start.
    #[serde(default)]
    pub stdin: bool,
    /// Input ends with the first who attaches to it. Of no effect on a terminal.
    #[serde(default)]
    pub stdin_once: bool,
    /// Run on a terminal of its own, which is then the one output.
    #[serde(default)]
    pub tty: bool,
    /// Cgroup limits.
    #[serde(default)]
    pub limits: Limits,
    /// User id; 0 when absent.
    #[serde(default)]
    pub user: Option<u32>,
    /// Group id; 0 when absent.
    #[serde(default)]
    pub group: Option<u32>,
    /// Supplementary group ids.
    #[serde(default)]
    pub groups: Vec<u32>,
    /// The groups that an image of layers gives its user do not count.
    #[serde(default)]
    pub strict_groups: bool,
    /// Mount the root file system read-only.
    #[serde(default)]
    pub read_only_root: bool,
    /// Changes to the default set of capabilities.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// Leave out `no_new_privs`, so that set-user-ID programs work.
    #[serde(default)]
    pub allow_privilege_escalation: bool,
    /// All capabilities and devices, nothing masked or read-only.
    #[serde(default)]
    pub privileged: bool,
    /// Which system calls its processes may make.
    #[serde(default)]
    pub seccomp: Seccomp,
    /// How much of its output is kept.
    #[serde(default)]
    pub log: LogLimits,
}

impl ContainerSpec {
    /// A container with the image's own command and no further wishes.
    pub fn new(name: impl Into<String>, attempt: u32, image: Image) -> Self {
        Self {
            name: name.into(),
            attempt,
            image,
            command: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
            working_dir: None,
            mounts: Vec::new(),
            stdin: false,
            stdin_once: false,
            tty: false,
            limits: Limits::default(),
            user: None,
            group: None,
            groups: Vec::new(),
            strict_groups: false,
            read_only_root: false,
            capabilities: Capabilities::default(),
            allow_privilege_escalation: false,
            privileged: false,
            seccomp: Seccomp::default(),
            log: LogLimits::default(),
        }
    }
}

/// A directory or file of this machine shown inside a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Path on this machine.
    pub source: PathBuf,
    /// The part of it that is shown, made when absent. Symbolic links in it lead nowhere else.
    #[serde(default)]
    pub sub_path: Option<PathBuf>,
    /// Absolute path inside the container; made when absent.
    pub target: PathBuf,
    /// Writes are refused.
    #[serde(default)]
    pub read_only: bool,
    /// What becomes of mounts that are made in it later. Anything but `None` needs
    /// [`SandboxSpec::host_mounts`].
    #[serde(default)]
    pub propagation: Propagation,
}

/// Whether mounts below a volume that are made later show on the other side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Propagation {
    /// On neither.
    #[default]
    None,
    /// This machine's in the container.
    FromHost,
    /// Each one's on the other.
    Both,
}

/// What a container may use. Absent means unlimited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory in bytes; beyond it a process of the container is killed.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// CPU time in thousandths of a CPU, enforced.
    #[serde(default)]
    pub cpu_millis: Option<u64>,
    /// CPU request in thousandths of a CPU: the weight under contention.
    #[serde(default)]
    pub cpu_shares_millis: Option<u64>,
    /// Processes and threads.
    #[serde(default)]
    pub pids: Option<u64>,
}

/// How much is kept of what an attempt of a container says. The default is the kubelet's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLimits {
    /// Length in bytes at which a file is put aside and a new one begun.
    pub max_bytes: u64,
    /// Files, at least two: the one that is written, and the newest of those put aside.
    pub max_files: u32,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            max_bytes: 10 << 20,
            max_files: 5,
        }
    }
}

/// Changes to the default set of capabilities, by name with or without `CAP_`;
/// `ALL` stands for all. `add` wins over `drop`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Granted beyond the default set.
    #[serde(default)]
    pub add: Vec<String>,
    /// Taken from the default set.
    #[serde(default)]
    pub drop: Vec<String>,
}

/// A further command inside a running container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecSpec {
    /// Name of the container.
    pub container: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Added to the container's environment.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// Give it a controlling terminal.
    #[serde(default)]
    pub tty: bool,
}

/// To follow a running container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachSpec {
    /// Name of the container.
    pub container: String,
    /// Write to its standard input, if it keeps one open.
    #[serde(default)]
    pub stdin: bool,
    /// Read its standard output, from now on.
    #[serde(default)]
    pub stdout: bool,
    /// Read its error output, from now on; a terminal has none.
    #[serde(default)]
    pub stderr: bool,
}

/// Log of one attempt of a container of the pod whose directory is `dir`, in
/// the format of the container runtime interface. What was put aside because it
/// had become too long is beside it, see [`log_files`].
pub fn log_path(dir: &Path, container: &str, attempt: u32) -> PathBuf {
    dir.join("logs")
        .join(container)
        .join(format!("{attempt}.log"))
}

/// The files of an attempt's log that have been put aside, oldest first: `ATTEMPT.log.NUMBER`,
/// numbered from 1. The one that is written, at [`log_path`], is not among them.
///
/// # Errors
/// When their directory cannot be read; one that does not exist holds none.
pub fn log_files(dir: &Path, container: &str, attempt: u32) -> io::Result<Vec<PathBuf>> {
    let current = log_path(dir, container, attempt);
    let entries = match current.parent().map(fs::read_dir) {
        Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Some(entries) => entries?,
        None => return Ok(Vec::new()),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        if let Some((number, Some(rotation))) = name.to_str().and_then(log_name)
            && number == attempt
        {
            found.push((rotation, current.with_file_name(&name)));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Attempt and, for a file that was put aside, number of a log's file.
pub(crate) fn log_name(name: &str) -> Option<(u32, Option<u64>)> {
    let (attempt, rest) = name.split_once(".log")?;
    let rotation = match rest {
        "" => None,
        rest => Some(rest.strip_prefix('.')?.parse().ok()?),
    };
    Some((attempt.parse().ok()?, rotation))
}

/// Exit record of one attempt of a container of the pod whose directory is `dir`.
pub fn exit_path(dir: &Path, container: &str, attempt: u32) -> PathBuf {
    dir.join("exits")
        .join(format!("{container}.{attempt}.json"))
}

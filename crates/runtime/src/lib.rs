//! Task: the pod shim, which holds a pod's namespaces and parents its containers,
//! and the node process's handle of it.
//!
//! ```text
//! sealane node ── Launcher::create ──> starts ──> sealane shim NAMESPACE/NAME DIR
//!      │                                            │  holds net, ipc, uts, mnt, pid of the pod
//!      └─ Shim: start, exec, attach, state, events ─┤  (a unix socket; adopt() after a restart)
//!                                                   ├─ container: its own pid, mnt, cgroup
//!                                                   └─ container: …
//!                                        DIR/logs/CONTAINER/ATTEMPT.log, DIR/exits/CONTAINER.ATTEMPT.json
//! ```
//!
//! Three layers: `client` (async, in the node process), `shim` (one poll loop
//! in a process of its own) and `init` (what a child does between `fork` and
//! `exec`). The words between them are in `spec`, `state` and `protocol`.
//!
//! Needs root and Linux 5.12 or newer (`mount_setattr`), either version of
//! cgroups or both. It does not need `CAP_SYS_RESOURCE`.
#![warn(missing_docs)]

mod cgroup;
mod client;
mod error;
mod failure;
mod image;
mod init;
mod protocol;
pub mod seccomp;
mod secrets;
mod shim;
mod spec;
mod state;
mod sys;
mod timestamp;
mod wire;

pub use cgroup::{Meters, Usage};
pub use client::{Attach, Exec, ExecIo, Launcher, Shim, adopt, cleanup, create, reset};
pub use error::{Error, Result};
pub use image::{Image, ImageError, Layers, resolve_image, warm_up};
pub use shim::shim_main;
pub use spec::{
    AttachSpec, Capabilities, ContainerSpec, ExecSpec, Limits, LogLimits, Mount, Propagation,
    SandboxSpec, exit_path, log_files, log_path,
};
pub use state::{ContainerState, Exit, ExitRecord, ShimEvent, ShimState, Started};

//! Task: the kubelet's part on one node of the single-machine cluster.
//!
//! Pods that the scheduler has put on this node are run, their state is told to
//! the API, and their logs and `exec` are served to the API server. The decision is
//! pure code ([`decide`], [`status`], and what they stand on); around it are one
//! worker for each pod and a few tasks for the node:
//!
//! ```text
//!                       ┌──────────────── API server ────────────────┐
//!                watch pods │        watch / tell Node, Lease │       │ logs, exec (TLS)
//!                        dispatch                        heartbeat   server
//!        worker (one per pod) ──> publisher ──> status        ^       │
//!     decide │ sandbox, containers                         network    │
//!   shim (one per pod, outlives us)  CNI plugin          (inotify)    │
//!            └────────────── logs, exec ──────────────────────────────┘
//! ```
//!
//! Whatever is needed to go on after a `kill -9` is in the pod's folder
//! ([`folder`]); what a running pod did meanwhile is learnt from its shim
//! ([`observe`]). There is no other state.

mod admission;
mod adopt;
mod backoff;
mod capabilities;
mod conditions;
mod container_spec;
mod decide;
mod desired;
mod dispatch;
mod downward;
mod env;
mod etc;
mod folder;
mod heartbeat;
mod images;
mod inotify;
mod inside;
mod logs;
mod machine;
mod messages;
mod network;
mod node;
mod node_status;
mod observe;
mod options;
mod probe;
mod publish;
mod qos;
mod quantity;
mod record;
mod review;
mod rules;
mod run;
mod sandbox;
mod seccomp;
mod server;
mod sources;
mod status;
mod summary;
mod sysctls;
mod tokens;
mod usage;
mod volumes;
mod worker;

pub use options::Options;
pub use run::run;

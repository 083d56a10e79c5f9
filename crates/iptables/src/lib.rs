//! Programs: Services as chains of iptables, as kube-proxy writes them.
//!
//! ```text
//! ServicePorts ─ compile ─► Program ─┐
//!                                    ├─ diff ─► what iptables-restore --noflush reads
//! iptables-save ─ read ───► Loaded ──┘
//! ```
//!
//! For those who read `iptables-save` and have tools that expect what
//! kube-proxy puts there: names, hashes, comments and order are kube-proxy's
//! (Kubernetes 1.28 and newer), so that each chain of a take-over is found to
//! be right already, and stays. The path of a packet to a Service:
//!
//! ```text
//! nat PREROUTING, OUTPUT ─► KUBE-SERVICES ─► KUBE-SVC-… (cluster IP) ─► KUBE-SEP-… ─► DNAT
//!                                 │     └──► KUBE-FW-…, KUBE-EXT-… (from outside) ─┘ or KUBE-SVL-…
//!                                 └─► KUBE-NODEPORTS ─► KUBE-EXT-…
//! nat POSTROUTING ─► KUBE-POSTROUTING: masquerade what KUBE-MARK-MASQ has marked
//! filter: KUBE-SERVICES, KUBE-EXTERNAL-SERVICES refuse what has no endpoints
//! ```
//!
//! Rules are kept as the text that `iptables-save` prints for them, so that
//! what is meant and what is loaded can be compared without understanding
//! either: a chain is right when its text is. What is written to the kernel are
//! the chains that differ, whole, and a restart finds none.
//!
//! It costs what iptables costs: a connection is compared with one Service
//! after the other, and a new Service rewrites KUBE-SERVICES.
#![warn(missing_docs)]

mod compile;
mod diff;
mod names;
mod program;
mod rule;
mod saved;
mod variant;
pub mod walk;

pub use compile::{Choices, compile};
pub use diff::{Difference, diff, removal};
pub use names::{chain, endpoint_chain};
pub use program::{Program, Table};
pub use saved::Loaded;
pub use variant::{Variant, choose};

//! Takes off a node what is ours, and on request what kube-proxy has left.
//!
//! ```text
//! observe ─► Found ─ plan ─► steps, each printable ─ apply ─► what was done, what failed
//! ```
//!
//! Everything of ours carries a name or a number ([`sealane_net::names`]), so
//! nothing needs to be remembered to be removed, and nothing else is touched:
//! rules of others stay where they are, in the same tables too. Pods that run
//! keep their links, and the bridge and the plugin that they need, unless they
//! are asked for. Sysctls stay: nobody knows who else has come to rely on them.
//!
//! The tables of single-machine clusters (`sealane-up-…`) and of stand-alone
//! bridges (`sealane-br-…`) belong to those, and stay as well.

mod apply;
mod observe;
mod plan;
mod proxy;

pub use apply::apply;
pub use observe::{Found, Listing, observe};
pub use plan::{Asked, Step, plan};
pub use proxy::leftovers;

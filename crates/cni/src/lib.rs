//! Task: the CNI plugin, and the calls that a container runtime makes to a plugin.
//!
//! ```text
//! container runtime            plugin process              agent of the node
//! (invoke)        --exec-->    (plugin)      --socket-->   (sealane-agent)
//!   environment, stdin           Request, netns descriptor
//!   stdout           <--         Response          <--
//! ```
//!
//! * [`types`]: the words of the CNI specification, versions 0.3.1 to 1.1.0.
//! * [`plugin`]: the executable. It checks what it was given, opens the
//!   network namespace and hands both to the agent; it decides nothing. In
//!   mode `bridge` it needs no agent and does all of it itself.
//! * [`protocol`]: what plugin and agent say to each other.
//! * [`spool`]: DELs that wait for the agent.
//! * [`asked`]: addresses that a runtime or a pod's author asks for.
//! * [`invoke`]: the runtime's side, for any plugin, not only ours.
//!
//! The plugin is a process for each call, so its start is what an ADD costs:
//! [`plugin::main`] is synchronous and starts neither a runtime nor a parser
//! of command lines.

pub mod asked;
pub mod fuzzing;
pub mod invoke;
pub mod plugin;
pub mod protocol;
pub mod spool;
pub mod types;

//! Queries in, replies out.
//!
//! ```text
//! UDP   a thread for each socket: recvmmsg ─> Request ─> pipeline ─> sendmmsg
//!                                                          │ not at once
//! TCP   a task for each connection ───────> Request ─> pipeline ─> reply, in any order
//!
//! pipeline: limits ─> client's view ─> block of the Corefile ─> zone ─> forward
//! ```

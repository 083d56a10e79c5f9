//! The DNS server of a node, part by part.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod corpus;
mod pipeline;
mod probes;
mod serve;

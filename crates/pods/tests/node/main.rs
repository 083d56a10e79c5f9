//! A whole node against a fake API server: real shims, a fake CNI plugin.
//!
//! Needs root, since shims make namespaces and cgroups. The packets of pods are
//! not looked at here; the end-to-end tests of the workspace do that.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod certificates;
mod client;
mod fake_api;
mod harness;
mod spdy;

mod connections;
mod creation;
mod faults;
mod hardening;
mod hooks;
mod life;
mod logs;
mod probes;
mod registration;
mod serving;
mod values;

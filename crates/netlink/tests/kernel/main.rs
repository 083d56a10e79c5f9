//! The edge against the real kernel, compared with what `ip` and `nft` see.
//!
//! Needs root, iproute2 and nftables; without them these tests fail. Every
//! namespace that they make has the test's process id in its name and is
//! removed when its guard is dropped, so also when a test fails.

#![allow(
    clippy::unwrap_used,
    reason = "functions shared by tests panic as tests do"
)]

mod addresses;
mod alarm;
mod elements;
mod events;
mod links;
mod masquerade;
mod namespaces;
mod place;
mod programs;
mod routes;
mod rules;
mod services;
mod settings;
mod traces;
mod vxlan;

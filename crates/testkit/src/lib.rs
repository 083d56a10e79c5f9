//! Clusters and bare topologies for tests and benches, always cleaned up.
//!
//! A test says what it needs and what must hold:
//!
//! ```no_run
//! use sealane_testkit::{Cluster, Pod, UpOptions};
//!
//! let cluster = Cluster::up(UpOptions::default());          // two nodes, no internet
//! cluster.start(&[Pod::echo("a").on_node(1), Pod::echo("b").on_node(2)]);
//! let b = cluster.pod_ip("b");
//! let seen = cluster.exec("a", ["curl", "-s", &format!("http://{b}:8080/hostname")]).succeeds();
//! assert_eq!(seen.trim(), "b");
//! drop(cluster);                                            // `sealane down`, and nothing left
//! ```
//!
//! | module | what it gives a test |
//! |---|---|
//! | [`binary`] | the `sealane` under test, found or refused loudly |
//! | [`cluster`], [`pod`] | a single-machine cluster through that binary and `kubectl`, torn down and checked on drop |
//! | [`api`], [`mod@kubectl`] | the API as a program asks it, and as a user does |
//! | [`history`] | every version of every object of a collection, in order |
//! | [`chance`] | random choices that can be repeated |
//! | [`shared`] | one cluster for several tests of a file, gone with the last of them |
//! | [`report`] | what is printed when a test fails: the lines to debug with, the state, the ends of all logs; times |
//! | [`namespace`], [`topology`] | network namespaces, veths and bridges without a cluster; code and commands inside them |
//! | [`cni`] | a CNI plugin called as a container runtime does |
//! | [`capture`], [`packet`] | the packets seen at an interface, parsed, from before the first one is sent |
//! | [`frame`] | frames made by hand, sent and received whole |
//! | [`datagram`] | UDP datagrams that are not cut up |
//! | [`dns`] | questions of DNS as bytes |
//! | [`stream`] | a TCP stream that notices when it is cut or stalls |
//! | [`leftovers`] | everything that a cluster may leave in the kernel and on disk, compared before and after |
//! | [`machine`] | this machine shared with the clusters of other tests, or alone |
//! | [`folder`] | a folder that goes with the test |
//! | [`process`] | what /proc tells about a process |
//! | [`command`], [`deadline`] | a command with its output and a time limit; waiting for a condition, never for a time |
//!
//! # How it fails
//!
//! The functions here panic instead of returning errors: in a test an error has one taker, the
//! person who reads the failure. Each names the caller's line (`#[track_caller]`), what was
//! expected and what was seen. Where namespaces cannot be made, or the binary or `kubectl` is
//! missing, tests fail and say what to do; none passes by skipping.
//!
//! # What runs beside what
//!
//! `cargo test` runs the tests of a file in parallel and each has a cluster of its own name, so
//! clusters live side by side. A test that compares the whole machine before and after takes it for itself
//! with [`machine::Machine::alone`].

pub mod api;
pub mod binary;
pub mod capture;
pub mod chance;
pub mod cluster;
pub mod cni;
pub mod command;
pub mod datagram;
pub mod deadline;
pub mod dns;
pub mod folder;
pub mod frame;
pub mod history;
pub mod kubectl;
pub mod leftovers;
pub mod machine;
pub mod namespace;
pub mod packet;
pub mod pod;
pub mod process;
pub mod report;
pub mod shared;
pub mod stream;
pub mod topology;

pub use api::Api;
pub use capture::Capture;
pub use chance::Chance;
pub use cluster::{Cluster, UpOptions};
pub use command::{Finished, run};
pub use deadline::{LATER, SOON, eventually};
pub use folder::Folder;
pub use history::History;
pub use leftovers::Leftovers;
pub use machine::Machine;
pub use namespace::Namespace;
pub use packet::{Inner, Packet, Protocol};
pub use pod::{Container, Pod};
pub use shared::Shared;
pub use stream::Stream;
pub use topology::Topology;

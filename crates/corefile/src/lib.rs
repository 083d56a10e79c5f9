//! Decisions: what a Corefile says, and what its `hosts`, `rewrite`, `template`, `acl` and `log` decide.
//!
//! ```text
//! text ── lex ── tree ── read ──► Config { servers, notices }      or Faults, each with its line
//!        words  blocks  plugins
//! ```
//!
//! The file format is CoreDNS's, since that is what clusters have: a Corefile is
//! read as it is. What it says that we do not do is no error but a [`Notice`]
//! with the plugin, the option, the line and what follows, and the rest is in
//! force; a cluster whose Corefile turns on tracing should have names all the
//! same. What cannot be meant (a plugin that does not exist, a TTL that is no
//! number) is a [`Fault`], and then nothing of the file is used, so that half a
//! change never is. All faults are told at once.
//!
//! Nothing here does IO: files and variables are asked of a [`Source`].
#![warn(missing_docs)]

mod acl;
mod config;
mod fault;
#[doc(hidden)]
pub mod fuzzing;
mod hosts;
mod lex;
mod log;
mod pattern;
mod plugins;
mod read;
mod rewrite;
mod source;
mod template;
mod tree;
mod write;
mod zones;

pub use acl::{Access, Acl};
pub use config::{
    Cache, Config, Fallthrough, Forward, Health, HealthCheck, Key, Kubernetes, PodNames, Policy,
    Prefetch, Reload, ServeStale, Server, Share, To,
};
pub use fault::{At, Fault, Faults, Notice};
pub use hosts::{Hosts, HostsFound};
pub use log::{Classes, Format, LogLine, LogRule};
pub use read::parse;
pub use rewrite::{Back, Rewrites, Rewritten};
pub use source::{Given, Source, glob};
pub use template::{TemplateAnswer, TemplateFound, Templates, TextRecord};

/// The Corefile that is used where nobody gives one: [`DEFAULT`] with the domain of the cluster.
#[must_use]
pub fn usual(domain: &str) -> String {
    DEFAULT.replace("cluster.local", domain)
}

/// The Corefile of a usual cluster.
pub const DEFAULT: &str = "\
.:53 {
    errors
    health {
        lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
        max_concurrent 1000
    }
    cache 30
    loop
    reload
    loadbalance
}
";

#[cfg(test)]
mod tests;

//! Task: names of the outside world.
//!
//! ```text
//!  thread that received a query                      tasks
//!  ── Resolver::cached ──► Cache ◄──────────────── put ──┐
//!       │ nothing there                                  │
//!       └─ Resolver::resolve ──► Flights ──► Exchange: Race decides who is asked when
//!             equal questions wait for one        │           attempt ── udp, tcp ──► upstreams
//!             answer                              └─ examine, keep: what of a reply is believed
//! ```
//!
//! One [`Resolver`] serves one server block of the configuration. What it may be asked at once, from any
//! thread, is [`Resolver::cached`]; whatever needs an upstream goes through [`Resolver::resolve`], which
//! always answers before a client in a pod gives up:
//!
//! - A second upstream is asked after a short silence of the first, and a third; a failure that is told has
//!   the next one asked at once ([`exchange`]).
//! - When nobody answers in time, an answer that has expired is given (RFC 8767), and else `SERVFAIL`, which
//!   is remembered for a moment (RFC 9520).
//!
//! Nothing grows without bound: answers that are kept by bytes, queries under way and sockets by number
//! ([`Forward::max_concurrent`]), what is waited for by time. A query beyond that is refused at once.
//!
//! What is decided is in modules without clock, socket or chance: [`cache`] below its locks,
//! [`exchange::Race`], [`upstream::Health`], [`upstream::order`], [`response`].
#![warn(missing_docs)]

mod cache;
mod chance;
mod exchange;
mod flights;
mod loops;
mod meters;
mod query;
mod resolv_conf;
mod resolver;
mod response;
mod settings;
mod upstream;

#[doc(hidden)]
pub mod fuzzing;

pub use query::{Query, Reply};
pub use resolver::{Resolver, Surroundings};
pub use settings::{
    CacheSettings, Forward, HealthCheck, Patience, Policy, PoolSettings, Prefetch, ServeStale,
    Settings, StaleMode, To,
};

//! Task: health, metrics and debug state of a daemon.
//!
//! Every daemon makes one [`Introspect`], gives it what can be seen of it, and
//! serves it:
//!
//! | path | unix socket | TCP | |
//! |---|---|---|---|
//! | `/healthz`, `/livez`, `/health` | yes | yes | 200 as long as the daemon's event loop turns |
//! | `/readyz`, `/ready` | yes | yes | 200, or 503 with a line for each check that fails |
//! | `/metrics` | yes | yes | Prometheus text |
//! | `/debug/config` | yes | no | what the daemon was told |
//! | `/debug/state`, `/debug/state/NAME` | yes | no | its tables, as JSON |
//! | `/debug/log` | yes | no | the log level; `PUT /debug/log?level=debug` changes it |
//!
//! `/health` and `/ready` are how CoreDNS calls them, where probes of DNS look.
//!
//! Debug paths stay on the socket, whose file permissions guard them: state
//! shows the whole cluster. TCP is where Kubernetes' probes and Prometheus look.
//!
//! [`fetch()`] is the other end, for `sealane status` and tests. [`init_logging`]
//! lives here as well, since the level is changed here, and [`keep_small()`], which each daemon runs beside its work.
//!
//! The Prometheus client library was left out: counters, gauges and histograms are
//! two hundred lines, and its registry wants every label set declared as a type.

mod fetch;
mod histogram;
mod log;
mod metrics;
mod process;
mod registry;
mod serve;
mod small;

pub use fetch::{FetchError, Fetched, fetch};
pub use histogram::Histogram;
pub use log::{LogError, init_logging, log_level, set_log_level};
pub use metrics::{Counter, Gauge};
pub use registry::{Introspect, Readiness};
pub use serve::{Reply, ServeError, Served, bind_unix, serve_json};
pub use small::{keep_small, let_go};

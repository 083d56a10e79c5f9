//! What can be configured: the Corefile's `forward` and `cache` blocks as plain values.
//!
//! Defaults are CoreDNS's where a Corefile that says nothing relies on them. Some differ, each because
//! CoreDNS's own lets a name stall or fail that need not, or lets memory and sockets grow: queries at a
//! time are bounded; another upstream is asked after `SERVFAIL`,
//! `REFUSED` and `NOTIMP` and not only after silence; popular names are fetched before they expire;
//! an expired answer is given when nothing better can be had; and the most specific of several
//! `forward`s takes a name, not the first that fits.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use sealane_message::{Name, Rcode};

/// What one server block says about names of the outside world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The block's zones, for the labels of metrics.
    pub zones: Vec<Name>,
    /// Where queries go; the longest [`Forward::from`] that a name is in takes it.
    pub forwards: Vec<Forward>,
    /// Whether answers are kept, and how; nothing is kept without.
    pub cache: Option<CacheSettings>,
}

/// `forward FROM TO...` with its block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Names in this zone go there; the root means all.
    pub from: Name,
    /// Who is asked.
    pub to: Vec<To>,
    /// Names in these zones do not.
    pub except: Vec<Name>,
    /// Never by UDP.
    pub force_tcp: bool,
    /// Who is asked first.
    pub policy: Policy,
    /// Failures in a row after which an upstream is taken to be down; with 0 it never is.
    pub max_fails: u32,
    /// How an upstream that is down is asked whether it is back.
    pub health_check: HealthCheck,
    /// How long a connection is kept for the next query.
    pub expire: Duration,
    /// Queries under way at a time; what exceeds them is refused. Each has a socket or two.
    pub max_concurrent: usize,
    /// Further response codes after which another upstream is asked.
    pub failover: Vec<Rcode>,
    /// Whether nobody is asked, and the query fails at once, while all upstreams are down.
    pub failfast_all_unhealthy_upstreams: bool,
    /// How long to wait for whom.
    pub patience: Patience,
}

impl Default for Forward {
    fn default() -> Self {
        Self {
            from: Name::ROOT,
            to: Vec::new(),
            except: Vec::new(),
            force_tcp: false,
            policy: Policy::default(),
            max_fails: 2,
            health_check: HealthCheck::default(),
            expire: Duration::from_secs(10),
            max_concurrent: 1000,
            failover: Vec::new(),
            failfast_all_unhealthy_upstreams: false,
            patience: Patience::default(),
        }
    }
}

/// One `TO`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// A resolver.
    Address(SocketAddr),
    /// Those that a file in the form of `/etc/resolv.conf` names, as it is at any time.
    ResolvConf(PathBuf),
}

/// Who of several upstreams is asked first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Any.
    #[default]
    Random,
    /// Each in its turn.
    RoundRobin,
    /// Always the first that is not down.
    Sequential,
}

/// `health_check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// From the failure to the first probe; it doubles up to [`HealthCheck::SLOWEST`].
    pub interval: Duration,
    /// Whether recursion is asked for.
    pub recursion: bool,
    /// The name that is asked for, with type NS.
    pub name: Name,
}

impl HealthCheck {
    /// The longest time between two probes, unless the interval is longer.
    pub const SLOWEST: Duration = Duration::from_secs(8);
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(500),
            recursion: true,
            name: Name::ROOT,
        }
    }
}

/// How long to wait for whom. Resolvers in pods give up after 5 seconds; they hear from us before that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// From a query to its answer, whatever happens.
    pub deadline: Duration,
    /// At least so long before another upstream is asked as well.
    pub shortest: Duration,
    /// At most so long before another upstream is asked as well.
    pub longest: Duration,
    /// So long a client waits before it gets an answer that has expired (RFC 8767 §5).
    pub client: Duration,
    /// So long an answer is waited for, even when another upstream is asked meanwhile.
    pub answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(4),
            shortest: Duration::from_millis(30),
            longest: Duration::from_millis(400),
            client: Duration::from_millis(1800),
            answer: Duration::from_secs(3),
        }
    }
}

/// `cache` with its block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// Answers to names in these zones are kept; of all names when there are none.
    pub zones: Vec<Name>,
    /// For answers with records.
    pub success: PoolSettings,
    /// For names or types that do not exist.
    pub denial: PoolSettings,
    /// When popular names are fetched again before they expire.
    pub prefetch: Option<Prefetch>,
    /// Whether and how expired answers are given.
    pub serve_stale: Option<ServeStale>,
    /// How long `SERVFAIL` is kept (RFC 9520 §3.2), at most [`CacheSettings::LONGEST_SERVFAIL`].
    pub servfail: Duration,
}

impl CacheSettings {
    /// What RFC 9520 §3.2 allows.
    pub const LONGEST_SERVFAIL: Duration = Duration::from_secs(300);
    /// What one answer takes with what keeps it, about: turns a Corefile's number of answers into bytes.
    pub const BYTES_PER_ANSWER: usize = 400;
}

impl Default for CacheSettings {
    fn default() -> Self {
        let pool = |max_ttl| PoolSettings {
            bytes: 9984 * Self::BYTES_PER_ANSWER,
            max_ttl,
            min_ttl: Duration::from_secs(5),
        };
        Self {
            zones: Vec::new(),
            success: pool(Duration::from_secs(3600)),
            denial: pool(Duration::from_secs(1800)),
            prefetch: Some(Prefetch::default()),
            serve_stale: Some(ServeStale::default()),
            servfail: Duration::from_secs(5),
        }
    }
}

/// How much is kept and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// All answers together, with what keeps them.
    pub bytes: usize,
    /// TTLs above are lowered to it.
    pub max_ttl: Duration,
    /// TTLs below are raised to it.
    pub min_ttl: Duration,
}

/// `prefetch AMOUNT [[DURATION] [PERCENTAGE%]]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefetch {
    /// A name is popular when it was asked for so often,
    pub amount: u32,
    /// without a gap of this length.
    pub gap: Duration,
    /// It is fetched when this part of its TTL is left, in percent, or a second.
    pub percentage: u8,
}

impl Default for Prefetch {
    fn default() -> Self {
        Self {
            amount: 10,
            gap: Duration::from_secs(60),
            percentage: 10,
        }
    }
}

/// `serve_stale [DURATION] [REFRESH_MODE]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeStale {
    /// For so long after they have expired.
    pub within: Duration,
    /// Before or after upstreams are asked.
    pub mode: StaleMode,
}

impl Default for ServeStale {
    fn default() -> Self {
        Self {
            within: Duration::from_secs(3600),
            mode: StaleMode::Verified,
        }
    }
}

/// When an expired answer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StaleMode {
    /// When upstreams failed, or have not answered within the client response timer (RFC 8767 §5).
    Verified,
    /// At once; upstreams are asked meanwhile.
    Immediate,
}

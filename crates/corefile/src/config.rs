//! What a Corefile says, once it is known to be sound.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use sealane_message::{Kind, Name, Rcode};

use crate::acl::Acl;
use crate::fault::{At, Notice};
use crate::hosts::Hosts;
use crate::log::LogRule;
use crate::rewrite::Rewrites;
use crate::template::Templates;

/// A Corefile.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The server blocks, in their order.
    pub servers: Vec<Server>,
    /// What of it has no effect.
    pub notices: Vec<Notice>,
}

impl Config {
    /// The block that answers for a name at a port: of those whose zone is the name or above it,
    /// the one with the longest.
    #[must_use]
    pub fn server(&self, port: u16, name: &Name) -> Option<&Server> {
        let blocks = self.servers.iter();
        let found = blocks.filter_map(|server| Some((server, server.zone_of(port, name)?)));
        found
            .max_by_key(|(_, zone)| zone.len())
            .map(|(server, _)| server)
    }

    /// The ports that are named, each once.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        let keys = self.servers.iter().flat_map(|server| &server.keys);
        let mut ports: Vec<u16> = keys.map(|key| key.port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }
}

/// A server block: what is done with questions about some zones. Plugins act in a fixed order,
/// which is `CoreDNS`'s, not in the one in which they are written: acl, rewrite, template, hosts,
/// kubernetes, forward, whoami; and on the way back rewrite, loadbalance and log.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where it begins.
    pub at: At,
    /// For which zones, at which ports.
    pub keys: Vec<Key>,
    /// Plugin `errors`: failures are logged.
    pub errors: bool,
    /// Plugin `log`; the first rule that matches counts.
    pub log: Vec<LogRule>,
    /// Plugin `health`.
    pub health: Option<Health>,
    /// Plugin `ready`: its address.
    pub ready: Option<String>,
    /// Plugin `prometheus`: its address.
    pub prometheus: Option<String>,
    /// Plugin `bind`: addresses and names of links; none: all.
    pub bind: Vec<String>,
    /// Plugin `acl`.
    pub acl: Acl,
    /// Plugin `cache`.
    pub cache: Option<Cache>,
    /// Plugin `rewrite`.
    pub rewrites: Rewrites,
    /// Plugin `autopath`. It is done without it, too.
    pub autopath: bool,
    /// Plugin `template`.
    pub templates: Templates,
    /// Plugin `hosts`.
    pub hosts: Option<Hosts>,
    /// Plugin `kubernetes`.
    pub kubernetes: Option<Kubernetes>,
    /// Plugin `loop`: a forwarding loop is looked for.
    pub finds_loops: bool,
    /// Plugin `forward`; the one with the longest zone counts, unlike in `CoreDNS`, where it is the first.
    pub forwards: Vec<Forward>,
    /// Plugin `reload`; without it the file is read once.
    pub reload: Option<Reload>,
    /// Plugin `loadbalance`: the order of addresses changes from answer to answer.
    pub shuffles: bool,
    /// Plugin `whoami`: what nobody else answers is answered with who asked.
    pub whoami: bool,
}

impl Server {
    pub(crate) fn new(at: At, keys: Vec<Key>) -> Self {
        Self {
            at,
            keys,
            errors: false,
            log: Vec::new(),
            health: None,
            ready: None,
            prometheus: None,
            bind: Vec::new(),
            acl: Acl::default(),
            cache: None,
            rewrites: Rewrites::default(),
            autopath: false,
            templates: Templates::default(),
            hosts: None,
            kubernetes: None,
            finds_loops: false,
            forwards: Vec::new(),
            reload: None,
            shuffles: false,
            whoami: false,
        }
    }

    /// The longest of its zones that a name is within.
    #[must_use]
    pub fn zone_of(&self, port: u16, name: &Name) -> Option<&Name> {
        let at_port = self.keys.iter().filter(|key| key.port == port);
        longest(at_port.map(|key| &key.zone), name)
    }

    /// Its zones, at whatever port.
    #[must_use]
    pub fn zones(&self) -> Vec<Name> {
        self.keys.iter().map(|key| key.zone).collect()
    }
}

/// The longest of some zones that a name is within.
pub(crate) fn longest<'a>(
    zones: impl IntoIterator<Item = &'a Name>,
    name: &Name,
) -> Option<&'a Name> {
    let around = zones.into_iter().filter(|zone| name.is_within(zone));
    around.max_by_key(|zone| zone.len())
}

/// What stands before a server block's brace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The zone.
    pub zone: Name,
    /// The port; 53 if none is given.
    pub port: u16,
}

/// For which names the next plugin is asked when one has no answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fallthrough {
    /// For none: no answer is the answer.
    #[default]
    Never,
    /// For all.
    Always,
    /// For those in some zones.
    Within(Vec<Name>),
}

impl Fallthrough {
    /// Whether the next plugin is asked for this name.
    #[must_use]
    pub fn lets(&self, name: &Name) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::Within(zones) => zones.iter().any(|zone| name.is_within(zone)),
        }
    }
}

/// `health`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Where it is served: `:8080` by default.
    pub address: String,
    /// `lameduck`: how long a process that ends still answers, so that others notice.
    pub lameduck: Duration,
}

/// `reload`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload {
    /// How often a file is looked at where nobody tells of changes.
    pub interval: Duration,
}

/// `kubernetes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubernetes {
    /// The zones of the cluster; those of its addresses are among them.
    pub zones: Vec<Name>,
    /// `pods`: which names of pods' addresses exist.
    pub pods: PodNames,
    /// `endpoint_pod_names`: endpoints without a hostname are called as their pods.
    pub endpoint_pod_names: bool,
    /// `ttl`: of all records, in seconds.
    pub ttl: u32,
    /// `namespaces`: only these; all, if there are none.
    pub namespaces: Vec<String>,
    /// `labels`: only Services with these.
    pub labels: Option<String>,
    /// `namespace_labels`: only Services of namespaces with these.
    pub namespace_labels: Option<String>,
    /// `noendpoints`: no names of endpoints, and no headless Services.
    pub no_endpoints: bool,
    /// `ignore empty_service`: a Service without ready endpoints does not exist.
    pub ignore_empty: bool,
    /// `fallthrough`.
    pub fallthrough: Fallthrough,
}

/// `pods` of `kubernetes`: names such as `10-244-1-2.default.pod.cluster.local`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodNames {
    /// None exists.
    #[default]
    Disabled,
    /// Each does, whether there is such a pod or not.
    Insecure,
    /// Those of pods do.
    Verified,
}

/// `forward`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Where it is written.
    pub at: At,
    /// The zone whose names are asked for elsewhere.
    pub from: Name,
    /// Whom to ask. None, if all that is written is not supported: such names get SERVFAIL.
    pub to: Vec<To>,
    /// `except`: names that are not.
    pub except: Vec<Name>,
    /// `force_tcp`
    pub force_tcp: bool,
    /// `policy`
    pub policy: Policy,
    /// `max_fails`: failed checks before an upstream is taken for dead; 0: never.
    pub max_fails: u32,
    /// `expire`: how long a connection is kept that nobody uses.
    pub expire: Duration,
    /// `health_check`
    pub health_check: HealthCheck,
    /// `max_concurrent`: questions at a time; 0: as many as there are.
    pub max_concurrent: u32,
    /// `failover`: answers after which the next upstream is asked.
    pub failover: Vec<Rcode>,
    /// `failfast_all_unhealthy_upstreams`: with no upstream alive, SERVFAIL at once.
    pub fail_fast: bool,
}

impl Forward {
    /// Whether this name is asked for here.
    #[must_use]
    pub fn takes(&self, name: &Name) -> bool {
        name.is_within(&self.from) && !self.except.iter().any(|zone| name.is_within(zone))
    }
}

/// Whom `forward` asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// An address.
    Address(std::net::SocketAddr),
    /// The servers of a file like `/etc/resolv.conf`.
    ResolvConf(String),
}

/// In which order upstreams are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Any of them.
    #[default]
    Random,
    /// One after the other.
    RoundRobin,
    /// The first that is alive.
    Sequential,
}

/// How upstreams are found alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// How often one that is not is tried again.
    pub interval: Duration,
    /// Whether the question asks for recursion (not with `no_rec`).
    pub recursion: bool,
    /// The name that is asked for.
    pub domain: Name,
}

/// `cache`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// For names of these zones.
    pub zones: Vec<Name>,
    /// Answers with records.
    pub success: Share,
    /// Answers that there are none.
    pub denial: Share,
    /// `prefetch`, if it says something of it; with an amount of 0: never.
    pub prefetch: Option<Prefetch>,
    /// `serve_stale`, if it says something of it; for 0 seconds: never.
    pub serve_stale: Option<ServeStale>,
    /// `servfail`: how long a failure is kept.
    pub servfail: Duration,
}

/// Half of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Answers; ours counts bytes, and takes 512 for each.
    pub capacity: u32,
    /// Longest time, in seconds.
    pub max_ttl: u32,
    /// Shortest time, in seconds.
    pub min_ttl: u32,
}

/// `prefetch`: what is asked for often is asked for anew before it is too old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefetch {
    /// Questions that make a name popular.
    pub amount: u32,
    /// A gap between them that makes it unpopular again.
    pub gap: Duration,
    /// How much of the TTL is left when it is done, 10 to 90.
    pub percentage: u8,
}

/// `serve_stale`: what is too old is better than nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeStale {
    /// How long after its time.
    pub limit: Duration,
    /// `verify`: only after the upstream has not answered.
    pub verify: bool,
}

/// A source or a kind of question, for `acl`; none of a list means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Who {
    pub kinds: Vec<Kind>,
    pub networks: Vec<IpNet>,
}

impl Who {
    pub fn includes(&self, kind: Kind, client: IpAddr) -> bool {
        let kinds = self.kinds.is_empty() || self.kinds.contains(&kind);
        let networks = self.networks.is_empty()
            || self
                .networks
                .iter()
                .any(|network| network.contains(&client));
        kinds && networks
    }
}

//! Everything together: what is asked of outside names, for one server block.

mod housekeeping;
mod state;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sealane_introspect::Introspect;
use sealane_message::{Name, Rcode};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    cache::Cache,
    chance,
    exchange::{Exchange, Verdict},
    flights::{Arrival, Boarding, Flights, Landed},
    loops::Probes,
    meters::{CacheMeters, ForwardMeters},
    query::{Key, Query, Reply},
    response::TtlBounds,
    settings::{Patience, Settings},
    upstream::{Group, Permit},
};

/// What a query takes beyond the deadline of its upstreams, at most.
const GRACE: Duration = Duration::from_millis(250);

/// What a resolver has around it.
#[derive(Clone)]
pub struct Surroundings {
    /// Where it is seen.
    pub introspect: Introspect,
    /// The addresses that this server itself answers on, which are no upstreams.
    pub own: Vec<SocketAddr>,
    /// The label `server` of metrics: `dns://:53`.
    pub server: String,
}

/// Answers to names of the outside world. Cheap to clone; all clones are the same one.
#[derive(Clone)]
pub struct Resolver {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    surroundings: Surroundings,
    /// The most specific zone first.
    groups: Vec<Arc<Group>>,
    cache: Option<Arc<Cache>>,
    flights: Flights,
    probes: Probes,
    meters: ForwardMeters,
    runtime: Handle,
}

impl Resolver {
    /// Starts to resolve. What `previous` has learnt is kept as far as it was set up alike.
    ///
    /// Upstreams are asked on the runtime in which this is called.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    #[must_use]
    pub fn start(
        settings: Settings,
        surroundings: &Surroundings,
        previous: Option<&Resolver>,
    ) -> Self {
        let introspect = &surroundings.introspect;
        let previous = previous.map(|resolver| &*resolver.inner);
        let inner = Arc::new(Inner {
            groups: groups(&settings, previous),
            cache: cache(&settings, surroundings, previous),
            flights: Flights::default(),
            probes: Probes::default(),
            meters: ForwardMeters::new(introspect),
            runtime: Handle::current(),
            surroundings: surroundings.clone(),
            settings,
        });
        inner.look_up_upstreams();
        inner.keep_house();
        Self { inner }
    }

    /// How it was set up.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Whether it answers for this name.
    #[must_use]
    pub fn takes(&self, name: &Name) -> bool {
        self.inner.group(name).is_some()
    }

    /// What can be answered at once. May be called from any thread, and does not block.
    #[must_use]
    pub fn cached(&self, query: &Query, now: std::time::Instant) -> Option<Reply> {
        if self.inner.probes.recognise(&query.question) {
            self.inner.meters.loops.inc();
            return Some(Reply::failure(&query.question, Rcode::REFUSED));
        }
        let cache = self.inner.cache_for(query)?;
        let hit = cache.get(query, now)?;
        if hit.refresh {
            // Nobody waits for it: who asks finds it in the cache.
            self.inner.board(query);
        }
        Some(hit.reply)
    }

    /// Asks upstreams, whatever is kept: [`Resolver::cached`] comes first. Always answers, within
    /// [`Patience::deadline`](crate::Patience::deadline) and a moment.
    pub async fn resolve(&self, query: &Query) -> Reply {
        let inner = &self.inner;
        let now = Instant::now();
        let Some(arrival) = inner.board(query) else {
            let now = now.into_std();
            let stale = inner.stale(query, now);
            return stale.unwrap_or_else(|| Reply::failure(&query.question, Rcode::REFUSED));
        };
        let group = inner.group(&query.question.name);
        let patience = group.map_or_else(Patience::default, |group| group.settings().patience);
        inner.wait(query, arrival, now, patience).await
    }
}

impl Inner {
    /// The most specific group that takes a name.
    fn group(&self, name: &Name) -> Option<&Arc<Group>> {
        self.groups.iter().find(|group| group.takes(name))
    }

    fn cache_for(&self, query: &Query) -> Option<&Arc<Cache>> {
        let cache = self.cache.as_ref();
        cache.filter(|cache| cache.takes(&query.question.name))
    }

    fn stale(&self, query: &Query, now: std::time::Instant) -> Option<Reply> {
        let cache = self.cache_for(query)?;
        let reply = cache.stale(query, now)?;
        cache.gave_stale();
        Some(reply)
    }

    /// Joins an equal question that is under way, or starts one; `None` when that cannot be.
    fn board(self: &Arc<Self>, query: &Query) -> Option<Arrival> {
        let group = self.group(&query.question.name)?;
        let key = Key::of(query);
        match self.flights.board(&key, || group.enter()) {
            (Boarding::Joined(arrival), _) => {
                self.meters.merged.inc();
                Some(arrival)
            }
            (Boarding::Started(arrival, sender), permit) => {
                let (inner, group, query) = (Arc::clone(self), Arc::clone(group), *query);
                self.runtime.spawn(async move {
                    let land = |landed| inner.flights.land(&key, &sender, landed);
                    inner.fly(&group, query, permit, land).await;
                });
                Some(arrival)
            }
            (Boarding::Refused, _) => {
                self.meters.rejected.inc();
                None
            }
        }
    }

    /// Waits for the end of a question: an expired answer is better than a failure, or than to wait for long.
    async fn wait(
        &self,
        query: &Query,
        mut arrival: Arrival,
        begun: Instant,
        patience: Patience,
    ) -> Reply {
        let landed = async { arrival.wait_for(Option::is_some).await.ok()?.clone() };
        tokio::pin!(landed);
        let cache = self.cache_for(query);
        if cache.is_some_and(|cache| cache.stale(query, begun.into_std()).is_some()) {
            if let Ok(landed) = timeout(patience.client, &mut landed).await {
                return self.given(query, landed);
            }
            if let Some(stale) = self.stale(query, Instant::now().into_std()) {
                return stale;
            }
        }
        let landed = timeout_at(begun + patience.deadline + GRACE, landed).await;
        self.given(query, landed.ok().flatten())
    }

    fn given(&self, query: &Query, landed: Option<Landed>) -> Reply {
        let failed = landed.as_ref().is_none_or(|landed| landed.failed);
        let stale = failed.then(|| self.stale(query, Instant::now().into_std()));
        let landed = landed.map(|landed| landed.reply);
        let failure = || Reply::failure(&query.question, Rcode::SERVFAIL);
        stale.flatten().or(landed).unwrap_or_else(failure)
    }

    /// Asks, and tells `land` how it ended.
    async fn fly(
        &self,
        group: &Group,
        query: Query,
        permit: Option<Permit>,
        land: impl FnOnce(Landed),
    ) {
        let (upstreams, order) = group.order(chance::number().unwrap_or_default());
        if order.all_down {
            self.meters.all_down.inc();
        }
        if order.all_down && group.settings().failfast_all_unhealthy_upstreams {
            land(self.concluded(&query, Verdict::Failed(Rcode::SERVFAIL)));
            return;
        }
        let exchange = Exchange {
            query,
            group,
            upstreams,
            order,
            bounds: self
                .cache_for(&query)
                .map_or(TtlBounds::NONE, |cache| cache.bounds()),
            meters: &self.meters,
        };
        let conclude = |verdict| {
            drop(permit);
            land(self.concluded(&query, verdict));
        };
        exchange.run(conclude).await;
    }

    /// Keeps what was heard, and makes a reply of it.
    fn concluded(&self, query: &Query, verdict: Verdict) -> Landed {
        let now = Instant::now().into_std();
        let cache = self.cache_for(query);
        let (rcode, answered) = match verdict {
            Verdict::Answered(kept) => {
                if let Some(cache) = cache {
                    cache.put(query, &kept, now);
                }
                let reply = Reply::new(kept.answer);
                return Landed {
                    reply,
                    failed: false,
                };
            }
            Verdict::Failed(rcode) => (rcode, true),
            Verdict::Silence => (Rcode::SERVFAIL, false),
        };
        let reply = Reply::failure(&query.question, rcode);
        if let Some(cache) = cache {
            cache.put_failure(query, &reply, answered, now);
        }
        Landed {
            reply,
            failed: true,
        }
    }
}

/// A group for each `forward`, with the upstreams of before where nothing about them has changed.
fn groups(settings: &Settings, previous: Option<&Inner>) -> Vec<Arc<Group>> {
    let mut forwards: Vec<_> = settings.forwards.clone();
    forwards.sort_by_key(|forward| std::cmp::Reverse(forward.from.labels().count()));
    let group = |forward| {
        let group = Group::new(forward);
        let before = previous.iter().flat_map(|inner| &inner.groups);
        let same = before.filter(|before| before.settings() == group.settings());
        same.take(1).for_each(|before| group.succeed(before));
        Arc::new(group)
    };
    forwards.into_iter().map(group).collect()
}

/// The cache, that of before when its answers would be the same.
fn cache(
    settings: &Settings,
    surroundings: &Surroundings,
    previous: Option<&Inner>,
) -> Option<Arc<Cache>> {
    let wanted = settings.cache.clone()?;
    let same = previous.filter(|inner| inner.settings == *settings);
    if let Some(cache) = same.and_then(|inner| inner.cache.clone()) {
        return Some(cache);
    }
    let introspect = &surroundings.introspect;
    let zones: Vec<_> = settings.zones.iter().map(Name::to_string).collect();
    let meters = CacheMeters::new(introspect, &surroundings.server, &zones.join(" "));
    let cache = Arc::new(Cache::new(wanted, meters));
    let shown = Arc::downgrade(&cache);
    introspect.before_metrics(move || {
        if let Some(cache) = shown.upgrade() {
            cache.show();
        }
    });
    Some(cache)
}

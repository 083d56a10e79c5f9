//! The upstreams of one `forward`: who they are at the moment, and how many queries they have.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use sealane_introspect::Introspect;
use sealane_message::Name;

use super::{Order, Upstream, order};
use crate::settings::{Forward, To};

/// Questions that are waited for although another upstream was faster, for what they tell of their own.
const MOST_LINGERING: usize = 128;

/// The upstreams of one `forward`.
pub struct Group {
    settings: Forward,
    upstreams: RwLock<Arc<[Arc<Upstream>]>>,
    turn: AtomicUsize,
    under_way: Arc<AtomicUsize>,
    lingering: Arc<AtomicUsize>,
}

/// One of the queries that may be under way.
#[derive(Debug)]
pub struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Permit {
    fn of(count: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let more = |count| (count < most).then_some(count + 1);
        let entered = count.fetch_update(Relaxed, Relaxed, more);
        entered.ok().map(|_| Self(Arc::clone(count)))
    }
}

impl Group {
    /// Without upstreams, until [`Group::look_up`].
    pub fn new(settings: Forward) -> Self {
        Self {
            settings,
            upstreams: RwLock::new(Arc::new([])),
            turn: AtomicUsize::new(0),
            under_way: Arc::default(),
            lingering: Arc::default(),
        }
    }

    /// With what is known of the upstreams of another group, which has the same settings.
    pub fn succeed(&self, before: &Self) {
        *self.write() = before.upstreams();
    }

    /// How it was set up.
    pub fn settings(&self) -> &Forward {
        &self.settings
    }

    /// Whether queries for this name go here.
    pub fn takes(&self, name: &Name) -> bool {
        let settings = &self.settings;
        name.is_within(&settings.from) && !settings.except.iter().any(|not| name.is_within(not))
    }

    /// Who they are.
    pub fn upstreams(&self) -> Arc<[Arc<Upstream>]> {
        let upstreams = self.upstreams.read();
        Arc::clone(&upstreams.unwrap_or_else(PoisonError::into_inner))
    }

    /// Brings the upstreams in line with the files that name them; `read` gives what a file names, `None`
    /// for as long as it cannot be read, which leaves all as it is. Returns those that are new.
    ///
    /// Our own addresses are none: what we asked there would come back.
    pub fn look_up(
        &self,
        own: &[SocketAddr],
        introspect: &Introspect,
        read: impl Fn(&Path) -> Option<Vec<SocketAddr>>,
    ) -> Vec<Arc<Upstream>> {
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for to in &self.settings.to {
            match to {
                To::Address(address) => addresses.push(*address),
                To::ResolvConf(path) => match read(path) {
                    Some(named) => addresses.extend(named),
                    None => return Vec::new(),
                },
            }
        }
        let mut all: Vec<SocketAddr> = Vec::new();
        for address in addresses {
            if !all.contains(&address) {
                all.push(address);
            }
        }
        let before = self.upstreams();
        if all.iter().eq(before.iter().map(|one| &one.address)) {
            return Vec::new();
        }
        self.set(&all, &before, own, introspect)
    }

    fn set(
        &self,
        all: &[SocketAddr],
        before: &[Arc<Upstream>],
        own: &[SocketAddr],
        introspect: &Introspect,
    ) -> Vec<Arc<Upstream>> {
        let from = self.settings.from;
        let mut new = Vec::new();
        let mut upstreams = Vec::new();
        for address in all {
            if own.contains(address) {
                if !before.is_empty() || upstreams.is_empty() {
                    tracing::error!(upstream = %address, zone = %from, "forward names to this server itself: it would ask itself for ever; the upstream is left out, name another resolver in forward or in the node's resolv.conf");
                }
                continue;
            }
            let known = before.iter().find(|one| one.address == *address);
            upstreams.push(known.map_or_else(
                || {
                    let upstream = Arc::new(Upstream::new(*address, &self.settings, introspect));
                    new.push(Arc::clone(&upstream));
                    upstream
                },
                Arc::clone,
            ));
        }
        let shown: Vec<_> = upstreams
            .iter()
            .map(|one| one.address.to_string())
            .collect();
        tracing::info!(zone = %from, upstreams = shown.join(" "), "names of this zone are asked there");
        *self.write() = upstreams.into();
        new
    }

    /// Who is asked, and in which order. `random` is any number.
    pub fn order(&self, random: u64) -> (Arc<[Arc<Upstream>]>, Order) {
        let upstreams = self.upstreams();
        let candidates: Vec<_> = upstreams.iter().map(|one| one.candidate()).collect();
        let turn = self.turn.fetch_add(1, Relaxed);
        let order = order(&candidates, self.settings.policy, turn, random);
        (upstreams, order)
    }

    /// One more query, unless there are too many.
    pub fn enter(&self) -> Option<Permit> {
        Permit::of(&self.under_way, self.settings.max_concurrent)
    }

    /// One more query whose answer is no longer needed.
    pub fn linger(&self) -> Option<Permit> {
        Permit::of(&self.lingering, MOST_LINGERING)
    }

    /// How many queries are under way.
    pub fn under_way(&self) -> usize {
        self.under_way.load(Relaxed)
    }

    fn write(&self) -> impl std::ops::DerefMut<Target = Arc<[Arc<Upstream>]>> + '_ {
        self.upstreams
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

//! The upstreams of one `forward`: who they are at the moment, and how many queries they have.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use sealane_introspect::Introspect;
use sealane_message::Name;

use super::{Order, Upstream, order};
use crate::settings::{Forward, To};

/// Questions that are waited for although another upstream was faster, for what they tell of their own.
const MOST_LINGERING: usize = 128;

/// The upstreams of one `forward`.
pub struct Group {
    settings: Forward,
    /// What was named when the upstreams were last set.
    named: Mutex<Option<Vec<SocketAddr>>>,
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
            named: Mutex::default(),
            upstreams: RwLock::new(Arc::new([])),
            turn: AtomicUsize::new(0),
            under_way: Arc::default(),
            lingering: Arc::default(),
        }
    }

    /// With what is known of the upstreams of another group, which has the same settings.
    pub fn succeed(&self, before: &Self) {
        *self.write() = before.upstreams();
        *self.named() = before.named().clone();
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
        let Some(named) = self.settings.to.iter().try_fold(Vec::new(), |mut all, to| {
            match to {
                To::Address(address) => all.push(*address),
                To::ResolvConf(path) => all.extend(read(path)?),
            }
            Some(all)
        }) else {
            return Vec::new();
        };
        let before = self.named().replace(named.clone());
        match before.as_ref() == Some(&named) {
            true => Vec::new(),
            false => self.set(&named, own, introspect),
        }
    }

    fn set(
        &self,
        named: &[SocketAddr],
        own: &[SocketAddr],
        introspect: &Introspect,
    ) -> Vec<Arc<Upstream>> {
        let from = self.settings.from;
        let before = self.upstreams();
        let mut new = Vec::new();
        let mut upstreams: Vec<Arc<Upstream>> = Vec::new();
        for address in named {
            if upstreams.iter().any(|one| one.address == *address) {
                continue;
            }
            if own.contains(address) {
                tracing::error!(upstream = %address, zone = %from, "forward leads to this server itself, which would ask itself for ever: the upstream is left out. Name another resolver in the Corefile or the node's resolv.conf");
                continue;
            }
            let known = before.iter().find(|one| one.address == *address);
            let upstream = known.cloned().unwrap_or_else(|| {
                let upstream = Arc::new(Upstream::new(*address, &self.settings, introspect));
                new.push(Arc::clone(&upstream));
                upstream
            });
            upstreams.push(upstream);
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

    fn named(&self) -> MutexGuard<'_, Option<Vec<SocketAddr>>> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> impl std::ops::DerefMut<Target = Arc<[Arc<Upstream>]>> + '_ {
        self.upstreams
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn address(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 53).into()
    }

    fn group(to: Vec<To>) -> Group {
        Group::new(Forward {
            to,
            ..Forward::default()
        })
    }

    fn shown(group: &Group) -> Vec<SocketAddr> {
        group.upstreams().iter().map(|one| one.address).collect()
    }

    #[test]
    fn follows_what_a_file_names_and_keeps_what_is_known_of_those_that_stay() {
        let introspect = Introspect::new("test");
        let group = group(vec![
            To::Address(address(9)),
            To::ResolvConf("/etc/resolv.conf".into()),
        ]);
        let look_up = |named: Option<Vec<u8>>| {
            let read = |_: &Path| Some(named.as_ref()?.iter().map(|last| address(*last)).collect());
            group.look_up(&[], &introspect, read).len()
        };
        assert_eq!(look_up(Some(vec![1, 2])), 3);
        assert_eq!(shown(&group), [address(9), address(1), address(2)]);
        group.upstreams()[1]
            .health()
            .answered(Some(Duration::from_millis(1)));
        assert_eq!(look_up(Some(vec![1, 2])), 0);
        assert_eq!(look_up(Some(vec![3, 1, 9])), 1, "one of them is new");
        assert_eq!(shown(&group), [address(9), address(3), address(1)]);
        let patience = |n: usize| {
            let upstream = &group.upstreams()[n];
            upstream.health().patience(&group.settings.patience)
        };
        assert!(patience(2) < patience(1), "its speed is still known");
        assert_eq!(look_up(None), 0, "a file that is gone changes nothing");
        assert_eq!(shown(&group).len(), 3);
    }

    #[test]
    fn our_own_addresses_are_left_out() {
        let introspect = Introspect::new("test");
        let group = group(vec![To::Address(address(1)), To::Address(address(2))]);
        assert_eq!(group.look_up(&[address(1)], &introspect, |_| None).len(), 1);
        assert_eq!(shown(&group), [address(2)]);
    }

    #[test]
    fn so_many_queries_and_no_more() {
        let mut group = group(Vec::new());
        group.settings.max_concurrent = 2;
        let permits = [group.enter(), group.enter()];
        assert!(permits.iter().all(Option::is_some) && group.enter().is_none());
        drop(permits);
        assert_eq!(group.under_way(), 0);
        assert!(group.enter().is_some());
    }
}

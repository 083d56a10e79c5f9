//! What a resolver does while nobody asks.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::sleep;

use super::Inner;
use crate::{resolv_conf, upstream::Upstream};

/// How soon a changed `resolv.conf` is noticed.
const EVERY: Duration = Duration::from_secs(5);

/// How many rounds pass until an upstream that leads back to us is probed again.
const ROUNDS_OF_A_LOOP: u32 = 6;

impl Inner {
    /// Reads who the upstreams are, and probes those that are new.
    pub(super) fn look_up_upstreams(self: &Arc<Self>) {
        let around = &self.surroundings;
        for (number, group) in self.groups.iter().enumerate() {
            for upstream in group.look_up(&around.own, &around.introspect, resolv_conf::read) {
                self.probe(number, upstream);
            }
        }
    }

    /// Asks whether what this upstream is asked comes back.
    fn probe(self: &Arc<Self>, group: usize, upstream: Arc<Upstream>) {
        let inner = Arc::clone(self);
        self.runtime.spawn(async move {
            let zone = inner.groups[group].settings().from;
            inner.probes.look(&upstream, &zone).await;
        });
    }

    /// Keeps house for as long as the resolver is there.
    pub(super) fn keep_house(self: &Arc<Self>) {
        self.runtime.spawn(keep(Arc::downgrade(self)));
    }

    fn tidy(self: &Arc<Self>, round: u32) {
        self.look_up_upstreams();
        for (number, group) in self.groups.iter().enumerate() {
            for upstream in group.upstreams().iter() {
                upstream.expire_connections();
                if round.is_multiple_of(ROUNDS_OF_A_LOOP) && upstream.candidate().loops {
                    self.probe(number, Arc::clone(upstream));
                }
            }
        }
    }
}

async fn keep(inner: Weak<Inner>) {
    for round in 1.. {
        sleep(EVERY).await;
        let Some(inner) = inner.upgrade() else {
            return;
        };
        inner.tidy(round);
    }
}

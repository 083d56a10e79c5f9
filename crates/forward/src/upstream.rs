//! Those who are asked.
//!
//! ```text
//! group     the upstreams of one `forward`: who they are (resolv.conf may change), how many are asked
//!   choose    in which order                                                       decision
//!   health    what is known of one: up or down, how fast, what it understands      decision
//!   udp, tcp  one question there and its answer back
//!   probe     asking one that is down until it is back
//! ```

mod choose;
mod group;
mod health;
mod probe;
mod tcp;
mod udp;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sealane_introspect::Introspect;
use sealane_message::Request;
use tokio::time::timeout;

pub use choose::{Candidate, Order, order};
pub use group::{Group, Permit};
pub use health::Health;
pub use udp::is_cut;

use crate::{
    exchange::{Entrant, Via},
    meters::UpstreamMeters,
    settings::{Forward, HealthCheck, Patience},
};

/// What became of bytes that were received.
pub enum Reception<T> {
    /// The reply.
    Done(T),
    /// Something else: the wait goes on.
    Ignored,
}

/// A resolver that is asked.
pub struct Upstream {
    address: SocketAddr,
    /// By which way it is asked first.
    pub via: Via,
    max_fails: u32,
    health_check: HealthCheck,
    patience: Patience,
    expire: Duration,
    health: Mutex<Health>,
    idle: tcp::Idle,
    /// What is counted of it.
    pub meters: UpstreamMeters,
}

impl Upstream {
    /// One that nothing is known of.
    pub fn new(address: SocketAddr, settings: &Forward, introspect: &Introspect) -> Self {
        Self {
            address,
            via: match settings.force_tcp {
                true => Via::Tcp,
                false => Via::Udp,
            },
            max_fails: settings.max_fails,
            health_check: settings.health_check.clone(),
            patience: settings.patience,
            expire: settings.expire,
            health: Mutex::default(),
            idle: tcp::Idle::default(),
            meters: UpstreamMeters::new(introspect, address),
        }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What counts when one is chosen.
    pub fn candidate(&self) -> Candidate {
        let health = self.health();
        Candidate {
            down: health.is_down(),
            loops: health.loops(),
        }
    }

    /// How it is asked, as number `upstream`.
    pub fn entrant(&self, upstream: usize, now: Instant) -> Entrant {
        let health = self.health();
        Entrant {
            upstream,
            patience: health.patience(&self.patience),
            edns: health.knows_edns(now),
            keeps_case: health.keeps_case(now),
        }
    }

    /// What is known of it.
    pub fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It did not answer; when that has been so for a while, it is asked until it does.
    pub fn failed(self: &Arc<Self>) {
        let goes_down = self.health().failed(self.max_fails, &self.health_check);
        if goes_down {
            tracing::warn!(upstream = %self.address, "an upstream does not answer; it is asked only when no other does");
            probe::start(self);
        }
    }

    /// Asks, and gives what comes to `receive` until that is content.
    ///
    /// # Errors
    ///
    /// It cannot be reached, says that nobody is there, or nothing in time.
    pub async fn ask<T>(
        &self,
        via: Via,
        request: &Request,
        receive: impl FnMut(&[u8]) -> Reception<T>,
    ) -> io::Result<T> {
        let mut message = Vec::with_capacity(300);
        request.write(&mut message);
        match via {
            Via::Udp => {
                self.meters.socket(via, false);
                let ask = udp::ask(self.address, &message, receive);
                timeout(self.patience.answer, ask).await?
            }
            Via::Tcp => {
                let used = |reused| self.meters.socket(via, reused);
                let (idle, expire) = (&self.idle, self.expire);
                let ask = tcp::ask(self.address, idle, expire, &message, receive, used);
                timeout(self.patience.answer, ask).await?
            }
        }
    }

    /// Closes connections that nobody has used for a while.
    pub fn expire_connections(&self) {
        self.idle.expire(self.expire);
    }
}

//! What a resolver makes of upstreams that are slow, dead, wrong or hostile.
//!
//! The upstreams are servers on loopback, each with a script ([`server`]). Nothing here is timed: waits are
//! made short by settings, and what counts is who was asked what and what came of it.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod corpus;
mod faults;
mod lies;
mod server;
mod sharing;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sealane_forward::{
    CacheSettings, Forward, HealthCheck, Patience, Policy, Query, Reply, Resolver, Settings,
    Surroundings, To,
};
use sealane_introspect::Introspect;
use sealane_message::{Data, Kind, Name, Question};
use server::Server;

const MS: Duration = Duration::from_millis(1);

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn a(text: &str) -> Query {
    Query::from(Question::new(name(text), Kind::A))
}

/// To these, the first of them first; nobody is waited for long.
fn forward(to: &[&Server]) -> Forward {
    Forward {
        to: to
            .iter()
            .map(|server| To::Address(server.address))
            .collect(),
        policy: Policy::Sequential,
        health_check: HealthCheck {
            interval: 10 * MS,
            ..HealthCheck::default()
        },
        patience: Patience {
            // Long enough for whatever answers at all on a busy machine.
            deadline: Duration::from_secs(20),
            answer: Duration::from_secs(10),
            shortest: 20 * MS,
            longest: 20 * MS,
            client: 20 * MS,
        },
        ..Forward::default()
    }
}

/// One that gives up soon.
fn hasty(to: &[&Server]) -> Forward {
    let mut forward = forward(to);
    forward.patience.deadline = 300 * MS;
    forward.patience.answer = 200 * MS;
    forward
}

struct Bed {
    resolver: Resolver,
    introspect: Introspect,
}

impl Bed {
    fn new(forwards: Vec<Forward>) -> Self {
        Self::with(Settings {
            forwards,
            cache: Some(CacheSettings::default()),
            ..Settings::default()
        })
    }

    fn with(settings: Settings) -> Self {
        Self::among(settings, Vec::new())
    }

    /// A resolver of a server that answers on these addresses itself.
    fn among(settings: Settings, own: Vec<SocketAddr>) -> Self {
        let introspect = Introspect::new("test");
        let surroundings = Surroundings {
            introspect: introspect.clone(),
            own,
            server: "dns://:53".to_owned(),
        };
        let resolver = Resolver::start(settings, &surroundings, None);
        Self {
            resolver,
            introspect,
        }
    }

    /// As a server does it: what is kept, else upstreams.
    async fn look_up(&self, query: Query) -> Reply {
        match self.resolver.cached(&query, Instant::now()) {
            Some(reply) => reply,
            None => self.resolver.resolve(&query).await,
        }
    }

    async fn addresses(&self, text: &str) -> Vec<Ipv4Addr> {
        addresses(&self.look_up(a(text)).await)
    }

    fn count(&self, name: &'static str, labels: &[(&str, &str)]) -> u64 {
        self.introspect.counter(name, "", labels).get()
    }

    fn lies(&self, server: &Server, what: &str) -> u64 {
        let to = server.address.to_string();
        self.count(
            "sealane_dns_forward_lies_total",
            &[("to", &to), ("what", what)],
        )
    }
}

fn addresses(reply: &Reply) -> Vec<Ipv4Addr> {
    let of = |record: sealane_message::Record<'_>| match record.data {
        Data::A(address) => Some(address),
        _ => None,
    };
    reply.answer.records().filter_map(of).collect()
}

/// Looks until it holds.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "waited in vain until {what}"
        );
        tokio::time::sleep(MS).await;
    }
}

/// What is taken in turn from a list, the last for ever.
fn in_turn<T: Clone>(items: Vec<T>) -> impl Fn() -> T {
    let left = Arc::new(Mutex::new(items));
    move || {
        let mut left = left.lock().unwrap();
        match left.len() {
            1 => left[0].clone(),
            _ => left.remove(0),
        }
    }
}

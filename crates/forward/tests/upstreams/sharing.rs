//! Who is asked, by whom, how often: merging, limits, zones, loops, reloads.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use sealane_forward::{CacheSettings, Forward, Prefetch, Resolver, Settings, Surroundings};
use sealane_message::{Kind, Rcode};
use tokio::task::JoinSet;

use super::{
    Bed, a, addresses, eventually, forward, hasty, name,
    server::{self, Act, Asked, Server},
};

fn fixed(last: u8) -> impl Fn(&Asked) -> Vec<Act> {
    move |asked| {
        vec![Act::Send(server::address(
            &asked.request,
            Ipv4Addr::new(192, 0, 2, last),
        ))]
    }
}

/// Queries that are no probes.
fn asked(server: &Server) -> usize {
    let asked = server.asked();
    asked
        .iter()
        .filter(|one| one.request.question.kind == Kind::A)
        .count()
}

#[tokio::test]
async fn equal_questions_are_asked_once() {
    let held = Mutex::new(Vec::new());
    // The first is never answered; what comes when nobody was patient is.
    let upstream = Server::start(move |asked| {
        let mut held = held.lock().unwrap();
        held.push(*asked);
        match held.len() > 1 {
            true => vec![Act::Send(server::address(
                &asked.request,
                Ipv4Addr::new(192, 0, 2, 1),
            ))],
            false => Vec::new(),
        }
    })
    .await;
    let bed = Arc::new(Bed::new(vec![forward(&[&upstream])]));
    let mut clients = JoinSet::new();
    for _ in 0..50 {
        let bed = Arc::clone(&bed);
        clients.spawn(async move { addresses(&bed.resolver.resolve(&a("www.example.org")).await) });
    }
    while let Some(got) = clients.join_next().await {
        assert_eq!(got.unwrap().len(), 1);
    }
    assert_eq!(bed.count("sealane_dns_forward_merged_total", &[]), 49);
    assert!(asked(&upstream) <= 3);
}

#[tokio::test]
async fn what_exceeds_the_limit_is_refused() {
    let upstream = Server::start(|_| Vec::new()).await;
    let bed = Arc::new(Bed::new(vec![Forward {
        max_concurrent: 4,
        ..hasty(&[&upstream])
    }]));
    let mut clients = JoinSet::new();
    for n in 0..10 {
        let bed = Arc::clone(&bed);
        clients.spawn(async move {
            let query = a(&format!("{n}.example.org"));
            bed.resolver.resolve(&query).await.rcode()
        });
    }
    let rcodes = clients.join_all().await;
    let refused = rcodes
        .iter()
        .filter(|rcode| **rcode == Rcode::REFUSED)
        .count();
    assert_eq!(refused, 6);
    let counted = bed.count("coredns_forward_max_concurrent_rejects_total", &[]);
    assert_eq!(counted, 6);
    assert_eq!(
        bed.look_up(a("later.example.org")).await.rcode(),
        Rcode::SERVFAIL,
        "there is room again"
    );
}

#[tokio::test]
async fn the_most_specific_zone_takes_a_name() {
    let (all, zone, below) = (
        Server::start(fixed(1)).await,
        Server::start(fixed(2)).await,
        Server::start(fixed(3)).await,
    );
    let stub = |from, server| Forward {
        from: name(from),
        ..forward(&[server])
    };
    let bed = Bed::new(vec![
        Forward {
            except: vec![name("secret.example")],
            ..forward(&[&all])
        },
        stub("corp.example", &zone),
        stub("deep.corp.example", &below),
    ]);
    for (text, last) in [
        ("www.example.org", 1),
        ("corp.example", 2),
        ("www.corp.example", 2),
        ("www.notcorp.example", 1),
        ("www.deep.corp.example", 3),
    ] {
        assert_eq!(
            bed.addresses(text).await,
            [Ipv4Addr::new(192, 0, 2, last)],
            "{text}"
        );
    }
    assert!(bed.resolver.takes(&name("example")));
    assert!(!bed.resolver.takes(&name("www.secret.example")));
    let refused = bed.look_up(a("www.secret.example")).await;
    assert_eq!(refused.rcode(), Rcode::REFUSED);
}

#[tokio::test]
async fn an_upstream_that_asks_us_back_is_left_out() {
    let resolver: Arc<OnceLock<Resolver>> = Arc::default();
    let ours = Arc::clone(&resolver);
    // It forwards to us, as far as that matters: it asks us what it was asked.
    let upstream = Server::start(move |asked| {
        let question = asked.request.question.into();
        let answer = ours
            .get()
            .and_then(|own| own.cached(&question, Instant::now()));
        match answer {
            Some(answer) => vec![Act::Send(server::reply(&asked.request, |writer| {
                answer.answer.write(writer, answer.age)
            }))],
            None => Vec::new(),
        }
    })
    .await;
    let bed = Bed::new(vec![hasty(&[&upstream])]);
    resolver.set(bed.resolver.clone()).ok().unwrap();
    let looping = || bed.resolver.state()["forwards"][0]["upstreams"][0]["loops"] == true;
    eventually("the loop is found", looping).await;
    assert_eq!(
        bed.look_up(a("www.example.org")).await.rcode(),
        Rcode::SERVFAIL
    );
    assert_eq!(asked(&upstream), 0);
    assert!(bed.count("sealane_dns_forward_loops_total", &[]) > 0);
}

#[tokio::test]
async fn our_own_addresses_are_no_upstreams() {
    let ourselves = Server::start(fixed(1)).await;
    let other = Server::start(fixed(2)).await;
    let settings = |to: &[&Server]| Settings {
        forwards: vec![forward(to)],
        ..Settings::default()
    };
    let own = vec![ourselves.address];
    let bed = Bed::among(settings(&[&ourselves, &other]), own.clone());
    assert_eq!(
        bed.addresses("www.example.org").await,
        [Ipv4Addr::new(192, 0, 2, 2)]
    );
    let bed = Bed::among(settings(&[&ourselves]), own);
    assert_eq!(
        bed.look_up(a("www.example.org")).await.rcode(),
        Rcode::SERVFAIL
    );
    assert!(ourselves.asked().is_empty());
}

#[tokio::test]
async fn a_reload_keeps_what_has_not_changed() {
    let upstream = Server::start(fixed(1)).await;
    let bed = Bed::new(vec![forward(&[&upstream])]);
    bed.addresses("www.example.org").await;
    let surroundings = Surroundings {
        introspect: bed.introspect.clone(),
        own: Vec::new(),
        server: "dns://:53".to_owned(),
    };
    let mut settings = bed.resolver.settings().clone();
    let reload = |settings| Resolver::start(settings, &surroundings, Some(&bed.resolver));
    let now = Instant::now();
    let same = reload(settings.clone());
    assert!(same.cached(&a("www.example.org"), now).is_some());
    settings.cache = Some(CacheSettings {
        prefetch: None,
        ..CacheSettings::default()
    });
    let other = reload(settings);
    assert!(other.cached(&a("www.example.org"), now).is_none());
}

#[tokio::test]
async fn a_popular_name_is_fetched_while_nobody_waits() {
    let upstream = Server::start(fixed(1)).await;
    let cache = CacheSettings {
        prefetch: Some(Prefetch {
            amount: 3,
            gap: Duration::from_secs(60),
            // As soon as it is popular.
            percentage: 100,
        }),
        ..CacheSettings::default()
    };
    let bed = Bed::with(Settings {
        forwards: vec![forward(&[&upstream])],
        cache: Some(cache),
        ..Settings::default()
    });
    let query = a("www.example.org");
    bed.look_up(query).await;
    // From a thread that has no runtime, as those that receive have none.
    let resolver = bed.resolver.clone();
    let ask = move || (0..3).all(|_| resolver.cached(&query, Instant::now()).is_some());
    assert!(std::thread::spawn(ask).join().unwrap());
    eventually("it was fetched again", || asked(&upstream) == 2).await;
}

#[tokio::test]
async fn without_a_cache_every_query_is_asked() {
    let upstream = Server::start(fixed(1)).await;
    let bed = Bed::with(Settings {
        forwards: vec![forward(&[&upstream])],
        ..Settings::default()
    });
    for _ in 0..2 {
        assert_eq!(
            bed.addresses("www.example.org").await,
            [Ipv4Addr::new(192, 0, 2, 1)]
        );
    }
    assert!(asked(&upstream) >= 2);
}

#[tokio::test]
async fn nobody_is_asked_while_all_are_down_where_that_is_wanted() {
    let upstream = Server::start(|_| Vec::new()).await;
    let mut settings = hasty(&[&upstream]);
    settings.max_fails = 1;
    settings.failfast_all_unhealthy_upstreams = true;
    let bed = Bed::new(vec![settings]);
    bed.look_up(a("a.example.org")).await;
    let down = || bed.resolver.state()["forwards"][0]["upstreams"][0]["down"] == true;
    eventually("the upstream is down", down).await;
    assert_eq!(
        bed.look_up(a("b.example.org")).await.rcode(),
        Rcode::SERVFAIL
    );
    let asked = upstream.asked();
    assert!(
        asked
            .iter()
            .all(|one| one.request.question.name != name("b.example.org"))
    );
}

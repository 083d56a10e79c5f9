//! Upstreams that are slow, dead, full, old or odd.

use std::net::Ipv4Addr;
use std::time::Instant;

use sealane_forward::{CacheSettings, Forward, Settings, To};
use sealane_message::{Age, Data, Rcode, Section};

use super::{
    Bed, MS, a, addresses, eventually, forward, hasty, name,
    server::{self, Act, Asked, Server},
};

const HERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const THERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

fn here(asked: &Asked) -> Vec<Act> {
    vec![Act::Send(server::address(&asked.request, HERE))]
}

fn there(asked: &Asked) -> Vec<Act> {
    vec![Act::Send(server::address(&asked.request, THERE))]
}

fn silent(_: &Asked) -> Vec<Act> {
    Vec::new()
}

fn failing(rcode: Rcode) -> impl Fn(&Asked) -> Vec<Act> {
    move |asked| {
        let reply = server::reply(&asked.request, |writer| {
            writer.set_rcode(rcode);
            Ok(())
        });
        vec![Act::Send(reply)]
    }
}

/// Queries for this name.
fn asked_for(server: &Server, text: &str) -> Vec<Asked> {
    let mut asked = server.asked();
    asked.retain(|asked| asked.request.question.name == name(text));
    asked
}

#[tokio::test]
async fn an_answer_is_asked_for_once_and_kept() {
    let upstream = Server::start(here).await;
    let bed = Bed::new(vec![forward(&[&upstream])]);
    assert_eq!(bed.addresses("www.example.org").await, [HERE]);
    let kept = bed.resolver.cached(&a("www.example.org"), Instant::now());
    assert_eq!(addresses(&kept.unwrap()), [HERE]);
    assert_eq!(asked_for(&upstream, "www.example.org").len(), 1);
}

#[tokio::test]
async fn a_silent_upstream_costs_a_moment_and_then_nothing() {
    let (silent, there) = (Server::start(silent).await, Server::start(there).await);
    let mut settings = forward(&[&silent, &there]);
    settings.patience.answer = 50 * MS;
    let bed = Bed::new(vec![settings]);
    assert_eq!(bed.addresses("a.example.org").await, [THERE]);
    assert_eq!(bed.addresses("b.example.org").await, [THERE]);
    let down = || bed.resolver.state()["forwards"][0]["upstreams"][0]["down"] == true;
    eventually("the first upstream is known to be down", down).await;
    assert_eq!(bed.addresses("c.example.org").await, [THERE]);
    assert!(asked_for(&silent, "c.example.org").is_empty());
}

#[tokio::test]
async fn a_refused_datagram_has_the_next_one_asked_at_once() {
    let gone = Server::start(silent).await;
    let address = gone.address;
    drop(gone);
    let there = Server::start(there).await;
    let mut settings = forward(&[&there]);
    settings.to.insert(0, To::Address(address));
    // Were it waited for, the test would not end.
    settings.patience.shortest = settings.patience.deadline;
    settings.patience.longest = settings.patience.deadline;
    let bed = Bed::new(vec![settings]);
    assert_eq!(bed.addresses("www.example.org").await, [THERE]);
}

#[tokio::test]
async fn an_upstream_that_is_back_is_asked_again() {
    let first = Server::start(silent).await;
    let address = first.address;
    drop(first);
    let bed = Bed::new(vec![Forward {
        to: vec![To::Address(address)],
        ..hasty(&[])
    }]);
    for text in ["a.example.org", "b.example.org"] {
        assert_eq!(bed.look_up(a(text)).await.rcode(), Rcode::SERVFAIL);
    }
    let down = || bed.resolver.state()["forwards"][0]["upstreams"][0]["down"] == true;
    assert!(down());
    let Ok(socket) = tokio::net::UdpSocket::bind(address).await else {
        return; // Somebody else has the port by now.
    };
    let mut query = [0; 512];
    let (length, client) = socket.recv_from(&mut query).await.unwrap();
    query[2] |= 0x80;
    socket.send_to(&query[..length], client).await.unwrap();
    eventually("it is known to be up", || !down()).await;
}

#[tokio::test]
async fn another_is_asked_when_one_says_that_it_cannot() {
    for rcode in [Rcode::SERVFAIL, Rcode::REFUSED, Rcode::NOTIMP] {
        let failing = Server::start(failing(rcode)).await;
        let there = Server::start(there).await;
        let bed = Bed::new(vec![forward(&[&failing, &there])]);
        assert_eq!(bed.addresses("www.example.org").await, [THERE], "{rcode}");
    }
}

#[tokio::test]
async fn when_none_can_the_client_is_told_what_the_first_said() {
    let first = Server::start(failing(Rcode::REFUSED)).await;
    let second = Server::start(failing(Rcode::SERVFAIL)).await;
    let bed = Bed::new(vec![forward(&[&first, &second])]);
    assert_eq!(
        bed.look_up(a("www.example.org")).await.rcode(),
        Rcode::REFUSED
    );
    let kept = bed.resolver.cached(&a("www.example.org"), Instant::now());
    assert_eq!(kept.unwrap().rcode(), Rcode::REFUSED);
    assert_eq!(asked_for(&second, "www.example.org").len(), 1);
}

#[tokio::test]
async fn nxdomain_is_an_answer_unless_it_was_configured_not_to_be() {
    let none = Server::start(failing(Rcode::NXDOMAIN)).await;
    let there = Server::start(there).await;
    let bed = Bed::new(vec![forward(&[&none, &there])]);
    assert_eq!(
        bed.look_up(a("www.example.org")).await.rcode(),
        Rcode::NXDOMAIN
    );
    let bed = Bed::new(vec![Forward {
        failover: vec![Rcode::NXDOMAIN],
        ..forward(&[&none, &there])
    }]);
    assert_eq!(bed.addresses("www.example.org").await, [THERE]);
    let bed = Bed::new(vec![Forward {
        failover: vec![Rcode::NXDOMAIN],
        ..forward(&[&none])
    }]);
    assert_eq!(
        bed.look_up(a("www.example.org")).await.rcode(),
        Rcode::NXDOMAIN
    );
}

#[tokio::test]
async fn nobody_answers_within_the_deadline() {
    let upstream = Server::start(silent).await;
    let bed = Bed::new(vec![hasty(&[&upstream])]);
    let reply = bed.look_up(a("www.example.org")).await;
    assert_eq!(reply.rcode(), Rcode::SERVFAIL);
    assert!(
        asked_for(&upstream, "www.example.org").len() > 1,
        "tried again"
    );
}

#[tokio::test]
async fn an_expired_answer_is_better_than_none() {
    let answers = super::in_turn(vec![true, false]);
    let upstream = Server::start(move |asked| {
        let is_probe = asked.request.question.name != name("www.example.org");
        match is_probe || answers() {
            true => vec![Act::Send(server::reply(&asked.request, |writer| {
                let data = Data::A(HERE);
                writer.push(Section::Answer, &asked.request.question.name, 1, &data)
            }))],
            false => Vec::new(),
        }
    })
    .await;
    let mut cache = CacheSettings::default();
    cache.success.min_ttl = MS;
    cache.prefetch = None;
    let bed = Bed::with(Settings {
        forwards: vec![hasty(&[&upstream])],
        cache: Some(cache),
        ..Settings::default()
    });
    let query = a("www.example.org");
    bed.look_up(query).await;
    let expired = || bed.resolver.cached(&query, Instant::now()).is_none();
    eventually("the answer has expired", expired).await;
    let stale = bed.resolver.resolve(&query).await;
    assert_eq!((addresses(&stale), stale.age), (vec![HERE], Age::Stale(30)));
    // When the failure is known, it is given without a wait.
    let given = || bed.resolver.cached(&query, Instant::now()).is_some();
    eventually("upstreams have failed", given).await;
}

#[tokio::test]
async fn what_does_not_fit_is_asked_for_by_tcp() {
    let many: Vec<_> = (0..200).map(|n| Ipv4Addr::new(192, 0, 2, n)).collect();
    let all = many.clone();
    let upstream = Server::start(move |asked| {
        let mut reply = server::addresses(&asked.request, &all);
        if !asked.by_tcp {
            reply = server::reply(&asked.request, |_| Ok(()));
            reply[2] |= 2;
        }
        vec![Act::Send(reply)]
    })
    .await;
    let bed = Bed::new(vec![forward(&[&upstream])]);
    assert_eq!(bed.addresses("www.example.org").await, many);
}

#[tokio::test]
async fn an_oversized_datagram_is_asked_for_by_tcp() {
    let many: Vec<_> = (0..250).map(|n| Ipv4Addr::new(192, 0, 2, n)).collect();
    let all = many.clone();
    let upstream =
        Server::start(move |asked| vec![Act::Send(server::addresses(&asked.request, &all))]).await;
    let bed = Bed::new(vec![forward(&[&upstream])]);
    assert_eq!(bed.addresses("www.example.org").await, many);
    let asked = asked_for(&upstream, "www.example.org");
    assert_eq!(
        asked.iter().map(|one| one.by_tcp).collect::<Vec<_>>(),
        [false, true]
    );
}

#[tokio::test]
async fn tcp_that_is_slow_closes_or_stalls() {
    let truncated = |asked: &Asked| {
        let mut reply = server::reply(&asked.request, |_| Ok(()));
        reply[2] |= 2;
        vec![Act::Send(reply)]
    };
    type Script = fn(&Asked) -> Vec<Act>;
    let slow: Script = |asked| vec![Act::SendSlowly(server::address(&asked.request, HERE))];
    let close: Script = |_| vec![Act::Close];
    let stall: Script = |_| Vec::new();
    for (by_tcp, expected) in [(slow, HERE), (close, THERE), (stall, THERE)] {
        let first = Server::start(move |asked| match asked.by_tcp {
            true => by_tcp(asked),
            false => truncated(asked),
        })
        .await;
        let second = Server::start(there).await;
        let mut settings = forward(&[&first, &second]);
        // The slow one has its time; who stalls is overtaken.
        if expected == HERE {
            settings.patience.shortest = settings.patience.deadline;
            settings.patience.longest = settings.patience.deadline;
        }
        let bed = Bed::new(vec![settings]);
        assert_eq!(bed.addresses("www.example.org").await, [expected]);
    }
}

#[tokio::test]
async fn connections_are_used_again_and_one_that_was_closed_is_replaced() {
    let upstream = Server::start(|asked| {
        let reply = Act::Send(server::address(&asked.request, HERE));
        match asked.request.question.name == name("3.example.org") {
            true => vec![reply, Act::Close],
            false => vec![reply],
        }
    })
    .await;
    let bed = Bed::new(vec![Forward {
        force_tcp: true,
        ..forward(&[&upstream])
    }]);
    // The probe has a connection of its own, which is used as well.
    eventually("the probe was answered", || !upstream.asked().is_empty()).await;
    for n in 0..6 {
        assert_eq!(bed.addresses(&format!("{n}.example.org")).await, [HERE]);
    }
    let asked = upstream.asked();
    assert!(asked.iter().all(|one| one.by_tcp));
    let connections = asked.iter().map(|one| one.connections).max();
    assert!(connections <= Some(3), "{connections:?}");
}

#[tokio::test]
async fn an_upstream_without_edns_is_asked_without() {
    let upstream = Server::start(|asked| match asked.request.edns {
        Some(_) => failing(Rcode::FORMERR)(asked),
        None => here(asked),
    })
    .await;
    let bed = Bed::new(vec![forward(&[&upstream])]);
    for text in ["a.example.org", "b.example.org"] {
        assert_eq!(bed.addresses(text).await, [HERE]);
    }
    let edns = |text| {
        let asked = asked_for(&upstream, text);
        asked
            .iter()
            .map(|one| one.request.edns.is_some())
            .collect::<Vec<_>>()
    };
    assert_eq!(edns("a.example.org"), [true, false]);
    assert_eq!(edns("b.example.org"), [false], "it is remembered");
}

#[tokio::test]
async fn an_upstream_that_folds_case_is_believed_by_tcp_and_then_asked_in_lower_case() {
    let folded = |asked: &Asked| {
        let mut request = asked.request;
        request.spelling = Default::default();
        vec![Act::Send(server::address(&request, HERE))]
    };
    // Long enough that no letter of it being a capital is out of the question.
    let names = [
        "first-long-enough-name.example.org",
        "second-long-enough-name.example.org",
    ];
    for with_tcp in [true, false] {
        let upstream = match with_tcp {
            true => Server::start(folded).await,
            false => Server::without_tcp(folded).await,
        };
        let bed = Bed::new(vec![hasty_but_patient(&upstream)]);
        for text in names {
            assert_eq!(bed.addresses(text).await, [HERE]);
        }
        let [first, second] = names.map(|text| asked_for(&upstream, text));
        assert!(!first[0].by_tcp && first[0].request.spelling != Default::default());
        assert_eq!(first.last().unwrap().by_tcp, with_tcp);
        assert_eq!(second.len(), 1, "it is remembered");
        assert_eq!(second[0].request.spelling, Default::default());
        assert!(bed.lies(&upstream, "case") > 0);
    }
}

/// Asks nobody twice, so that it is known who is asked what; a connection is not waited for.
fn hasty_but_patient(upstream: &Server) -> Forward {
    let mut settings = forward(&[upstream]);
    settings.patience.answer = 300 * MS;
    settings.patience.shortest = settings.patience.deadline;
    settings.patience.longest = settings.patience.deadline;
    settings
}

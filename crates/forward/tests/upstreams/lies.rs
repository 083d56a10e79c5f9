//! Replies that are not what they pretend to be.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use sealane_forward::Query;
use sealane_message::{Data, Kind, Question, Rcode, Section};

use super::{
    Bed, a, forward, hasty, name,
    server::{self, Act, Asked, Server},
};

const TRUTH: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const LIE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 66);

/// A lie, and then the truth.
fn lie_first(asked: &Asked, lie: Act) -> Vec<Act> {
    vec![lie, Act::Send(server::address(&asked.request, TRUTH))]
}

#[tokio::test]
async fn what_does_not_fit_the_question_is_ignored() {
    let upstream = Server::start(|asked| {
        let forged = |change: fn(&mut Vec<u8>)| {
            let mut reply = server::address(&asked.request, LIE);
            change(&mut reply);
            Act::Send(reply)
        };
        vec![
            forged(|reply| reply[0] ^= 1),
            // Another letter in the name, another type, no reply, no message.
            forged(|reply| reply[13] ^= 4),
            forged(|reply| reply[32] ^= 1),
            forged(|reply| reply[2] &= 0x7F),
            forged(|reply| reply.truncate(5)),
            forged(|reply| reply.clear()),
            Act::SendFromElsewhere(server::address(&asked.request, LIE)),
            Act::Send(server::address(&asked.request, TRUTH)),
        ]
    })
    .await;
    let bed = Bed::new(vec![forward(&[&upstream])]);
    assert_eq!(bed.addresses("www.example.org.test").await, [TRUTH]);
    assert!(bed.lies(&upstream, "id") > 0);
    assert!(bed.lies(&upstream, "question") > 0);
    assert!(bed.lies(&upstream, "no_reply") > 0);
}

#[tokio::test]
async fn a_forger_of_another_port_is_not_heard() {
    let upstream = Server::start(|asked| {
        let forged = server::address(&asked.request, LIE);
        lie_first(asked, Act::SendFromElsewhere(forged))
    })
    .await;
    let bed = Bed::new(vec![forward(&[&upstream])]);
    assert_eq!(bed.addresses("www.example.org").await, [TRUTH]);
}

#[tokio::test]
async fn a_forger_who_does_not_know_the_case_is_not_believed() {
    let upstream = Server::start(|asked| {
        let mut guess = asked.request;
        guess.spelling = Default::default();
        lie_first(asked, Act::Send(server::address(&guess, LIE)))
    })
    .await;
    let bed = Bed::new(vec![forward(&[&upstream])]);
    let long = "a-name-with-letters-enough.example.org";
    // By TCP the server lies as well, and in its name: that is its right.
    let reply = bed.look_up(a(long)).await;
    assert_eq!(reply.rcode(), Rcode::NOERROR);
    assert!(bed.lies(&upstream, "case") > 0);
    assert!(
        upstream.asked().iter().any(|one| one.by_tcp),
        "it was asked for certain"
    );
}

#[tokio::test]
async fn ports_ids_and_letters_differ_from_query_to_query() {
    let upstream =
        Server::start(|asked| vec![Act::Send(server::address(&asked.request, TRUTH))]).await;
    let bed = Bed::new(vec![forward(&[&upstream])]);
    let kind = |n: u16| Query::from(Question::new(name("www.example.org"), Kind(1000 + n)));
    for n in 0..64 {
        bed.look_up(kind(n)).await;
    }
    let asked = upstream.asked();
    let different = |what: Vec<u64>| BTreeSet::from_iter(what).len();
    let ports = different(asked.iter().map(|one| one.client.port().into()).collect());
    let ids = different(asked.iter().map(|one| one.request.id.into()).collect());
    let spellings: Vec<_> = asked
        .iter()
        .map(|one| format!("{:?}", one.request.spelling))
        .collect();
    assert!(ports > 56 && ids > 60, "{ports} ports and {ids} ids of 64");
    assert!(BTreeSet::from_iter(spellings).len() > 48);
}

#[tokio::test]
async fn replies_that_cannot_be_used_have_another_upstream_asked() {
    type Spoil = fn(&mut Vec<u8>);
    let spoilt: [Spoil; 5] = [
        // The owner is a pointer to itself; the data are longer than the message; counts without records;
        // noise behind the question; a length of nothing.
        |reply| {
            let at = reply.len() - 16 - 11;
            reply[at..at + 2].copy_from_slice(&[0xC0, at as u8]);
        },
        |reply| {
            let at = reply.len() - 11 - 6;
            reply[at] = 0xFF;
        },
        |reply| reply[6] = 0xFF,
        |reply| {
            let start = reply.len() - 16 - 11;
            for (n, byte) in reply[start..].iter_mut().enumerate() {
                *byte = (n as u8).wrapping_mul(151) ^ 0xA5;
            }
        },
        |reply| reply.truncate(reply.len() - 11 - 3),
    ];
    for (n, spoil) in spoilt.into_iter().enumerate() {
        let bad = Server::start(move |asked| {
            let mut reply = server::address(&asked.request, LIE);
            spoil(&mut reply);
            vec![Act::Send(reply)]
        })
        .await;
        let good =
            Server::start(|asked| vec![Act::Send(server::address(&asked.request, TRUTH))]).await;
        let bed = Bed::new(vec![forward(&[&bad, &good])]);
        assert_eq!(
            bed.addresses("www.example.org").await,
            [TRUTH],
            "spoilt {n}"
        );
        assert!(bed.count("sealane_dns_forward_unusable_total", &[]) > 0);
    }
}

#[tokio::test]
async fn aliases_in_a_circle_are_a_failure() {
    let upstream = Server::start(|asked| {
        let reply = server::reply(&asked.request, |writer| {
            let (from, to) = (asked.request.question.name, name("other.example.org"));
            writer.push(Section::Answer, &from, 60, &Data::Cname(to))?;
            writer.push(Section::Answer, &to, 60, &Data::Cname(from))
        });
        vec![Act::Send(reply)]
    })
    .await;
    let bed = Bed::new(vec![hasty(&[&upstream])]);
    assert_eq!(
        bed.look_up(a("www.example.org")).await.rcode(),
        Rcode::SERVFAIL
    );
}

#[tokio::test]
async fn records_of_other_names_reach_nobody() {
    let upstream = Server::start(|asked| {
        let reply = server::reply(&asked.request, |writer| {
            let own = asked.request.question.name;
            let bank = name("www.bank.example");
            writer.push(Section::Answer, &own, 60, &Data::A(TRUTH))?;
            writer.push(Section::Answer, &bank, 60, &Data::A(LIE))?;
            writer.push(Section::Additional, &bank, 60, &Data::A(LIE))
        });
        vec![Act::Send(reply)]
    })
    .await;
    let bed = Bed::new(vec![forward(&[&upstream])]);
    assert_eq!(bed.addresses("www.example.org").await, [TRUTH]);
    let bank = bed
        .resolver
        .cached(&a("www.bank.example"), std::time::Instant::now());
    assert!(bank.is_none());
    assert!(bed.count("sealane_dns_forward_dropped_records_total", &[]) > 0);
}

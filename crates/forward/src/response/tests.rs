use std::net::Ipv4Addr;

use sealane_message::{
    Answer, Data, Kind, MAX_BYTES, Name, Question, Rcode, Request, Section, Soa, Writer,
};

use super::*;
use crate::query::Query;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn address(last: u8) -> Data<'static> {
    Data::A(Ipv4Addr::new(192, 0, 2, last))
}

fn soa(minimum: u32) -> Data<'static> {
    Data::Soa(Soa {
        primary: name("ns.example.org"),
        mailbox: name("root.example.org"),
        serial: 1,
        refresh: 2,
        retry: 3,
        expire: 4,
        minimum,
    })
}

use Section::{Additional, Answer as Answers, Authority};

type Line<'a> = (Section, &'a str, u32, Data<'a>);

fn bounded(min: u32, max: u32) -> TtlBounds {
    let bounds = Bounds { min, max };
    TtlBounds {
        success: bounds,
        denial: bounds,
    }
}

/// What is kept of a reply with these records.
fn kept(
    query: Query,
    rcode: Rcode,
    bounds: TtlBounds,
    lines: &[Line<'_>],
) -> Result<Kept, Unusable> {
    let request = Request::new(1, query.question);
    let mut message = Vec::new();
    let mut writer = Writer::reply(&mut message, &request, MAX_BYTES);
    writer.set_rcode(rcode);
    for (section, owner, ttl, data) in lines {
        writer.push(*section, &name(owner), *ttl, data).unwrap();
    }
    writer.finish();
    let examined = examine(&message, &request).unwrap();
    keep(&message, examined, &query, bounds)
}

fn a(text: &str) -> Query {
    Query::from(Question::new(name(text), Kind::A))
}

/// The records of an answer, a line each.
fn shown(answer: &Answer) -> Vec<String> {
    let line = |record: sealane_message::Record<'_>| {
        let what = match &record.data {
            Data::A(address) => address.to_string(),
            Data::Cname(target) => target.to_string(),
            other => other.kind().to_string(),
        };
        format!("{} {} {what}", record.owner, record.ttl)
    };
    answer.records().map(line).collect()
}

#[test]
fn an_answer_is_kept_for_as_long_as_its_shortest_record() {
    let lines = [
        (
            Answers,
            "www.example.org",
            300,
            Data::Cname(name("web.example.net")),
        ),
        (Answers, "web.example.net", 60, address(1)),
        (Answers, "web.example.net", 90, address(2)),
    ];
    let kept = kept(
        a("www.example.org"),
        Rcode::NOERROR,
        TtlBounds::NONE,
        &lines,
    )
    .unwrap();
    assert_eq!(
        (kept.outcome, kept.ttl, kept.dropped),
        (Outcome::Success, Some(60), 0)
    );
    assert_eq!(
        shown(&kept.answer),
        [
            "www.example.org. 300 web.example.net.",
            "web.example.net. 60 192.0.2.1",
            "web.example.net. 90 192.0.2.2"
        ]
    );
}

#[test]
fn what_is_not_about_the_question_is_dropped() {
    let lines = [
        (Answers, "www.bank.example", 9999, address(66)),
        (Answers, "www.example.org", 300, address(1)),
        (
            Answers,
            "www.example.org",
            300,
            Data::Ptr(name("x.example.org")),
        ),
        (
            Authority,
            "example.org",
            300,
            Data::Ns(name("ns.example.org")),
        ),
        (Additional, "ns.example.org", 300, address(66)),
    ];
    let kept = kept(
        a("www.example.org"),
        Rcode::NOERROR,
        TtlBounds::NONE,
        &lines,
    )
    .unwrap();
    assert_eq!(shown(&kept.answer), ["www.example.org. 300 192.0.2.1"]);
    assert_eq!(kept.dropped, 2, "those of the answer");
}

#[test]
fn a_chain_is_put_in_order() {
    let lines = [
        (Answers, "c.example.org", 3, address(1)),
        (
            Answers,
            "b.example.org",
            2,
            Data::Cname(name("c.example.org")),
        ),
        (
            Answers,
            "a.example.org",
            1,
            Data::Cname(name("b.example.org")),
        ),
        (Answers, "b.example.org", 2, address(66)),
    ];
    let kept = kept(a("a.example.org"), Rcode::NOERROR, TtlBounds::NONE, &lines).unwrap();
    assert_eq!(
        shown(&kept.answer),
        [
            "a.example.org. 1 b.example.org.",
            "b.example.org. 2 c.example.org.",
            "c.example.org. 3 192.0.2.1"
        ]
    );
    assert_eq!(kept.dropped, 1, "a name with an alias has nothing else");
}

#[test]
fn aliases_that_make_no_sense_are_refused() {
    let reply = |lines: &[Line<'_>]| {
        kept(a("a.example.org"), Rcode::NOERROR, TtlBounds::NONE, lines).unwrap_err()
    };
    let alias = |from: &'static str, to: &str| (Answers, from, 60, Data::Cname(name(to)));
    assert_eq!(
        reply(&[
            alias("a.example.org", "b.example.org"),
            alias("b.example.org", "a.example.org")
        ]),
        Unusable::Circle
    );
    assert_eq!(
        reply(&[alias("a.example.org", "a.example.org")]),
        Unusable::Circle
    );
    assert_eq!(
        reply(&[
            alias("a.example.org", "b.example.org"),
            alias("a.example.org", "c.example.org")
        ]),
        Unusable::Aliases
    );
}

#[test]
fn a_denial_is_kept_for_as_long_as_its_soa_allows() {
    for (ttl, minimum, expected) in [(3600, 60, 60), (30, 900, 30), (9000, 9000, 1800), (1, 1, 5)] {
        for rcode in [Rcode::NXDOMAIN, Rcode::NOERROR] {
            let lines = [(Authority, "example.org", ttl, soa(minimum))];
            let kept = kept(a("no.example.org"), rcode, bounded(5, 1800), &lines).unwrap();
            assert_eq!((kept.outcome, kept.ttl), (Outcome::Denial, Some(expected)));
            assert_eq!(kept.answer.rcode(), rcode);
            assert_eq!(
                shown(&kept.answer),
                [format!("example.org. {expected} SOA")]
            );
        }
    }
}

#[test]
fn a_denial_without_a_soa_of_its_zone_is_given_and_not_kept() {
    let other = [(Authority, "example.net", 60, soa(60))];
    for (lines, dropped) in [(&other[..], 1), (&[], 0)] {
        let query = a("no.example.org");
        let kept = kept(query, Rcode::NXDOMAIN, TtlBounds::NONE, lines).unwrap();
        assert_eq!((kept.ttl, kept.dropped), (None, dropped));
        assert_eq!(shown(&kept.answer), Vec::<String>::new());
    }
}

#[test]
fn a_denial_at_the_end_of_a_chain_belongs_to_the_zone_of_its_end() {
    let lines = [
        (
            Answers,
            "a.example.net",
            50,
            Data::Cname(name("no.example.org")),
        ),
        (Authority, "example.org", 60, soa(40)),
    ];
    let kept = kept(a("a.example.net"), Rcode::NXDOMAIN, TtlBounds::NONE, &lines).unwrap();
    assert_eq!((kept.outcome, kept.ttl), (Outcome::Denial, Some(40)));
    assert_eq!(
        shown(&kept.answer),
        ["a.example.net. 50 no.example.org.", "example.org. 40 SOA"]
    );
}

#[test]
fn an_alias_that_leads_out_is_an_answer_by_itself() {
    let lines = [(
        Answers,
        "a.example.org",
        50,
        Data::Cname(name("b.example.net")),
    )];
    let kept = kept(a("a.example.org"), Rcode::NOERROR, TtlBounds::NONE, &lines).unwrap();
    assert_eq!((kept.outcome, kept.ttl), (Outcome::Success, Some(50)));
}

#[test]
fn who_refers_us_elsewhere_is_no_resolver() {
    let lines = [(Authority, "org", 60, Data::Ns(name("a0.org.example")))];
    let reply = kept(a("a.example.org"), Rcode::NOERROR, TtlBounds::NONE, &lines);
    assert_eq!(reply, Err(Unusable::Referral));
}

#[test]
fn a_name_that_does_not_exist_has_no_records() {
    let lines = [(Answers, "a.example.org", 60, address(1))];
    let reply = kept(a("a.example.org"), Rcode::NXDOMAIN, TtlBounds::NONE, &lines);
    assert_eq!(reply, Err(Unusable::Contradiction));
}

#[test]
fn a_ttl_that_is_none_counts_as_zero() {
    let lines = [(Answers, "a.example.org", 0x8000_0001, address(1))];
    let query = a("a.example.org");
    let kept = kept(query, Rcode::NOERROR, bounded(5, 3600), &lines).unwrap();
    assert_eq!(kept.ttl, Some(5));
}

#[test]
fn signatures_and_proofs_are_for_who_wants_them() {
    let signature = |kind: Kind| {
        let mut data = vec![0; 18];
        data[..2].copy_from_slice(&kind.0.to_be_bytes());
        data.extend_from_slice(b"\x03org\0signed");
        data
    };
    let (of_a, of_soa, of_ns) = (
        signature(Kind::A),
        signature(Kind::SOA),
        signature(Kind::NS),
    );
    let signed = |data| Data::Other(Kind::RRSIG, data);
    let lines = [
        (Answers, "a.example.org", 60, address(1)),
        (Answers, "a.example.org", 60, signed(&of_a)),
        (Answers, "a.example.org", 60, signed(&of_ns)),
        (Authority, "example.org", 60, signed(&of_soa)),
        (Authority, "example.org", 60, signed(&of_ns)),
    ];
    let mut query = a("a.example.org");
    let without = kept(query, Rcode::NOERROR, TtlBounds::NONE, &lines).unwrap();
    assert_eq!(shown(&without.answer).len(), 1);
    query.dnssec_ok = true;
    let with = kept(query, Rcode::NOERROR, TtlBounds::NONE, &lines).unwrap();
    assert_eq!(
        shown(&with.answer),
        [
            "a.example.org. 60 192.0.2.1",
            "a.example.org. 60 RRSIG",
            "example.org. 60 RRSIG"
        ]
    );
}

#[test]
fn hostile_bytes_are_refused() {
    let query = a("a.example.org");
    let request = Request::new(1, query.question);
    let mut start = Vec::new();
    request.write(&mut start);
    start[2] |= 0x80;
    // One answer, whose name is a pointer to itself, a pointer forwards, cut off, and endless.
    start[7] = 1;
    let at = start.len() as u8;
    let rest = [0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 2, 3, 4];
    for owner in [&[0xC0, at][..], &[0xC0, at + 4], &[0xC0], &[63], &[0x80, 0]] {
        let message = [&start, owner, &rest].concat();
        let examined = examine(&message, &request).unwrap();
        let reply = keep(&message, examined, &query, TtlBounds::NONE);
        assert!(
            matches!(reply, Err(Unusable::Malformed(_))),
            "{owner:?}: {reply:?}"
        );
    }
}

#[test]
fn an_opt_says_that_edns_is_refused() {
    let query = a("a.example.org");
    let request = Request::new(1, query.question);
    let mut message = Vec::new();
    request.write(&mut message);
    message[2] |= 0x80;
    message[11] = 1;
    // BADVERS is 16: one in the upper eight bits.
    message.extend_from_slice(&[0, 0, 41, 4, 0xD0, 1, 0, 0, 0, 0, 0]);
    let examined = examine(&message, &request).unwrap();
    let reply = keep(&message, examined, &query, TtlBounds::NONE);
    assert_eq!(reply, Err(Unusable::Edns));
}

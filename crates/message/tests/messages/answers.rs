//! Answers that are kept.

use std::net::Ipv4Addr;

use sealane_message::{
    Age, Answer, Data, Full, Kind, Malformed, Name, Question, Rcode, Records, Request, Section,
    Writer,
};

use crate::{ask, name};

/// `www.test` is an alias of `web.test`, which has two addresses.
fn alias() -> Answer {
    let question = Question::new(name("www.test"), Kind::A);
    let web = name("web.test");
    let made = Answer::make(&question, |writer| {
        writer.set_recursion_available(true);
        writer.push(Section::Answer, &question.name, 300, &Data::Cname(web))?;
        for last in [1, 2] {
            let address = Data::A(Ipv4Addr::new(10, 0, 0, last));
            writer.push(Section::Answer, &web, 30, &address)?;
        }
        Ok(())
    });
    made.expect("an answer")
}

/// What a client is sent.
fn sent(
    request: &Request,
    limit: usize,
    write: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
) -> (Vec<u8>, Result<(), Full>) {
    let mut out = Vec::new();
    let mut writer = Writer::reply(&mut out, request, limit);
    let result = write(&mut writer);
    writer.finish();
    (out, result)
}

/// Owner, TTL and data of each record, as text.
fn shown(message: &[u8]) -> Vec<String> {
    let records = Records::of(message).expect("a message");
    let show = |record: Result<sealane_message::Record<'_>, Malformed>| {
        let record = record.expect("a record");
        let data = match record.data {
            Data::A(address) => address.to_string(),
            Data::Cname(name) => name.to_string(),
            other => format!("{other:?}"),
        };
        format!("{} {} {data}", record.owner, record.ttl)
    };
    records.map(show).collect()
}

#[test]
fn the_same_question_gets_it_aged_whatever_the_spelling() {
    let kept = alias();
    assert_eq!((kept.min_ttl(), kept.count(Section::Answer)), (Some(30), 3));
    let query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03wWw\x04TEST\0\0\x01\0\x01";
    let request = Request::read(query).expect("a question");
    let (message, result) = sent(&request, 512, |writer| kept.write(writer, Age::Seconds(40)));
    assert_eq!(result, Ok(()));
    assert_eq!(
        shown(&message),
        [
            "www.test. 260 web.test.",
            "web.test. 0 10.0.0.1",
            "web.test. 0 10.0.0.2"
        ]
    );
    assert!(message.windows(8).any(|bytes| bytes == b"wWw\x04TEST"));
    let (message, _) = sent(&request, 512, |writer| kept.write(writer, Age::Stale(30)));
    assert_eq!(shown(&message)[0], "www.test. 30 web.test.");
    let (message, _) = sent(&request, 512, |writer| kept.write(writer, Age::NEW));
    assert_eq!(shown(&message)[0], "www.test. 300 web.test.");
}

#[test]
fn another_question_gets_it_behind_an_alias() {
    let kept = alias();
    // As long as the kept name, so that only the bytes tell them apart.
    for asked in ["www.test.default.svc.cluster.local", "abc.test"] {
        let request = ask(asked, Kind::A);
        let (message, result) = sent(&request, 512, |writer| {
            let target = Data::Cname(name("www.test"));
            writer.push(Section::Answer, &request.question.name, 5, &target)?;
            kept.write(writer, Age::Seconds(10))
        });
        assert_eq!(result, Ok(()));
        let expected = [
            &format!("{asked}. 5 www.test."),
            "www.test. 290 web.test.",
            "web.test. 20 10.0.0.1",
            "web.test. 20 10.0.0.2",
        ];
        assert_eq!(shown(&message), expected);
    }
    let request = ask("abc.test", Kind::A);
    let (message, _) = sent(&request, 512, |writer| kept.write(writer, Age::NEW));
    assert_eq!(
        shown(&message)[0],
        "www.test. 300 web.test.",
        "owners are not taken for the question"
    );
}

#[test]
fn a_client_with_less_room_gets_what_fits() {
    let request = ask("www.test", Kind::A);
    let (message, result) = sent(&request, 70, |writer| alias().write(writer, Age::NEW));
    assert_eq!(result, Err(Full));
    assert_eq!((shown(&message).len(), message[2] & 2), (2, 2));
}

#[test]
fn rcode_and_flags_are_kept() {
    let question = Question::new(name("no.test"), Kind::A);
    let made = Answer::make(&question, |writer| {
        writer.set_rcode(Rcode::NXDOMAIN);
        writer.set_authoritative(true);
        writer.set_authentic_data(true);
        Ok(())
    });
    let kept = made.expect("an answer");
    assert_eq!((kept.rcode(), kept.min_ttl()), (Rcode::NXDOMAIN, None));
    assert!(kept.is_authoritative() && kept.is_authentic());
    let (message, _) = sent(&ask("no.test", Kind::A), 512, |writer| {
        kept.write(writer, Age::NEW)
    });
    assert_eq!(message[3] & 0xF, 3);
    assert!(kept.memory_bytes() < 120, "{}", kept.memory_bytes());
}

#[test]
fn a_response_that_cannot_be_read_is_not_kept() {
    let (good, _) = sent(&ask("www.test", Kind::A), 512, |writer| {
        alias().write(writer, Age::NEW)
    });
    assert_eq!(
        Answer::read(&good).map(|kept| kept.count(Section::Answer)),
        Ok(3)
    );
    assert_eq!(Answer::read(&good[..good.len() - 1]), Err(Malformed::Short));
    let mut two = good.clone();
    two[5] = 2;
    assert_eq!(Answer::read(&two), Err(Malformed::Questions(2)));
    let mut short = good;
    let length = short.len();
    short[length - 5] = 3;
    assert_eq!(Answer::read(&short), Err(Malformed::Data(Kind::A)));
    assert!(Answer::read(b"").is_err());
}

#[test]
fn the_root_is_a_question_too() {
    let question = Question::new(Name::ROOT, Kind::NS);
    let server = name("a.root-servers.net");
    let made = Answer::make(&question, |writer| {
        writer.push(Section::Answer, &Name::ROOT, 9, &Data::Ns(server))
    });
    let (message, _) = sent(&ask(".", Kind::NS), 512, |writer| {
        made.expect("an answer").write(writer, Age::NEW)
    });
    assert_eq!(shown(&message).len(), 1);
}

#[test]
fn addresses_take_turns() {
    let request = ask("www.test", Kind::A);
    for (turn, first) in [(0, 1), (1, 2), (2, 1), (7, 2)] {
        let (message, _) = sent(&request, 512, |writer| {
            writer.set_turn(turn);
            alias().write(writer, Age::Seconds(10))
        });
        let expected = [
            "www.test. 290 web.test.".to_owned(),
            format!("web.test. 20 10.0.0.{first}"),
            format!("web.test. 20 10.0.0.{}", 3 - first),
        ];
        assert_eq!(shown(&message), expected, "turn {turn}");
    }
}

//! Replies as bytes.

use std::net::Ipv4Addr;

use sealane_message::{
    Data, Edns, Full, Kind, Name, Rcode, Record, Records, Request, Section, Soa, Writer, text_data,
};

use crate::{ask, name};

fn records(message: &[u8]) -> Vec<Record<'_>> {
    Records::of(message)
        .expect("a message")
        .map(|record| record.expect("a record"))
        .collect()
}

fn address(last: u8) -> Data<'static> {
    Data::A(Ipv4Addr::new(10, 0, 0, last))
}

#[test]
fn a_reply_repeats_the_question_as_it_was_spelled_and_points_to_it() {
    let query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03wEB\x04Test\0\0\x01\0\x01";
    let request = Request::read(query).expect("a question");
    let mut out = b"\0\0".to_vec();
    let mut writer = Writer::reply(&mut out, &request, 512);
    writer.set_authoritative(true);
    writer.set_recursion_available(true);
    assert_eq!(
        writer.push(Section::Answer, &request.question.name, 5, &address(1)),
        Ok(())
    );
    assert_eq!(writer.finish() + 2, out.len());
    let expected = b"\0\0\x12\x34\x85\x80\0\x01\0\x01\0\0\0\0\x03wEB\x04Test\0\0\x01\0\x01\
        \xc0\x0c\0\x01\0\x01\0\0\0\x05\0\x04\x0a\0\0\x01";
    assert_eq!(out, expected, "the bytes before it are left alone");
}

#[test]
fn names_are_compressed_where_their_kind_allows_it() {
    let request = ask("_http._tcp.web.default.svc.cluster.local", Kind::SRV);
    let host = name("a.web.default.svc.cluster.local");
    let other = name("ns.dns.cluster.local");
    let soa = Soa {
        primary: other,
        mailbox: name("hostmaster.cluster.local"),
        serial: 7,
        refresh: 7200,
        retry: 1800,
        expire: 86400,
        minimum: 30,
    };
    let srv = Data::Srv {
        priority: 0,
        weight: 50,
        port: 80,
        target: host,
    };
    let mut out = Vec::new();
    let mut writer = Writer::reply(&mut out, &request, 512);
    let pushed = [
        writer.push(Section::Answer, &request.question.name, 5, &srv),
        writer.push(
            Section::Authority,
            &name("cluster.local"),
            5,
            &Data::Soa(soa.clone()),
        ),
        writer.push(Section::Additional, &host, 5, &address(1)),
    ];
    assert_eq!(pushed, [Ok(()); 3]);
    writer.finish();
    let found: Vec<_> = records(&out)
        .into_iter()
        .map(|record| (record.owner, record.data))
        .collect();
    let expected = [
        (request.question.name, srv),
        (name("cluster.local"), Data::Soa(soa)),
        (host, address(1)),
    ];
    assert_eq!(found, expected);
    let at = |part: &[u8]| {
        out.windows(part.len())
            .filter(|window| *window == part)
            .count()
    };
    assert_eq!(
        at(b"\x07cluster\x05local\0"),
        2,
        "in the question and in the SRV target, whole"
    );
    assert_eq!(at(b"\x01a\x03web"), 1, "the address points to the target");
}

#[test]
fn what_does_not_fit_is_left_out_whole_and_told() {
    let request = ask("web.test", Kind::A);
    let mut out = Vec::new();
    let mut writer = Writer::reply(&mut out, &request, 57);
    let name = request.question.name;
    assert_eq!(writer.push(Section::Answer, &name, 5, &address(1)), Ok(()));
    assert_eq!(
        writer.push(Section::Answer, &name, 5, &address(2)),
        Err(Full)
    );
    assert_eq!(
        writer.push(Section::Authority, &name, 5, &Data::Other(Kind::TXT, b"\0")),
        Err(Full)
    );
    assert!(writer.is_full());
    writer.finish();
    assert_eq!(out[2] & 2, 2, "TC");
    assert_eq!(records(&out).len(), 1);
}

#[test]
fn missing_additional_records_are_no_truncation() {
    let request = ask("web.test", Kind::A);
    let mut out = Vec::new();
    let mut writer = Writer::reply(&mut out, &request, 57);
    let name = request.question.name;
    assert_eq!(writer.push(Section::Answer, &name, 5, &address(1)), Ok(()));
    assert_eq!(
        writer.push(Section::Additional, &name, 5, &address(2)),
        Err(Full)
    );
    writer.finish();
    assert_eq!(out[2] & 2, 0);
}

#[test]
fn room_for_the_opt_is_kept() {
    let mut request = ask("web.test", Kind::A);
    request.edns = Some(Edns {
        udp_bytes: 600,
        dnssec_ok: true,
    });
    let mut out = Vec::new();
    let mut writer = Writer::reply(&mut out, &request, request.udp_limit());
    assert!(writer.dnssec_ok());
    while writer
        .push(Section::Answer, &request.question.name, 5, &address(1))
        .is_ok()
    {}
    writer.set_rcode(Rcode::BADCOOKIE);
    let length = writer.finish();
    assert!((600 - 16..=600).contains(&length), "{length}");
    assert_eq!(out[3] & 0xF, 7);
    assert_eq!(
        &out[length - 11..],
        [0, 0, 41, 4, 0xD0, 1, 0, 0x80, 0, 0, 0]
    );
    assert_eq!(
        records(&out).last().map(|opt| opt.data.kind()),
        Some(Kind::OPT)
    );
}

#[test]
fn a_writer_goes_back_to_a_mark() {
    let request = ask("web.test", Kind::A);
    let mut out = Vec::new();
    let mut writer = Writer::reply(&mut out, &request, 512);
    let mark = writer.mark();
    let elsewhere = name("a.long.name.example");
    writer.set_rcode(Rcode::NXDOMAIN);
    assert_eq!(
        writer.push(Section::Answer, &elsewhere, 5, &address(1)),
        Ok(())
    );
    writer.rewind(mark);
    assert_eq!(
        (writer.rcode(), writer.count(Section::Answer)),
        (Rcode::NOERROR, 0)
    );
    assert_eq!(
        writer.push(Section::Answer, &elsewhere, 5, &address(2)),
        Ok(())
    );
    writer.finish();
    let found = records(&out);
    assert_eq!(
        (found.len(), found[0].owner),
        (1, elsewhere),
        "no pointer to what is gone"
    );
}

#[test]
fn more_names_than_are_remembered_are_still_right() {
    let request = ask("many.test", Kind::NS);
    let mut out = Vec::new();
    let mut writer = Writer::reply(&mut out, &request, 65535);
    let host = |n: usize| name(&format!("host-{n}.zone-{n}.many.test"));
    for n in 0..1500 {
        assert_eq!(
            writer.push(
                Section::Answer,
                &request.question.name,
                5,
                &Data::Ns(host(n))
            ),
            Ok(())
        );
    }
    writer.finish();
    for (n, record) in records(&out).into_iter().enumerate() {
        assert_eq!(record.data, Data::Ns(host(n)));
    }
}

#[test]
fn texts_are_cut_into_strings() {
    assert_eq!(text_data(""), [0]);
    let long = text_data(&"x".repeat(300));
    assert_eq!((long.len(), long[0], long[256]), (302, 255, 45));
}

#[test]
fn records_go_round() {
    let request = ask(".", Kind::A);
    let mut out = Vec::new();
    let mut writer = Writer::reply(&mut out, &request, 512);
    assert_eq!(writer.first_of(3), 0);
    writer.set_turn(5);
    assert_eq!((writer.first_of(3), writer.first_of(0)), (2, 0));
    assert_eq!(
        writer.push(Section::Answer, &Name::ROOT, 5, &address(1)),
        Ok(())
    );
    writer.finish();
    assert_eq!(
        &out[12..17],
        [0, 0, 1, 0, 1],
        "the root is its own shortest form"
    );
    assert_eq!(out[17], 0);
}

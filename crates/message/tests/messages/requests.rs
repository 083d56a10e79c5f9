//! Requests: what is one, and what is replied to what is none.

use proptest::prelude::*;
use sealane_message::{Edns, Fault, Kind, Opcode, Rcode, Request};

use crate::{ask, bytes};

const OPT: &[u8] = &[0, 0, 41, 4, 0xD0, 0, 0, 0x80, 0, 0, 0];

/// A question with an OPT of `option` bytes.
fn with_opt(opt: &[u8]) -> Vec<u8> {
    let mut message = bytes(&ask("a.example", Kind::A));
    message[11] = 1;
    message.extend_from_slice(opt);
    message
}

fn fault(message: &[u8]) -> Option<Fault> {
    Request::read(message).err().map(|refusal| refusal.fault)
}

/// The reply to what is no question.
fn refused(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let refusal = Request::read(message).expect_err("no question");
    assert_eq!(refusal.write(&mut out), refusal.rcode().is_some());
    out
}

#[test]
fn a_question_is_read_with_its_flags_and_its_spelling() {
    let mut message =
        b"\xab\xcd\x01\x30\0\x01\0\0\0\0\0\x01\x03WwW\x07Example\0\0\x1c\0\x01".to_vec();
    message.extend_from_slice(OPT);
    let request = Request::read(&message).expect("a question");
    assert_eq!(request.id, 0xABCD);
    assert_eq!(request.question.to_string(), "www.example. IN AAAA");
    assert!(request.recursion_desired && request.authentic_data && request.checking_disabled);
    let edns = Edns {
        udp_bytes: 1232,
        dnssec_ok: true,
    };
    assert_eq!(request.edns, Some(edns));
    assert_eq!(bytes(&request), message, "and written as it was");
}

#[test]
fn the_limit_is_the_clients_but_bounded() {
    let limit = |udp_bytes| {
        let edns = Some(Edns {
            udp_bytes,
            dnssec_ok: false,
        });
        Request {
            edns,
            ..ask("a", Kind::A)
        }
        .udp_limit()
    };
    assert_eq!(
        [limit(0), limit(512), limit(1000), limit(4096)],
        [512, 512, 1000, 1232]
    );
    assert_eq!(ask("a", Kind::A).udp_limit(), 512);
}

#[test]
fn no_reply_goes_to_a_reply_or_to_rubbish() {
    let mut message = bytes(&ask("a", Kind::A));
    message[2] |= 0x80;
    assert_eq!(fault(&message), Some(Fault::Reply));
    assert_eq!(refused(&message), b"");
    assert_eq!(fault(&message[..11]), Some(Fault::Short));
    assert_eq!(refused(&message[..11]), b"");
}

#[test]
fn other_opcodes_are_not_implemented() {
    for opcode in 1..16 {
        let mut message = bytes(&ask("a", Kind::A));
        message[2] |= opcode << 3;
        assert_eq!(fault(&message), Some(Fault::Opcode(Opcode(opcode))));
        let reply = refused(&message);
        assert_eq!(
            reply,
            [
                0x12,
                0x34,
                0x81 | opcode << 3,
                Rcode::NOTIMP.0 as u8,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0
            ]
        );
    }
}

#[test]
fn what_no_client_sends_is_a_format_error() {
    let plain = bytes(&ask("a.example", Kind::A));
    let changed = |at: usize, byte: u8| {
        let mut message = plain.clone();
        message[at] = byte;
        message
    };
    let two_opts = {
        let mut message = with_opt(OPT);
        message[11] = 2;
        message.extend_from_slice(OPT);
        message
    };
    let cases = [
        ("no question", changed(5, 0)),
        ("two questions", changed(5, 2)),
        ("an answer", changed(7, 1)),
        ("an authority", changed(9, 1)),
        ("truncated", changed(2, 0x03)),
        ("an additional record that is not there", changed(11, 1)),
        ("trailing bytes", [&plain[..], b"x"].concat()),
        ("ends in the class", plain[..plain.len() - 1].to_vec()),
        ("ends in the name", plain[..15].to_vec()),
        (
            "a pointer",
            b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\xc0\x0c\0\x01\0\x01".to_vec(),
        ),
        (
            "a pointer after a label",
            b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x01a\xc0\x0c\0\x01\0\x01".to_vec(),
        ),
        ("an unknown label type", changed(12, 0x41)),
        ("OPT asked for", changed(plain.len() - 3, 41)),
        ("two OPTs", two_opts),
        (
            "OPT of a name",
            with_opt(&[1, b'a', 0, 0, 41, 4, 0xD0, 0, 0, 0, 0, 0, 0]),
        ),
        (
            "OPT longer than the message",
            with_opt(&[0, 0, 41, 4, 0xD0, 0, 0, 0, 0, 0, 1]),
        ),
        (
            "an option longer than OPT",
            with_opt(&[0, 0, 41, 4, 0xD0, 0, 0, 0, 0, 0, 4, 0, 3, 0, 1]),
        ),
        (
            "half an option",
            with_opt(&[0, 0, 41, 4, 0xD0, 0, 0, 0, 0, 0, 3, 0, 3, 0]),
        ),
    ];
    for (what, message) in cases {
        assert_eq!(fault(&message), Some(Fault::Malformed), "{what}");
        let reply = refused(&message);
        assert_eq!(&reply[..2], &message[..2], "{what}");
        assert_eq!(
            (reply.len(), reply[2] & 0x80, reply[3]),
            (12, 0x80, 1),
            "{what}"
        );
    }
}

#[test]
fn options_and_other_additional_records_are_read_over() {
    let cookie = [
        &[0, 0, 41, 4, 0xD0, 0, 0, 0, 0, 0, 12, 0, 10, 0, 8][..],
        &[7; 8],
    ]
    .concat();
    assert_eq!(fault(&with_opt(&cookie)), None);
    let mut other = with_opt(b"\xc0\x0c\0\x01\0\x01\0\0\0\x05\0\x04\x0a\0\0\x01");
    other[11] = 2;
    other.extend_from_slice(OPT);
    let request = Request::read(&other).expect("a question");
    assert!(request.edns.is_some_and(|edns| edns.dnssec_ok));
}

#[test]
fn ixfr_brings_the_version_that_the_client_has() {
    let mut message = bytes(&ask("a", Kind::IXFR));
    message[9] = 1;
    message.extend_from_slice(
        b"\xc0\x0c\0\x06\0\x01\0\0\0\x05\0\x16\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    );
    assert_eq!(fault(&message), None);
}

#[test]
fn another_version_of_edns_is_told_which_there_is() {
    let message = with_opt(&[0, 0, 41, 4, 0xD0, 0, 1, 0, 0, 0, 0]);
    assert_eq!(fault(&message), Some(Fault::Version(1)));
    let reply = refused(&message);
    assert_eq!(reply[3] & 0xF, 0, "the lower bits of 16");
    let opt = &reply[reply.len() - 11..];
    assert_eq!(
        opt,
        [0, 0, 41, 4, 0xD0, 1, 0, 0, 0, 0, 0],
        "the upper bits, version 0"
    );
    assert_eq!(
        &reply[12..reply.len() - 11],
        &message[12..message.len() - 11],
        "the question"
    );
}

proptest! {
    #[test]
    fn a_request_that_is_written_is_read_back(
        labels in proptest::collection::vec("[a-zA-Z0-9_-]{1,20}", 0..8),
        id in any::<u16>(), kind in 1_u16..=40, flags in any::<[bool; 3]>(),
        size in proptest::option::of(any::<u16>()),
    ) {
        let mut request = ask(&format!("{}.", labels.join(".")), Kind(kind));
        request.id = id;
        [request.recursion_desired, request.authentic_data, request.checking_disabled] = flags;
        request.edns = size.map(|udp_bytes| Edns { udp_bytes, dnssec_ok: flags[0] });
        prop_assert_eq!(Request::read(&bytes(&request)), Ok(request));
    }
}

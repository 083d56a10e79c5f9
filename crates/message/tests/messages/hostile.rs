//! Bytes that nobody meant: nothing panics, nothing loops, and replies are messages.

use proptest::prelude::*;
use sealane_message::{Kind, fuzzing};

use crate::{ask, bytes};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        fuzzing::message(&bytes);
    }

    #[test]
    fn any_bytes_behind_a_header(bytes in proptest::collection::vec(any::<u8>(), 0..100), counts in any::<[bool; 4]>()) {
        let [a, b, c, d] = counts.map(u8::from);
        let mut message = vec![0, 1, 1, 0, 0, a, 0, b, 0, c, 0, d];
        message.extend_from_slice(&bytes);
        fuzzing::message(&message);
    }

    #[test]
    fn a_question_with_some_bytes_changed(changes in proptest::collection::vec((0_usize..60, any::<u8>()), 1..4)) {
        let mut message = bytes(&ask("web.default.svc.cluster.local", Kind::A));
        message[11] = 1;
        message.extend_from_slice(&[0, 0, 41, 4, 0xD0, 0, 0, 0, 0, 0, 5, 0, 3, 0, 1, b'x']);
        for (at, byte) in changes {
            if let Some(place) = message.get_mut(at) {
                *place = byte;
            }
        }
        fuzzing::message(&message);
    }
}

#[test]
fn compression_loops_end() {
    let header = b"\0\x01\x81\0\0\x01\0\x01\0\0\0\0";
    for tail in [
        &b"\x01a\xc0\x0c\0\x01\0\x01"[..],
        b"\xc0\x0c\0\x01\0\x01",
        b"\x01a\0\0\x01\0\x01\xc0\x13\0\x01\0\x01\0\0\0\0\0\x02\xc0\x13",
        b"\x01a\0\0\x05\0\x01\xc0\x0c\0\x05\0\x01\0\0\0\0\0\x02\xc0\x1f",
    ] {
        fuzzing::message(&[&header[..], tail].concat());
    }
    // As many pointers as a message holds, each to the one before.
    let mut chain = header.to_vec();
    chain.extend_from_slice(b"\0\0\x01\0\x01");
    for at in (16..16000_u16).step_by(2) {
        chain.extend_from_slice(&(0xC000 | at).to_be_bytes());
    }
    fuzzing::message(&chain);
}

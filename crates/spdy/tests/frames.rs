//! Frames go to bytes and back, however the bytes are cut, and hostile bytes are bounded.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::{Bytes, BytesMut};
use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;
use sealane_spdy::{Decoder, Encoder, Error, Frame, Headers, MAX_CONTROL_BYTES, MAX_HEADERS_BYTES};

fn encode(frames: &[Frame]) -> BytesMut {
    let (mut encoder, mut bytes) = (Encoder::new(), BytesMut::new());
    for frame in frames {
        encoder.encode(frame, &mut bytes).unwrap();
    }
    bytes
}

/// All frames of these pieces; parts of one data frame are put together.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Frame>, Error> {
    let (mut decoder, mut frames) = (Decoder::new(), Vec::new());
    for piece in pieces {
        decoder.push(piece);
        while let Some(frame) = decoder.next()? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

/// Data of one stream that follows each other, as one.
fn joined(frames: Vec<Frame>) -> Vec<Frame> {
    let mut joined: Vec<Frame> = Vec::new();
    for frame in frames {
        match (joined.last_mut(), &frame) {
            (
                Some(Frame::Data {
                    id,
                    bytes,
                    fin: fin @ false,
                }),
                Frame::Data {
                    id: next,
                    bytes: more,
                    fin: last,
                },
            ) if id == next => {
                *bytes = [&bytes[..], more].concat().into();
                *fin = *last;
            }
            _ => joined.push(frame),
        }
    }
    joined
}

fn headers() -> impl Strategy<Value = Headers> {
    let pairs = prop::collection::btree_map("[a-z-]{1,12}", "[ -~]{0,30}", 0..5);
    pairs.prop_map(|pairs| Headers::new(pairs.iter().map(|(name, value)| (&name[..], &value[..]))))
}

fn frame() -> impl Strategy<Value = Frame> {
    let id = 1..1_u32 << 31;
    let bytes = prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
    prop_oneof![
        (id.clone(), headers(), any::<bool>()).prop_map(|(id, headers, fin)| Frame::SynStream {
            id,
            headers,
            fin
        }),
        (id.clone(), headers(), any::<bool>()).prop_map(|(id, headers, fin)| Frame::SynReply {
            id,
            headers,
            fin
        }),
        (id.clone(), headers(), any::<bool>()).prop_map(|(id, headers, fin)| Frame::Headers {
            id,
            headers,
            fin
        }),
        (id.clone(), bytes, any::<bool>()).prop_map(|(id, bytes, fin)| Frame::Data {
            id,
            bytes,
            fin
        }),
        (id.clone(), any::<u32>()).prop_map(|(id, status)| Frame::RstStream { id, status }),
        any::<u32>().prop_map(|id| Frame::Ping { id }),
        (id.clone(), any::<u32>()).prop_map(|(last, status)| Frame::GoAway { last, status }),
        (id.clone(), id).prop_map(|(id, delta)| Frame::WindowUpdate { id, delta }),
        Just(Frame::Settings),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn frames_come_back_however_they_are_cut(
        frames in prop::collection::vec(frame(), 0..12),
        size in 1_usize..200,
    ) {
        let bytes = encode(&frames);
        let read = decode(bytes.chunks(size)).unwrap();
        prop_assert_eq!(joined(read), joined(frames));
    }

    #[test]
    fn no_bytes_break_the_decoder(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        size in 1_usize..50,
    ) {
        // Whether they make sense does not matter; that this returns does.
        let _either_way = decode(bytes.chunks(size));
    }

    #[test]
    fn nor_does_a_byte_that_is_changed(
        frames in prop::collection::vec(frame(), 1..6),
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
    ) {
        let mut bytes = encode(&frames);
        let at = at.index(bytes.len());
        bytes[at] = to;
        let _either_way = decode([&bytes[..]]);
    }
}

/// A SYN_STREAM of stream 1 with this packed block.
fn syn_stream(packed: &[u8]) -> Vec<u8> {
    let length = u32::try_from(10 + packed.len()).unwrap();
    [
        &[0x80, 3, 0, 1][..],
        &length.to_be_bytes(),
        &1_u32.to_be_bytes(),
        &[0; 6],
        packed,
    ]
    .concat()
}

fn packed(block: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(block.len() + 1024);
    let mut stream = Compress::new(Compression::best(), true);
    stream
        .compress_vec(block, &mut packed, FlushCompress::Sync)
        .unwrap();
    packed
}

#[test]
fn what_kubectl_opens_a_stream_with() {
    let headers = Headers::new([
        ("streamtype", "error"),
        ("port", "8080"),
        ("requestid", "0"),
    ]);
    let frames = [
        Frame::SynStream {
            id: 1,
            headers,
            fin: false,
        },
        Frame::Data {
            id: 1,
            bytes: Bytes::new(),
            fin: true,
        },
    ];
    let bytes = encode(&frames);
    assert_eq!(&bytes[..4], [0x80, 3, 0, 1]);
    let read = decode(bytes.chunks(1)).unwrap();
    assert_eq!(read, frames);
    let Frame::SynStream { headers, .. } = &read[0] else {
        unreachable!()
    };
    assert_eq!(headers.get("requestID"), Some("0"));
}

#[test]
fn a_long_data_frame_is_not_kept() {
    let mut decoder = Decoder::new();
    decoder.push(&[0, 0, 0, 3, 1, 0xff, 0xff, 0xff]);
    let mut total = 0;
    assert_eq!(decoder.next().unwrap(), None);
    while total < 0xff_ffff {
        let piece = vec![7; (0xff_ffff - total).min(100_000)];
        decoder.push(&piece);
        let Some(Frame::Data { id: 3, bytes, fin }) = decoder.next().unwrap() else {
            panic!()
        };
        total += bytes.len();
        assert_eq!(bytes.len(), piece.len(), "handed on as it came");
        assert_eq!(fin, total == 0xff_ffff);
    }
    assert_eq!(decoder.next().unwrap(), None);
}

#[test]
fn hostile_frames_are_refused() {
    let fault = |bytes: &[u8]| decode([bytes]).unwrap_err();
    let long = u32::try_from(MAX_CONTROL_BYTES + 1).unwrap().to_be_bytes();
    let long = [&[0x80, 3, 0, 1][..], &long].concat();
    assert_eq!(
        fault(&long),
        Error::TooLong {
            kind: 1,
            length: MAX_CONTROL_BYTES + 1
        }
    );
    assert_eq!(
        fault(b"GET / HTTP/1.1\r\n\r\n".map(|b| b | 0x80).as_slice()),
        Error::Version(0x47c5)
    );
    assert_eq!(
        fault(&[0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1]),
        Error::Version(2)
    );
    assert_eq!(
        fault(&[0x80, 3, 0, 6, 0, 0, 0, 3, 0, 0, 0]),
        Error::Length { kind: 6, length: 3 }
    );
    assert_eq!(
        fault(&[0x80, 3, 0, 1, 0, 0, 0, 3, 0, 0, 1]),
        Error::Length { kind: 1, length: 3 }
    );
    assert_eq!(fault(&[0; 8]), Error::StreamZero { kind: 0 });
    assert_eq!(
        fault(&[0x80, 3, 0, 3, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1]),
        Error::StreamZero { kind: 3 }
    );
    assert!(matches!(
        fault(&syn_stream(b"not packed at all")),
        Error::Packing(_)
    ));
}

#[test]
fn packed_headers_that_explode_are_refused() {
    let bomb = syn_stream(&packed(&vec![0; 8 << 20]));
    assert!(
        bomb.len() < MAX_CONTROL_BYTES,
        "{} bytes make 8 MiB",
        bomb.len()
    );
    assert_eq!(decode([&bomb[..]]).unwrap_err(), Error::Bomb);
    let block = [
        &[0, 0, 0, 1, 0, 0, 0, 1, b'a'][..],
        &40_000_u32.to_be_bytes(),
        &[b'x'; 40_000],
    ]
    .concat();
    assert!(block.len() < MAX_HEADERS_BYTES);
    let Frame::SynStream { headers, .. } = &decode([&syn_stream(&packed(&block))[..]]).unwrap()[0]
    else {
        unreachable!()
    };
    assert_eq!(
        headers.get("a").unwrap().len(),
        40_000,
        "packed without the dictionary"
    );
}

#[test]
fn unknown_types_are_passed_over() {
    let bytes = [
        0x80, 3, 0, 99, 0, 0, 0, 1, 7, 0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 9,
    ];
    let frames = decode(bytes.chunks(3)).unwrap();
    assert_eq!(frames, [Frame::Unknown { kind: 99 }, Frame::Ping { id: 9 }]);
}

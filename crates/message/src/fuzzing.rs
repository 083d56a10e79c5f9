//! What `make fuzz` and the tests of hostile input drive.

use crate::{Age, Answer, Full, Kind, PLAIN_UDP_BYTES, Rcode, Records, Request, Section, Writer};

/// Reads `bytes` as a request and as a response.
///
/// # Panics
///
/// When a promise is broken: a request is written as it was read, a reply fits and can be read.
pub fn message(bytes: &[u8]) {
    let mut reply = Vec::new();
    match Request::read(bytes) {
        Ok(request) => request_is_kept(&request),
        Err(refusal) => {
            if refusal.write(&mut reply) {
                assert_eq!(reply[..2], bytes[..2], "the id is repeated");
                assert!(reply.len() <= bytes.len(), "a refusal amplifies nothing");
                assert!(Records::of(&reply).is_ok(), "a refusal is a message");
            }
        }
    }
    response(bytes);
}

fn request_is_kept(request: &Request) {
    let mut written = Vec::new();
    request.write(&mut written);
    assert_eq!(
        Request::read(&written).as_ref(),
        Ok(request),
        "written as it was read"
    );
}

/// An answer that can be kept is sent whole to who asked, and in part to who has less room.
fn response(bytes: &[u8]) {
    let Ok(foreign) = Answer::read(bytes) else {
        return;
    };
    assert!(foreign.records().count() <= usize::from(u16::MAX) * 3);
    let Ok(request) = Request::read(&question_of(bytes)) else {
        return;
    };
    let made = Answer::make(&request.question, |writer| {
        writer.set_rcode(foreign.rcode());
        let mut records = foreign
            .records()
            .filter(|record| record.data.kind() != Kind::OPT);
        records.try_for_each(|one| {
            writer.push_of_class(one.section, &one.owner, one.class, one.ttl, &one.data)
        })
    });
    let Ok(answer) = made else { return };
    let mut whole = Vec::new();
    let mut writer = Writer::reply(&mut whole, &request, crate::MAX_BYTES);
    let fits = !has_opt(&answer) && answer.write(&mut writer, Age::Seconds(1)) != Err(Full);
    writer.finish();
    if fits {
        let again = Answer::read(&whole).map(|again| again.records().count());
        assert_eq!(again, Ok(answer.records().count()), "nothing is lost");
    }
    let mut part = Vec::new();
    let mut writer = Writer::reply(&mut part, &request, PLAIN_UDP_BYTES);
    if !has_opt(&answer) {
        let _told_by_tc = answer.write(&mut writer, Age::NEW);
    }
    writer.set_rcode(Rcode::SERVFAIL);
    writer.finish();
    assert!(part.len() <= PLAIN_UDP_BYTES, "the limit is kept");
    assert!(Records::of(&part).is_ok_and(|mut records| records.all(|record| record.is_ok())));
}

fn has_opt(answer: &Answer) -> bool {
    let opt = |record: crate::Record<'_>| {
        record.section != Section::Answer || record.data.kind() == crate::Kind::OPT
    };
    answer.records().any(opt)
}

/// The header and the question of `message` as a client would have sent them.
fn question_of(message: &[u8]) -> Vec<u8> {
    let end = Records::of(message).map_or(0, |records| records.position());
    let mut question = message[..end].to_vec();
    if let Some(header) = question.first_chunk_mut::<{ crate::HEADER_BYTES }>() {
        header[2..4].copy_from_slice(&[1, 0]);
        header[6..].fill(0);
    }
    question
}

//! A blob, in as many pieces as it takes.

use std::io::{self, Read};

use ureq::Body;
use ureq::http::{Response, StatusCode, header};

use super::{Listener, Progress};
use crate::digest::Digest;
use crate::registry::{Fault, Session, Wanted};
use crate::store::{Ingest, Partial, Slot};

const CHUNK: usize = 128 << 10;
/// How often in a row a download may break off without having brought anything.
const IDLE_ATTEMPTS: u32 = 4;
/// How often a whole blob may turn out to be another one than was asked for.
const WRONG: u32 = 2;

/// Fetches a blob, unless it is here; what an earlier attempt left is continued.
pub(super) fn fetch(
    ingest: &Ingest,
    session: &Session,
    digest: &Digest,
    size: u64,
    listener: Listener<'_>,
) -> Result<(), Fault> {
    let report = |done| {
        listener(Progress {
            digest: digest.clone(),
            done,
            total: size,
        });
    };
    let mut wrong = 0;
    loop {
        let Slot::Missing(mut partial) = ingest.slot(digest, Some(size))? else {
            report(size);
            return Ok(());
        };
        if partial.len() > size {
            partial.restart(digest.algorithm())?;
        }
        fill(&mut partial, session, digest, size, &report)?;
        match partial.finish(ingest.store(), digest)? {
            Ok(()) => return Ok(()),
            // It may have been a rest of something else that was continued.
            Err(_) if wrong + 1 < WRONG => wrong += 1,
            Err(found) => {
                let text = format!("it sends a blob with {found} where {digest} was asked for");
                return Err(Fault::Answer(text));
            }
        }
    }
}

fn fill(
    partial: &mut Partial,
    session: &Session,
    digest: &Digest,
    size: u64,
    report: &dyn Fn(u64),
) -> Result<(), Fault> {
    let mut idle = 0;
    report(partial.len());
    while partial.len() < size {
        let before = partial.len();
        let broken = match attempt(partial, session, digest, size, report) {
            Ok(()) => continue,
            Err(Fault::Transport(cause)) => cause,
            Err(other) => return Err(other),
        };
        idle = if partial.len() > before { 0 } else { idle + 1 };
        if idle >= IDLE_ATTEMPTS {
            let have = partial.len();
            return Err(Fault::Transport(format!(
                "{broken}, after {have} of {size} bytes of {digest}"
            )));
        }
        tracing::debug!(%digest, done = partial.len(), "a download broke off: {broken}");
        session.rest(idle);
    }
    Ok(())
}

/// One request, from where the last one ended.
fn attempt(
    partial: &mut Partial,
    session: &Session,
    digest: &Digest,
    size: u64,
    report: &dyn Fn(u64),
) -> Result<(), Fault> {
    let wanted = Wanted {
        path: &format!("blobs/{digest}"),
        accept: "",
        from: partial.len(),
        head: false,
    };
    let response = match session.get(&wanted) {
        // What we have is longer than what it has.
        Err(Fault::Status { code: 416, .. }) => {
            partial.restart(digest.algorithm())?;
            return Err(Fault::Transport(
                "it has no such part of the blob".to_owned(),
            ));
        }
        response => response?,
    };
    if partial.len() > 0 && starts_at(&response) != Some(partial.len()) {
        partial.restart(digest.algorithm())?;
        if response.status() == StatusCode::PARTIAL_CONTENT {
            return Err(Fault::Transport(
                "it sends another part than was asked for".to_owned(),
            ));
        }
    }
    let mut body = response.into_body().into_reader();
    let mut chunk = vec![0; CHUNK];
    loop {
        let n = match body.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Fault::Transport(format!("the connection broke: {error}"))),
        };
        if partial.len() + n as u64 > size {
            partial.restart(digest.algorithm())?;
            return Err(Fault::Answer(format!(
                "it sends more than the {size} bytes that {digest} has"
            )));
        }
        partial.write(&chunk[..n])?;
        report(partial.len());
    }
    if partial.len() < size {
        return Err(Fault::Transport("the answer ended early".to_owned()));
    }
    Ok(())
}

/// From which byte on an answer is: `Content-Range: bytes 5-9/10`.
fn starts_at(response: &Response<Body>) -> Option<u64> {
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return None;
    }
    let range = response
        .headers()
        .get(header::CONTENT_RANGE)?
        .to_str()
        .ok()?;
    let (start, _) = range.strip_prefix("bytes ")?.split_once('-')?;
    start.parse().ok()
}

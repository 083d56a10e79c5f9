//! Messages from and to bytes.

mod answers;
mod corpus;
mod hostile;
mod names;
mod replies;
mod requests;

use sealane_message::{Kind, Name, Question, Request};

/// The name that `text` writes.
fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// A client's question.
fn ask(text: &str, kind: Kind) -> Request {
    Request::new(0x1234, Question::new(name(text), kind))
}

/// A request as bytes.
fn bytes(request: &Request) -> Vec<u8> {
    let mut out = Vec::new();
    request.write(&mut out);
    out
}

//! What is asked by whom, and what answers it.

use std::{
    future::Future,
    net::SocketAddr,
    time::{Duration, Instant},
};

use sealane_message::{Rcode, Request, Writer};

/// How a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// In a datagram.
    Udp,
    /// On a connection.
    Tcp,
}

/// A question and who asks it.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// What is asked.
    pub request: Request,
    /// Who asks.
    pub client: SocketAddr,
    /// How.
    pub transport: Transport,
    /// When it was read.
    pub at: Instant,
    /// Its length.
    pub bytes: u16,
}

/// What became of a question.
#[derive(Debug)]
pub enum Verdict<W, D = Tag> {
    /// The writer has the answer.
    Done(D),
    /// Nothing is to be replied.
    Silent,
    /// It depends on something that has to be looked up. What the writer has does not matter.
    Wanted(W),
}

/// Who answered, for metrics and the query log; meaningful to the [`Answering`] that gave it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tag {
    /// Which block of the configuration.
    pub block: u16,
    /// Which of its plugins.
    pub plugin: u16,
}

/// A reply that is sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// Whose it is.
    pub tag: Tag,
    /// How the question ended.
    pub rcode: Rcode,
    /// The reply.
    pub message: &'a [u8],
    /// Time since the query was read.
    pub elapsed: Duration,
}

/// Answers questions.
pub trait Answering: Send + Sync + 'static {
    /// What may have to be looked up.
    type Wanted: Send + 'static;
    /// What was found.
    type Got: Send + Sync + 'static;

    /// Writes the answer, if it follows from what is known and from what was `got`: the lookups
    /// that were wanted before for this question, in order. Must not block.
    fn answer(
        &self,
        ask: &Ask,
        got: &[Self::Got],
        writer: &mut Writer<'_>,
    ) -> Verdict<Self::Wanted>;

    /// Looks something up. Failure is an outcome, too.
    fn look_up(&self, wanted: Self::Wanted) -> impl Future<Output = Self::Got> + Send;

    /// A reply is about to be sent; called once for each.
    fn sent(&self, _ask: &Ask, _sent: &Sent<'_>) {}

    /// A message was no question that is answered; `rcode` is what its sender is told, if anything.
    fn refused(&self, _client: SocketAddr, _transport: Transport, _rcode: Option<Rcode>) {}
}

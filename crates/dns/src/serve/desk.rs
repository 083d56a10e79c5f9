//! From a message to its reply, whichever way it came.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use sealane_message::{
    Class, Data, Kind, MAX_BYTES, Name, Rcode, Request, Section, Writer, text_data,
};
use tokio::time;

use super::{
    Settings,
    ask::{Answering, Ask, Sent, Tag, Transport, Verdict},
    share::{Permit, Shares},
};

/// After this, whoever asked has given up or is about to.
const LOOKUP_LIMIT: Duration = Duration::from_secs(4);
/// Lookups for one question: aliases of aliases, and a search list.
const MAX_LOOKUPS: usize = 32;
/// Seconds that an answer about the server itself may be kept, and RFC 8482's.
const FIXED_TTL: u32 = 3600;
/// RFC 8482 §4.2: a HINFO record in place of everything there is.
const NOT_ANY: &[u8] = b"\x07RFC8482\0";

/// What becomes of a message.
pub enum Received<W> {
    /// The reply has been appended.
    Reply,
    /// There is none.
    Nothing,
    /// It needs something first.
    Later(Box<Waiting<W>>),
}

/// A question that waits for a lookup.
pub struct Waiting<W> {
    ask: Ask,
    wanted: W,
    permit: Permit,
}

/// Where messages are received.
pub struct Desk<A> {
    answering: A,
    lookups: Arc<Shares>,
    identity: Vec<u8>,
}

impl<A: Answering> Desk<A> {
    pub fn new(answering: A, settings: &Settings) -> Self {
        Self {
            answering,
            lookups: Arc::new(Shares::new(settings.lookups)),
            identity: text_data(&settings.identity),
        }
    }

    /// Lookups under way.
    pub fn lookups(&self) -> &Arc<Shares> {
        &self.lookups
    }

    /// Reads a message and appends the reply to `out`, if there is one at once.
    pub fn receive(
        &self,
        message: &[u8],
        client: SocketAddr,
        transport: Transport,
        at: Instant,
        out: &mut Vec<u8>,
    ) -> Received<A::Wanted> {
        let request = match Request::read(message) {
            Ok(request) => request,
            Err(refusal) => {
                self.answering.refused(client, transport, refusal.rcode());
                return match refusal.write(out) {
                    true => Received::Reply,
                    false => Received::Nothing,
                };
            }
        };
        let ask = Ask {
            request,
            client,
            transport,
            at,
            bytes: message.len() as u16,
        };
        match self.answer(&ask, &[], out) {
            Verdict::Done(()) => Received::Reply,
            Verdict::Silent => Received::Nothing,
            Verdict::Wanted(wanted) => self.wait(ask, wanted, out),
        }
    }

    /// The reply to a question that had to wait; the permit is held until it is sent.
    pub async fn reply(&self, waiting: Waiting<A::Wanted>) -> Option<(Vec<u8>, Permit)> {
        let ask = waiting.ask;
        let reply = time::timeout(LOOKUP_LIMIT, self.reply_in_time(&ask, waiting.wanted));
        let reply = reply.await.unwrap_or_else(|_| Some(self.failure(&ask)))?;
        Some((reply, waiting.permit))
    }

    async fn reply_in_time(&self, ask: &Ask, mut wanted: A::Wanted) -> Option<Vec<u8>> {
        let mut got = Vec::new();
        let mut out = Vec::new();
        while got.len() < MAX_LOOKUPS {
            got.push(self.answering.look_up(wanted).await);
            wanted = match self.answer(ask, &got, &mut out) {
                Verdict::Done(()) => return Some(out),
                Verdict::Silent => return None,
                Verdict::Wanted(wanted) => wanted,
            };
        }
        Some(self.failure(ask))
    }

    fn wait(&self, ask: Ask, wanted: A::Wanted, out: &mut Vec<u8>) -> Received<A::Wanted> {
        let Some(permit) = self.lookups.take(ask.client.ip()) else {
            self.fail(&ask, out);
            return Received::Reply;
        };
        Received::Later(Box::new(Waiting {
            ask,
            wanted,
            permit,
        }))
    }

    /// Appends the answer to `out`, or leaves it as it was.
    fn answer(&self, ask: &Ask, got: &[A::Got], out: &mut Vec<u8>) -> Verdict<A::Wanted, ()> {
        let start = out.len();
        let limit = match ask.transport {
            Transport::Udp => ask.request.udp_limit(),
            Transport::Tcp => MAX_BYTES,
        };
        let mut writer = Writer::reply(out, &ask.request, limit);
        let tag = if self.is_usual(&ask.request) {
            match self.answering.answer(ask, got, &mut writer) {
                Verdict::Done(tag) => tag,
                Verdict::Silent => {
                    out.truncate(start);
                    return Verdict::Silent;
                }
                Verdict::Wanted(wanted) => {
                    out.truncate(start);
                    return Verdict::Wanted(wanted);
                }
            }
        } else {
            self.answer_unusual(&ask.request, &mut writer);
            Tag::default()
        };
        let rcode = writer.rcode();
        writer.finish();
        self.sent(ask, tag, rcode, &out[start..]);
        Verdict::Done(())
    }

    fn sent(&self, ask: &Ask, tag: Tag, rcode: Rcode, message: &[u8]) {
        let elapsed = ask.at.elapsed();
        let sent = Sent {
            tag,
            rcode,
            message,
            elapsed,
        };
        self.answering.sent(ask, &sent);
    }

    fn is_usual(&self, request: &Request) -> bool {
        let question = &request.question;
        question.class == Class::IN && !matches!(question.kind.0, 0 | 128..=255)
    }

    /// What is not about records of a name: answered alike everywhere.
    fn answer_unusual(&self, request: &Request, writer: &mut Writer<'_>) {
        let question = &request.question;
        let rcode = match (question.class, question.kind) {
            (Class::CHAOS, Kind::TXT | Kind::ANY) => {
                return self.answer_about_us(&question.name, writer);
            }
            (Class::IN, Kind::ANY) => {
                let data = Data::Other(Kind::HINFO, NOT_ANY);
                // One short record fits.
                let _fits = writer.push(Section::Answer, &question.name, FIXED_TTL, &data);
                Rcode::NOERROR
            }
            (Class::IN, Kind::AXFR | Kind::IXFR) => Rcode::REFUSED,
            (Class::IN, _) => Rcode::NOTIMP,
            _ => Rcode::REFUSED,
        };
        writer.set_rcode(rcode);
    }

    /// RFC 4892: which server this is, but not of which version.
    fn answer_about_us(&self, name: &Name, writer: &mut Writer<'_>) {
        let mut labels = name.labels();
        let data = match (labels.next(), labels.next(), labels.next()) {
            (Some(b"version"), Some(b"bind" | b"server"), None) => &b"\x07sealane"[..],
            (Some(b"hostname"), Some(b"bind"), None) | (Some(b"id"), Some(b"server"), None) => {
                &self.identity
            }
            _ => return writer.set_rcode(Rcode::REFUSED),
        };
        let data = Data::Other(Kind::TXT, data);
        let _fits = writer.push_of_class(Section::Answer, name, Class::CHAOS, 0, &data);
    }

    fn failure(&self, ask: &Ask) -> Vec<u8> {
        let mut out = Vec::new();
        self.fail(ask, &mut out);
        out
    }

    fn fail(&self, ask: &Ask, out: &mut Vec<u8>) {
        let start = out.len();
        let mut writer = Writer::reply(out, &ask.request, ask.request.udp_limit());
        writer.set_rcode(Rcode::SERVFAIL);
        writer.finish();
        self.sent(ask, Tag::default(), Rcode::SERVFAIL, &out[start..]);
    }
}

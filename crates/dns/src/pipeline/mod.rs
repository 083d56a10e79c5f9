//! From a question to its answer: what the Corefile, the cluster and the outside world say.
//!
//! ```text
//! question ─> block of the Corefile, by its longest zone
//!   acl ─> rewrite ─> template ─> hosts ─> kubernetes ─> forward ─> whoami     (CoreDNS's order)
//!              │                               │             │
//!              │                               │             └─ not in its cache: wanted
//!              │                               ├─ ExternalName: its target, from the top
//!              │                               └─ no such name: the client's search list, from the top
//!              └─ the answer looks as if the client's question had been asked
//! ```
//!
//! It is walked in one go, with what was looked up so far at hand, and ends with an answer or with
//! the next thing that has to be looked up. Then the walk begins anew: what it finds on the way
//! is in memory, so this costs less than to keep a half-walked way alive, and a change of the
//! cluster or of the Corefile in between is seen.

mod chain;
mod meters;
mod search;

use std::{
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::Instant,
};

use arc_swap::ArcSwap;
use sealane_corefile::{Access, LogLine, Rewritten};
use sealane_forward::{Query, Reply, Resolver};
use sealane_introspect::Introspect;
use sealane_message::{Answer, Full, Name, Question, Rcode, Request, Writer};
use sealane_zone::{Client, Clients, Zone};

use crate::{
    configure::{Block, Live},
    serve::{Answering, Ask, Sent, Tag, Transport, Verdict},
};
use chain::{Chain, Stop};
use meters::{Meters, Plugin};

/// Answers questions by what is known and configured.
pub struct Pipeline {
    live: Arc<ArcSwap<Live>>,
    zone: Arc<RwLock<Zone>>,
    clients: Arc<RwLock<Clients>>,
    meters: Meters,
}

/// What an upstream has to be asked.
pub struct Wanted {
    resolver: Resolver,
    query: Query,
}

/// What came of it.
pub struct Got {
    query: Query,
    reply: Reply,
}

impl Pipeline {
    /// Answers by `live`, from `zone`, for `clients`; others change them.
    #[must_use]
    pub fn new(
        live: Arc<ArcSwap<Live>>,
        zone: Arc<RwLock<Zone>>,
        clients: Arc<RwLock<Clients>>,
        introspect: &Introspect,
    ) -> Self {
        Self {
            live,
            zone,
            clients,
            meters: Meters::new(introspect),
        }
    }

    fn zone(&self) -> RwLockReadGuard<'_, Zone> {
        self.zone.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pod that asks, if it is one of this node.
    fn client(&self, at: SocketAddr) -> Option<Arc<Client>> {
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        clients.get(at.ip().to_canonical()).map(Arc::clone)
    }

    fn answer_in(
        &self,
        block: &Block,
        chain: &Chain<'_>,
        writer: &mut Writer<'_>,
    ) -> Result<Plugin, Stop> {
        let question = &chain.ask.request.question;
        if !block.server.acl.is_empty() {
            match block.server.acl.access(question, chain.client_address()) {
                Access::Allow => {}
                Access::Filter => return Ok(Plugin::Acl),
                Access::Drop => return Err(Stop::Silent),
                Access::Block => {
                    writer.set_rcode(Rcode::REFUSED);
                    return Ok(Plugin::Acl);
                }
            }
        }
        let rewritten = match block.server.rewrites.is_empty() {
            true => Rewritten::Unchanged,
            false => block.server.rewrites.apply(question),
        };
        match rewritten {
            Rewritten::Unchanged => chain.answer(block, question, writer),
            Rewritten::Invalid(reason) => {
                tracing::debug!("{reason}");
                writer.set_rcode(Rcode::SERVFAIL);
                Ok(Plugin::Rewrite)
            }
            Rewritten::To(back) => {
                let (plugin, answer) =
                    made(back.asked(), |w| chain.answer(block, back.asked(), w))?;
                // A part that does not fit is told by the writer.
                let _truncated = back.write(&answer, sealane_message::Age::NEW, writer);
                Ok(plugin)
            }
        }
    }
}

/// The answer to another question, as a message of its own.
fn made(
    question: &Question,
    answer: impl FnOnce(&mut Writer<'_>) -> Result<Plugin, Stop>,
) -> Result<(Plugin, Answer), Stop> {
    let mut outcome = Ok(Plugin::Rewrite);
    let made = Answer::make(question, |writer| {
        outcome = answer(writer);
        Ok(())
    });
    let failed = |Full| Stop::Failed;
    Ok((outcome?, made.map_err(failed)?))
}

impl Answering for Pipeline {
    type Wanted = Box<Wanted>;
    type Got = Got;

    fn answer(&self, ask: &Ask, got: &[Got], writer: &mut Writer<'_>) -> Verdict<Box<Wanted>> {
        let live = self.live.load();
        let name = &ask.request.question.name;
        let Some((index, block)) = find(&live, name) else {
            writer.set_rcode(Rcode::REFUSED);
            return Verdict::Done(Tag::default());
        };
        if block.server.shuffles {
            // Clients choose their ids at random.
            writer.set_turn(u32::from(ask.request.id));
        }
        writer.set_recursion_available(block.resolver.is_some());
        let chain = Chain {
            pipeline: self,
            live: &live,
            ask,
            got,
        };
        let mark = writer.mark();
        let plugin = match self.answer_in(block, &chain, writer) {
            Ok(plugin) => plugin,
            Err(Stop::Silent) => return Verdict::Silent,
            Err(Stop::Wanted(wanted)) => return Verdict::Wanted(wanted),
            Err(Stop::Failed) => {
                writer.rewind(mark);
                writer.set_rcode(Rcode::SERVFAIL);
                Plugin::None
            }
        };
        Verdict::Done(Tag {
            block: index as u16,
            plugin: plugin as u16,
        })
    }

    async fn look_up(&self, wanted: Box<Wanted>) -> Got {
        let reply = wanted.resolver.resolve(&wanted.query).await;
        Got {
            query: wanted.query,
            reply,
        }
    }

    fn sent(&self, ask: &Ask, sent: &Sent<'_>) {
        let live = self.live.load();
        let index = usize::from(sent.tag.block);
        self.meters.sent(&live, ask, sent);
        let Some(block) = live.blocks.get(index).filter(|block| !block.log.is_off()) else {
            return;
        };
        self.write_down(block, ask, sent);
    }

    fn refused(&self, client: SocketAddr, transport: Transport, rcode: Option<Rcode>) {
        self.meters.refused(client, transport, rcode);
    }
}

impl Pipeline {
    /// A line in the query log, if a rule is for it.
    fn write_down(&self, block: &Block, ask: &Ask, sent: &Sent<'_>) {
        let Request {
            question, id, edns, ..
        } = &ask.request;
        let has_records = sent.message[6..8] != [0, 0];
        let found = block
            .log
            .rule(&question.name, sent.rcode, has_records, sent.elapsed);
        let Some(rule) = found else {
            return;
        };
        let client = self.client(ask.client);
        let pod = client.as_deref().map(Client::pod);
        let line = LogLine {
            question,
            id: *id,
            opcode: 0,
            client: ask.client,
            pod: pod.map(|pod| (&*pod.namespace, &*pod.name)),
            server: None,
            tcp: ask.transport == Transport::Tcp,
            request_bytes: ask.bytes.into(),
            udp_bytes: edns.map_or(512, |edns| edns.udp_bytes),
            dnssec_ok: edns.is_some_and(|edns| edns.dnssec_ok),
            flags: [sent.message[2], sent.message[3]],
            rcode: sent.rcode,
            reply_bytes: sent.message.len(),
            took: sent.elapsed,
        };
        block.log.write(rule, &line, Instant::now());
    }
}

/// The block for a name, and its number.
fn find<'l>(live: &'l Live, name: &Name) -> Option<(usize, &'l Arc<Block>)> {
    let block = live.block(name)?;
    let number = live
        .blocks
        .iter()
        .position(|other| Arc::ptr_eq(other, block));
    Some((number?, block))
}

//! One question through the plugins of its block.

use std::net::IpAddr;

use sealane_corefile::{HostsFound, TemplateFound};
use sealane_forward::{Query, Reply};
use sealane_message::{Data, Name, Question, Rcode, Section, Writer};
use sealane_zone::{Found, Settings};

use super::{Got, Pipeline, Wanted, meters::Plugin};
use crate::{
    configure::{Block, Live},
    serve::Ask,
};

/// Names that lead to each other, through whatever plugins.
const MAX_DEPTH: usize = 8;

/// What is at hand while a client's question is answered.
pub struct Chain<'a> {
    pub pipeline: &'a Pipeline,
    pub live: &'a Live,
    pub ask: &'a Ask,
    pub got: &'a [Got],
}

/// Why there is no answer now.
pub enum Stop {
    /// An upstream has to be asked.
    Wanted(Box<Wanted>),
    /// Nobody can answer.
    Failed,
    /// Nobody will.
    Silent,
}

/// What the zone has for a name, once its lock has been given back.
#[expect(
    clippy::large_enum_variant,
    reason = "lives on the stack for a moment; a box would cost each alias an allocation"
)]
pub enum InZone {
    /// It is not the zone's.
    Outside,
    /// All is written.
    Written,
    /// It stands for this name outside, which is written.
    GoOn(Name),
    /// There is no such name.
    NoName,
}

impl Chain<'_> {
    /// Who asks.
    pub fn client_address(&self) -> IpAddr {
        self.ask.client.ip().to_canonical()
    }

    /// The answer to a question of `block`, searched for if the client would.
    pub fn answer(
        &self,
        block: &Block,
        question: &Question,
        writer: &mut Writer<'_>,
    ) -> Result<Plugin, Stop> {
        if let Some(plugin) = self.by_configuration(block, question, writer)? {
            return Ok(plugin);
        }
        if let Some(settings) = &block.zone {
            let start = writer.mark();
            match self.look_in_zone(settings, question, writer) {
                InZone::Outside => {}
                InZone::Written => return Ok(Plugin::Kubernetes),
                InZone::GoOn(name) => {
                    self.go_on(&name, question, writer)?;
                    return Ok(Plugin::Kubernetes);
                }
                InZone::NoName => return self.search(settings, question, writer, start),
            }
        }
        self.by_others(block, question, writer)
    }

    /// The answer to a question that is not the client's own but leads on from it. It is written
    /// behind what there is.
    pub fn answer_further(
        &self,
        question: &Question,
        writer: &mut Writer<'_>,
        depth: usize,
    ) -> Result<(), Stop> {
        let block = self.live.block(&question.name);
        let Some(block) = block.filter(|_| depth < MAX_DEPTH) else {
            return Err(Stop::Failed);
        };
        if self.by_configuration(block, question, writer)?.is_some() {
            return Ok(());
        }
        if let Some(settings) = &block.zone {
            match self.look_in_zone(settings, question, writer) {
                InZone::Outside => {}
                InZone::Written | InZone::NoName => return Ok(()),
                InZone::GoOn(name) => {
                    let further = Question { name, ..*question };
                    return self.answer_further(&further, writer, depth + 1);
                }
            }
        }
        self.by_others(block, question, writer).map(|_| ())
    }

    /// Asks for the name that a name of the cluster stands for.
    fn go_on(&self, name: &Name, question: &Question, writer: &mut Writer<'_>) -> Result<(), Stop> {
        let further = Question {
            name: *name,
            ..*question
        };
        self.answer_further(&further, writer, 1)
    }

    fn by_configuration(
        &self,
        block: &Block,
        question: &Question,
        writer: &mut Writer<'_>,
    ) -> Result<Option<Plugin>, Stop> {
        let server = &block.server;
        if !server.templates.is_empty() {
            match server.templates.find(question, self.client_address()) {
                TemplateFound::Pass => {}
                TemplateFound::Answer(answer) => {
                    // A part that does not fit is told by the writer.
                    let _truncated = answer.write(writer);
                    return Ok(Some(Plugin::Template));
                }
                TemplateFound::Fail(reason) => {
                    tracing::debug!("answer {question} by a template: {reason}");
                    return Err(Stop::Failed);
                }
            }
        }
        let Some(hosts) = &server.hosts else {
            return Ok(None);
        };
        match hosts.find(question) {
            HostsFound::Pass => Ok(None),
            found => {
                let _truncated = hosts.write(question, &found, writer);
                Ok(Some(Plugin::Hosts))
            }
        }
    }

    pub fn look_in_zone(
        &self,
        settings: &Settings,
        question: &Question,
        writer: &mut Writer<'_>,
    ) -> InZone {
        let zone = self.pipeline.zone();
        let Found::Inside(answer) = zone.find(settings, question) else {
            return InZone::Outside;
        };
        let _truncated = answer.write(question, writer);
        match answer.go_on() {
            Some(name) => InZone::GoOn(*name),
            None if answer.is_no_name() => InZone::NoName,
            None => InZone::Written,
        }
    }

    /// Upstreams, and what is left if there are none.
    fn by_others(
        &self,
        block: &Block,
        question: &Question,
        writer: &mut Writer<'_>,
    ) -> Result<Plugin, Stop> {
        match &block.resolver {
            Some(resolver) if resolver.takes(&question.name) => {
                let query = Query {
                    question: *question,
                    dnssec_ok: writer.dnssec_ok(),
                    checking_disabled: self.ask.request.checking_disabled,
                };
                let got = self.got.iter().find(|got| got.query == query);
                let reply = match got {
                    Some(got) => got.reply.clone(),
                    None => resolver.cached(&query, self.ask.at).ok_or_else(|| {
                        let resolver = resolver.clone();
                        Stop::Wanted(Box::new(Wanted { resolver, query }))
                    })?,
                };
                self.give(&reply, writer);
                Ok(Plugin::Forward)
            }
            _ if block.server.whoami => {
                self.say_who_asks(writer);
                Ok(Plugin::Whoami)
            }
            _ => Err(Stop::Failed),
        }
    }

    fn give(&self, reply: &Reply, writer: &mut Writer<'_>) {
        let _truncated = reply.answer.write(writer, reply.age);
        let asked_for = self.ask.request.authentic_data || writer.dnssec_ok();
        writer.set_authentic_data(asked_for && reply.answer.is_authentic());
    }

    fn say_who_asks(&self, writer: &mut Writer<'_>) {
        let data = match self.client_address() {
            IpAddr::V4(address) => Data::A(address),
            IpAddr::V6(address) => Data::Aaaa(address),
        };
        writer.set_authoritative(true);
        writer.set_rcode(Rcode::NOERROR);
        let owner = &self.ask.request.question.name;
        let _truncated = writer.push(Section::Additional, owner, 0, &data);
    }
}

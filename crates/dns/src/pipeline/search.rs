//! The client's search, walked for it: `sealane_zone` says which names and why so.

use sealane_message::{Data, Mark, Name, Question, Rcode, Section, Writer};
use sealane_zone::Settings;

use super::{
    chain::{Chain, Stop},
    meters::Plugin,
};

/// What a name of the walk has.
enum Step {
    /// No such name: on to the next.
    Next,
    /// Answered.
    End,
    /// It cannot be known now: the client goes on by itself.
    GiveUp,
}

impl Chain<'_> {
    /// There is no such name: that is written behind `start`. Answers with what the client would
    /// come to, if it is known to go on, and else leaves it there.
    pub fn search(
        &self,
        settings: &Settings,
        question: &Question,
        writer: &mut Writer<'_>,
        start: Mark,
    ) -> Result<Plugin, Stop> {
        let rest = self.rest(settings, question);
        if rest.is_empty() {
            return Ok(Plugin::Kubernetes);
        }
        for name in rest {
            writer.rewind(start);
            let next = Question { name, ..*question };
            match self.try_name(settings, &next, writer, start)? {
                Step::Next => {}
                Step::End => return Ok(Plugin::Autopath),
                Step::GiveUp => break,
            }
        }
        writer.rewind(start);
        self.look_in_zone(settings, question, writer);
        Ok(Plugin::Kubernetes)
    }

    /// The names that the client would ask for next.
    fn rest(&self, settings: &Settings, question: &Question) -> Vec<Name> {
        // Behind a rewrite, the client's list says nothing about the name.
        if *question != self.ask.request.question {
            return Vec::new();
        }
        let client = self.pipeline.client(self.ask.client);
        let rest = client.map(|client| client.rest(&self.pipeline.zone(), settings, question));
        rest.and_then(Result::ok).unwrap_or_default()
    }

    fn try_name(
        &self,
        settings: &Settings,
        next: &Question,
        writer: &mut Writer<'_>,
        start: Mark,
    ) -> Result<Step, Stop> {
        let alias = Data::Cname(next.name);
        let owner = &self.ask.request.question.name;
        let written = writer.push(Section::Answer, owner, settings.ttl, &alias);
        if written.is_err() {
            return Ok(Step::GiveUp);
        }
        match self.answer_further(next, writer, 1) {
            Ok(()) => {}
            Err(Stop::Failed) => return Ok(Step::GiveUp),
            Err(stop) => return Err(stop),
        }
        let is_alone = writer.count(Section::Answer) == 1 && !writer.is_full();
        Ok(match writer.rcode() {
            Rcode::NXDOMAIN => Step::Next,
            // The name is there without what was asked for: nothing, not even the alias.
            Rcode::NOERROR if is_alone => {
                writer.rewind(start);
                self.answer_further(next, writer, 1)?;
                Step::End
            }
            Rcode::NOERROR => Step::End,
            _ => Step::GiveUp,
        })
    }
}

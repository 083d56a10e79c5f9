//! `template`: answers made from the question.

mod go;
mod record;

use std::net::IpAddr;

use regex_lite::Regex;
use sealane_message::{Class, Kind, Name, Question, Rcode};

pub(crate) use go::Text;
pub use record::TextRecord;
pub(crate) use record::record;

use crate::config::{Fallthrough, longest};

/// The templates of a server block, in their order.
#[derive(Clone, Debug, Default)]
pub struct Templates {
    pub(crate) all: Vec<Template>,
}

#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub class: Class,
    pub kind: Kind,
    pub zones: Vec<Name>,
    pub patterns: Vec<Regex>,
    pub answer: Vec<Text>,
    pub additional: Vec<Text>,
    pub authority: Vec<Text>,
    pub rcode: Rcode,
    pub fallthrough: Fallthrough,
}

/// What templates say to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateFound {
    /// Nothing: the next plugin is asked.
    Pass,
    /// An answer.
    Answer(TemplateAnswer),
    /// No answer could be made, for this reason; or no pattern matches, and the template has no
    /// `fallthrough`. The client gets SERVFAIL.
    Fail(String),
}

/// An answer made from templates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateAnswer {
    /// How the question ended.
    pub rcode: Rcode,
    /// Records of the answer section.
    pub answer: Vec<TextRecord>,
    /// Of the authority section.
    pub authority: Vec<TextRecord>,
    /// Of the additional section.
    pub additional: Vec<TextRecord>,
}

impl Templates {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What they say to a client's question.
    #[must_use]
    pub fn find(&self, question: &Question, client: IpAddr) -> TemplateFound {
        let name = question.name.to_string();
        for template in &self.all {
            let Some(zone) = template.zone(question) else {
                continue;
            };
            let Some(pattern) = template.patterns.iter().find(|one| one.is_match(&name)) else {
                if template.fallthrough.lets(&question.name) {
                    continue;
                }
                return TemplateFound::Fail(format!(
                    "no pattern of its template matches {name}, which has no fallthrough"
                ));
            };
            let data = go::Data {
                zone: zone.to_string(),
                name: &name,
                question,
                client,
                pattern,
                found: pattern.captures(&name),
            };
            return match template.render(&data) {
                Ok(answer) => TemplateFound::Answer(answer),
                Err(error) => TemplateFound::Fail(error),
            };
        }
        TemplateFound::Pass
    }
}

impl Template {
    /// The zone by which it is for the question, if it is.
    fn zone(&self, question: &Question) -> Option<&Name> {
        let class =
            [self.class, question.class].contains(&Class::ANY) || self.class == question.class;
        let kind = [self.kind, question.kind].contains(&Kind::ANY) || self.kind == question.kind;
        let zone = longest(&self.zones, &question.name)?;
        (class && kind).then_some(zone)
    }

    fn render(&self, data: &go::Data<'_>) -> Result<TemplateAnswer, String> {
        let section = |texts: &[Text]| -> Result<Vec<TextRecord>, String> {
            texts
                .iter()
                .map(|text| record(&text.render(data)?))
                .collect()
        };
        Ok(TemplateAnswer {
            rcode: self.rcode,
            answer: section(&self.answer)?,
            authority: section(&self.authority)?,
            additional: section(&self.additional)?,
        })
    }
}

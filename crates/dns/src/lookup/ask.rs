//! One question, as the pipeline answers it.

use std::net::IpAddr;

use sealane_corefile::{Access, Back, Config, HostsFound, Rewritten, Server, TemplateFound};
use sealane_message::{Age, Answer, Full, Kind, Name, Question, Rcode, Section, Writer};
use sealane_zone::{Found, Settings, Zone};

use super::record::records;
use super::{Asked, Outcome, World};

/// Names that lead to each other, through whatever plugins.
const MAX_DEPTH: usize = 8;

/// Questions to the cluster's DNS.
pub struct Desk<'w> {
    pub world: &'w World,
    pub zone: &'w Zone,
    /// Who asks.
    pub client: IpAddr,
}

/// Objects, and what they have to do with it.
#[derive(Default)]
struct Behind {
    objects: Vec<String>,
    words: String,
}

impl Behind {
    fn words(words: &str) -> Self {
        Self {
            objects: Vec::new(),
            words: words.to_owned(),
        }
    }
}

/// What a plugin makes of a question.
struct Told {
    plugin: &'static str,
    outcome: Outcome,
    behind: Behind,
    answer: Option<Answer>,
}

impl Desk<'_> {
    pub fn ask(&self, question: &Question) -> Asked {
        let mut back = None;
        let told = self.told(question, &mut back);
        let answer = match (told.answer, &back) {
            (Some(answer), Some(back)) => put_back(back, &answer),
            (answer, _) => answer,
        };
        let mut because = told.behind.words;
        if let Some(back) = &back {
            let asked = back.asked();
            because = format!("rewritten to {} {}: {because}", asked.name, asked.kind);
        }
        Asked {
            kind: question.kind.to_string(),
            outcome: told.outcome,
            plugin: told.plugin,
            because,
            objects: told.behind.objects,
            records: answer.as_ref().map(records).unwrap_or_default(),
        }
    }

    fn told(&self, question: &Question, back: &mut Option<Box<Back>>) -> Told {
        let config: &Config = &self.world.config;
        let Some(server) = config.server(53, &question.name) else {
            return failed(
                "",
                "no server block of the Corefile is for this name: REFUSED",
            );
        };
        match server.acl.access(question, self.client) {
            Access::Allow => {}
            Access::Block => return failed("acl", "acl refuses it to this pod: REFUSED"),
            Access::Drop => return failed("acl", "acl gives this pod no answer"),
            Access::Filter => {
                let words = "acl filters it for this pod: an answer without records";
                return Told {
                    plugin: "acl",
                    outcome: Outcome::NoData,
                    behind: Behind::words(words),
                    answer: None,
                };
            }
        }
        match server.rewrites.apply(question) {
            Rewritten::Unchanged => self.plugins(server, question, 0),
            Rewritten::Invalid(error) => failed("rewrite", &format!("{error}: SERVFAIL")),
            Rewritten::To(rewritten) => {
                let asked = *rewritten.asked();
                *back = Some(rewritten);
                self.plugins(server, &asked, 0)
            }
        }
    }

    fn plugins(&self, server: &Server, question: &Question, depth: usize) -> Told {
        self.template(server, question)
            .or_else(|| hosts(server, question))
            .or_else(|| self.kubernetes(question, depth))
            .unwrap_or_else(|| self.forward(server, &question.name))
    }

    fn template(&self, server: &Server, question: &Question) -> Option<Told> {
        match server.templates.find(question, self.client) {
            TemplateFound::Pass => None,
            TemplateFound::Fail(reason) => Some(failed("template", &format!("{reason}: SERVFAIL"))),
            TemplateFound::Answer(answer) => {
                let answer = made(question, |writer| answer.write(writer));
                Some(Told {
                    plugin: "template",
                    outcome: outcome(answer.as_ref()),
                    behind: Behind::words("a template of the Corefile"),
                    answer,
                })
            }
        }
    }

    fn kubernetes(&self, question: &Question, depth: usize) -> Option<Told> {
        let settings = self.world.kubernetes(&question.name)?;
        let Found::Inside(found) = self.zone.find(&settings, question) else {
            return None;
        };
        let mut behind = self.explained(&settings, question);
        let answer = made(question, |writer| found.write(question, writer));
        let mut outcome = outcome(answer.as_ref());
        if let Some(target) = found.go_on() {
            let beyond = self.further(target, question, depth + 1);
            behind.words = format!("{}; {}", behind.words, beyond.behind.words);
            outcome = beyond.outcome;
        }
        Some(Told {
            plugin: "kubernetes",
            outcome,
            behind,
            answer,
        })
    }

    /// A name that one of the cluster stands for, from the top.
    fn further(&self, name: &Name, question: &Question, depth: usize) -> Told {
        match self.world.config.server(53, name) {
            Some(server) if depth < MAX_DEPTH => {
                let question = Question {
                    name: *name,
                    ..*question
                };
                self.plugins(server, &question, depth)
            }
            _ => failed("", "no server block of the Corefile is for that: SERVFAIL"),
        }
    }

    /// The objects of the asked name, and of those that it stands for.
    fn explained(&self, settings: &Settings, question: &Question) -> Behind {
        let mut behind = Behind::default();
        for (name, because) in self.zone.explain(settings, question) {
            let texts: Vec<&str> = because.iter().map(|one| one.text.as_str()).collect();
            if name != question.name {
                behind.words += &format!("; {}: ", name.without_dot());
            }
            behind.words += &texts.join("; ");
            let objects = because.iter().flat_map(|one| &one.objects);
            behind.objects.extend(objects.map(ToString::to_string));
        }
        behind
    }

    fn forward(&self, server: &Server, name: &Name) -> Told {
        let takes = server.forwards.iter().filter(|forward| forward.takes(name));
        let Some(forward) = takes.max_by_key(|forward| forward.from.len()) else {
            if server.whoami {
                return failed("whoami", "whoami answers with who asks");
            }
            return failed(
                "",
                "no plugin of its server block is for this name: SERVFAIL",
            );
        };
        let upstreams = self.world.upstreams(forward);
        let words = match upstreams.as_slice() {
            [] => return failed("forward", "its forward has no upstream: SERVFAIL"),
            all => format!("asked of {} ({})", all.join(", "), forward.at),
        };
        Told {
            plugin: "forward",
            outcome: Outcome::Forwarded,
            behind: Behind::words(&words),
            answer: None,
        }
    }
}

fn hosts(server: &Server, question: &Question) -> Option<Told> {
    let hosts = server.hosts.as_ref()?;
    let found = hosts.find(question);
    if found == HostsFound::Pass {
        return None;
    }
    if found == HostsFound::Fail {
        return Some(failed(
            "hosts",
            "hosts has no such name, and no fallthrough: SERVFAIL",
        ));
    }
    let answer = made(question, |writer| hosts.write(question, &found, writer));
    Some(Told {
        plugin: "hosts",
        outcome: outcome(answer.as_ref()),
        behind: Behind::words("an entry of hosts"),
        answer,
    })
}

fn failed(plugin: &'static str, words: &str) -> Told {
    Told {
        plugin,
        outcome: Outcome::Failed,
        behind: Behind::words(words),
        answer: None,
    }
}

/// What was written; none if it would be longer than a message.
fn made(
    question: &Question,
    write: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
) -> Option<Answer> {
    Answer::make(question, write).ok()
}

fn put_back(back: &Back, answer: &Answer) -> Option<Answer> {
    made(back.original(), |writer| {
        back.write(answer, Age::NEW, writer)
    })
}

fn outcome(answer: Option<&Answer>) -> Outcome {
    match answer.map(|answer| (answer.rcode(), answer.count(Section::Answer))) {
        None => Outcome::Failed,
        Some((Rcode::NOERROR, 0)) => Outcome::NoData,
        Some((Rcode::NOERROR, _)) => Outcome::Records,
        Some((Rcode::NXDOMAIN, _)) => Outcome::NoName,
        Some(_) => Outcome::Failed,
    }
}

/// The types that a program asks for when it wants an address.
pub const ADDRESSES: [Kind; 2] = [Kind::A, Kind::AAAA];

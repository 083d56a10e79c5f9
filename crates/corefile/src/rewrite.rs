//! `rewrite`: another question is asked than the client's, and the answer looks as if it had not been.
//!
//! ```text
//! question ──apply──> Rewritten: Back { asked, … }        rules in their order; after one that matches
//!                                   │                     and says `stop` (as most do) no more are tried
//! answer   <───────────Back─────────┘                     names, TTL, rcode as the client expects them
//! ```
//!
//! The name that was asked for instead becomes the client's own again wherever it is found in the
//! answer, whether the rule says `answer auto` or not: a resolver drops records of another name
//! than it asked for, so without that a rule would be of no use. `answer name` and `answer value`
//! come on top, for names that the upstream adds.

use std::sync::Arc;

use regex_lite::Regex;
use sealane_message::{Class, Kind, Name, Question, Rcode};

/// The rules of a server block.
#[derive(Clone, Debug, Default)]
pub struct Rewrites {
    pub(crate) rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub change: Change,
    /// No rule below it is tried when it has matched.
    pub stops: bool,
    pub answers: Arc<[Step]>,
}

/// What a rule does to a question, if it matches.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Name(Match, To),
    Kind(Kind, Kind),
    Class(Class, Class),
    /// Nothing: only the answer is changed.
    Nothing(Match),
}

/// Which names a rule is for. Words are compared with the name as text, with its dot at the end.
#[derive(Clone, Debug)]
pub(crate) enum Match {
    Exact(Name),
    Prefix(String),
    Suffix(String),
    Substring(String),
    Regex(Regex),
}

/// What a name becomes; for a regular expression with `{1}` for groups.
pub(crate) type To = String;

/// A change to an answer.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// `answer name`: of records' owners.
    Owner(Regex, To),
    /// `answer value`: of names in records.
    Value(Regex, To),
    /// `ttl`: at least and at most.
    Ttl(u32, u32),
    /// `rcode`: from, to.
    Rcode(Rcode, Rcode),
}

/// What became of a question.
#[derive(Clone, Debug)]
pub enum Rewritten {
    /// No rule is for it.
    Unchanged,
    /// What is asked instead, and how its answer becomes the client's.
    To(Box<Back>),
    /// A rule made something of its name that is no name; the client gets SERVFAIL.
    Invalid(String),
}

/// Another question than the client's, and how its answer becomes the client's.
#[derive(Clone, Debug)]
pub struct Back {
    original: Question,
    asked: Question,
    steps: Vec<Arc<[Step]>>,
}

impl Rewrites {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Applies the rules.
    #[must_use]
    pub fn apply(&self, original: &Question) -> Rewritten {
        let mut asked = *original;
        let mut text = original.name.to_string();
        let mut steps = Vec::new();
        let mut matched = false;
        for rule in &self.rules {
            match rule.change.apply(&mut asked, &text) {
                Ok(false) => continue,
                Ok(true) => matched = true,
                Err(error) => return Rewritten::Invalid(error),
            }
            if !rule.answers.is_empty() {
                steps.push(Arc::clone(&rule.answers));
            }
            if rule.stops {
                break;
            }
            text = asked.name.to_string();
        }
        if !matched {
            return Rewritten::Unchanged;
        }
        let original = *original;
        let back = Back {
            original,
            asked,
            steps,
        };
        Rewritten::To(Box::new(back))
    }
}

impl Change {
    /// Whether it matches; then it is done.
    fn apply(&self, question: &mut Question, name: &str) -> Result<bool, String> {
        match self {
            Self::Name(from, to) => match from.replace(&question.name, name, to) {
                None => return Ok(false),
                Some(text) => {
                    let parsed = text.parse();
                    question.name = parsed.map_err(|error| format!("rewrite {name}: {error}"))?;
                }
            },
            Self::Kind(from, to) if question.kind == *from => question.kind = *to,
            Self::Class(from, to) if question.class == *from => question.class = *to,
            Self::Kind(..) | Self::Class(..) => return Ok(false),
            Self::Nothing(of) => return Ok(of.matches(&question.name, name)),
        }
        Ok(true)
    }
}

impl Match {
    fn matches(&self, name: &Name, text: &str) -> bool {
        match self {
            Self::Exact(from) => name == from,
            Self::Prefix(from) => text.starts_with(from),
            Self::Suffix(from) => text.ends_with(from),
            Self::Substring(from) => text.contains(from),
            Self::Regex(from) => from.is_match(text),
        }
    }

    /// The new name, if it matches the old one.
    fn replace(&self, name: &Name, text: &str, to: &str) -> Option<String> {
        match self {
            Self::Exact(from) => (name == from).then(|| to.to_owned()),
            Self::Prefix(from) => text.strip_prefix(from).map(|rest| format!("{to}{rest}")),
            Self::Suffix(from) => text.strip_suffix(from).map(|rest| format!("{rest}{to}")),
            Self::Substring(from) => text.contains(from).then(|| text.replace(from, to)),
            Self::Regex(from) => with_groups(from, text, to),
        }
    }
}

/// `to`, with what the groups of the pattern have matched.
fn with_groups(pattern: &Regex, text: &str, to: &str) -> Option<String> {
    let found = pattern.captures(text)?;
    let mut new = String::with_capacity(to.len() + text.len());
    let mut rest = to;
    while let Some((before, number, after)) = group(rest) {
        new.push_str(before);
        new.push_str(found.get(number).map_or("", |found| found.as_str()));
        rest = after;
    }
    new.push_str(rest);
    Some(new)
}

/// The first `{NUMBER}`: what is before it, the number, what is behind it.
pub(crate) fn group(text: &str) -> Option<(&str, usize, &str)> {
    let mut from = 0;
    loop {
        let open = from + text[from..].find('{')?;
        let inside = &text[open + 1..];
        let close = inside.find('}')?;
        if let Ok(number) = inside[..close].parse() {
            return Some((&text[..open], number, &inside[close + 1..]));
        }
        from = open + 1;
    }
}

impl Back {
    /// What is asked instead.
    #[must_use]
    pub fn asked(&self) -> &Question {
        &self.asked
    }

    /// What the client asked.
    #[must_use]
    pub fn original(&self) -> &Question {
        &self.original
    }

    /// The owner of a record, if the client has to see another one.
    #[must_use]
    pub fn owner(&self, owner: &Name) -> Option<Name> {
        let is_owner = |step: &Step| match step {
            Step::Owner(from, to) => Some((from.clone(), to.clone())),
            _ => None,
        };
        self.name(owner, is_owner)
    }

    /// A name in a record (the target of a CNAME, SRV, MX, NS or PTR), if the client has to see another one.
    #[must_use]
    pub fn value(&self, value: &Name) -> Option<Name> {
        let is_value = |step: &Step| match step {
            Step::Value(from, to) => Some((from.clone(), to.clone())),
            _ => None,
        };
        self.name(value, is_value)
    }

    fn name(&self, name: &Name, of: impl Fn(&Step) -> Option<(Regex, To)>) -> Option<Name> {
        let mut new = *name;
        if new == self.asked.name {
            new = self.original.name;
        }
        for (from, to) in self.steps().filter_map(of) {
            let replaced = with_groups(&from, &new.to_string(), &to);
            // An answer that cannot be changed is better than none.
            if let Some(replaced) = replaced.and_then(|text| text.parse().ok()) {
                new = replaced;
            }
        }
        (new != *name).then_some(new)
    }

    /// The TTL that the client sees.
    #[must_use]
    pub fn ttl(&self, ttl: u32) -> u32 {
        let limits = self.steps().filter_map(|step| match step {
            Step::Ttl(least, most) => Some((*least, *most)),
            _ => None,
        });
        limits.fold(ttl, |ttl, (least, most)| ttl.clamp(least, most))
    }

    /// The rcode that the client sees.
    #[must_use]
    pub fn rcode(&self, rcode: Rcode) -> Rcode {
        let mut changes = self.steps().filter_map(|step| match step {
            Step::Rcode(from, to) if *from == rcode => Some(*to),
            _ => None,
        });
        changes.next().unwrap_or(rcode)
    }

    /// Whether records look as they came, so that only the question has to be put back.
    #[must_use]
    pub fn keeps_records(&self) -> bool {
        self.asked.name == self.original.name && self.steps.is_empty()
    }

    fn steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().flat_map(|steps| steps.iter())
    }
}

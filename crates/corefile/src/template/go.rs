//! The part of Go's template language that answers are written in.
//!
//! ```text
//! {{ .Name }}   .Zone .Class .Type .Remote .Question.Name     fields
//! {{ .Match }} is a list and {{ .Group }} a map, so they are taken by index:
//! {{ index .Match 1 }}   {{ index .Group "a" }}   {{ .Group.a }}
//! {{ parseInt .Group.b 16 8 }}                                a number in a base, as decimal
//! {{ parseInt (index .Match 1) 16 8 }}                        brackets
//! {{- … -}}                                                   takes the spaces around it away
//! ```
//!
//! No variables, conditions, loops and pipes: whoever needs them writes several
//! templates. A text that has them is refused when the Corefile is read.

use std::net::IpAddr;

use regex_lite::{Captures, Regex};
use sealane_message::Question;

const KNOWN: &str = "known are .Name, .Zone, .Class, .Type, .Remote, .Question.Name, .Group.NAME, index and parseInt";

/// A text with places that are filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Plain(String),
    Value(Value),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Literal(String),
    Name,
    Zone,
    Class,
    Kind,
    Remote,
    Group(String),
    Match(usize),
    ParseInt(Box<[Value; 3]>),
}

/// What a text is filled in from.
pub(crate) struct Data<'a> {
    pub zone: String,
    pub name: &'a str,
    pub question: &'a Question,
    pub client: IpAddr,
    pub pattern: &'a Regex,
    pub found: Option<Captures<'a>>,
}

impl Text {
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        let mut trims = false;
        while let Some((before, inside)) = rest.split_once("{{") {
            let (action, after) = inside
                .split_once("}}")
                .ok_or_else(|| format!("{text:?}: {{{{ is never closed: expected }}}}"))?;
            let trims_before = action.starts_with("- ");
            let before = if trims { before.trim_start() } else { before };
            let before = if trims_before {
                before.trim_end()
            } else {
                before
            };
            parts.push(Part::Plain(before.to_owned()));
            trims = action.ends_with(" -");
            let action = action.strip_prefix("- ").unwrap_or(action);
            let action = action.strip_suffix(" -").unwrap_or(action).trim();
            if !(action.starts_with("/*") && action.ends_with("*/")) {
                parts.push(Part::Value(
                    value(action).map_err(|error| format!("{text:?}: {error}"))?,
                ));
            }
            rest = after;
        }
        let last = if trims { rest.trim_start() } else { rest };
        parts.push(Part::Plain(last.to_owned()));
        Ok(Self(parts))
    }

    /// The text itself, if nothing is to be filled in.
    pub fn plain(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Part::Plain(text)] => Some(text),
            _ => None,
        }
    }

    /// The names of groups that it needs.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|part| match part {
            Part::Plain(_) => Vec::new(),
            Part::Value(value) => value.groups(),
        })
    }

    pub fn render(&self, data: &Data<'_>) -> Result<String, String> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Plain(plain) => text.push_str(plain),
                Part::Value(value) => text.push_str(&value.render(data)?),
            }
        }
        Ok(text)
    }
}

impl Value {
    fn groups(&self) -> Vec<&str> {
        match self {
            Self::Group(name) => vec![name],
            Self::ParseInt(args) => args.iter().flat_map(Self::groups).collect(),
            _ => Vec::new(),
        }
    }

    fn render(&self, data: &Data<'_>) -> Result<String, String> {
        let found = data.found.as_ref();
        Ok(match self {
            Self::Literal(text) => text.clone(),
            Self::Name => data.name.to_owned(),
            Self::Zone => data.zone.clone(),
            Self::Class => data.question.class.to_string(),
            Self::Kind => data.question.kind.to_string(),
            Self::Remote => data.client.to_string(),
            Self::Group(name) => {
                let group = found.and_then(|found| found.name(name));
                group.map_or_else(String::new, |group| group.as_str().to_owned())
            }
            Self::Match(number) => {
                let groups = data.pattern.captures_len();
                if *number >= groups {
                    return Err(format!(
                        "index .Match {number}: the pattern {} has only {groups} groups, with the whole match",
                        data.pattern
                    ));
                }
                let group = found.and_then(|found| found.get(*number));
                group.map_or_else(String::new, |group| group.as_str().to_owned())
            }
            Self::ParseInt(args) => {
                let [number, base, bits] = &**args;
                parse_int(
                    &number.render(data)?,
                    &base.render(data)?,
                    &bits.render(data)?,
                )?
            }
        })
    }
}

fn parse_int(number: &str, base: &str, bits: &str) -> Result<String, String> {
    let fault = || format!("parseInt {number:?} {base} {bits}: no number of that base and size");
    let base = base.parse().ok().filter(|base| (2..=36).contains(base));
    let value = base.and_then(|base| u64::from_str_radix(number, base).ok());
    let bits: u32 = bits.parse().map_err(|_| fault())?;
    let fits = |value: &u64| matches!(bits, 0 | 64..) || value >> bits == 0;
    let value = value.filter(fits).ok_or_else(fault)?;
    Ok(value.to_string())
}

/// What stands between the braces.
fn value(action: &str) -> Result<Value, String> {
    let mut words = words(action)?;
    words.reverse();
    let value = call(&mut words)?;
    match words.pop() {
        None => Ok(value),
        Some(word) => Err(format!("{word:?} is not supported here; {KNOWN}")),
    }
}

/// A function with what it is applied to, or a value.
fn call(words: &mut Vec<String>) -> Result<Value, String> {
    match words.last().map(String::as_str) {
        Some("index") => {
            words.pop();
            let list = words.pop().unwrap_or_default();
            let key = operand(words)?;
            match (list.as_str(), key) {
                (".Match", Value::Literal(number)) => {
                    let number = number
                        .parse()
                        .map_err(|_| format!("index .Match {number}: expected a number"))?;
                    Ok(Value::Match(number))
                }
                (".Group", Value::Literal(name)) => Ok(Value::Group(name)),
                _ => Err(format!(
                    "index {list}: expected `index .Match NUMBER`; {KNOWN}"
                )),
            }
        }
        Some("parseInt") => {
            words.pop();
            let args = [operand(words)?, operand(words)?, operand(words)?];
            Ok(Value::ParseInt(Box::new(args)))
        }
        _ => operand(words),
    }
}

fn operand(words: &mut Vec<String>) -> Result<Value, String> {
    let Some(word) = words.pop() else {
        return Err(format!("something is missing; {KNOWN}"));
    };
    if word == "(" {
        let value = call(words)?;
        return match words.pop().as_deref() {
            Some(")") => Ok(value),
            _ => Err("( is never closed: expected )".into()),
        };
    }
    if let Some(name) = word.strip_prefix(".Group.") {
        return Ok(Value::Group(name.to_owned()));
    }
    let quoted = word.strip_prefix(['"', '`']);
    if let Some(text) = quoted {
        return Ok(Value::Literal(text.to_owned()));
    }
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Value::Literal(word));
    }
    match word.as_str() {
        ".Name" | ".Question.Name" => Ok(Value::Name),
        ".Zone" => Ok(Value::Zone),
        ".Class" => Ok(Value::Class),
        ".Type" => Ok(Value::Kind),
        ".Remote" => Ok(Value::Remote),
        other => Err(format!("{other} is not supported; {KNOWN}")),
    }
}

/// Words of an action; brackets are words, and texts keep the quote that begins them.
fn words(action: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = action.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '(' | ')' => 1,
            '"' | '`' => {
                let close = rest[1..]
                    .find(first)
                    .ok_or_else(|| format!("{first} is never closed"))?;
                words.push(rest[..=close].to_owned());
                rest = rest[close + 2..].trim_start();
                continue;
            }
            _ => rest
                .find(|character: char| character.is_whitespace() || "()\"`".contains(character))
                .unwrap_or(rest.len()),
        };
        words.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    Ok(words)
}

//! `rewrite`: its rules, on one line or in a block.

use super::Reader;
use super::forward::rcode;
use crate::config::Server;
use crate::fault::Fault;
use crate::pattern::pattern;
use crate::rewrite::{Change, Match, Rule, Step, group};
use crate::tree::Statement;

const FIELDS: &str = "expected name, type, class, ttl or rcode";

pub fn rewrite(
    reader: &mut Reader<'_>,
    statement: &Statement,
    server: &mut Server,
) -> Result<(), Fault> {
    let all = words(statement);
    let mut words: &[&str] = &all;
    let mut stops = true;
    if let ["continue" | "stop", rest @ ..] = words {
        stops = words[0] == "stop";
        words = rest;
    }
    let Some((field, rest)) = words.split_first() else {
        return Err(statement.fault(FIELDS));
    };
    let (change, answers) = match *field {
        "name" => name(statement, rest)?,
        "type" => match rest {
            [from, to] => {
                let kind = |text: &str| {
                    text.parse()
                        .map_err(|problem: String| statement.fault(problem))
                };
                (Change::Kind(kind(from)?, kind(to)?), Vec::new())
            }
            _ => return Err(statement.fault("expected `type FROM TO`")),
        },
        "class" => match rest {
            [from, to] => {
                let class = |text: &str| {
                    text.parse()
                        .map_err(|problem: String| statement.fault(problem))
                };
                (Change::Class(class(from)?, class(to)?), Vec::new())
            }
            _ => return Err(statement.fault("expected `class FROM TO`")),
        },
        "ttl" => ttl(statement, rest)?,
        "rcode" => rcodes(statement, rest)?,
        "edns0" | "cname" => {
            reader.note(
                statement,
                format!("{field} is not supported: this rule is left out"),
            );
            return Ok(());
        }
        other => return Err(statement.fault(format!("{FIELDS}, not {other:?}"))),
    };
    server.rewrites.rules.push(Rule {
        change,
        stops,
        answers: answers.into(),
    });
    Ok(())
}

/// A block is the same words on several lines.
fn words(statement: &Statement) -> Vec<&str> {
    let mut words: Vec<&str> = statement.args.iter().map(String::as_str).collect();
    for option in &statement.options {
        words.push(&option.name);
        words.extend(option.args.iter().map(String::as_str));
    }
    words
}

type Read = (Change, Vec<Step>);

/// `[exact|prefix|suffix|substring|regex] FROM TO [answer …]`
fn name(statement: &Statement, words: &[&str]) -> Result<Read, Fault> {
    let (how, rest) = how(words, 2);
    let [from, to, options @ ..] = rest else {
        let problem = "expected `name [exact|prefix|suffix|substring|regex] FROM TO [answer auto]`";
        return Err(statement.fault(problem));
    };
    let from = matches(statement, how, from)?;
    let to = match &from {
        Match::Exact(_) => statement.name(to)?.to_string(),
        Match::Suffix(_) => with_dot(to),
        Match::Prefix(_) | Match::Substring(_) => to.to_lowercase(),
        Match::Regex(regex) => {
            groups(statement, to, regex.captures_len())?;
            to.to_lowercase()
        }
    };
    Ok((Change::Name(from, to), answers(statement, options)?))
}

/// `answer auto`, `answer name FROM TO`, `answer value FROM TO`, as many as there are.
fn answers(statement: &Statement, mut words: &[&str]) -> Result<Vec<Step>, Fault> {
    let mut steps = Vec::new();
    loop {
        words = match words {
            [] => return Ok(steps),
            // What it asks for is done for each rule.
            ["answer", "auto", rest @ ..] => rest,
            ["answer", field @ ("name" | "value"), from, to, rest @ ..] => {
                let regex = pattern(from).map_err(|problem| statement.fault(problem))?;
                groups(statement, to, regex.captures_len())?;
                let to = to.to_lowercase();
                steps.push(match *field {
                    "name" => Step::Owner(regex, to),
                    _ => Step::Value(regex, to),
                });
                rest
            }
            other => {
                let found = other.join(" ");
                return Err(statement.fault(format!(
                    "expected `answer auto`, `answer name FROM TO` or `answer value FROM TO`, not {found:?}"
                )));
            }
        };
    }
}

/// `[exact|…] STRING SECONDS`, or `MIN-MAX` of which one may be missing.
fn ttl(statement: &Statement, words: &[&str]) -> Result<Read, Fault> {
    let (how, rest) = how(words, 2);
    let [from, limits] = rest else {
        let problem = "expected `ttl [exact|prefix|suffix|substring|regex] NAME SECONDS|MIN-MAX`";
        return Err(statement.fault(problem));
    };
    let seconds = |text: &str, default| match text {
        "" => Ok(default),
        text => statement.number(text, 0..=i32::MAX as u32, "a TTL in seconds"),
    };
    let (least, most) = match limits.split_once('-') {
        None => (seconds(limits, 0)?, seconds(limits, 0)?),
        Some((least, most)) => (seconds(least, 0)?, seconds(most, i32::MAX as u32)?),
    };
    if limits.is_empty() || least > most {
        let problem = format!("expected SECONDS or MIN-MAX, not {limits:?}");
        return Err(statement.fault(problem));
    }
    let of = matches(statement, how, from)?;
    Ok((Change::Nothing(of), vec![Step::Ttl(least, most)]))
}

/// `[exact|…] STRING FROM TO`
fn rcodes(statement: &Statement, words: &[&str]) -> Result<Read, Fault> {
    let (how, rest) = how(words, 3);
    let [name, from, to] = rest else {
        let problem = "expected `rcode [exact|prefix|suffix|substring|regex] NAME FROM TO`";
        return Err(statement.fault(problem));
    };
    let step = Step::Rcode(rcode(statement, from)?, rcode(statement, to)?);
    Ok((Change::Nothing(matches(statement, how, name)?), vec![step]))
}

/// How a name is compared, if that is said and more words follow than are needed.
fn how<'a, 'b>(words: &'a [&'b str], needed: usize) -> (&'b str, &'a [&'b str]) {
    match words {
        [
            how @ ("exact" | "prefix" | "suffix" | "substring" | "regex"),
            rest @ ..,
        ] if rest.len() >= needed => (how, rest),
        _ => ("exact", words),
    }
}

fn matches(statement: &Statement, how: &str, text: &str) -> Result<Match, Fault> {
    Ok(match how {
        "prefix" => Match::Prefix(text.to_lowercase()),
        "suffix" => Match::Suffix(with_dot(text)),
        "substring" => Match::Substring(text.to_lowercase()),
        "regex" => Match::Regex(pattern(text).map_err(|problem| statement.fault(problem))?),
        _ => Match::Exact(statement.name(text)?),
    })
}

fn with_dot(text: &str) -> String {
    let dot = if text.ends_with('.') { "" } else { "." };
    format!("{}{dot}", text.to_lowercase())
}

/// That the pattern has the groups that are used.
fn groups(statement: &Statement, to: &str, there: usize) -> Result<(), Fault> {
    let mut rest = to;
    while let Some((_, number, after)) = group(rest) {
        if number >= there {
            return Err(statement.fault(format!(
                "{to:?} uses {{{number}}}, but the pattern has {} groups",
                there - 1
            )));
        }
        rest = after;
    }
    Ok(())
}

//! `template`: its patterns and its records.

use sealane_message::Rcode;

use super::Reader;
use super::forward::rcode;
use crate::config::{Fallthrough, Server};
use crate::fault::Fault;
use crate::pattern::pattern;
use crate::template::{Template, Text, record};
use crate::tree::Statement;

pub fn template(
    reader: &mut Reader<'_>,
    statement: &Statement,
    server: &mut Server,
) -> Result<(), Fault> {
    let [class, kind, zones @ ..] = statement.args.as_slice() else {
        return Err(statement.fault("expected CLASS TYPE [ZONE…], such as `IN A example.org`"));
    };
    let mut template = Template {
        class: class
            .parse()
            .map_err(|problem: String| statement.fault(problem))?,
        kind: kind
            .parse()
            .map_err(|problem: String| statement.fault(problem))?,
        zones: statement.zones_or(zones, &reader.zones)?,
        patterns: Vec::new(),
        answer: Vec::new(),
        additional: Vec::new(),
        authority: Vec::new(),
        rcode: Rcode::NOERROR,
        fallthrough: Fallthrough::Never,
    };
    for option in &statement.options {
        template_option(reader, option, &mut template)?;
    }
    if template.patterns.is_empty() {
        let all = pattern(".*").map_err(|problem| statement.fault(problem))?;
        template.patterns.push(all);
    }
    missing_groups(reader, statement, &template);
    server.templates.all.push(template);
    Ok(())
}

fn template_option(
    reader: &mut Reader<'_>,
    option: &Statement,
    template: &mut Template,
) -> Result<(), Fault> {
    match option.name.as_str() {
        "match" => {
            for text in option.some("a pattern")? {
                let pattern = pattern(text).map_err(|problem| option.fault(problem))?;
                template.patterns.push(pattern);
            }
        }
        "answer" => template.answer.extend(texts(option)?),
        "additional" => template.additional.extend(texts(option)?),
        "authority" => template.authority.extend(texts(option)?),
        "rcode" => template.rcode = rcode(option, option.one("an rcode, such as NXDOMAIN")?)?,
        "fallthrough" => template.fallthrough = option.fallthrough()?,
        "ederror" => reader.note(
            option,
            "is left out: answers carry no extended errors (RFC 8914)",
        ),
        "upstream" | "ephemeral" => reader.note(option, "has no effect"),
        _ => {
            return Err(
                option.unknown("match, answer, additional, authority, rcode and fallthrough")
            );
        }
    }
    Ok(())
}

/// Each argument is a record; one in which nothing is filled in is looked at now.
fn texts(option: &Statement) -> Result<Vec<Text>, Fault> {
    let mut texts = Vec::new();
    for text in option.some("a record in quotes, such as \"{{ .Name }} 60 IN A 192.0.2.1\"")? {
        let text = Text::parse(text).map_err(|problem| option.fault(problem))?;
        if let Some(plain) = text.plain() {
            record(plain).map_err(|problem| option.fault(problem))?;
        }
        texts.push(text);
    }
    Ok(texts)
}

/// A group that no pattern has is read as nothing, as in Go; it is hardly what was meant.
fn missing_groups(reader: &mut Reader<'_>, statement: &Statement, template: &Template) {
    let patterns = template.patterns.iter();
    let known: Vec<&str> = patterns
        .flat_map(|pattern| pattern.capture_names().flatten())
        .collect();
    let sections = [&template.answer, &template.additional, &template.authority];
    let texts = sections.into_iter().flatten();
    for group in texts.flat_map(Text::groups) {
        if !known.contains(&group) {
            reader.note(
                statement,
                format!("group {group:?} is in none of its patterns, and read as nothing"),
            );
        }
    }
}

//! `log`: which queries are written down, and how.

use super::Reader;
use crate::config::Server;
use crate::fault::Fault;
use crate::log::{Classes, Format, LogRule};
use crate::tree::Statement;

pub fn log(
    reader: &mut Reader<'_>,
    statement: &Statement,
    server: &mut Server,
) -> Result<(), Fault> {
    let (format, names) = match statement.args.split_last() {
        Some((format, names)) if format.contains('{') => (Some(format), names),
        _ => (None, statement.args.as_slice()),
    };
    let mut rule = LogRule {
        zones: statement.zones_or(names, &reader.zones)?,
        format: Format::common(),
        classes: None,
        min_duration: None,
    };
    if let Some(text) = format {
        let (format, unknown) = Format::parse(text);
        rule.format = format;
        for placeholder in unknown {
            reader.note(
                statement,
                format!("placeholder {{{placeholder}}} is not known, and written as -"),
            );
        }
    }
    for option in &statement.options {
        match option.name.as_str() {
            "class" => {
                let classes = rule.classes.get_or_insert_default();
                for word in option.some("success, denial, error or all")? {
                    class(option, word, classes)?;
                }
            }
            "minDuration" => {
                rule.min_duration = Some(option.duration(option.one("a duration")?)?);
            }
            _ => return Err(option.unknown("class and minDuration")),
        }
    }
    // A duration alone means: those that took longer, and no others.
    if rule.min_duration.is_some() {
        rule.classes.get_or_insert_default();
    }
    server.log.push(rule);
    Ok(())
}

fn class(option: &Statement, word: &str, classes: &mut Classes) -> Result<(), Fault> {
    match word {
        "success" => classes.success = true,
        "denial" => classes.denial = true,
        "error" => classes.error = true,
        "all" => {
            *classes = Classes {
                success: true,
                denial: true,
                error: true,
            }
        }
        other => {
            let problem = format!("expected success, denial, error or all, not {other:?}");
            return Err(option.fault(problem));
        }
    }
    Ok(())
}

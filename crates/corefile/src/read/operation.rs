//! Plugins of the server itself: health, metrics, reload, where it listens.

use std::time::Duration;

use super::Reader;
use crate::config::{Health, Reload, Server};
use crate::fault::Fault;
use crate::pattern::pattern;
use crate::tree::Statement;

pub fn errors(
    reader: &mut Reader<'_>,
    statement: &Statement,
    server: &mut Server,
) -> Result<(), Fault> {
    statement.counted(0..=1, "at most stdout")?;
    server.errors = true;
    for option in &statement.options {
        match option.name.as_str() {
            "consolidate" => {
                option.counted(2..=4, "a duration and a pattern")?;
                option.duration(&option.args[0])?;
                pattern(&option.args[1]).map_err(|problem| option.fault(problem))?;
                reader.note(
                    option,
                    "is left out: lines are limited by number, not by pattern",
                );
            }
            "stacktrace" => reader.note(option, "is left out: there is no stack to show"),
            _ => return Err(option.unknown("consolidate and stacktrace")),
        }
    }
    Ok(())
}

pub fn health(statement: &Statement, server: &mut Server) -> Result<(), Fault> {
    statement.counted(0..=1, "at most an address, such as :8080")?;
    let mut health = Health {
        address: address(statement, ":8080"),
        lameduck: Duration::ZERO,
    };
    for option in &statement.options {
        match option.name.as_str() {
            "lameduck" => health.lameduck = option.duration(option.one("a duration")?)?,
            _ => return Err(option.unknown("lameduck")),
        }
    }
    server.health = Some(health);
    Ok(())
}

pub fn ready(
    reader: &mut Reader<'_>,
    statement: &Statement,
    server: &mut Server,
) -> Result<(), Fault> {
    statement.counted(0..=1, "at most an address, such as :8181")?;
    for option in &statement.options {
        match option.name.as_str() {
            "monitor" => {
                option.one("until-ready or continuously")?;
                reader.note(option, "is left out: readiness is always looked at anew");
            }
            _ => return Err(option.unknown("monitor")),
        }
    }
    server.ready = Some(address(statement, ":8181"));
    Ok(())
}

pub fn prometheus(
    reader: &mut Reader<'_>,
    statement: &Statement,
    server: &mut Server,
) -> Result<(), Fault> {
    statement.counted(0..=1, "at most an address, such as :9153")?;
    let address = address(statement, "localhost:9153");
    if !address.ends_with(":9153") {
        reader.note(
            statement,
            format!("address {address} is left out: give `--health-port` to sealane dns"),
        );
    }
    server.prometheus = Some(address);
    Ok(())
}

fn address(statement: &Statement, default: &str) -> String {
    let given = statement.args.first();
    given.map_or_else(|| default.to_owned(), Clone::clone)
}

pub fn finds_loops(statement: &Statement, server: &mut Server) -> Result<(), Fault> {
    statement.none()?;
    statement.no_options()?;
    server.finds_loops = true;
    Ok(())
}

pub fn reload(statement: &Statement, server: &mut Server) -> Result<(), Fault> {
    statement.counted(0..=2, "[INTERVAL] [JITTER], or off")?;
    statement.no_options()?;
    if statement.args == ["off"] {
        return Ok(());
    }
    let mut durations = Vec::new();
    for text in &statement.args {
        durations.push(statement.duration(text)?);
    }
    let interval = durations.first().copied();
    let interval = interval.unwrap_or(Duration::from_secs(30));
    if interval < Duration::from_secs(2) {
        return Err(statement.fault("expected an interval of at least 2s"));
    }
    server.reload = Some(Reload { interval });
    Ok(())
}

pub fn loadbalance(
    reader: &mut Reader<'_>,
    statement: &Statement,
    server: &mut Server,
) -> Result<(), Fault> {
    match statement.args.first().map(String::as_str) {
        None => {}
        Some("round_robin") => statement.counted(1..=1, "nothing behind round_robin")?,
        Some("weighted") => {
            reader.note(
                statement,
                "weighted is not supported: addresses are turned round, each as often as the others",
            );
        }
        Some(other) => {
            let problem = format!("expected round_robin or weighted, not {other:?}");
            return Err(statement.fault(problem));
        }
    }
    for option in &statement.options {
        reader.note(option, "is not supported and left out");
    }
    server.shuffles = true;
    Ok(())
}

pub fn whoami(statement: &Statement, server: &mut Server) -> Result<(), Fault> {
    statement.none()?;
    server.whoami = true;
    Ok(())
}

pub fn bind(
    reader: &mut Reader<'_>,
    statement: &Statement,
    server: &mut Server,
) -> Result<(), Fault> {
    let addresses = statement.some("addresses or names of links")?;
    server.bind.extend(addresses.iter().cloned());
    reader.note(
        statement,
        "is left out: what is served is the addresses of `--cluster-dns` and 169.254.20.10",
    );
    Ok(())
}

//! `hosts`: its file and its own lines.

use std::time::Duration;

use super::Reader;
use crate::config::{Fallthrough, Server};
use crate::fault::{At, Fault, Notice};
use crate::hosts::{Entries, Hosts, host_address};
use crate::tree::Statement;

/// Where names and addresses are by custom.
const DEFAULT_FILE: &str = "/etc/hosts";

/// Lines of a file that are named when they are wrong; a file of another kind has thousands.
const MOST_NAMED: usize = 5;

pub fn hosts(
    reader: &mut Reader<'_>,
    statement: &Statement,
    server: &mut Server,
) -> Result<(), Fault> {
    if server.hosts.is_some() {
        return Err(statement.fault("is there already: expected one in a server block"));
    }
    let (file, zones) = match statement.args.split_first() {
        Some((file, zones)) => (Some(file.clone()), zones),
        None => (None, [].as_slice()),
    };
    let mut hosts = Hosts {
        file,
        zones: statement.zones_or(zones, &reader.zones)?,
        ttl: 3600,
        reload: Duration::from_secs(5),
        no_reverse: false,
        fallthrough: Fallthrough::Never,
        entries: Entries::default(),
    };
    for option in &statement.options {
        hosts_option(option, &mut hosts)?;
    }
    // With lines of its own it needs no file: that of this node says nothing of the cluster.
    if hosts.file.is_none() && hosts.is_empty() {
        hosts.file = Some(DEFAULT_FILE.to_owned());
    }
    if let Some(path) = hosts.file.clone() {
        read_file(reader, statement, &path, &mut hosts);
    }
    server.hosts = Some(hosts);
    Ok(())
}

fn hosts_option(option: &Statement, hosts: &mut Hosts) -> Result<(), Fault> {
    if let Some(address) = host_address(&option.name) {
        for text in option.some("names behind the address")? {
            hosts.entries.add(address, option.name(text)?);
        }
        return option.no_options();
    }
    match option.name.as_str() {
        "ttl" => {
            let seconds = option.one("a number of seconds")?;
            hosts.ttl = option.number(seconds, 1..=65535, "a number of seconds")?;
        }
        "reload" => hosts.reload = option.duration(option.one("a duration")?)?,
        "no_reverse" => {
            option.none()?;
            hosts.no_reverse = true;
        }
        "fallthrough" => hosts.fallthrough = option.fallthrough()?,
        _ => {
            return Err(option.unknown("ADDRESS NAME…, ttl, reload, no_reverse and fallthrough"));
        }
    }
    Ok(())
}

fn read_file(reader: &mut Reader<'_>, statement: &Statement, path: &str, hosts: &mut Hosts) {
    let Some(text) = reader.source.file(path) else {
        // As CoreDNS: it may come later.
        reader.note(
            statement,
            format!("file {path} is not there, or cannot be read"),
        );
        return;
    };
    let faults = hosts.entries.add_file(&text);
    let more = faults.len().saturating_sub(MOST_NAMED);
    for (line, problem) in faults.into_iter().take(MOST_NAMED) {
        reader.notices.push(Notice {
            at: At {
                file: path.into(),
                line,
            },
            about: "hosts".into(),
            consequence: format!("left out: {problem}"),
        });
    }
    if more > 0 {
        reader.note(
            statement,
            format!("{more} further lines of {path} are left out"),
        );
    }
}

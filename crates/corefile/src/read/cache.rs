//! `cache`: how long answers of others are kept.

use std::time::Duration;

use super::Reader;
use crate::config::{Cache, Prefetch, ServeStale, Server, Share};
use crate::fault::Fault;
use crate::tree::Statement;

/// Answers of each half, as in `CoreDNS`.
const CAPACITY: u32 = 9984;
const SUCCESS_TTL: u32 = 3600;
const DENIAL_TTL: u32 = 1800;
const MIN_TTL: u32 = 5;
const MOST_SERVFAIL: Duration = Duration::from_secs(300);

pub fn cache(
    reader: &mut Reader<'_>,
    statement: &Statement,
    server: &mut Server,
) -> Result<(), Fault> {
    if server.cache.is_some() {
        return Err(statement.fault("is there already: expected one in a server block"));
    }
    let (ttl, zones) = match statement.args.split_first() {
        Some((first, rest)) if first.parse::<i64>().is_ok() => {
            let ttl = statement.number(first, 1..=u32::MAX, "a TTL in seconds")?;
            (Some(ttl), rest)
        }
        _ => (None, statement.args.as_slice()),
    };
    let share = |max_ttl| Share {
        capacity: CAPACITY,
        max_ttl: ttl.unwrap_or(max_ttl),
        min_ttl: MIN_TTL.min(ttl.unwrap_or(max_ttl)),
    };
    let mut cache = Cache {
        zones: statement.zones_or(zones, &reader.zones)?,
        success: share(SUCCESS_TTL),
        denial: share(DENIAL_TTL),
        prefetch: None,
        serve_stale: None,
        servfail: Duration::from_secs(5),
    };
    for option in &statement.options {
        cache_option(reader, option, &mut cache)?;
    }
    server.cache = Some(cache);
    Ok(())
}

fn cache_option(
    reader: &mut Reader<'_>,
    option: &Statement,
    cache: &mut Cache,
) -> Result<(), Fault> {
    match option.name.as_str() {
        "success" => share(option, &mut cache.success)?,
        "denial" => share(option, &mut cache.denial)?,
        "prefetch" => cache.prefetch = Some(prefetch(option)?),
        "serve_stale" => cache.serve_stale = Some(serve_stale(reader, option)?),
        "servfail" => {
            cache.servfail = option.duration(option.one("a duration")?)?;
            if cache.servfail > MOST_SERVFAIL {
                return Err(option.fault("expected at most 5m"));
            }
        }
        "disable" => {
            option.some("success or denial, and zones")?;
            reader.note(
                option,
                "is not supported: give cache the ZONES whose answers are kept",
            );
        }
        "keepttl" => {
            option.none()?;
            reader.note(
                option,
                "is not supported: answers show what is left of their TTL",
            );
        }
        _ => {
            return Err(option
                .unknown("success, denial, prefetch, serve_stale, servfail, disable and keepttl"));
        }
    }
    Ok(())
}

fn share(option: &Statement, share: &mut Share) -> Result<(), Fault> {
    option.counted(1..=3, "CAPACITY [TTL] [MINTTL]")?;
    share.capacity = option.number(&option.args[0], 0..=u32::MAX, "a number of answers")?;
    if let Some(ttl) = option.args.get(1) {
        share.max_ttl = option.number(ttl, 0..=u32::MAX, "a TTL in seconds")?;
    }
    share.min_ttl = share.min_ttl.min(share.max_ttl);
    if let Some(ttl) = option.args.get(2) {
        share.min_ttl = option.number(ttl, 0..=share.max_ttl, "a TTL in seconds")?;
    }
    Ok(())
}

fn prefetch(option: &Statement) -> Result<Prefetch, Fault> {
    option.counted(1..=3, "AMOUNT [DURATION] [PERCENTAGE%]")?;
    let amount = option.number(&option.args[0], 0..=u32::MAX, "a number of questions")?;
    let mut prefetch = Prefetch {
        amount,
        gap: Duration::from_secs(60),
        percentage: 10,
    };
    if let Some(gap) = option.args.get(1) {
        prefetch.gap = option.duration(gap)?;
    }
    if let Some(percentage) = option.args.get(2) {
        let number = percentage.strip_suffix('%').unwrap_or("without %");
        prefetch.percentage = option.number(number, 10..=90, "a percentage, such as 20%,")?;
    }
    Ok(prefetch)
}

fn serve_stale(reader: &mut Reader<'_>, option: &Statement) -> Result<ServeStale, Fault> {
    option.counted(0..=3, "[DURATION] [immediate|verify]")?;
    let mut stale = ServeStale {
        limit: Duration::from_secs(3600),
        verify: false,
    };
    if let Some(limit) = option.args.first() {
        stale.limit = option.duration(limit)?;
    }
    match option
        .args
        .get(1)
        .map(|mode| mode.to_ascii_lowercase())
        .as_deref()
    {
        None | Some("immediate") => {}
        Some("verify") => stale.verify = true,
        Some(other) => {
            return Err(option.fault(format!("expected immediate or verify, not {other:?}")));
        }
    }
    if let Some(timeout) = option.args.get(2) {
        option.duration(timeout)?;
        reader.note(option, "a time to verify is left out: it is 1.8s");
    }
    Ok(stale)
}

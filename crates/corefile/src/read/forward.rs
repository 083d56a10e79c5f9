//! `forward`: who is asked for names of others.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sealane_message::{Name, Rcode};

use super::Reader;
use crate::config::{Forward, HealthCheck, Policy, Server, To};
use crate::fault::Fault;
use crate::tree::Statement;

/// As many as `CoreDNS` takes.
const MOST_UPSTREAMS: usize = 15;

pub fn forward(
    reader: &mut Reader<'_>,
    statement: &Statement,
    server: &mut Server,
) -> Result<(), Fault> {
    statement.counted(
        2..=1 + MOST_UPSTREAMS,
        "a zone and up to 15 upstreams, such as `. /etc/resolv.conf`",
    )?;
    let from = statement.zones(&statement.args[..1])?;
    if from.len() > 1 {
        reader.note(
            statement,
            format!(
                "{} is several zones: only the first is forwarded",
                statement.args[0]
            ),
        );
    }
    let mut forward = Forward {
        at: statement.at.clone(),
        from: from.first().copied().unwrap_or(Name::ROOT),
        to: Vec::new(),
        except: Vec::new(),
        force_tcp: false,
        policy: Policy::Random,
        max_fails: 2,
        expire: Duration::from_secs(10),
        health_check: HealthCheck {
            interval: Duration::from_millis(500),
            recursion: true,
            domain: Name::ROOT,
        },
        max_concurrent: 0,
        failover: Vec::new(),
        fail_fast: false,
    };
    for text in &statement.args[1..] {
        forward.to.extend(to(reader, statement, text)?);
    }
    for option in &statement.options {
        forward_option(reader, option, &mut forward)?;
    }
    server.forwards.push(forward);
    Ok(())
}

/// An upstream; none if it is not supported.
fn to(reader: &mut Reader<'_>, statement: &Statement, text: &str) -> Result<Option<To>, Fault> {
    let rest = text.strip_prefix("dns://").unwrap_or(text);
    if let Some((transport, _)) = rest.split_once("://") {
        if !["tls", "https", "https3", "quic", "grpc"].contains(&transport) {
            return Err(statement.fault(format!("there is no transport {transport} of {text}")));
        }
        reader.note(
            statement,
            format!(
                "{text} is left out, since {transport} is not supported, and what should be encrypted is not sent otherwise; if it is the only upstream, its names get SERVFAIL: give an address without {transport}://"
            ),
        );
        return Ok(None);
    }
    if rest.starts_with('/') {
        return Ok(Some(To::ResolvConf(rest.to_owned())));
    }
    match address(rest) {
        Some(address) => Ok(Some(To::Address(address))),
        None => Err(statement.fault(format!(
            "expected an address, ADDRESS:PORT or the path of a file like /etc/resolv.conf, not {text:?}"
        ))),
    }
}

/// `192.0.2.1`, `192.0.2.1:53`, `2001:db8::1`, `[2001:db8::1]:53`
fn address(text: &str) -> Option<SocketAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    if let Ok(address) = bare.unwrap_or(text).parse::<IpAddr>() {
        return Some((address, 53).into());
    }
    text.parse()
        .ok()
        .filter(|address: &SocketAddr| address.port() != 0)
}

fn forward_option(
    reader: &mut Reader<'_>,
    option: &Statement,
    forward: &mut Forward,
) -> Result<(), Fault> {
    match option.name.as_str() {
        "except" => {
            let zones = option.some("zones")?;
            forward.except.extend(option.zones(zones)?);
        }
        "force_tcp" => {
            option.none()?;
            forward.force_tcp = true;
        }
        "prefer_udp" => {
            option.none()?;
            reader.note(
                option,
                "need not be said: UDP comes first unless force_tcp is given",
            );
        }
        "policy" => forward.policy = policy(option)?,
        "max_fails" => {
            let number = option.one("a number")?;
            forward.max_fails = option.number(number, 0..=u32::MAX, "a number")?;
        }
        "expire" => forward.expire = option.duration(option.one("a duration")?)?,
        "health_check" => forward.health_check = health_check(option)?,
        "max_concurrent" => {
            let number = option.one("a number")?;
            forward.max_concurrent = option.number(number, 0..=u32::MAX, "a number")?;
        }
        "failover" => forward.failover = rcodes(option)?,
        "next" | "next_on_nodata" => reader.note(
            option,
            "is not supported: the longest zone's forward answers; give it all upstreams, and failover",
        ),
        "failfast_all_unhealthy_upstreams" => {
            option.none()?;
            forward.fail_fast = true;
        }
        "tls" | "tls_servername" | "doh_method" => reader.note(
            option,
            "is left out: upstreams are asked by UDP and TCP alone; DNS over TLS or HTTPS is not supported",
        ),
        "max_idle_conns" | "max_connect_attempts" | "max_age" | "read_timeout" | "resolver" => {
            reader.note(option, "is left out: there is nothing like it to set");
        }
        _ => {
            return Err(option.unknown(
                "except, force_tcp, prefer_udp, policy, max_fails, expire, health_check, max_concurrent, failover and failfast_all_unhealthy_upstreams",
            ));
        }
    }
    Ok(())
}

fn policy(option: &Statement) -> Result<Policy, Fault> {
    match option.one("random, round_robin or sequential")? {
        "random" => Ok(Policy::Random),
        "round_robin" => Ok(Policy::RoundRobin),
        "sequential" => Ok(Policy::Sequential),
        other => {
            let problem = format!("expected random, round_robin or sequential, not {other:?}");
            Err(option.fault(problem))
        }
    }
}

fn health_check(option: &Statement) -> Result<HealthCheck, Fault> {
    let args = option.some("a duration")?;
    let mut check = HealthCheck {
        interval: option.duration(&args[0])?,
        recursion: true,
        domain: Name::ROOT,
    };
    let mut rest = args[1..].iter();
    while let Some(word) = rest.next() {
        match (word.as_str(), rest.as_slice()) {
            ("no_rec", _) => check.recursion = false,
            ("domain", [domain, ..]) => {
                check.domain = option.name(domain)?;
                rest.next();
            }
            _ => {
                let problem = format!("expected no_rec or `domain NAME`, not {word:?}");
                return Err(option.fault(problem));
            }
        }
    }
    Ok(check)
}

fn rcodes(option: &Statement) -> Result<Vec<Rcode>, Fault> {
    let texts = option.some("rcodes, such as SERVFAIL")?;
    let rcodes = texts.iter().map(|text| rcode(option, text));
    rcodes.collect()
}

pub fn rcode(option: &Statement, text: &str) -> Result<Rcode, Fault> {
    let number = text.parse().ok().filter(|number| *number < 4096);
    match number {
        Some(number) => Ok(Rcode(number)),
        None => text
            .parse()
            .map_err(|problem: String| option.fault(problem)),
    }
}

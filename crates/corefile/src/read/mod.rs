//! Statements to plugins: what each may be told, and what it is told here.

mod access;
mod cache;
mod cluster;
mod duration;
mod forward;
mod log;
mod names;
mod operation;
mod rewrite;
mod statement;
mod template;
mod unsupported;

use sealane_message::Name;

use crate::config::{Config, Key, Server};
use crate::fault::{Fault, Faults, Notice};
use crate::source::Source;
use crate::tree::{Block, Statement, blocks};
use crate::zones::zones;

/// What all plugins of a block read with.
struct Reader<'a> {
    source: &'a dyn Source,
    notices: &'a mut Vec<Notice>,
    /// The block's zones, which plugins are for if they do not say otherwise.
    zones: Vec<Name>,
}

impl Reader<'_> {
    /// Says that a statement has no effect.
    fn note(&mut self, statement: &Statement, consequence: impl Into<String>) {
        self.notices.push(Notice {
            at: statement.at.clone(),
            about: statement.path.clone(),
            consequence: consequence.into(),
        });
    }
}

/// Reads a Corefile.
///
/// # Errors
///
/// All that is wrong with it, each with its line. What is right but not supported is no error:
/// it is among the [notices](Config::notices).
pub fn parse(text: &str, source: &dyn Source) -> Result<Config, Faults> {
    let mut notices = Vec::new();
    let blocks = blocks(text, source, &mut notices)?;
    let mut servers: Vec<Server> = Vec::new();
    let mut faults = Vec::new();
    for block in &blocks {
        match server(block, source, &mut notices) {
            Ok(Some(server)) => {
                faults.extend(taken(&server, &servers));
                servers.push(server);
            }
            Ok(None) => {}
            Err(more) => faults.extend(more.0),
        }
    }
    if blocks.is_empty() {
        return Err(Faults(vec![Fault {
            at: crate::At {
                file: "Corefile".into(),
                line: 1,
            },
            about: String::new(),
            problem: "there is no server block: expected one such as `. { … }`".into(),
        }]));
    }
    if faults.is_empty() {
        Ok(Config { servers, notices })
    } else {
        faults.sort_by(|one, other| one.at.cmp(&other.at));
        Err(Faults(faults))
    }
}

/// A zone may be served once at each port.
fn taken(server: &Server, before: &[Server]) -> Option<Fault> {
    let taken = |key: &&Key| before.iter().any(|other| other.keys.contains(key));
    let key = server.keys.iter().find(taken)?;
    Some(Fault {
        at: server.at.clone(),
        about: String::new(),
        problem: format!(
            "zone {} at port {} is served by a block above already",
            key.zone, key.port
        ),
    })
}

/// A server block; none if all of its keys or the whole of it are not supported.
fn server(
    block: &Block,
    source: &dyn Source,
    notices: &mut Vec<Notice>,
) -> Result<Option<Server>, Faults> {
    let mut faults = Vec::new();
    let mut keys = Vec::new();
    for text in &block.keys {
        match key(text) {
            Ok(KeyOf::Served(of)) => keys.extend(of),
            Ok(KeyOf::Unsupported(transport)) => notices.push(Notice {
                at: block.at.clone(),
                about: text.clone(),
                consequence: format!(
                    "DNS over {transport} is not supported: nothing is served there"
                ),
            }),
            Err(problem) => faults.push(Fault {
                at: block.at.clone(),
                about: String::new(),
                problem,
            }),
        }
    }
    let view = block
        .statements
        .iter()
        .find(|statement| statement.name == "view");
    if let Some(view) = view {
        notices.push(Notice {
            at: block.at.clone(),
            about: view.path.clone(),
            consequence: "is not supported: this server block is left out".into(),
        });
        keys.clear();
    }
    let mut server = Server::new(block.at.clone(), keys);
    let mut reader = Reader {
        source,
        notices,
        zones: server.zones(),
    };
    for statement in &block.statements {
        faults.extend(plugin(&mut reader, statement, &mut server).err());
    }
    if faults.is_empty() {
        Ok((!server.keys.is_empty()).then_some(server))
    } else {
        Err(Faults(faults))
    }
}

enum KeyOf {
    Served(Vec<Key>),
    /// By this transport.
    Unsupported(&'static str),
}

/// `[dns://]ZONE[:PORT]`
fn key(text: &str) -> Result<KeyOf, String> {
    let rest = text.strip_prefix("dns://").unwrap_or(text);
    for (prefix, transport) in [
        ("tls://", "TLS"),
        ("https://", "HTTPS"),
        ("https3://", "HTTPS"),
        ("quic://", "QUIC"),
        ("grpc://", "gRPC"),
    ] {
        if rest.starts_with(prefix) {
            return Ok(KeyOf::Unsupported(transport));
        }
    }
    let port_of = |(zone, port): (&str, &str)| Some((zone.to_owned(), port.parse().ok()?));
    let is_range = rest.parse::<ipnet::IpNet>().is_ok();
    let split = rest.rsplit_once(':').filter(|_| !is_range);
    let (zone, port) = match split {
        None => (rest.to_owned(), 53),
        Some(split) => port_of(split)
            .filter(|(_, port)| *port != 0)
            .ok_or_else(|| format!("{text:?}: expected a zone and a port from 1 to 65535"))?,
    };
    let zone = if zone.is_empty() { "." } else { zone.as_str() };
    let keys = zones(zone)?.into_iter().map(|zone| Key { zone, port });
    Ok(KeyOf::Served(keys.collect()))
}

fn plugin(
    reader: &mut Reader<'_>,
    statement: &Statement,
    server: &mut Server,
) -> Result<(), Fault> {
    match statement.name.as_str() {
        "errors" => operation::errors(reader, statement, server),
        "health" => operation::health(statement, server),
        "ready" => operation::ready(reader, statement, server),
        "prometheus" => operation::prometheus(reader, statement, server),
        "loop" => operation::finds_loops(statement, server),
        "reload" => operation::reload(statement, server),
        "loadbalance" => operation::loadbalance(reader, statement, server),
        "whoami" => operation::whoami(statement, server),
        "bind" => operation::bind(reader, statement, server),
        "log" => log::log(reader, statement, server),
        "acl" => access::acl(reader, statement, server),
        "cache" => cache::cache(reader, statement, server),
        "rewrite" => rewrite::rewrite(reader, statement, server),
        "template" => template::template(reader, statement, server),
        "hosts" => names::hosts(reader, statement, server),
        "autopath" => cluster::autopath(reader, statement, server),
        "kubernetes" => cluster::kubernetes(reader, statement, server),
        "forward" => forward::forward(reader, statement, server),
        _ => unsupported::plugin(reader, statement),
    }
}

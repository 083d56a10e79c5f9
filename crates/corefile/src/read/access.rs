//! `acl`: who may ask.

use std::net::IpAddr;

use ipnet::IpNet;
use sealane_message::Kind;

use super::Reader;
use crate::acl::{Access, Rule};
use crate::config::{Server, Who};
use crate::fault::Fault;
use crate::tree::Statement;

pub fn acl(
    reader: &mut Reader<'_>,
    statement: &Statement,
    server: &mut Server,
) -> Result<(), Fault> {
    let mut rule = Rule {
        zones: statement.zones_or(&statement.args, &reader.zones)?,
        policies: Vec::new(),
    };
    for option in &statement.options {
        let access = match option.name.as_str() {
            "allow" => Access::Allow,
            "block" => Access::Block,
            "filter" => Access::Filter,
            "drop" => Access::Drop,
            _ => return Err(option.unknown("allow, block, filter and drop")),
        };
        rule.policies.push((access, who(option)?));
    }
    if rule.policies.is_empty() {
        return Err(statement.fault("expected at least one of allow, block, filter and drop"));
    }
    server.acl.rules.push(rule);
    Ok(())
}

/// `[type KIND…] [net SOURCE…]`; `*` and nothing stand for all.
fn who(option: &Statement) -> Result<Who, Fault> {
    let mut who = Who::default();
    let mut section = "";
    let (mut all_kinds, mut all_networks) = (false, false);
    for word in &option.args {
        match (section, word.as_str()) {
            (_, "type" | "net") => section = word,
            ("type", "*") => all_kinds = true,
            ("net", "*") => all_networks = true,
            ("type", kind) => {
                let kind: Kind = kind
                    .parse()
                    .map_err(|problem: String| option.fault(problem))?;
                all_kinds |= kind == Kind::ANY;
                who.kinds.push(kind);
            }
            ("net", source) => {
                let network = source.parse::<IpNet>();
                let network = network.or_else(|_| source.parse::<IpAddr>().map(IpNet::from));
                who.networks.push(network.map_err(|_| {
                    option.fault(format!("expected a range of addresses, not {source:?}"))
                })?);
            }
            (_, other) => {
                let problem = format!("expected `type KIND…` or `net SOURCE…`, not {other:?}");
                return Err(option.fault(problem));
            }
        }
    }
    if all_kinds {
        who.kinds.clear();
    }
    if all_networks {
        who.networks.clear();
    }
    Ok(who)
}

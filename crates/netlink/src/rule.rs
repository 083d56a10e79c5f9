//! Rules: which table of routes packets from a network are looked up in.

use std::fmt;
use std::net::IpAddr;

use nix::errno::Errno;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::route::RouteProtocol;
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use sealane_net::{Family, IpNet, names};

use crate::error::Result;
use crate::netlink::{Failure, Netlink};

/// A rule of ours: packets from a network look into a table before the main one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Where the packets come from.
    pub from: IpNet,
    /// The table of routes.
    pub table: u8,
    /// Lower comes first; the main table's rule has 32766.
    pub priority: u32,
}

impl Netlink {
    /// Adds a rule that carries our number; one that is there already is success.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn add_rule(&self, rule: &Rule) -> Result<()> {
        let added = self
            .change(
                RouteNetlinkMessage::NewRule(message(rule)),
                NLM_F_CREATE | NLM_F_EXCL,
            )
            .await;
        match added {
            Err(failure) if failure.is(Errno::EEXIST) => Ok(()),
            result => result.map_err(self.failed(|| format!("add rule {rule}"))),
        }
    }

    /// Deletes a rule that carries our number. Returns whether it was there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn delete_rule(&self, rule: &Rule) -> Result<bool> {
        self.change(RouteNetlinkMessage::DelRule(message(rule)), 0)
            .await
            .map_or_else(Failure::unless_absent, |()| Ok(true))
            .map_err(self.failed(|| format!("delete rule {rule}")))
    }

    /// The rules that carry our number, [`names::ROUTE_PROTOCOL`], of both families.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub async fn rules(&self) -> Result<Vec<Rule>> {
        let mut rules = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RuleMessage::default();
            message.header.family = family;
            let answers = self
                .dump(RouteNetlinkMessage::GetRule(message))
                .await
                .map_err(self.failed(|| "list rules"))?;
            rules.extend(answers.into_iter().filter_map(read));
        }
        Ok(rules)
    }
}

fn message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = match Family::from(rule.from) {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    };
    message.header.src_len = rule.from.prefix_len();
    message.header.table = rule.table;
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::Source(rule.from.network()),
        RuleAttribute::Priority(rule.priority),
        RuleAttribute::Protocol(RouteProtocol::from(names::ROUTE_PROTOCOL)),
    ];
    message
}

fn read(message: RouteNetlinkMessage) -> Option<Rule> {
    let RouteNetlinkMessage::NewRule(message) = message else {
        return None;
    };
    let (mut from, mut priority, mut ours): (Option<IpAddr>, _, _) = (None, None, false);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Source(address) => from = Some(*address),
            RuleAttribute::Priority(number) => priority = Some(*number),
            RuleAttribute::Protocol(protocol) => {
                ours = u8::from(*protocol) == names::ROUTE_PROTOCOL;
            }
            _ => {}
        }
    }
    let rule = Rule {
        from: IpNet::new(from?, message.header.src_len).ok()?,
        table: message.header.table,
        priority: priority?,
    };
    ours.then_some(rule)
}

impl fmt::Display for Rule {
    /// As `ip rule` shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "from {} lookup {} priority {}",
            self.from, self.table, self.priority
        )
    }
}

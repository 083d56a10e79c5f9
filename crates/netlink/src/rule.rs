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
    /// Routes to networks with a shorter prefix do not count, and the search goes on with the next rule.
    pub suppress_shorter_than: Option<u8>,
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
    if let Some(length) = rule.suppress_shorter_than.filter(|length| *length > 0) {
        let longest = RuleAttribute::SuppressPrefixLen(u32::from(length) - 1);
        message.attributes.push(longest);
    }
    message
}

fn read(message: RouteNetlinkMessage) -> Option<Rule> {
    let RouteNetlinkMessage::NewRule(message) = message else {
        return None;
    };
    // A rule for whatever comes from anywhere has no source.
    let anywhere = match message.header.family {
        AddressFamily::Inet => Family::V4.everything(),
        _ => Family::V6.everything(),
    };
    let (mut from, mut priority, mut ours): (IpAddr, _, _) = (anywhere.addr(), None, false);
    let mut suppress = None;
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Source(address) => from = *address,
            RuleAttribute::Priority(number) => priority = Some(*number),
            // -1, which the kernel says when there is none, is the largest number here.
            RuleAttribute::SuppressPrefixLen(longest) => {
                suppress = u8::try_from(*longest).ok().and_then(|l| l.checked_add(1));
            }
            RuleAttribute::Protocol(protocol) => {
                ours = u8::from(*protocol) == names::ROUTE_PROTOCOL;
            }
            _ => {}
        }
    }
    let rule = Rule {
        from: IpNet::new(from, message.header.src_len).ok()?,
        table: message.header.table,
        priority: priority?,
        suppress_shorter_than: suppress,
    };
    ours.then_some(rule)
}

impl fmt::Display for Rule {
    /// As `ip rule` shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {} lookup {}", self.from, self.table)?;
        if let Some(length) = self.suppress_shorter_than.filter(|length| *length > 0) {
            write!(f, " suppress_prefixlength {}", length - 1)?;
        }
        write!(f, " priority {}", self.priority)
    }
}

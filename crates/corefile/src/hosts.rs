//! `hosts`: names and addresses as in `/etc/hosts`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use sealane_message::{Kind, Name, Question};

use crate::config::{Fallthrough, longest};

/// The plugin, with its entries.
#[derive(Clone, Debug)]
pub struct Hosts {
    /// The file, if it reads one.
    pub file: Option<String>,
    /// For names of these zones; for those of addresses, for all.
    pub zones: Vec<Name>,
    /// `ttl`, in seconds.
    pub ttl: u32,
    /// `reload`: how often the file is looked at; zero: once.
    pub reload: Duration,
    /// `no_reverse`: names of addresses are not made.
    pub no_reverse: bool,
    /// `fallthrough`.
    pub fallthrough: Fallthrough,
    pub(crate) entries: Entries,
}

/// What is known of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entries {
    /// By wire form: a [`Name`] has room for 255 bytes, and lists of blocked names are long.
    forward: HashMap<Box<[u8]>, Vec<IpAddr>>,
    reverse: HashMap<IpAddr, Vec<Name>>,
}

/// Names of one address that its PTR answer has; more would fit into no message.
const MOST_NAMES: usize = 64;

/// What `hosts` says to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostsFound<'a> {
    /// Nothing: the next plugin is asked.
    Pass,
    /// These addresses, of the family that was asked for.
    Addresses(Vec<IpAddr>),
    /// These names of an address.
    Names(&'a [Name]),
    /// The name is there, without what was asked for.
    NoData,
    /// The name is not there, and nobody else is asked. There is no zone to name in the answer,
    /// so it is SERVFAIL, as from `CoreDNS`.
    Fail,
}

impl Hosts {
    /// What it says to a question.
    #[must_use]
    pub fn find(&self, question: &Question) -> HostsFound<'_> {
        let name = &question.name;
        if question.kind == Kind::PTR {
            if let Some(names) = self.names(name) {
                return HostsFound::Names(names);
            }
            // Who has no entry for an address knows nothing of its zone.
            return HostsFound::Pass;
        }
        if longest(&self.zones, name).is_none() {
            return HostsFound::Pass;
        }
        match self.entries.forward.get(name.as_wire()) {
            Some(all) => {
                let family = all.iter().filter(|address| match question.kind {
                    Kind::A => address.is_ipv4(),
                    Kind::AAAA => address.is_ipv6(),
                    _ => false,
                });
                let addresses: Vec<IpAddr> = family.copied().collect();
                if addresses.is_empty() {
                    HostsFound::NoData
                } else {
                    HostsFound::Addresses(addresses)
                }
            }
            None if self.fallthrough.lets(name) => HostsFound::Pass,
            None => HostsFound::Fail,
        }
    }

    fn names(&self, name: &Name) -> Option<&[Name]> {
        if self.no_reverse {
            return None;
        }
        let names = self.entries.reverse.get(&name.address()?)?;
        Some(names)
    }

    /// How many names it knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.forward.len()
    }

    /// Whether it knows none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.forward.is_empty()
    }
}

impl Entries {
    pub fn add(&mut self, address: IpAddr, name: Name) {
        let addresses = self.forward.entry(name.as_wire().into()).or_default();
        if !addresses.contains(&address) {
            addresses.push(address);
        }
        // `0.0.0.0 NAME` is how lists block names, and nobody's address.
        if address.is_unspecified() {
            return;
        }
        let names = self.reverse.entry(address).or_default();
        if names.len() < MOST_NAMES && !names.contains(&name) {
            names.push(name);
        }
    }

    /// Adds the entries of a file; gives the lines that are none, with why.
    pub fn add_file(&mut self, text: &str) -> Vec<(u32, String)> {
        let mut faults = Vec::new();
        for (line, number) in text.lines().zip(1..) {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(address) = words.next() else {
                continue;
            };
            let Some(address) = host_address(address) else {
                faults.push((number, format!("{address:?} is no address")));
                continue;
            };
            for word in words {
                match word.parse() {
                    Ok(name) => self.add(address, name),
                    Err(error) => faults.push((number, format!("{error}"))),
                }
            }
        }
        faults
    }
}

/// An address; the link behind `%` is taken away, since answers have no room for it.
pub(crate) fn host_address(text: &str) -> Option<IpAddr> {
    text.split('%').next().unwrap_or_default().parse().ok()
}

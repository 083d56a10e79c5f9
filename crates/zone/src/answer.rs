//! What was found, and how it is written.

use std::net::IpAddr;

use sealane_message::{Data, Full, Kind, Name, Question, Rcode, Section, Soa, Writer};

use crate::ports::Ports;
use crate::reverse;
use crate::service::Service;
use crate::{Settings, Zone};

/// The specification that is kept to, and how long that may be believed.
const VERSION: &[u8] = b"\x051.1.0";
const VERSION_TTL: u32 = 28_800;

/// Of an endpoint list, which of the first so many may come first: to get there costs time.
const TURNS: usize = 1024;

/// The answer to a question about a name of the cluster.
#[derive(Debug)]
pub struct Answer<'z> {
    pub(crate) zone: &'z Zone,
    pub(crate) settings: &'z Settings,
    /// The zone of the last name.
    pub(crate) apex: &'z Name,
    /// The names that the asked one stands for, one for the other.
    pub(crate) chain: Vec<Name>,
    /// What there is at the last of them.
    pub(crate) outcome: Outcome<'z>,
}

#[derive(Debug)]
pub(crate) enum Outcome<'z> {
    NoName,
    NoData,
    /// The name stands for another one, which has not been looked at yet.
    Alias(&'z Name),
    /// The last name is not the cluster's.
    GoOn,
    /// Names that stand for each other.
    Circle,
    Addresses(Addresses<'z>),
    Ports(Ports<'z>),
    Pointers(Vec<Name>),
    Version,
    Start,
    Servers,
}

#[derive(Debug)]
pub(crate) enum Addresses<'z> {
    One(IpAddr),
    List(&'z [IpAddr]),
    Counted(&'z [(IpAddr, u32)]),
    /// Those of all endpoints.
    All(&'z Service),
}

impl Addresses<'_> {
    pub(crate) fn has_family(&self, is_v4: bool) -> bool {
        match self {
            Self::One(address) => address.is_ipv4() == is_v4,
            Self::List(list) => list.iter().any(|address| address.is_ipv4() == is_v4),
            Self::Counted(list) => list.iter().any(|(address, _)| address.is_ipv4() == is_v4),
            Self::All(service) => service.has_family(is_v4),
        }
    }

    fn write(&self, to: &mut Sink<'_, '_>, owner: &Name, is_v4: bool) -> Result<(), Full> {
        match self {
            Self::One(address) => to.address(owner, *address),
            Self::List(list) => to.turned(owner, list.iter().copied(), list.len(), is_v4),
            Self::Counted(list) => {
                let addresses = list.iter().map(|(address, _)| *address);
                to.turned(owner, addresses, list.len(), is_v4)
            }
            Self::All(service) => {
                let count = service.endpoint_count();
                to.turned(owner, service.addresses(), count, is_v4)
            }
        }
    }
}

impl Answer<'_> {
    /// How the question ended.
    #[must_use]
    pub fn rcode(&self) -> Rcode {
        match self.outcome {
            Outcome::NoName => Rcode::NXDOMAIN,
            Outcome::Circle => Rcode::SERVFAIL,
            _ => Rcode::NOERROR,
        }
    }

    /// Whether the name that was asked for, or the one that it stands for, is not there.
    #[must_use]
    pub fn is_no_name(&self) -> bool {
        matches!(self.outcome, Outcome::NoName)
    }

    /// Whether there is what was asked for. An alias alone is not.
    #[must_use]
    pub fn has_records(&self) -> bool {
        !matches!(
            self.outcome,
            Outcome::NoName | Outcome::NoData | Outcome::GoOn | Outcome::Circle
        )
    }

    /// Whether the answer section will be empty, so far as it is ours: nothing, not even an alias.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chain.is_empty() && !self.has_records()
    }

    /// The name outside of the cluster that the asked one stands for: whoever resolves those has to
    /// be asked for it, and his records come behind those that [`Answer::write`] writes.
    #[must_use]
    pub fn go_on(&self) -> Option<&Name> {
        let last = self.chain.last();
        last.filter(|_| matches!(self.outcome, Outcome::GoOn))
    }

    /// The names that the asked one stands for, one for the other.
    #[must_use]
    pub fn chain(&self) -> &[Name] {
        &self.chain
    }

    /// Writes the records, the rcode, and that the cluster's names are ours to tell.
    ///
    /// # Errors
    ///
    /// The message is full; the writer says so in the message, too.
    pub fn write(&self, question: &Question, writer: &mut Writer<'_>) -> Result<(), Full> {
        self.write_as(&question.name, question.kind, writer)
    }

    /// [`Answer::write`], with records of `owner` in place of those of the asked name.
    ///
    /// # Errors
    ///
    /// The message is full; the writer says so in the message, too.
    pub fn write_as(&self, owner: &Name, kind: Kind, writer: &mut Writer<'_>) -> Result<(), Full> {
        writer.set_rcode(self.rcode());
        writer.set_authoritative(true);
        let mut owner = owner;
        let ttl = self.settings.ttl;
        for target in &self.chain {
            writer.push(Section::Answer, owner, ttl, &Data::Cname(*target))?;
            owner = target;
        }
        let mut to = Sink {
            writer,
            section: Section::Answer,
            ttl,
        };
        match &self.outcome {
            Outcome::Addresses(addresses) => addresses.write(&mut to, owner, kind == Kind::A),
            Outcome::NoName | Outcome::NoData => {
                to.section = Section::Authority;
                to.push(self.apex, &Data::Soa(self.start()))
            }
            Outcome::Alias(target) => to.push(owner, &Data::Cname(**target)),
            Outcome::GoOn | Outcome::Circle => Ok(()),
            Outcome::Ports(ports) => ports.write(&mut to, owner, self.domain()),
            Outcome::Pointers(names) => names
                .iter()
                .try_for_each(|name| to.push(owner, &Data::Ptr(*name))),
            Outcome::Version => {
                to.ttl = VERSION_TTL;
                to.push(owner, &Data::Other(Kind::TXT, VERSION))
            }
            Outcome::Start => to.push(owner, &Data::Soa(self.start())),
            Outcome::Servers => self.write_servers(&mut to, owner),
        }
    }

    /// The domain that names in answers are in: that of the question, or of the last alias.
    fn domain(&self) -> &Name {
        match crate::settings::is_reverse(self.apex) {
            true => self.settings.domain().unwrap_or(self.apex),
            false => self.apex,
        }
    }

    fn start(&self) -> Soa {
        let domain = self.domain();
        let below = |label: &str| domain.child(label).unwrap_or(*domain);
        let primary = below("dns");
        Soa {
            primary: primary.child("ns").unwrap_or(primary),
            mailbox: below("hostmaster"),
            serial: self.settings.first_serial.wrapping_add(self.zone.changes()),
            refresh: 7200,
            retry: 1800,
            expire: 86_400,
            minimum: self.settings.ttl,
        }
    }

    /// The Services that have the servers' addresses; if there is none, `ns.dns` in the domain with all of them.
    fn write_servers(&self, to: &mut Sink<'_, '_>, owner: &Name) -> Result<(), Full> {
        let all = self.settings.servers.iter();
        let of_service = all.clone().filter_map(|&address| {
            let names = reverse::names_of(self.zone, self.settings, address);
            Some((names.into_iter().next()?, address))
        });
        let mut servers: Vec<(Name, IpAddr)> = of_service.collect();
        if servers.is_empty() {
            let primary = self.start().primary;
            servers = all.map(|&address| (primary, address)).collect();
        }
        if servers.is_empty() {
            return to.push(owner, &Data::Ns(self.start().primary));
        }
        let mut before: Vec<&Name> = Vec::new();
        for (name, _) in &servers {
            if !before.contains(&name) {
                before.push(name);
                to.push(owner, &Data::Ns(*name))?;
            }
        }
        to.additional(|to| {
            let mut servers = servers.iter();
            servers.try_for_each(|(name, ip)| to.address(name, *ip))
        })
    }
}

/// Where records go.
pub(crate) struct Sink<'w, 'b> {
    writer: &'w mut Writer<'b>,
    section: Section,
    ttl: u32,
}

impl Sink<'_, '_> {
    pub(crate) fn push(&mut self, owner: &Name, data: &Data<'_>) -> Result<(), Full> {
        self.writer.push(self.section, owner, self.ttl, data)
    }

    pub(crate) fn address(&mut self, owner: &Name, address: IpAddr) -> Result<(), Full> {
        match address {
            IpAddr::V4(address) => self.push(owner, &Data::A(address)),
            IpAddr::V6(address) => self.push(owner, &Data::Aaaa(address)),
        }
    }

    /// The addresses of one family; another one is the first each time.
    fn turned(
        &mut self,
        owner: &Name,
        addresses: impl Iterator<Item = IpAddr> + Clone,
        count: usize,
        is_v4: bool,
    ) -> Result<(), Full> {
        let first = self.writer.first_of(count.min(TURNS));
        let of_family = addresses.filter(|address| address.is_ipv4() == is_v4);
        let mut turned = of_family.clone().skip(first).chain(of_family.take(first));
        turned.try_for_each(|address| self.address(owner, address))
    }

    /// What helps, and is missed by nobody where it does not fit.
    pub(crate) fn additional(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<(), Full>,
    ) -> Result<(), Full> {
        self.section = Section::Additional;
        match write(self) {
            Ok(()) | Err(Full) => Ok(()),
        }
    }
}

//! One row in the encoded program of nftables.

use std::collections::BTreeSet;
use std::net::IpAddr;

use sealane_net::{Family, Protocol};
use sealane_ruleset::services::{
    Flow, Image, Loaded, Origin, Outcome, ServiceProgram, World, walk,
};
use sealane_service::ServiceTable;

use super::net::{Who, facts, pod_ip};
use super::table::{Backend, Row, TARGET};

/// Each of up to three endpoints is drawn by one of so many numbers.
const DRAWS: u32 = 6;

pub struct Walked {
    family: Family,
    loaded: Loaded,
}

impl Walked {
    pub fn new(family: Family, table: &ServiceTable) -> Self {
        let nothing = Image::default();
        let pods = facts().pod_cidrs;
        let (program, _) = ServiceProgram::restore(family, &nothing, &pods, table.iter());
        Self {
            family,
            loaded: program.loaded(),
        }
    }

    pub fn outcome(&self, row: &Row, protocol: Protocol) -> String {
        let outcomes = (0..DRAWS).map(|draw| self.outcome_of(row, protocol, draw));
        let all: BTreeSet<String> = outcomes.collect();
        let all = all.into_iter().collect::<Vec<_>>().join(" ");
        // That a client stays is decided by what was remembered of it, and each draw is a client of its own.
        let one_of = row
            .expected(Backend::Nftables, self.family)
            .starts_with("one of ");
        let prefix = if one_of { "one of " } else { "" };
        format!("{prefix}{all}")
    }

    fn outcome_of(&self, row: &Row, protocol: Protocol, draw: u32) -> String {
        let to = row.address(self.family);
        let origin = match row.who {
            Who::Node => Origin::Node,
            _ => Origin::Link,
        };
        let flow = Flow {
            origin,
            source: row.who.address(self.family),
            destination: to.ip(),
            port: to.port(),
            protocol,
            mark: 0,
        };
        let world = World {
            local_addresses: facts().node_port_addresses.clone(),
        };
        let trace = walk(&self.loaded, &world, &flow, &mut |modulus| draw % modulus);
        match trace.outcome {
            Outcome::Passed {
                destination,
                port: TARGET,
                masqueraded,
            } => {
                let star = if masqueraded { "*" } else { "" };
                format!("{}{star}", name_of(destination, self.family))
            }
            Outcome::Refused => "refused".into(),
            Outcome::Dropped => "dropped".into(),
            other => format!("{other:?}"),
        }
    }
}

fn name_of(address: IpAddr, family: Family) -> &'static str {
    let pods = ["a", "b", "c", "x"];
    let found = pods
        .into_iter()
        .find(|name| pod_ip(family, name) == address);
    found.unwrap_or("nobody")
}

//! Which flows of datagrams would mislead after a change of Services.
//!
//! Only UDP: of the other protocols a peer that is not there any more, or never
//! heard of the connection, ends it. An entry misleads when its client called a
//! frontend and is answered by somebody who does not serve there. Whoever
//! drains keeps his flows, as he keeps his connections.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sealane_net::{Family, Protocol};
use sealane_netlink::{Conntrack, Error, Flow};
use sealane_service::{PortChange, ServicePort, ServiceTable};

/// Who may answer at a frontend. With nobody, only flows that are translated are ended: those that were never
/// ours are somebody else's.
pub type Rightful = BTreeMap<SocketAddr, BTreeSet<(IpAddr, u16)>>;

/// The frontends where something may mislead by these changes, and who may answer there.
pub fn suspects(table: &ServiceTable, changes: &[PortChange]) -> Rightful {
    let mut rightful = Rightful::new();
    let udp = changes.iter().filter(|c| c.key.protocol == Protocol::Udp);
    for change in udp.filter(|change| may_mislead(change)) {
        let mut may = table.serving(&change.key);
        if let Some(port) = &change.after {
            may.extend(endpoints(port));
        } else {
            may.clear();
        }
        let both = [&change.before, &change.after];
        for port in both.into_iter().flatten() {
            for (frontend, _) in port.frontends() {
                let at = SocketAddr::new(frontend.address, frontend.port);
                let is_served = change.after.as_ref().is_some_and(|after| {
                    after
                        .frontends()
                        .iter()
                        .any(|(served, _)| *served == frontend)
                });
                // A frontend may go from one Service to another within a burst.
                if is_served {
                    rightful.insert(at, may.clone());
                } else {
                    rightful.entry(at).or_default();
                }
            }
        }
    }
    rightful
}

fn endpoints(port: &ServicePort) -> impl Iterator<Item = (IpAddr, u16)> {
    let all = port.cluster.iter().chain(port.local.iter());
    all.map(|endpoint| (endpoint.address, endpoint.port))
}

/// An endpoint has gone, the first has come, or a frontend has come or gone.
fn may_mislead(change: &PortChange) -> bool {
    match (&change.before, &change.after) {
        (None, None) => false,
        (Some(_), None) | (None, Some(_)) => true,
        (Some(before), Some(after)) => {
            let now: BTreeSet<_> = endpoints(after).collect();
            let gone = endpoints(before).any(|endpoint| !now.contains(&endpoint));
            let first = endpoints(before).next().is_none() && !now.is_empty();
            gone || first || before.frontends() != after.frontends()
        }
    }
}

/// Who may answer a flow, if it is to one of these frontends. Node ports at 127.0.0.1 are those of all loopback
/// addresses; what is called there and is not translated is a program's of the node.
fn rightful_of<'a>(flow: &Flow, rightful: &'a Rightful) -> Option<&'a BTreeSet<(IpAddr, u16)>> {
    let SocketAddr::V4(called) = flow.called else {
        return rightful.get(&flow.called);
    };
    let elsewhere = called.ip().is_loopback() && flow.answers != flow.called;
    let home = SocketAddr::from((Ipv4Addr::LOCALHOST, called.port()));
    let found = rightful.get(&flow.called);
    found.or_else(|| rightful.get(&home).filter(|_| elsewhere))
}

/// Whether a flow to a frontend should go.
fn misleads(flow: &Flow, may: &BTreeSet<(IpAddr, u16)>) -> bool {
    if may.is_empty() {
        return flow.answers != flow.called;
    }
    !may.contains(&(flow.answers.ip(), flow.answers.port()))
}

/// Up to so many frontends are asked for one by one; beyond, the kernel lists all flows once.
const ONE_BY_ONE: usize = 8;

/// Ends the flows that mislead; how many there were.
pub fn clean(conntrack: &Conntrack, rightful: &Rightful) -> Result<usize, Error> {
    let mut ended = 0;
    let mut end = |flow: &Flow| -> Result<(), Error> {
        let may = rightful_of(flow, rightful);
        if may.is_some_and(|may| misleads(flow, may)) {
            tracing::debug!("end {flow}");
            ended += usize::from(conntrack.delete(flow)?);
        }
        Ok(())
    };
    if rightful.len() <= ONE_BY_ONE {
        for called in rightful.keys() {
            let flows = conntrack.flows_to(*called, Protocol::Udp)?;
            flows.iter().try_for_each(&mut end)?;
        }
        return Ok(ended);
    }
    for family in Family::ALL {
        let is_family = |at: &SocketAddr| Family::from(at.ip()) == family;
        if rightful.keys().any(is_family) {
            let flows = conntrack.flows(family, Protocol::Udp, |called| {
                called.ip().is_loopback() || rightful.contains_key(&called)
            })?;
            flows.iter().try_for_each(&mut end)?;
        }
    }
    Ok(ended)
}

//! Addresses of the machine's network interfaces: what the keeper offers, and what it is told.

use std::{collections::BTreeSet, net::IpAddr};

use sealane_cloud::{Limit, Usage};
use sealane_net::{IpNet, Ipv4Net};
use tokio::sync::watch;

use super::Core;
use crate::{
    cloud::{News, Standing},
    leases::LeaseError,
};

/// What the core knows of EC2, where addresses come from it.
pub struct Cloud {
    pub standing: Standing,
    usage: watch::Sender<Usage>,
}

impl Cloud {
    /// Nothing is known yet; the receiver is the keeper's.
    pub fn new() -> (Self, watch::Receiver<Usage>) {
        let (usage, told) = watch::channel(Usage::default());
        let standing = Standing::default();
        (Self { standing, usage }, told)
    }
}

impl Core {
    /// Takes what the keeper offers; from then on nothing else is leased.
    pub(super) fn take_cloud(&mut self, news: News) {
        if let Some(net) = news.net
            && self.choices.cloud.as_ref() != Some(&net)
        {
            self.choices.cloud = Some(net);
            self.node.set_dirty();
            self.offer();
        }
        self.tell_lost(&news.standing);
        if let Some(cloud) = &mut self.cloud {
            cloud.standing = news.standing;
        }
        // Nobody waits for it when the keeper has gone.
        let _ = news.leased.send(self.usage());
    }

    /// Lets pods have what EC2 gives and what is ready on this node.
    ///
    /// Before the node is, all of it, so that what pods have already is held for them.
    pub(super) fn offer(&mut self) {
        let Some(net) = &self.choices.cloud else {
            return;
        };
        let given: Vec<IpNet> = net.ranges().collect();
        let cloud = self
            .node
            .programmed()
            .and_then(|node| node.program.cloud.as_ref());
        let ready = |range: &IpNet| cloud.is_none_or(|cloud| cloud.ready.contains(range));
        let offered: Vec<IpNet> = given.into_iter().filter(ready).collect();
        self.book.set_ranges(&offered);
    }

    /// What pods have and want.
    fn usage(&self) -> Usage {
        let leases = self.book.leases().flat_map(|lease| &lease.addresses);
        let resting = self.book.sources().resting().iter();
        let held = self.book.held().values().flatten().copied();
        let all = leases
            .map(IpNet::addr)
            .chain(resting.map(|rest| rest.address))
            .chain(held);
        let leased = all.filter_map(|address| match address {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => None,
        });
        Usage {
            leased: leased.collect(),
            waiting: match self.why_not_ready() {
                None => self.parked.len(),
                Some(_) => 0,
            },
        }
    }

    /// Tells the keeper what has changed.
    pub(super) fn publish_usage(&self) {
        if let Some(cloud) = &self.cloud {
            let now = self.usage();
            cloud.usage.send_if_modified(|told| {
                let changed = *told != now;
                *told = now;
                changed
            });
        }
    }

    /// An address that somebody has taken from an interface under a pod.
    fn tell_lost(&self, standing: &Standing) {
        let known: BTreeSet<_> = match &self.cloud {
            Some(cloud) => cloud.standing.lost.iter().collect(),
            None => BTreeSet::new(),
        };
        for address in standing.lost.iter().filter(|lost| !known.contains(lost)) {
            let has = |net: &IpNet| net.addr() == IpAddr::V4(*address);
            let mut leases = self.book.leases();
            let Some(lease) = leases.find(|lease| lease.addresses.iter().any(has)) else {
                continue;
            };
            let text = format!(
                "address {address} of {} is on no network interface of this node any more, so nobody reaches it: \
                 somebody has taken it away at EC2; delete the pod, or assign the address again",
                self.book.holder(IpAddr::V4(*address))
            );
            tracing::error!("{text}");
            (self.announce)(lease.pod.as_ref(), "AddressLost", &text);
        }
    }

    /// Whether an ADD that has found no address may wait for EC2: unless it is known to give none.
    pub(super) fn may_come(&self, error: &LeaseError) -> bool {
        let Some(Standing { limit, actions, .. }) = self.cloud.as_ref().map(|c| &c.standing) else {
            return false;
        };
        let is_final = !matches!(limit, None | Some(Limit::Api { .. })) && actions.is_empty();
        is_shortage(error) && !is_final
    }

    /// Why EC2 has given no address, for an ADD that has found none.
    pub(super) fn shortage(&self, error: &LeaseError) -> Option<String> {
        let cloud = self.cloud.as_ref().filter(|_| is_shortage(error))?;
        let why = match &cloud.standing.trouble {
            Some(trouble) => trouble.clone(),
            None => match cloud.missing_link(self) {
                Some(interface) => {
                    format!("interface {interface} is attached and has not appeared on this node")
                }
                None => "EC2 has given none in time".into(),
            },
        };
        Some(format!("no pod address is free on this node: {why}"))
    }

    /// Why STATUS should keep the runtime from trying: a limit, and nothing left.
    pub(super) fn cloud_is_used_up(&self) -> Option<String> {
        let cloud = self.cloud.as_ref()?;
        let limit = cloud.standing.limit.as_ref()?;
        let usage = self.usage();
        let net = self.choices.cloud.as_ref()?;
        let sizes = net.interfaces.iter().flat_map(|i| &i.ranges).map(size);
        (usage.leased.len() >= sizes.sum()).then(|| limit.to_string())
    }
}

impl Cloud {
    fn missing_link(&self, core: &Core) -> Option<String> {
        let program = &core.node.programmed()?.program;
        program.cloud.as_ref()?.missing.first().cloned()
    }
}

fn size(range: &Ipv4Net) -> usize {
    sealane_net::ec2::size(range)
}

fn is_shortage(error: &LeaseError) -> bool {
    matches!(
        error,
        LeaseError::Exhausted(_) | LeaseError::Resting { .. } | LeaseError::NoSubnet
    )
}

//! Addresses of pods that somebody else uses too: asked for after ADD, told to people, known until DEL.

use std::{collections::BTreeMap, net::IpAddr};

use sealane_net::{Attachment, IpNet, names};
use tokio::sync::mpsc;

use super::Core;
use crate::{
    leases::{Key, Lease},
    node::Programmed,
    probe::{InUse, Probe, User},
    wire,
};

/// What was found, and where questions go.
pub struct Duplicates {
    /// `None` without the right to send them.
    questions: Option<mpsc::Sender<Probe>>,
    found: BTreeMap<(Key, IpAddr), User>,
}

impl Duplicates {
    pub fn new(questions: Option<mpsc::Sender<Probe>>) -> Self {
        Self {
            questions,
            found: BTreeMap::new(),
        }
    }

    /// Has somebody look for others who use a pod's addresses. Waits for nothing.
    pub fn ask(&self, node: &Programmed, lease: &Lease) {
        let Some(questions) = &self.questions else {
            return;
        };
        let program = &node.program;
        let bridged = program.attachment == Attachment::Bridge;
        let bridge = bridged.then(|| names::POD_BRIDGE.to_owned());
        // In a VPC its router answers for the interface's own addresses.
        let uplink = program.cloud.is_none().then(|| node.uplink.name.clone());
        let probe = Probe {
            key: lease.key(),
            mac: wire::pod_mac(lease),
            addresses: lease.addresses.iter().map(IpNet::addr).collect(),
            links: bridge.into_iter().chain(uplink).collect(),
        };
        if let Err(error) = questions.try_send(probe) {
            tracing::debug!("look for duplicates of {}: {error}", lease.key());
        }
    }

    pub fn forget(&mut self, key: &Key) {
        self.found.retain(|(of, _), _| of != key);
    }

    pub fn len(&self) -> usize {
        self.found.len()
    }
}

impl Core {
    /// Tells of an address that is still the pod's.
    pub(super) fn in_use(&mut self, in_use: InUse) {
        let InUse { key, address, by } = in_use;
        let lease = self.book.get(&key);
        let Some(lease) = lease.filter(|l| l.addresses.iter().any(|a| a.addr() == address)) else {
            return;
        };
        let what = sentence(lease, address, &by);
        let known = self.duplicates.found.insert((key, address), by.clone());
        if known.as_ref() == Some(&by) {
            return;
        }
        tracing::warn!("{what}");
        let next = "packets for it reach either of the two: take it from there, or keep the cluster's \
                    ranges apart from that network; a pod that is made anew gets another address";
        (self.announce)(
            lease.pod.as_ref(),
            "AddressInUse",
            &format!("{what}; {next}"),
        );
    }

    /// One sentence for each.
    pub(super) fn duplicates(&self) -> Vec<String> {
        let found = self.duplicates.found.iter();
        let told = found
            .filter_map(|((key, address), by)| Some(sentence(self.book.get(key)?, *address, by)));
        told.collect()
    }
}

fn sentence(lease: &Lease, address: IpAddr, by: &User) -> String {
    let whose = match &lease.pod {
        Some(pod) => format!("pod {}", pod.name),
        None => lease.key().to_string(),
    };
    format!("address {address} of {whose} is also used by {by}")
}

//! How many packets of pods the guard has dropped: read from the kernel whenever somebody asks for metrics.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use sealane_introspect::Introspect;
use sealane_net::names;
use sealane_netlink::Netlink;
use sealane_ruleset::{DropReason, TableFamily};

const NAME: &str = "sealane_guard_dropped_packets_total";
const HELP: &str =
    "Packets of pods that were dropped since they pretended something, by what it was.";

/// What was counted so far, as the kernel said it last.
#[derive(Clone)]
pub struct Drops(Arc<Inner>);

struct Inner {
    kernel: Netlink,
    introspect: Introspect,
    last: Mutex<BTreeMap<(TableFamily, String), u64>>,
}

impl Drops {
    /// Shows them among the metrics.
    pub fn show(kernel: &Netlink, introspect: &Introspect) -> Self {
        let drops = Self(Arc::new(Inner {
            kernel: kernel.clone(),
            introspect: introspect.clone(),
            last: Mutex::default(),
        }));
        for reason in DropReason::ALL {
            drops.add(reason.name(), 0);
        }
        let shown = drops.clone();
        introspect.before_metrics(move || shown.read());
        drops
    }

    /// Asks the kernel. A table that was loaded again has begun to count again.
    pub fn read(&self) {
        for family in TableFamily::ALL {
            // Without an answer the numbers stay as they were.
            let counters = self.0.kernel.counters(family, names::NFT_GUARD_TABLE);
            for (name, packets) in counters.unwrap_or_default() {
                let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
                let before = last.insert((family, name.clone()), packets);
                drop(last);
                let before = before.filter(|before| *before <= packets);
                self.add(&name, packets - before.unwrap_or_default());
            }
        }
    }

    fn add(&self, reason: &str, packets: u64) {
        let counter = self.0.introspect.counter(NAME, HELP, &[("reason", reason)]);
        counter.add(packets);
    }
}

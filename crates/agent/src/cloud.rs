//! Pod addresses of the machine's network interfaces at EC2 (`--ipam ec2`).
//!
//! ```text
//!              Usage, latest wins                        requests, one after another
//!   Core ──────────────────────────────► Keeper ────────────────────────────► EC2
//!    ▲                                     │  ▲                                 │
//!    └──────── News, answered with what ◄──┘  └───────── answers, and all ◄─────┘
//!              is leased                                  anew each minute
//! ```
//!
//! One task, [`keep()`], owns what is known of EC2. It plans by
//! [`sealane_cloud`], carries out, and tells the core which addresses pods may
//! have. Before it gives any back it tells the core, which leases none of them
//! from then on, and asks what is leased: what a pod has got meanwhile stays.
//! So an ADD waits for EC2 only when no address is left, and no answer of EC2,
//! however late, takes an address from a pod.
//!
//! EC2 knows of a change everywhere only after a moment. So what is known is
//! changed by each answer, and not asked for anew within [`SETTLE`](observe::SETTLE).
//!
//! Nothing is kept on disk: after a restart the interfaces and the leases say
//! everything.

mod act;
mod keep;
mod observe;
mod options;

use std::{net::Ipv4Addr, time::Duration};

use sealane_cloud::{Limit, Targets, Usage};
use sealane_ec2::Place;
use sealane_net::Ipv4Net;
use sealane_net::ec2::Observed;
use serde::Serialize;
use tokio::sync::oneshot;

pub use keep::keep;
pub use options::{CloudOptions, Ipam};

use crate::node::CloudNet;

/// How addresses of EC2 are taken.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CloudSettings {
    #[serde(flatten)]
    pub targets: Targets,
    #[serde(skip)]
    pub place: Place,
    /// How often EC2 is asked what there is although nothing happens.
    pub look_every: Duration,
}

impl Default for CloudSettings {
    fn default() -> Self {
        Self {
            targets: Targets::default(),
            place: Place::default(),
            look_every: Duration::from_secs(60),
        }
    }
}

/// What the keeper tells the core.
#[derive(Debug)]
pub struct News {
    /// What pods may have from now on; `None` while EC2 has told nothing.
    pub net: Option<CloudNet>,
    pub standing: Standing,
    /// Where the answer goes: what is leased, now that nothing else can be.
    pub leased: oneshot::Sender<Usage>,
}

/// How things are with EC2; shown by `/debug/state`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// What EC2 has told, and what was changed since.
    pub observed: Option<Observed>,
    /// Addresses of pods that no interface has any more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<Ipv4Addr>,
    /// What is being asked of EC2.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<String>,
    /// What stops us from more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// The same in a sentence, or what else is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// What pods may have: all that serves them, but for what is withdrawn.
fn offered(observed: &Observed, withdrawn: &[Ipv4Net]) -> CloudNet {
    let mut net = CloudNet::of(observed);
    for interface in &mut net.interfaces {
        interface.ranges.retain(|range| !withdrawn.contains(range));
    }
    net
}

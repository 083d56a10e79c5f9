//! What the Corefile says, in force as soon as it is read.
//!
//! ```text
//! ConfigMap kube-system/coredns ──watch──┐
//!           kube-system/coredns-custom ──┤                     ok: Live ──ArcSwap──► pipeline
//! --corefile FILE, hosts and imported ───┴─► follower ─parse──┤
//!           files, looked at each second                       faults: log, metric, Event; what was
//!                                                              in force stays in force
//! ```
//!
//! The pipeline takes one [`Live`] for each batch of queries, so a change is in force between two
//! batches and no query sees half of it. Upstreams and caches that are set up as before are kept.
//!
//! Where nobody gives a Corefile, the one of a usual cluster is in force
//! ([`sealane_corefile::DEFAULT`]), and so it is until the first one that is sound has been read:
//! a cluster's names are answered even if its Corefile is not.
//!
//! Files are looked at by time and size instead of being watched by inotify, since volumes of
//! ConfigMaps change them by a link two folders above; a look takes microseconds.
//!
//! Changes are followed whether the Corefile says `reload` or not, and at once: `reload` asks for
//! that, and nobody could restart a node's DNS just to have a line read.

mod config_map;
mod files;
mod follower;
mod labels;
mod live;
mod meters;
mod translate;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use sealane_corefile::{Config, Faults, parse};
use sealane_introspect::Introspect;
use sealane_kube::Client;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use config_map::{CUSTOM, NAME, NAMESPACE};
pub use files::Keys;
pub use labels::Labels;
pub use live::{Block, Live};
pub use translate::zone as zone_settings;

use config_map::Maps;
use files::Files;
use follower::Follower;

/// Where the Corefile is.
#[derive(Clone)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// Key `Corefile` of ConfigMap `kube-system/coredns`, if it is there; and what it said before, which is in
    /// force until it is looked for.
    ConfigMap(Client, Option<Texts>),
    /// Nowhere: the built-in one.
    BuiltIn,
}

/// What ConfigMaps `coredns` and `coredns-custom` say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Texts {
    /// The Corefile, and files beside it.
    pub coredns: Keys,
    /// What it may import.
    pub custom: Keys,
}

/// What a Corefile does not say.
#[derive(Clone)]
pub struct Surroundings {
    /// Where metrics and state are shown.
    pub introspect: Introspect,
    /// The addresses that queries come to: the cluster's DNS, then local ones.
    pub addresses: Vec<IpAddr>,
    /// The port that they come to; blocks for others are not served.
    pub port: u16,
    /// The cluster's domain, for the built-in Corefile.
    pub cluster_domain: String,
    /// What stands for `/etc/resolv.conf`.
    pub resolv_conf: PathBuf,
    /// The first serial number of zones: seconds since 1970.
    pub first_serial: u32,
    /// The node's name, for Events.
    pub node_name: String,
    /// How often files are looked at.
    pub interval: Duration,
}

impl Surroundings {
    fn sockets(&self) -> Vec<SocketAddr> {
        let addresses = self.addresses.iter();
        addresses
            .map(|address| (*address, self.port).into())
            .collect()
    }
}

/// The Corefile in force. It is followed until this is dropped.
pub struct Configuration {
    live: Arc<ArcSwap<Live>>,
    read: watch::Receiver<bool>,
    maps: watch::Receiver<Maps>,
    task: JoinHandle<()>,
}

impl Drop for Configuration {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Configuration {
    /// What is in force, now and later.
    #[must_use]
    pub fn live(&self) -> Arc<ArcSwap<Live>> {
        Arc::clone(&self.live)
    }

    /// What the ConfigMaps say, once they have been looked for.
    #[must_use]
    pub fn texts(&self) -> Option<Texts> {
        let maps = self.maps.borrow();
        maps.known().map(|(coredns, custom)| Texts {
            coredns: coredns.data.clone(),
            custom: custom.data.clone(),
        })
    }

    /// Waits until it has been looked for a Corefile, sound or not.
    pub async fn read(&self) {
        let mut read = self.read.clone();
        // A follower that has ended will not read any more.
        let _ended = read.wait_for(|read| *read).await;
    }
}

/// Begins to follow a Corefile, on the runtime in which this is called. A file has been read when
/// this returns.
///
/// # Panics
///
/// Outside of a runtime.
#[must_use]
pub fn start(source: Source, surroundings: Surroundings) -> Configuration {
    let (done, read) = watch::channel(false);
    let (known, maps) = watch::channel(Maps::default());
    let follower = Follower::new(source, surroundings, done);
    let live = follower.live();
    let task = tokio::spawn(follower.run(known));
    Configuration {
        live,
        read,
        maps,
        task,
    }
}

/// Reads the Corefile of ConfigMaps `coredns` and `coredns-custom`, away from the nodes: without files of
/// theirs. Nothing, if there is no Corefile.
///
/// # Errors
///
/// All that is wrong with it.
pub fn read_config_maps(coredns: &Keys, custom: &Keys) -> Result<Option<Config>, Faults> {
    let Some(text) = coredns.get(config_map::KEY) else {
        return Ok(None);
    };
    let files = Files::of_config_maps(coredns, custom).elsewhere();
    parse(text, &files).map(Some)
}

#[cfg(test)]
mod tests;

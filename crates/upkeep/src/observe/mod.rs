//! Reads a node, and changes nothing on it.
//!
//! Everything here runs on a thread inside the node's network namespace. What
//! cannot be read is left empty and said in [`Snapshot::skipped`]: a check is
//! most wanted where much is broken.

mod agent;
mod features;
mod firewall;
mod kernel;

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;

use sealane_net::IpNet;
use sealane_netlink::Netlink;
use sealane_objects::NodeNet;
use tokio::runtime::Builder;

use crate::finding::Skipped;
use crate::snapshot::{AgentSettings, ConfDir, Snapshot};

pub use agent::settings;
pub(crate) use firewall::{has_legacy, run};

/// What is known from outside the node.
#[derive(Clone, Debug)]
pub struct Outside {
    /// All nodes, or why they are not known.
    pub nodes: Result<Vec<NodeNet>, String>,
    /// The ranges of Services.
    pub services: Vec<IpNet>,
}

impl Outside {
    /// Nobody told.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self {
            nodes: Err(why.into()),
            services: vec![],
        }
    }
}

impl Default for Outside {
    fn default() -> Self {
        Self::unknown("no API server was asked")
    }
}

/// Reads the node in whose network namespace this thread is.
pub fn observe(settings: AgentSettings, outside: Outside) -> Snapshot {
    let mut snapshot = Snapshot {
        networks: networks(&settings),
        agent: agent::look(&settings),
        dns_answers: UnixStream::connect(settings.run_dir.join("dns.sock")).is_ok(),
        services: outside.services,
        settings,
        ..Snapshot::default()
    };
    match outside.nodes {
        Ok(nodes) => snapshot.nodes = Some(nodes),
        Err(why) => snapshot.skip("other nodes, their addresses, subnets and routes", why),
    }
    read_network(&mut snapshot);
    kernel::read(&mut snapshot);
    features::look(&mut snapshot);
    firewall::read(&mut snapshot);
    snapshot
}

impl Snapshot {
    fn skip(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.skipped.push(Skipped {
            what: what.into(),
            why: why.into(),
        });
    }
}

fn read_network(snapshot: &mut Snapshot) {
    let read = || -> anyhow::Result<_> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let kernel = Netlink::in_current()?;
            let links = kernel.links().await?;
            let addresses = kernel.addresses().await?;
            let routes = kernel.routes().await?;
            Ok((links, addresses, routes, kernel.neighbours().await?))
        })
    };
    match read() {
        Ok((links, addresses, routes, neighbours)) => {
            snapshot.links = links;
            snapshot.addresses = addresses;
            snapshot.routes = routes;
            snapshot.neighbours = neighbours;
        }
        Err(error) => snapshot.skip("links, addresses and routes", format!("{error:#}")),
    }
}

/// What a container runtime reads: files that end so, in the order of their names (CNI's `libcni`).
fn networks(settings: &AgentSettings) -> ConfDir {
    let is_read = |name: &String| {
        let end = Path::new(name).extension().and_then(|end| end.to_str());
        end.is_some_and(|end| ["conf", "conflist", "json"].contains(&end))
    };
    let entries = fs::read_dir(&settings.cni_conf_dir);
    let readable = entries.is_ok();
    let names = entries.into_iter().flatten().flatten();
    let mut files: Vec<String> = names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(is_read)
        .collect();
    files.sort();
    ConfDir {
        files,
        plugin: settings.cni_bin_dir.join("sealane").exists(),
        readable,
    }
}

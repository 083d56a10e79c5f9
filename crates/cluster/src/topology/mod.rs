//! Namespaces, links, addresses and routes of a cluster, made and removed.
//!
//! ```text
//!                 this machine                     NAME-net                  NAME-node-1
//!            ┌────────────────────┐      ┌──────────────────────────┐     ┌───────────────┐
//!  uplink ───┤  sealane0          │ veth │ machine            node-1│ veth│ eth0          │
//!            │  172.29.0.1/24  ───┼──────┼──●──── nodes (bridge) ─●─┼─────┼─ 172.29.0.2/24│
//!            └────────────────────┘      │                      ─●─┼──┐  └───────────────┘
//!             routes 10.244.N.0/24       └──────────────────node-2─┘  └─  NAME-node-2 …
//!             via the nodes
//! ```
//!
//! The bridge has a namespace of its own so that this machine's firewall and
//! its bridge-netfilter setting (Docker turns it on) never see what nodes say
//! to each other; and nodes reach this machine as they would reach a router.
//!
//! [`build`] looks before it makes, so it repairs what is half there and leaves
//! alone what is right, and running pods keep their connections. [`remove`]
//! goes by names alone, so it needs no record of what was made.

mod forwarding;
mod internet;
mod machine;
mod netns_dir;
mod node;

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use futures::future::try_join_all;
use sealane_net::{Family, names};
use sealane_netlink::{Bridge, Netlink, netns};
use thiserror::Error;

use crate::layout::Layout;
use crate::plan::{ClusterName, Plan};

/// Why a topology could not be made, or not be removed.
#[derive(Debug, Error)]
pub enum TopologyError {
    /// The kernel refused.
    #[error(transparent)]
    Netlink(#[from] sealane_netlink::Error),
    /// A file of ours.
    #[error("{verb} {path}: {source}", path = .path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// Makes everything that is missing. Returns the families in which pods are let out and this
/// machine itself knows no way.
///
/// # Errors
/// The first thing that could not be made.
pub async fn build(layout: &Layout, plan: &Plan) -> Result<Vec<Family>, TopologyError> {
    let machine = Netlink::in_current()?;
    netns_dir::note_whether_ours(layout)?;
    let network = Netlink::in_netns(&ensure_netns(&plan.name.network_netns())?)?;
    // Only frames pass here; IPv6 would greet and advertise on every port.
    network
        .set_sysctls(&[
            ("net.ipv6.conf.all.disable_ipv6", "1"),
            ("net.ipv6.conf.default.disable_ipv6", "1"),
        ])
        .or_else(unless_absent)?;
    let bridge = Bridge {
        name: names::NODE_BRIDGE,
        mtu: Some(plan.mtu),
        up: true,
        ..Bridge::default()
    };
    let bridge = network.add_bridge(&bridge).await?;
    machine::attach(plan, &machine, &network, bridge).await?;
    let nodes = (1..=plan.nodes).map(|number| node::build(plan, number, &network, bridge));
    try_join_all(nodes).await?;
    internet::ensure(layout, plan, &machine).await
}

/// Removes everything that a cluster of this name has or may have had. Goes on
/// after a failure and returns all of them.
pub async fn remove(layout: &Layout) -> Vec<TopologyError> {
    let mut errors = Vec::new();
    match Netlink::in_current() {
        Ok(machine) => {
            errors.extend(internet::remove(layout, &machine).await);
            let link = layout.name.machine_link();
            errors.extend(
                machine
                    .delete_link(link.as_str())
                    .await
                    .err()
                    .map(TopologyError::from),
            );
        }
        Err(error) => errors.push(error.into()),
    }
    for netns in namespaces(&layout.name) {
        errors.extend(netns::delete_named(&netns).err().map(TopologyError::from));
    }
    errors.extend(netns_dir::remove_if_ours(layout).err());
    errors
}

/// Names of the cluster's network namespaces that exist.
pub fn namespaces(name: &ClusterName) -> Vec<String> {
    let all = netns::list_named().unwrap_or_default();
    all.into_iter()
        .filter(|netns| belongs(netns, name))
        .collect()
}

/// Whether anything of a topology exists.
pub async fn exists(layout: &Layout) -> bool {
    if !namespaces(&layout.name).is_empty() {
        return true;
    }
    let Ok(machine) = Netlink::in_current() else {
        return false;
    };
    let link = machine.link(layout.name.machine_link().as_str()).await;
    link.is_ok_and(|link| link.is_some()) || internet::exists(layout, &machine).await
}

fn belongs(netns: &str, name: &ClusterName) -> bool {
    let Some(rest) = netns.strip_prefix(name.as_str()) else {
        return false;
    };
    let number = rest.strip_prefix("-node-");
    rest == "-net" || number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// A namespace of this name, made if there is none or only the start of one.
fn ensure_netns(name: &str) -> sealane_netlink::Result<OwnedFd> {
    match netns::open_named(name) {
        Ok(fd) => Ok(fd),
        Err(_) => {
            netns::delete_named(name)?;
            netns::create_named(name)
        }
    }
}

/// A kernel without IPv6 has nothing that could be turned off.
fn unless_absent(error: sealane_netlink::Error) -> sealane_netlink::Result<()> {
    if error.is_absent() {
        Ok(())
    } else {
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_clusters_are_not_ours() {
        let name: ClusterName = "a".parse().unwrap();
        for (netns, ours) in [
            ("a-net", true),
            ("a-node-1", true),
            ("a-node-12", true),
            ("a-node-net", false),
            ("a-node-", false),
            ("a-node-node-1", false),
            ("ab-net", false),
            ("b-node-1", false),
        ] {
            assert_eq!(belongs(netns, &name), ours, "{netns}");
        }
    }
}

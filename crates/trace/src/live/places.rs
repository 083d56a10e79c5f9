//! Where the places of a cluster are on this machine: the network namespaces of its nodes and pods.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use sealane_netlink::netns;

use crate::trace::Place;
use crate::{PodView, Snapshot};

/// This process's own.
pub const OWN_NETNS: &str = "/proc/self/ns/net";

/// What of a cluster is on this machine.
#[derive(Clone, Debug, Default)]
pub struct Here {
    /// The network namespaces of its nodes.
    pub nodes: BTreeMap<String, PathBuf>,
    /// The one that is outside of all nodes and beside them, with its addresses; none on a node of a real cluster.
    pub outside: Option<(PathBuf, Vec<IpAddr>)>,
}

impl Here {
    /// A node of a real cluster: the one that has an address of this machine.
    pub fn node_of(world: &Snapshot) -> Self {
        let is_own = |address: &&IpAddr| std::net::UdpSocket::bind((**address, 0)).is_ok();
        let mut nodes = world.nodes.iter();
        let node = nodes.find(|node| node.net.internal_ips.iter().find(is_own).is_some());
        let own = |name: &str| (name.to_owned(), PathBuf::from(OWN_NETNS));
        Self {
            nodes: node.map(|node| own(&node.net.name)).into_iter().collect(),
            outside: None,
        }
    }

    /// The namespace of a place; in words why there is none.
    pub(crate) fn netns(&self, world: &Snapshot, place: &Place) -> Result<OwnedFd, String> {
        let open = |path: &Path| netns::open(path).map_err(|error| error.to_string());
        match place {
            Place::Outside => match &self.outside {
                Some((path, _)) => open(path),
                None => Err("nothing beyond the nodes is on this machine".to_owned()),
            },
            Place::Node(name) => match self.nodes.get(name) {
                Some(path) => open(path),
                None => Err(format!("node {name} is not on this machine")),
            },
            Place::Pod(name) => {
                let pod = world.pod(name);
                let pod = pod.ok_or_else(|| format!("there is no pod {name}"))?;
                if pod.net.host_network {
                    return self.netns(world, &Place::Node(pod.net.node_name.clone()));
                }
                let found = self.netns_of_pod(pod);
                found.ok_or_else(|| format!("pod {name} has no process on this machine"))
            }
        }
    }

    /// By its processes, which every runtime puts into cgroups with the pod's UID in their names.
    fn netns_of_pod(&self, pod: &PodView) -> Option<OwnedFd> {
        let uid = pod.net.uid.to_string();
        if uid.is_empty() {
            return None;
        }
        // As systemd's slices have it.
        let escaped = uid.replace('-', "_");
        let id = |path: &Path| fs::read_link(path).ok();
        let nodes = self.nodes.values().filter_map(|path| {
            let netns = netns::open(path).ok()?;
            Some(netns::describe(std::os::fd::AsFd::as_fd(&netns)))
        });
        let foreign: Vec<String> = nodes.collect();
        let own = id(Path::new(OWN_NETNS));
        for entry in fs::read_dir("/proc").ok()?.flatten() {
            let path = entry.path();
            let Ok(groups) = fs::read_to_string(path.join("cgroup")) else {
                continue;
            };
            let netns = path.join("ns/net");
            // What watches over a pod may be in its cgroup and outside of its network.
            if (groups.contains(&uid) || groups.contains(&escaped)) && id(&netns) != own {
                let found = netns::open(&netns).ok()?;
                let name = netns::describe(std::os::fd::AsFd::as_fd(&found));
                if !foreign.contains(&name) {
                    return Some(found);
                }
            }
        }
        None
    }
}

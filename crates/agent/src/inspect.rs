//! `sealane ipam`: what a node's agent has leased, shown, held against the kernel, and given back.
//!
//! It asks the agent over its sockets, as anybody with the rights could, and
//! looks at the links of the namespace in which it runs. It changes nothing
//! but by a DEL to the agent.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    path::Path,
};

use anyhow::{Context, bail};
use sealane_cni::{
    plugin::ask_agent,
    protocol::{Request, Response},
    types::Command,
};
use sealane_introspect::fetch;
use sealane_netlink::{Direct, Link};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    leases::Lease,
    wire::{labelled, link_name},
};

/// The part of `/debug/state/network` that is looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    subnets: Vec<Subnet>,
    #[serde(default)]
    pools: Vec<Pool>,
    leases: Vec<Lease>,
    held: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    duplicates: Vec<String>,
    work: Vec<String>,
}

#[derive(Deserialize, Serialize)]
struct Subnet {
    subnet: String,
    /// It is a block of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pool: Option<String>,
    size: String,
    leased: usize,
    #[serde(default)]
    resting: usize,
}

#[derive(Deserialize, Serialize)]
struct Pool {
    name: String,
    ranges: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    deleting: bool,
    blocks: BTreeMap<String, usize>,
}

fn state(run_dir: &Path) -> anyhow::Result<State> {
    let socket = run_dir.join("agent.debug.sock");
    let got = fetch(&socket, "GET", "/debug/state/network").with_context(|| {
        format!(
            "ask the agent at {}; is it running on this node?",
            socket.display()
        )
    })?;
    serde_json::from_str(&got.body).context("read the agent's state")
}

/// Subnets, pools, leases and what is held, for programs.
///
/// # Errors
/// When there is no agent.
pub fn show_value(run_dir: &Path) -> anyhow::Result<serde_json::Value> {
    let State {
        subnets,
        pools,
        leases,
        held,
        duplicates,
        ..
    } = state(run_dir)?;
    Ok(json!({
        "subnets": subnets, "pools": pools, "leases": leases, "held": held,
        "duplicates": duplicates,
    }))
}

/// All leases, as a table.
///
/// # Errors
/// When there is no agent.
pub fn show(run_dir: &Path) -> anyhow::Result<String> {
    let state = state(run_dir)?;
    let mut text = String::new();
    for subnet in &state.subnets {
        writeln!(text, "{subnet}")?;
    }
    for pool in &state.pools {
        writeln!(text, "{pool}")?;
    }
    for lease in &state.leases {
        let pod = lease
            .pod
            .as_ref()
            .map_or("-".into(), |pod| pod.name.to_string());
        let Lease {
            ifname,
            container_id,
            ..
        } = lease;
        writeln!(
            text,
            "{:<32} {pod:<40} {ifname} {container_id}",
            addresses(lease)
        )?;
    }
    for (pod, addresses) in &state.held {
        let addresses = addresses.join(",");
        writeln!(
            text,
            "{addresses:<32} {pod:<40} held for it: the API server knows the pod, no lease does"
        )?;
    }
    for duplicate in &state.duplicates {
        writeln!(text, "{duplicate}")?;
    }
    Ok(text)
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            subnet,
            size,
            leased,
            ..
        } = self;
        if let Some(pool) = &self.pool {
            write!(f, "block {subnet} of pool {pool}")?;
        } else {
            write!(f, "{subnet}")?;
        }
        write!(f, ": {leased} of {size} addresses leased")?;
        match self.resting {
            0 => Ok(()),
            resting => write!(f, ", {resting} given back a moment ago"),
        }
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pool {}: {}", self.name, self.ranges.join(","))?;
        let blocks: usize = self.blocks.values().sum();
        write!(f, ", {blocks} blocks on {} nodes", self.blocks.len())?;
        if self.deleting {
            f.write_str(", being deleted")?;
        }
        match &self.fault {
            Some(fault) => write!(f, "; NOT USED: {fault}"),
            None => Ok(()),
        }
    }
}

fn addresses(lease: &Lease) -> String {
    let all: Vec<String> = lease
        .addresses
        .iter()
        .map(|a| a.addr().to_string())
        .collect();
    all.join(",")
}

/// Addresses of pods that somebody else uses too, in one sentence each.
///
/// # Errors
/// When there is no agent.
pub fn duplicates(run_dir: &Path) -> anyhow::Result<Vec<String>> {
    Ok(state(run_dir)?.duplicates)
}

/// What agent and kernel do not agree about, in one sentence each.
///
/// # Errors
/// When there is no agent, or the kernel does not answer.
pub fn check(run_dir: &Path) -> anyhow::Result<Vec<String>> {
    let links = Direct::open()?.links()?;
    let state = state(run_dir)?;
    Ok(faults(&state, &links))
}

fn faults(state: &State, links: &[Link]) -> Vec<String> {
    let pools = state.pools.iter();
    let unused = pools.filter_map(|pool| Some((pool, pool.fault.as_ref()?)));
    let unused: Vec<String> = unused
        .map(|(pool, fault)| format!("pool {} is not used: {fault}", pool.name))
        .collect();
    let pod_links: BTreeMap<&str, &Link> = links
        .iter()
        .filter(|link| sealane_net::names::is_pod_link(&link.name))
        .map(|link| (&*link.name, link))
        .collect();
    let mut faults = unused;
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    let mut leased = Vec::new();
    for lease in &state.leases {
        let (key, name) = (lease.key(), link_name(&lease.key()));
        for address in &lease.addresses {
            if let Some(other) = owners.insert(address.addr().to_string(), key.to_string()) {
                faults.push(format!(
                    "{} is leased twice: to {other} and to {key}",
                    address.addr()
                ));
            }
        }
        let in_work = state
            .work
            .iter()
            .any(|work| work.starts_with(&format!("{key}:")));
        match pod_links.get(&*name) {
            None if in_work => {}
            None => faults.push(format!(
                "{} of {key} has no link {name}: it is released when the API server has no such pod, \
                 or by `sealane ipam release`",
                addresses(lease)
            )),
            Some(link) => {
                let label = link.alias.as_deref().and_then(labelled);
                if let Some(label) = label.filter(|label| label.addresses != lease.addresses) {
                    faults.push(format!(
                        "link {name} says {}, the lease {}",
                        addresses(&label),
                        addresses(lease)
                    ));
                }
            }
        }
        leased.push(name);
    }
    let unknown = pod_links
        .values()
        .filter(|link| !leased.contains(&link.name));
    faults.extend(unknown.map(|link| {
        let whose = link
            .alias
            .as_deref()
            .unwrap_or("it does not say whose it is");
        format!(
            "link {} has no lease ({whose}): `ip link delete {}` when nothing uses it",
            link.name, link.name
        )
    }));
    faults
}

/// Gives back the lease with an address or of a container; what was released.
///
/// # Errors
/// When there is none, when its link is there and `force` is not given, or when the agent refuses.
pub fn release(run_dir: &Path, what: &str, force: bool) -> anyhow::Result<String> {
    let state = state(run_dir)?;
    let is_it = |lease: &&Lease| {
        lease.container_id == what || lease.addresses.iter().any(|a| a.addr().to_string() == what)
    };
    let found: Vec<&Lease> = state.leases.iter().filter(is_it).collect();
    if found.is_empty() {
        bail!(
            "release {what}: no lease has this address or container; `sealane ipam show` lists all"
        );
    }
    let links = Direct::open()?.links()?;
    let mut released = Vec::new();
    for lease in found {
        let (key, name) = (lease.key(), link_name(&lease.key()));
        if !force && links.iter().any(|link| link.name == name) {
            bail!(
                "release {} of {key}: its link {name} is there, so a pod uses it; \
                 delete the pod, or give --force to take its network away",
                addresses(lease)
            );
        }
        let request = Request {
            command: Command::Del,
            network: lease.network.clone(),
            container_id: lease.container_id.clone(),
            ifname: lease.ifname.clone(),
            netns: String::new(),
            args: BTreeMap::new(),
            runtime_config: serde_json::Map::new(),
            prev_result: None,
            valid_attachments: None,
        };
        let answer = ask_agent(&run_dir.join("agent.sock"), &request, None);
        if let Response::Failed(error) = answer? {
            bail!("release {} of {key}: {error}", addresses(lease));
        }
        released.push(format!("{} of {key}", addresses(lease)));
    }
    Ok(released.join(", "))
}

//! The way out to the world beyond this machine.
//!
//! Two things are needed: this machine forwards, and what it forwards for
//! nodes carries its own address. The second is a table of our own. The first
//! is a setting of the whole machine, so it is treated with care:
//!
//! - it is only changed where it is off;
//! - what was there before is on disk before it is changed. Turning it on also
//!   changes settings that follow from it (`inet_forward_change` in
//!   net/ipv4/devinet.c: forwarding of every link, acceptance of redirects), so
//!   all of these are kept;
//! - clusters that need it are noted one by one, and the last one to go puts
//!   back what was there before the first.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sealane_netlink::{Netlink, sysctl};
use sealane_ruleset::{Loaded, machine_egress};

use super::TopologyError;
use crate::layout::Layout;
use crate::lock::Lock;
use crate::plan::{ClusterName, Plan};

/// Turns forwarding on for the machine; the rest follows from it.
const IP_FORWARD: &str = "net/ipv4/ip_forward";
/// How long another cluster may take for its own change.
const PATIENCE: Duration = Duration::from_secs(10);

/// The settings as they were before.
fn previous(layout: &Layout) -> PathBuf {
    layout.forwarding().join(".previous.json")
}

/// Exists while this cluster needs forwarding.
fn holder(layout: &Layout) -> PathBuf {
    layout.forwarding().join(layout.name.as_str())
}

/// Lets pods out, or, without the internet, makes sure that they are not let out.
pub async fn ensure(layout: &Layout, plan: &Plan, machine: &Netlink) -> Result<(), TopologyError> {
    if !plan.internet {
        return match remove(layout, machine).await.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(()),
        };
    }
    let _lock = lock(layout)?;
    hold_forwarding(layout)?;
    let tables: Vec<_> = plan
        .node_cidr
        .iter()
        .map(|nodes| machine_egress(plan.name.as_str(), nodes))
        .collect();
    machine
        .sync_tables(&plan.name.machine_table(), &tables)
        .await?;
    Ok(())
}

/// Takes back what [`ensure`] did.
pub async fn remove(layout: &Layout, machine: &Netlink) -> Vec<TopologyError> {
    let mut errors = Vec::new();
    for table in own_tables(&layout.name, machine).await {
        let deleted = machine.delete_table(table.family, &table.name).await;
        errors.extend(deleted.err().map(TopologyError::from));
    }
    if layout.forwarding().exists() {
        let released = lock(layout).and_then(|lock| {
            release_forwarding(layout)?;
            if !layout.forwarding().exists() {
                _ = lock.remove();
            }
            Ok(())
        });
        errors.extend(released.err());
    }
    errors
}

/// Whether a cluster of this name lets pods out.
pub async fn exists(layout: &Layout, machine: &Netlink) -> bool {
    holder(layout).exists() || !own_tables(&layout.name, machine).await.is_empty()
}

/// A kernel without nftables has none.
async fn own_tables(name: &ClusterName, machine: &Netlink) -> Vec<Loaded> {
    let mut tables = machine.tables().await.unwrap_or_default();
    tables.retain(|table| table.name == name.machine_table());
    tables
}

fn lock(layout: &Layout) -> Result<Lock, TopologyError> {
    let path = layout.shared.join(".forwarding.lock");
    Lock::acquire(&path, PATIENCE).map_err(|error| TopologyError::File {
        verb: "lock",
        path,
        source: io::Error::other(error),
    })
}

fn hold_forwarding(layout: &Layout) -> Result<(), TopologyError> {
    let keep = || -> io::Result<()> {
        fs::create_dir_all(layout.forwarding())?;
        if !previous(layout).exists() && sysctl::get(IP_FORWARD).map_err(io::Error::other)? == "0" {
            let new = previous(layout).with_extension("new");
            fs::write(&new, serde_json::to_string(&forwarding_settings()?)?)?;
            fs::rename(new, previous(layout))?;
        }
        fs::write(holder(layout), "")
    };
    keep().map_err(|source| TopologyError::File {
        verb: "write",
        path: layout.forwarding(),
        source,
    })?;
    sysctl::set(IP_FORWARD, "1")?;
    Ok(())
}

fn release_forwarding(layout: &Layout) -> Result<(), TopologyError> {
    let failed = |source| TopologyError::File {
        verb: "clean",
        path: layout.forwarding(),
        source,
    };
    remove_file(&holder(layout)).map_err(failed)?;
    if others_hold(layout).map_err(failed)? {
        return Ok(());
    }
    if let Ok(text) = fs::read_to_string(previous(layout)) {
        let settings: BTreeMap<String, String> = serde_json::from_str(&text).unwrap_or_default();
        restore(&settings)?;
    }
    remove_file(&previous(layout))
        .and_then(|()| fs::remove_dir(layout.forwarding()))
        .map_err(failed)
}

fn others_hold(layout: &Layout) -> io::Result<bool> {
    let names = fs::read_dir(layout.forwarding())?
        .flatten()
        .map(|entry| entry.file_name());
    Ok(names
        .into_iter()
        .any(|name| !name.to_string_lossy().starts_with('.')))
}

/// The switch first, since writing it changes the others.
fn restore(settings: &BTreeMap<String, String>) -> Result<(), TopologyError> {
    sysctl::set(
        IP_FORWARD,
        settings.get(IP_FORWARD).map_or("0", String::as_str),
    )?;
    for (key, value) in settings.iter().filter(|(key, _)| *key != IP_FORWARD) {
        match sysctl::set(key, value) {
            Err(error) if !error.is_absent() => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Every setting that turning forwarding on may change.
fn forwarding_settings() -> io::Result<BTreeMap<String, String>> {
    let mut keys = vec![
        IP_FORWARD.to_owned(),
        "net/ipv4/conf/all/accept_redirects".to_owned(),
    ];
    for link in fs::read_dir("/proc/sys/net/ipv4/conf")?.flatten() {
        keys.push(format!(
            "net/ipv4/conf/{}/forwarding",
            link.file_name().to_string_lossy()
        ));
    }
    let values = keys
        .into_iter()
        .filter_map(|key| sysctl::get(&key).ok().map(|value| (key, value)));
    Ok(values.collect())
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

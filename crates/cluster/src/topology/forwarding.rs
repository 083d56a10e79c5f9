//! Forwarding by this machine, turned on for clusters and put back after the last.
//!
//! It is a setting of the whole machine, so it is treated with care:
//!
//! - it is only changed where it is off;
//! - what was there before is on disk before it is changed. Turning it on also
//!   changes settings that follow from it (`inet_forward_change` in
//!   net/ipv4/devinet.c: forwarding of every link, acceptance of redirects;
//!   `addrconf_fixup_forwarding` in net/ipv6/addrconf.c), so all of these are kept;
//! - clusters that need it are noted one by one, and the last one to go puts
//!   back what was there before the first.
//!
//! A link that forwards IPv6 is a router's: it does not listen to other routers
//! any more, and what it has learnt from them goes. But only the switch for all
//! links decides whether packets are forwarded. So each link gets its own
//! setting back at once, and listens to routers unconditionally in between: the
//! machine keeps its default route, and goes on learning it.
//!
//! The settings are those of a network namespace, and the record of them is kept
//! for each by its number: a cluster may be brought up in another one.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sealane_net::Family;
use sealane_netlink::sysctl;

use super::TopologyError;
use crate::layout::Layout;
use crate::lock::Lock;

/// How long another cluster may take for its own change.
const PATIENCE: Duration = Duration::from_secs(10);

type Settings = BTreeMap<String, String>;

/// Lets this machine forward for the cluster, in these families.
pub fn hold(layout: &Layout, families: &[Family]) -> Result<(), TopologyError> {
    let _lock = lock(layout)?;
    let folder = folder(layout);
    let held =
        fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join(layout.name.as_str()), ""));
    held.map_err(|source| failed("write", &folder, source))?;
    for family in families {
        turn_on(*family, &folder)?;
    }
    Ok(())
}

/// Whether this machine forwards for the cluster.
pub fn is_held(layout: &Layout) -> bool {
    folder(layout).join(layout.name.as_str()).exists()
}

/// The cluster needs it no more.
pub fn release(layout: &Layout) -> Result<(), TopologyError> {
    let folder = folder(layout);
    forget_elsewhere(layout, &folder);
    if !folder.exists() {
        return Ok(());
    }
    let lock = lock(layout)?;
    remove_file(&folder.join(layout.name.as_str()))
        .map_err(|source| failed("clean", &folder, source))?;
    if others_hold(&folder).map_err(|source| failed("read", &folder, source))? {
        return Ok(());
    }
    for family in Family::ALL {
        put_back(family, &folder)?;
    }
    fs::remove_dir(&folder).map_err(|source| failed("remove", &folder, source))?;
    _ = lock.remove();
    Ok(())
}

/// A network namespace that is gone, with all of the cluster that was in it, needs nothing to be put back.
fn forget_elsewhere(layout: &Layout, here: &Path) {
    let entries = fs::read_dir(&layout.shared).into_iter().flatten().flatten();
    let folders = entries.map(|entry| entry.path());
    let elsewhere = |path: &PathBuf| path != here && layout.is_forwarding(path);
    for folder in folders.filter(elsewhere) {
        let held = fs::remove_file(folder.join(layout.name.as_str())).is_ok();
        if held && others_hold(&folder).is_ok_and(|held| !held) {
            _ = fs::remove_dir_all(folder);
        }
    }
}

fn failed(verb: &'static str, path: &Path, source: io::Error) -> TopologyError {
    TopologyError::File {
        verb,
        path: path.to_owned(),
        source,
    }
}

fn lock(layout: &Layout) -> Result<Lock, TopologyError> {
    let path = layout.shared.join(".forwarding.lock");
    Lock::acquire(&path, PATIENCE).map_err(|error| failed("lock", &path, io::Error::other(error)))
}

/// Who needs this network namespace to forward, and how it was before.
fn folder(layout: &Layout) -> PathBuf {
    let namespace = fs::metadata("/proc/thread-self/ns/net").map_or(0, |file| file.ino());
    layout.forwarding(namespace)
}

/// The settings as they were before.
fn record(folder: &Path, family: Family) -> PathBuf {
    folder.join(format!(".previous.{family}.json"))
}

fn others_hold(folder: &Path) -> io::Result<bool> {
    let mut names = fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.file_name());
    Ok(names.any(|name| !name.to_string_lossy().starts_with('.')))
}

/// Turns forwarding on for the machine; the rest follows from it.
fn switch(family: Family) -> &'static str {
    match family {
        Family::V4 => "net/ipv4/ip_forward",
        Family::V6 => "net/ipv6/conf/all/forwarding",
    }
}

fn turn_on(family: Family, folder: &Path) -> Result<(), TopologyError> {
    if sysctl::get(switch(family))? != "0" {
        return Ok(());
    }
    let record = record(folder, family);
    let keep = || -> io::Result<Settings> {
        if let Some(before) = read(&record)? {
            return Ok(before);
        }
        let settings = settings(family)?;
        let new = record.with_extension("new");
        fs::write(&new, serde_json::to_string(&settings)?)?;
        fs::rename(new, &record)?;
        Ok(settings)
    };
    let before = keep().map_err(|source| failed("write", &record, source))?;
    match family {
        Family::V4 => sysctl::set(switch(family), "1").map(drop)?,
        Family::V6 => turn_on_v6(&before)?,
    }
    Ok(())
}

/// All links but those that were a router's already are a host's again afterwards.
fn turn_on_v6(before: &Settings) -> Result<(), TopologyError> {
    let switch = switch(Family::V6);
    let listening = before
        .iter()
        .filter(|(key, value)| key.ends_with("/accept_ra") && *value == "1");
    for (key, _) in listening {
        set(key, "2")?;
    }
    sysctl::set(switch, "1")?;
    write_all(before.iter().filter(|(key, _)| *key != switch))
}

fn put_back(family: Family, folder: &Path) -> Result<(), TopologyError> {
    let record = record(folder, family);
    if let Some(settings) = read(&record).map_err(|source| failed("read", &record, source))? {
        let switch = switch(family);
        // First, since writing it changes the others.
        sysctl::set(switch, settings.get(switch).map_or("0", String::as_str))?;
        write_all(settings.iter().filter(|(key, _)| *key != switch))?;
    }
    remove_file(&record).map_err(|source| failed("remove", &record, source))
}

fn write_all<'a>(
    settings: impl Iterator<Item = (&'a String, &'a String)>,
) -> Result<(), TopologyError> {
    for (key, value) in settings {
        set(key, value)?;
    }
    Ok(())
}

/// A link may have gone with its settings.
fn set(key: &str, value: &str) -> Result<(), TopologyError> {
    match sysctl::set(key, value) {
        Err(error) if !error.is_absent() => Err(error.into()),
        _ => Ok(()),
    }
}

/// What was recorded; a record that cannot be understood says nothing.
fn read(record: &Path) -> io::Result<Option<Settings>> {
    match fs::read_to_string(record) {
        Ok(text) => Ok(Some(serde_json::from_str(&text).unwrap_or_default())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Every setting that turning forwarding on may change.
fn settings(family: Family) -> io::Result<Settings> {
    let mut keys = vec![switch(family).to_owned()];
    let (tree, of_link): (&str, &[&str]) = match family {
        Family::V4 => {
            keys.push("net/ipv4/conf/all/accept_redirects".to_owned());
            ("net/ipv4/conf", &["forwarding"])
        }
        Family::V6 => ("net/ipv6/conf", &["forwarding", "accept_ra"]),
    };
    for link in fs::read_dir(Path::new("/proc/sys").join(tree))?.flatten() {
        let link = link.file_name();
        let link = link.to_string_lossy();
        keys.extend(
            of_link
                .iter()
                .map(|setting| format!("{tree}/{link}/{setting}")),
        );
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

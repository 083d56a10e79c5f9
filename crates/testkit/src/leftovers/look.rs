//! One look at each kind of object, as lines.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::binary;
use crate::command::run;
use crate::process::{Process, cgroup_mounts};

/// Folders of which every entry is compared.
const FOLDERS: [&str; 6] = [
    "/run/netns",
    "/run/sealane",
    "/var/lib/sealane",
    "/etc/cni",
    "/opt/cni",
    "/var/lib/cni",
];

/// Settings under /proc/sys that a cluster might touch.
const SYSCTLS: [&str; 4] = ["net", "kernel", "fs", "user"];

/// Settings that change by themselves.
const RESTLESS: [&str; 10] = [
    "net/netfilter/nf_conntrack_count",
    "kernel/random/",
    "kernel/ns_last_pid",
    "kernel/pty/nr",
    "kernel/tainted",
    "fs/file-nr",
    "fs/inode-",
    "fs/dentry-state",
    "fs/aio-nr",
    "fs/quota/",
];

/// Clusters of this machine, from their folders and cgroups, except those of this test run.
pub fn foreign_clusters() -> BTreeSet<String> {
    let folders = ["/run/sealane", "/var/lib/sealane"].map(PathBuf::from);
    let folders = folders.into_iter().chain(
        cgroup_mounts()
            .into_iter()
            .map(|mount| mount.join("sealane")),
    );
    let entries = folders
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .flatten();
    let names = entries
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok());
    let own = format!("t{}-", std::process::id());
    names.filter(|name| !name.starts_with(&own)).collect()
}

/// Name, kind and MTU of each link, without the state that changes by itself.
#[track_caller]
pub fn links() -> BTreeSet<String> {
    let links = run("ip", ["-json", "-details", "link"]).json();
    let word = |link: &serde_json::Value, key: &str| link[key].as_str().unwrap_or("-").to_owned();
    let line = |link: &serde_json::Value| {
        let kind = word(&link["linkinfo"], "info_kind");
        format!(
            "{} kind {kind} mtu {} master {}",
            word(link, "ifname"),
            link["mtu"],
            word(link, "master")
        )
    };
    links.as_array().into_iter().flatten().map(line).collect()
}

#[track_caller]
pub fn ip_lines(words: &[&str]) -> BTreeSet<String> {
    let text = run("ip", words).succeeds();
    text.lines()
        .map(without_ages)
        .filter(|line| !line.is_empty())
        .collect()
}

/// Cuts the parts of `ip` output that count down or number links.
fn without_ages(line: &str) -> String {
    let mut words = line.split_whitespace().peekable();
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "expires" | "valid_lft" | "preferred_lft" | "nhid" => drop(words.next()),
            number
                if kept.is_empty()
                    && number.ends_with(':')
                    && number[..number.len() - 1].parse::<u32>().is_ok() => {}
            word => kept.push(word.trim_end_matches('\\')),
        }
    }
    kept.join(" ")
}

/// Only permanent neighbours and proxies: the others are learnt and forgotten by the kernel.
#[track_caller]
pub fn neighbours() -> BTreeSet<String> {
    let permanent = ip_lines(&["neighbour", "show", "nud", "permanent"]);
    permanent
        .into_iter()
        .chain(ip_lines(&["neighbour", "show", "proxy"]))
        .collect()
}

/// The rules that a tool lists, each with the table and chain above it; empty where the tool is not installed.
pub fn ruleset(tool: &str, words: &[&str]) -> BTreeSet<String> {
    if !installed(tool) {
        return BTreeSet::new();
    }
    let text = run(tool, words).stdout;
    let mut above: Vec<String> = Vec::new();
    let mut lines = BTreeSet::new();
    for line in text
        .lines()
        .map(|line| line.split(" [").next().unwrap_or(line).trim())
    {
        if line == "}" {
            above.pop();
        } else if !line.is_empty() && !line.starts_with('#') && line != "COMMIT" {
            lines.insert(format!("{}{line}", above.concat()));
        }
        if line.ends_with('{') {
            above.push(format!("{} ", line.trim_end_matches(" {")));
        }
    }
    lines
}

fn installed(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .any(|folder| folder.join(tool).exists())
}

/// Cgroups of Sealane, in every hierarchy.
pub fn cgroups() -> BTreeSet<String> {
    let roots = cgroup_mounts()
        .into_iter()
        .map(|mount| mount.join("sealane"));
    roots.flat_map(|root| folders(&root)).collect()
}

fn folders(root: &Path) -> Vec<String> {
    if !root.is_dir() {
        return Vec::new();
    }
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let below = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir() && !path.is_symlink());
    let mut found: Vec<String> = below.flat_map(|path| folders(&path)).collect();
    found.push(root.display().to_string());
    found
}

/// Where, of which type and what is mounted, without the ids that the kernel gives anew. proc(5).
pub fn mounts() -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let line = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let before: Vec<&str> = before.split(' ').collect();
        let mut after = after.split(' ');
        let (kind, source) = (after.next()?, after.next()?);
        // The file of a namespace is a mount of its own kind, with the inode in its root.
        let root = if kind == "nsfs" { "" } else { before.get(3)? };
        Some(format!("{} {kind} {source} {root}", before.get(4)?))
    };
    text.lines().filter_map(line).collect()
}

/// Processes of the binary under test, and those that a cluster confines.
pub fn processes() -> BTreeSet<String> {
    let binary = binary::path();
    let ours = |process: &Process| {
        process.cgroup("sealane").is_some() || process.program().is_some_and(|path| path == binary)
    };
    let line = |process: Process| {
        let cgroup = process
            .cgroup("sealane")
            .unwrap_or_else(|| "no cgroup".to_owned());
        format!("{} {} ({cgroup})", process.pid, process.command)
    };
    Process::all().into_iter().filter(ours).map(line).collect()
}

/// Every entry of the folders where a cluster keeps something.
pub fn all_files() -> BTreeSet<String> {
    FOLDERS
        .iter()
        .flat_map(|folder| files(Path::new(folder)))
        .collect()
}

fn files(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found = vec![folder.display().to_string()];
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() && !path.is_symlink() {
            found.extend(files(&path));
        } else {
            found.push(path.display().to_string());
        }
    }
    found
}

pub fn sysctls() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for folder in SYSCTLS {
        read_sysctls(&Path::new("/proc/sys").join(folder), &mut found);
    }
    found
}

fn read_sysctls(folder: &Path, found: &mut BTreeMap<String, String>) {
    for path in fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
    {
        if path.is_dir() {
            read_sysctls(&path, found);
            continue;
        }
        let key = path
            .strip_prefix("/proc/sys")
            .unwrap_or(&path)
            .display()
            .to_string();
        if RESTLESS.iter().any(|restless| key.starts_with(restless)) {
            continue;
        }
        // Some can only be written: they hold nothing.
        if let Ok(value) = fs::read_to_string(&path) {
            found.insert(key, value.trim().to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_down_is_cut_from_lines_of_ip() {
        let line = "2: eth0    inet6 fd00::2/64 scope global dynamic \\       valid_lft 86395sec preferred_lft 14395sec";
        assert_eq!(
            without_ages(line),
            "eth0 inet6 fd00::2/64 scope global dynamic "
        );
        assert_eq!(
            without_ages("default via fe80::1 dev eth0 expires 17sec hoplimit 64"),
            "default via fe80::1 dev eth0 hoplimit 64"
        );
    }
}

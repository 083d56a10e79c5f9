//! Everything that a cluster may leave in the kernel and on disk, compared before and after.
//!
//! A [`Leftovers`] is a set of lines for each kind of object, in the words of the tool that shows
//! them, so that what a failing test prints can be looked up and removed by hand.
//!
//! Not compared: kernel modules and the sysctls that appear with them, since loading one (conntrack,
//! br_netfilter) cannot be told from its use by others; counters; the age of routes.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::command::run;
use crate::deadline::{SOON, eventually};
use crate::process::{Process, cgroup_mounts};

/// Held shared by each cluster and alone by a test that compares the whole machine.
const LOCK: &str = "/run/lock/sealane-testkit";

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

/// What is there at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftovers {
    kinds: BTreeMap<&'static str, BTreeSet<String>>,
    sysctls: BTreeMap<String, String>,
}

impl Leftovers {
    /// Looks at the whole machine.
    ///
    /// # Panics
    /// When `ip` is missing or fails.
    #[track_caller]
    pub fn snapshot() -> Self {
        let kinds = BTreeMap::from([
            ("link", links()),
            ("address", ip_lines(&["-o", "address"])),
            ("route", ip_lines(&["-4", "route", "show", "table", "all"])),
            (
                "route (IPv6)",
                ip_lines(&["-6", "route", "show", "table", "all"]),
            ),
            ("rule", ip_lines(&["-4", "rule"])),
            ("rule (IPv6)", ip_lines(&["-6", "rule"])),
            ("neighbour", neighbours()),
            (
                "nftables",
                ruleset("nft", &["--stateless", "list", "ruleset"]),
            ),
            ("iptables", ruleset("iptables-save", &[])),
            ("ip6tables", ruleset("ip6tables-save", &[])),
            ("cgroup", cgroups()),
            ("mount", mounts()),
            ("process", processes()),
            (
                "file",
                FOLDERS
                    .iter()
                    .flat_map(|folder| files(Path::new(folder)))
                    .collect(),
            ),
        ]);
        Self {
            kinds,
            sysctls: sysctls(),
        }
    }

    /// What is there afterwards and was not before (`+`), and what has gone (`-`).
    pub fn diff(&self, after: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (kind, before) in &self.kinds {
            let after = &after.kinds[kind];
            lines.extend(
                after
                    .difference(before)
                    .map(|line| format!("+ {kind}: {line}")),
            );
            lines.extend(
                before
                    .difference(after)
                    .map(|line| format!("- {kind}: {line}")),
            );
        }
        for (path, before) in &self.sysctls {
            let Some(after) = after.sysctls.get(path).filter(|after| *after != before) else {
                continue;
            };
            lines.push(format!("~ sysctl: {path} was {before}, is {after}"));
        }
        lines
    }

    /// Every object of a cluster, found by its name.
    pub fn naming(&self, cluster: &str) -> Vec<String> {
        let all = self
            .kinds
            .iter()
            .flat_map(|(kind, lines)| lines.iter().map(move |line| (kind, line)));
        let own = all.filter(|(_, line)| names_cluster(line, cluster));
        own.map(|(kind, line)| format!("{kind}: {line}")).collect()
    }

    /// Fails unless the machine is as it was when this snapshot was made.
    ///
    /// Other programs of the machine come and go, so this waits for a difference to vanish;
    /// [`crate::Cluster::down`] has before that checked at once what carries the cluster's name.
    ///
    /// # Panics
    /// With the differences.
    #[track_caller]
    pub fn assert_none_since(&self) {
        eventually(SOON, "the machine is as it was before", || {
            let lines = self.diff(&Self::snapshot());
            if lines.is_empty() {
                Ok(())
            } else {
                Err(format!("it is not:\n{}", lines.join("\n")))
            }
        });
    }
}

/// Whether a line has the name as a word of its own or before `-node-1` and the like, so that
/// `t7-1` is not found in `t7-12`.
fn names_cluster(line: &str, cluster: &str) -> bool {
    line.match_indices(cluster).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + cluster.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}

/// A claim on this machine: clusters share it, a test that compares before and after has it alone.
#[derive(Debug)]
pub struct Machine {
    lock: Option<Flock<File>>,
    alone: bool,
}

thread_local! {
    /// Whether this thread's test has the machine alone, so that its clusters need no claim.
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

impl Machine {
    /// Waits until no cluster of another test runs, and keeps them waiting until dropped.
    ///
    /// # Panics
    /// When the lock file cannot be made (tests need root).
    #[track_caller]
    pub fn alone() -> Self {
        let machine = Self::claim(FlockArg::LockExclusive, true);
        ALONE.set(true);
        machine
    }

    /// Waits until no test has the machine alone.
    #[track_caller]
    pub(crate) fn with_others() -> Self {
        if ALONE.get() {
            Self {
                lock: None,
                alone: false,
            }
        } else {
            Self::claim(FlockArg::LockShared, false)
        }
    }

    #[track_caller]
    fn claim(how: FlockArg, alone: bool) -> Self {
        let file = File::create(LOCK)
            .unwrap_or_else(|error| panic!("make {LOCK} (tests need root): {error}"));
        let lock =
            Flock::lock(file, how).unwrap_or_else(|(_, error)| panic!("lock {LOCK}: {error}"));
        Self {
            lock: Some(lock),
            alone,
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.alone {
            ALONE.set(false);
        }
        drop(self.lock.take());
    }
}

/// Name, kind and MTU of each link, without the state that changes by itself.
#[track_caller]
fn links() -> BTreeSet<String> {
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
fn ip_lines(words: &[&str]) -> BTreeSet<String> {
    let text = run("ip", words).ok();
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
fn neighbours() -> BTreeSet<String> {
    let permanent = ip_lines(&["neighbour", "show", "nud", "permanent"]);
    permanent
        .into_iter()
        .chain(ip_lines(&["neighbour", "show", "proxy"]))
        .collect()
}

/// The rules that a tool lists, each with the table and chain above it; empty where the tool is not installed.
fn ruleset(tool: &str, words: &[&str]) -> BTreeSet<String> {
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
fn cgroups() -> BTreeSet<String> {
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
fn mounts() -> BTreeSet<String> {
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

/// Processes that are confined by a cluster, or started from our binary.
fn processes() -> BTreeSet<String> {
    let ours = |process: &Process| {
        let program = process.command.split(' ').next().unwrap_or_default();
        process.cgroups.contains(":/sealane/")
            || Path::new(program)
                .file_name()
                .is_some_and(|name| name == "sealane")
    };
    let line = |process: Process| {
        let cgroup = process.cgroups.lines().find_map(|line| {
            line.split_once(":/sealane/")
                .map(|(_, path)| path.to_owned())
        });
        format!(
            "{} {} (cgroup {})",
            process.pid,
            process.command,
            cgroup.unwrap_or_else(|| "-".to_owned())
        )
    };
    Process::all().into_iter().filter(ours).map(line).collect()
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

fn sysctls() -> BTreeMap<String, String> {
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
    use crate::topology::Topology;

    #[test]
    fn a_namespace_is_seen_to_come_and_to_go() {
        let before = Leftovers::snapshot();
        let (topology, [_only]) = Topology::new(["only"]);
        let file = format!("+ file: /run/netns/{}-only", topology.name());
        let name = topology.name().to_owned();

        let during = Leftovers::snapshot();
        assert!(
            before.diff(&during).contains(&file),
            "{:?}",
            before.diff(&during)
        );
        assert!(!during.naming(&name).is_empty());
        drop(topology);
        assert_eq!(Leftovers::snapshot().naming(&name), Vec::<String>::new());
    }

    #[test]
    fn a_name_is_found_as_a_word_only() {
        assert!(names_cluster("/run/netns/t7-1-node-1", "t7-1"));
        assert!(names_cluster("/run/sealane/t7-1", "t7-1"));
        assert!(!names_cluster("/run/sealane/t7-12", "t7-1"));
        assert!(!names_cluster("/run/sealane/at7-1", "t7-1"));
    }

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

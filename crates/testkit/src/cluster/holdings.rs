//! What a node holds for its pods, in the kernel and on disk: exactly what its pods need, and no more.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Cluster;
use crate::command::run;
use crate::process::{Process, cgroup_mounts};

/// Pods by UID, seen from each of the things that a pod has on its node.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Holdings {
    /// Folders of state.
    pub folders: BTreeSet<String>,
    /// Sockets of shims.
    pub sockets: BTreeSet<String>,
    /// Folders of Secrets and tokens.
    pub secrets: BTreeSet<String>,
    /// What the CNI plugin has answered.
    pub attachments: BTreeSet<String>,
    /// Addresses in the agent's book, each with its pod.
    pub leases: BTreeSet<(String, String)>,
    /// Cgroups, in any hierarchy.
    pub cgroups: BTreeSet<String>,
    /// Shims.
    pub shims: BTreeSet<String>,
    /// Pods to which a process belongs by its cgroup.
    pub processes: BTreeSet<String>,
    /// Pods that this machine's own mounts name.
    pub mounts: BTreeSet<String>,
    /// How many pods are plugged into the node's bridge.
    pub links: usize,
    /// How many network namespaces its pods' processes live in.
    pub namespaces: usize,
    /// How many shims there are: two for a pod are one too many.
    pub shim_count: usize,
}

impl Cluster {
    /// Looks at what a node holds.
    ///
    /// # Panics
    /// When the node's namespace is gone.
    #[track_caller]
    pub fn holdings(&self, node: u32) -> Holdings {
        let title = format!("node-{node}");
        let state = self.state_dir().join("nodes").join(&title);
        let run_dir = self.run_dir().join(&title);
        let top = format!("sealane/{}/{title}", self.name());
        let processes = Process::all();
        let pods = state.join("pods");
        let shims: Vec<String> = processes
            .iter()
            .filter(|process| process.command.contains(" shim "))
            .filter_map(|process| below(&process.command, &pods.display().to_string()))
            .collect();
        let confined: Vec<(&Process, String)> = processes
            .iter()
            .filter_map(|process| Some((process, below(&process.cgroups, &top)?)))
            .collect();
        let namespaces: BTreeSet<_> = confined
            .iter()
            .filter_map(|(process, _)| fs::read_link(format!("/proc/{}/ns/net", process.pid)).ok())
            .collect();
        Holdings {
            folders: entries(&pods),
            sockets: stems(&run_dir.join("pods"), ".sock"),
            secrets: entries(&run_dir.join("volumes")),
            attachments: uids_in(&entries(&state.join("cni/cache"))),
            leases: leases(&state.join("agent/leases.json")),
            cgroups: cgroup_mounts()
                .iter()
                .flat_map(|mount| folders(&mount.join(&top)))
                .collect(),
            shim_count: shims.len(),
            shims: shims.into_iter().collect(),
            processes: confined.into_iter().map(|(_, uid)| uid).collect(),
            mounts: mounts(&state.display().to_string(), &run_dir.display().to_string()),
            links: ports(&self.node_netns(node)),
            namespaces: namespaces.len(),
        }
    }
}

impl Holdings {
    /// How this differs from what exactly these pods need, in words; each with its UID and address.
    pub fn differences(&self, pods: &BTreeSet<(String, String)>) -> Vec<String> {
        let uids: BTreeSet<String> = pods.iter().map(|(uid, _)| uid.clone()).collect();
        let sets = [
            ("folders", &self.folders),
            ("sockets", &self.sockets),
            ("attachments", &self.attachments),
            ("cgroups", &self.cgroups),
            ("shims", &self.shims),
            ("processes", &self.processes),
        ];
        let mut found: Vec<String> = sets
            .into_iter()
            .filter(|(_, held)| **held != uids)
            .map(|(what, held)| difference(what, held, &uids))
            .collect();
        // Not every pod has a Secret, or a mount that this machine sees.
        for (what, held) in [("secrets", &self.secrets), ("mounts", &self.mounts)] {
            if !held.is_subset(&uids) {
                found.push(difference(what, held, &uids));
            }
        }
        if self.leases != *pods {
            found.push(difference("leases", &self.leases, pods));
        }
        let counts = [
            ("links", self.links),
            ("network namespaces", self.namespaces),
            ("shim processes", self.shim_count),
        ];
        let wrong = counts.into_iter().filter(|(_, count)| *count != pods.len());
        found.extend(wrong.map(|(what, count)| format!("{count} {what} for {} pods", pods.len())));
        found
    }
}

fn difference<T: Ord + std::fmt::Debug>(
    what: &str,
    held: &BTreeSet<T>,
    needed: &BTreeSet<T>,
) -> String {
    let surplus: Vec<_> = held.difference(needed).collect();
    let missing: Vec<_> = needed.difference(held).collect();
    format!("{what}: too many {surplus:?}, missing {missing:?}")
}

/// The first name below a path that occurs in a text.
fn below(text: &str, path: &str) -> Option<String> {
    let rest = text.split(&format!("{path}/")).nth(1)?;
    let end = rest.find(|c: char| c == '/' || c.is_whitespace());
    Some(rest[..end.unwrap_or(rest.len())].to_owned())
}

fn entries(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

fn stems(folder: &Path, ending: &str) -> BTreeSet<String> {
    let stem = |name: &String| name.strip_suffix(ending).unwrap_or(name).to_owned();
    entries(folder).iter().map(stem).collect()
}

fn folders(folder: &Path) -> BTreeSet<String> {
    let is_folder = |name: &String| folder.join(name).is_dir();
    entries(folder).into_iter().filter(is_folder).collect()
}

/// The UIDs in names of files.
fn uids_in(names: &BTreeSet<String>) -> BTreeSet<String> {
    const LENGTH: usize = 36;
    let uid = |name: &String| {
        let starts =
            (0..=name.len().checked_sub(LENGTH)?).filter_map(|at| name.get(at..at + LENGTH));
        let mut uids = starts.filter(|part| is_uid(part));
        uids.next().map(str::to_owned)
    };
    names
        .iter()
        .map(|name| uid(name).unwrap_or_else(|| name.clone()))
        .collect()
}

fn is_uid(text: &str) -> bool {
    text.char_indices().all(|(at, c)| match at {
        8 | 13 | 18 | 23 => c == '-',
        _ => c.is_ascii_hexdigit(),
    })
}

fn leases(file: &Path) -> BTreeSet<(String, String)> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let book: Value = serde_json::from_str(&text).unwrap_or_default();
    let mut found = BTreeSet::new();
    for lease in book["leases"].as_array().into_iter().flatten() {
        let uid = lease["pod"]["uid"].as_str().unwrap_or("no pod");
        let addresses = lease["addresses"].as_array().into_iter().flatten();
        for address in addresses.filter_map(Value::as_str) {
            let ip = address.split('/').next().unwrap_or(address);
            found.insert((uid.to_owned(), ip.to_owned()));
        }
    }
    found
}

fn mounts(state: &str, run_dir: &str) -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let places = [format!("{state}/pods"), format!("{run_dir}/volumes")];
    text.lines()
        .filter_map(|line| places.iter().find_map(|place| below(line, place)))
        .collect()
}

/// The ends of pods' links in a node.
#[track_caller]
fn ports(netns: &str) -> usize {
    let links = run("ip", ["-netns", netns, "-json", "link", "show"]).json();
    let links = links.as_array().into_iter().flatten();
    let names = links.filter_map(|link| link["ifname"].as_str());
    // `sl` and 12 hexadecimal digits; other links of ours have a dot or another length.
    let is_port = |name: &&str| {
        let digits = name.strip_prefix("sl").unwrap_or_default();
        digits.len() == 12 && digits.chars().all(|c| c.is_ascii_hexdigit())
    };
    names.filter(is_port).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "c4390ba3-2e0d-4b57-8d17-d5f264116399";

    #[test]
    fn pods_are_found_in_paths_and_names() {
        let command = format!("sealane shim default/a /x/pods/{UID} more");
        assert_eq!(below(&command, "/x/pods").as_deref(), Some(UID));
        let cgroups = format!("1:memory:/sealane/t/node-1/{UID}/echo\n0::/");
        assert_eq!(below(&cgroups, "sealane/t/node-1").as_deref(), Some(UID));
        assert_eq!(below("4:pids:/sealane/t/system", "sealane/t/node-1"), None);
        let names = [format!("sealane-{UID}-1-eth0.json"), "stray".to_owned()];
        assert_eq!(uids_in(&names.into()), [UID.into(), "stray".into()].into());
    }

    #[test]
    fn what_is_too_much_and_what_is_missing_is_told() {
        let pods: BTreeSet<_> = [("a".to_owned(), "10.0.0.2".to_owned())].into();
        let held = |uid: &str| Holdings {
            folders: [uid.to_owned()].into(),
            sockets: ["a".to_owned()].into(),
            attachments: ["a".to_owned()].into(),
            cgroups: ["a".to_owned()].into(),
            shims: ["a".to_owned()].into(),
            processes: ["a".to_owned()].into(),
            leases: pods.clone(),
            links: 1,
            namespaces: 1,
            shim_count: 1,
            ..Holdings::default()
        };
        assert_eq!(held("a").differences(&pods), [""; 0]);
        let told = held("b").differences(&pods);
        assert_eq!(told, ["folders: too many [\"b\"], missing [\"a\"]"]);
    }
}

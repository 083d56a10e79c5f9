//! Everything that a cluster may leave in the kernel and on disk, compared before and after.
//!
//! A [`Leftovers`] is a set of lines for each kind of object, in the words of the tool that shows
//! them, so that what a failing test prints can be looked up and removed by hand.
//!
//! Not compared: kernel modules and the sysctls that appear with them, since loading one (conntrack,
//! br_netfilter) cannot be told from its use by others; counters; the age of routes.

mod look;

use std::collections::{BTreeMap, BTreeSet};

use crate::deadline::{SOON, eventually};

/// What is there at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftovers {
    kinds: BTreeMap<&'static str, BTreeSet<String>>,
    sysctls: BTreeMap<String, String>,
    /// Names of clusters that this test run has not made.
    foreign: BTreeSet<String>,
}

impl Leftovers {
    /// Looks at the whole machine.
    ///
    /// # Panics
    /// When `ip` is missing or fails.
    #[track_caller]
    pub fn snapshot() -> Self {
        let kinds = BTreeMap::from([
            ("link", look::links()),
            ("address", look::ip_lines(&["-o", "address"])),
            (
                "route",
                look::ip_lines(&["-4", "route", "show", "table", "all"]),
            ),
            (
                "route (IPv6)",
                look::ip_lines(&["-6", "route", "show", "table", "all"]),
            ),
            ("rule", look::ip_lines(&["-4", "rule"])),
            ("rule (IPv6)", look::ip_lines(&["-6", "rule"])),
            ("neighbour", look::neighbours()),
            (
                "nftables",
                look::ruleset("nft", &["--stateless", "list", "ruleset"]),
            ),
            ("iptables", look::ruleset("iptables-save", &[])),
            ("ip6tables", look::ruleset("ip6tables-save", &[])),
            ("cgroup", look::cgroups()),
            ("mount", look::mounts()),
            ("process", look::processes()),
            ("file", look::all_files()),
        ]);
        Self {
            kinds,
            sysctls: look::sysctls(),
            foreign: look::foreign_clusters(),
        }
    }

    /// What is there afterwards and was not before (`+`), and what has gone (`-`).
    ///
    /// Clusters of others, which live and change beside the tests, do not count.
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
        let foreign: BTreeSet<&String> = self.foreign.union(&after.foreign).collect();
        lines.retain(|line| !foreign.iter().any(|name| names_cluster(line, name)));
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
}

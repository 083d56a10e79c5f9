//! The cluster's control groups, by which its processes are found.
//!
//! Every hierarchy that this machine has mounted gets the same paths:
//! `sealane/NAME/system` for the supervisor and the roles,
//! `sealane/NAME/node-N/POD/CONTAINER` for pods. A process can leave its
//! parent, its session and its namespaces, but not its control group, so
//! `down` looks here first.
//!
//! Pods share the processors with those who serve them. Where there is less of them than is wanted, a change of a Service
//! would wait behind its clients at each process that it passes, so the roles weigh more than the pods of a node,
//! and they use little.
//!
//! Machines differ: all version 2, all version 1, or hybrid with version 2
//! beside. The supervisor enters version 2 wherever it is mounted, and the
//! version 1 hierarchies that account for it or could end it with a session.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The group of all clusters.
pub const CLUSTERS: &str = "sealane";
/// Version 1 controllers whose hierarchies the supervisor enters. `systemd` is
/// among them because a session's end may kill what is in its group.
const ENTERED: [&str; 4] = ["pids", "memory", "cpu", "name=systemd"];
/// Version 2 controllers that pods' limits need.
const DELEGATED: [&str; 3] = ["cpu", "memory", "pids"];
/// What a group of version 1 weighs that nobody has weighed; 100 in version 2.
const UNWEIGHED_SHARES: u64 = 1024;
/// How often a group that empties is looked at again.
const RETRY: Duration = Duration::from_millis(2);

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Controllers of a version 1 hierarchy; `None` for version 2.
    pub v1: Option<Vec<String>>,
}

/// The hierarchies that this machine has mounted.
pub fn hierarchies() -> Vec<Hierarchy> {
    parse_mountinfo(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

/// Lines read `ID PARENT MAJOR:MINOR ROOT MOUNT OPTIONS … - TYPE SOURCE SUPER`
/// (proc_pid_mountinfo(5)).
fn parse_mountinfo(text: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in text.lines() {
        let Some((mount, kind)) = line.split_once(" - ") else {
            continue;
        };
        let mut kind = kind.split(' ');
        let v1 = match kind.next() {
            Some("cgroup2") => None,
            Some("cgroup") => {
                let options = kind.nth(1).unwrap_or_default();
                Some(
                    options
                        .split(',')
                        .filter(|o| *o != "rw" && *o != "ro")
                        .map(str::to_owned)
                        .collect(),
                )
            }
            _ => continue,
        };
        let Some(mount) = mount.split(' ').nth(4) else {
            continue;
        };
        // The same hierarchy may be mounted twice; one of them is enough.
        if !found.iter().any(|other| other.v1 == v1) {
            found.push(Hierarchy {
                mount: PathBuf::from(mount),
                v1,
            });
        }
    }
    found
}

impl Hierarchy {
    fn is_v2(&self) -> bool {
        self.v1.is_none()
    }

    fn is_entered(&self) -> bool {
        self.v1.as_ref().is_none_or(|controllers| {
            controllers
                .iter()
                .any(|controller| ENTERED.contains(&controller.as_str()))
        })
    }
}

/// Moves this process, and whatever it starts from now on, into `path` of each
/// hierarchy. Returns how many took it; not every kernel and container allows it.
pub fn enter(path: &str) -> usize {
    let entered = |hierarchy: &Hierarchy| {
        let group = hierarchy.mount.join(path);
        // Another cluster's `down` may remove the empty parent meanwhile: once more then.
        let moved = move_into(&group).or_else(|_| move_into(&group));
        match moved {
            Ok(()) => {
                if hierarchy.is_v2() {
                    delegate(
                        &hierarchy.mount,
                        Path::new(path).parent().unwrap_or(Path::new("")),
                    );
                }
                true
            }
            Err(error) => {
                tracing::debug!("enter cgroup {}: {error}", group.display());
                false
            }
        }
    };
    hierarchies()
        .iter()
        .filter(|hierarchy| hierarchy.is_entered())
        .filter(|h| entered(h))
        .count()
}

/// Makes a group and those above it, of which another cluster that is going may just take the common one away.
fn make(group: &Path) -> io::Result<()> {
    const ATTEMPTS: usize = 100;
    let mut attempts = std::iter::repeat_with(|| fs::create_dir_all(group)).take(ATTEMPTS);
    let is_taken = |made: &io::Result<()>| {
        let error = made.as_ref().err().map(io::Error::kind);
        error == Some(io::ErrorKind::NotFound)
    };
    let made = attempts.find(|made| !is_taken(made));
    made.unwrap_or_else(|| fs::create_dir_all(group))
}

fn move_into(group: &Path) -> io::Result<()> {
    make(group)?;
    fs::write(group.join("cgroup.procs"), std::process::id().to_string())
}

/// Hands the controllers for pods' limits down to the children of `path`. Where
/// version 1 has them, version 2 offers none, and there is nothing to do.
fn delegate(mount: &Path, path: &Path) {
    let mut group = mount.to_owned();
    for part in std::iter::once(Path::new("")).chain(path.iter().map(Path::new)) {
        group.push(part);
        for controller in DELEGATED {
            if let Err(error) = fs::write(
                group.join("cgroup.subtree_control"),
                format!("+{controller}"),
            ) {
                tracing::trace!("delegate {controller} in {}: {error}", group.display());
            }
        }
    }
}

/// Sets how much of the processors a group gets beside its neighbours where all want more than there is: `percent`
/// of what a group weighs that nobody has weighed. Returns how many hierarchies took it.
pub fn weigh(path: &str, percent: u64) -> usize {
    let all = groups(path).into_iter();
    let settings = all.filter_map(|(hierarchy, group)| match hierarchy.v1 {
        None => Some((group.join("cpu.weight"), percent)),
        Some(controllers) => controllers
            .iter()
            .any(|controller| controller == "cpu")
            .then(|| (group.join("cpu.shares"), UNWEIGHED_SHARES * percent / 100)),
    });
    // Version 2 offers the file where it has the controller and hands it down.
    let settings = settings.filter(|(file, _)| file.exists());
    let set = |(file, value): &(PathBuf, u64)| {
        let written = fs::write(file, value.to_string());
        let complain = |error| tracing::debug!("set {} to {value}: {error}", file.display());
        written.map_err(complain).is_ok()
    };
    settings.filter(set).count()
}

/// Groups named `path` that exist, one for each hierarchy, version 2 first.
fn groups(path: &str) -> Vec<(Hierarchy, PathBuf)> {
    let with_group = hierarchies().into_iter().map(|hierarchy| {
        let group = hierarchy.mount.join(path);
        (hierarchy, group)
    });
    let mut groups: Vec<_> = with_group.filter(|(_, group)| group.is_dir()).collect();
    groups.sort_by_key(|(hierarchy, _)| !hierarchy.is_v2());
    groups
}

/// Whether any hierarchy has a group of that name.
pub fn exists(path: &str) -> bool {
    !groups(path).is_empty()
}

/// Every process in the group and below it, in any hierarchy.
pub fn processes(path: &str) -> BTreeSet<i32> {
    groups(path)
        .iter()
        .flat_map(|(_, group)| processes_below(group))
        .collect()
}

fn processes_below(group: &Path) -> BTreeSet<i32> {
    let listed = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    // 0 stands for a process of another PID namespace, which is not ours to see.
    let mut pids: BTreeSet<i32> = listed
        .lines()
        .filter_map(|line| line.parse().ok())
        .filter(|pid| *pid > 0)
        .collect();
    for child in children(group) {
        pids.extend(processes_below(&child));
    }
    pids
}

fn children(group: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
}

/// Ends every process in the group and below it, at once and without asking,
/// and waits until they are gone. Returns those that would not go.
pub fn kill_all(path: &str, patience: Duration) -> BTreeSet<i32> {
    let deadline = Instant::now() + patience;
    loop {
        for (hierarchy, group) in groups(path) {
            // One write ends the whole subtree, also what it starts meanwhile (Linux 5.14).
            if hierarchy.is_v2() && fs::write(group.join("cgroup.kill"), "1").is_ok() {
                wait_until_empty(&group, deadline);
                continue;
            }
            for pid in processes_below(&group) {
                // A process that has just left is no error; the loop looks again.
                _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        let left = processes(path);
        if left.is_empty() || Instant::now() > deadline {
            return left;
        }
        std::thread::sleep(RETRY);
    }
}

/// Waits until a version 2 group has no process left, in it or below.
fn wait_until_empty(group: &Path, deadline: Instant) {
    let populated = || {
        let events = fs::read_to_string(group.join("cgroup.events")).unwrap_or_default();
        events.lines().any(|line| line == "populated 1")
    };
    while populated() && Instant::now() < deadline {
        std::thread::sleep(RETRY);
    }
}

/// Removes the group and everything below it from each hierarchy, and the
/// parent where nothing else uses it. An absent group is success.
///
/// # Errors
/// The first group that stayed, with the kernel's reason.
pub fn remove(path: &str, patience: Duration) -> io::Result<()> {
    let deadline = Instant::now() + patience;
    let mut result = Ok(());
    for (_, group) in groups(path) {
        result = result.and(remove_tree(&group, deadline));
        if let Some(parent) = group.parent().filter(|_| path.contains('/')) {
            // Another cluster may live there.
            _ = fs::remove_dir(parent);
        }
    }
    result
}

fn remove_tree(group: &Path, deadline: Instant) -> io::Result<()> {
    for child in children(group) {
        remove_tree(&child, deadline)?;
    }
    loop {
        match fs::remove_dir(group) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // A process that has just ended may still be counted.
            Err(error)
                if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline =>
            {
                std::thread::sleep(RETRY);
            }
            Err(error) => {
                return Err(io::Error::new(
                    error.kind(),
                    format!("remove cgroup {}: {error}", group.display()),
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn hybrid_pure_and_repeated_mounts_are_told_apart() {
        let text = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime shared:9 - cgroup cgroup rw,pids
33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
99 31 0:38 / /elsewhere rw,relatime - cgroup2 cgroup2 rw
";
        let found = parse_mountinfo(text);
        let entered: Vec<bool> = found.iter().map(Hierarchy::is_entered).collect();
        assert_eq!(found.len(), 4, "{found:?}");
        assert_eq!(entered, [true; 4]);
        assert_eq!(
            found[1].v1.as_deref(),
            Some(&["cpu".to_owned(), "cpuacct".to_owned()][..])
        );
        assert_eq!(found[3].mount, Path::new("/sys/fs/cgroup/unified"));
        assert!(found[3].is_v2());
        let devices = Hierarchy {
            mount: PathBuf::new(),
            v1: Some(vec!["devices".to_owned()]),
        };
        assert!(!devices.is_entered());
    }

    #[test]
    fn a_group_is_weighed_where_there_is_a_controller_of_processors() {
        let path = format!("sealane/test-weight-{}", std::process::id());
        for hierarchy in hierarchies() {
            _ = make(&hierarchy.mount.join(&path));
        }
        let count = weigh(&path, 300);
        let mut weights = Vec::new();
        for (_, group) in groups(&path) {
            for (file, expected) in [("cpu.shares", "3072"), ("cpu.weight", "300")] {
                if let Ok(weight) = fs::read_to_string(group.join(file)) {
                    weights.push((weight.trim() == expected, file, weight));
                }
            }
        }
        remove(&path, Duration::from_secs(5)).unwrap();
        assert_eq!(count, weights.len(), "{weights:?}");
        assert!(weights.iter().all(|(right, ..)| *right), "{weights:?}");
    }

    #[test]
    fn a_group_is_made_while_the_one_above_comes_and_goes() {
        let folder = tempfile::tempdir().unwrap();
        let above = folder.path().join("above");
        let group = above.join("group");
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    _ = fs::remove_dir(&above);
                }
            });
            let made = (0..200).map(|_| make(&group).and_then(|()| fs::remove_dir(&group)));
            let made: io::Result<()> = made.collect();
            done.store(true, Ordering::Relaxed);
            made.unwrap();
        });
    }

    #[test]
    fn a_group_is_killed_and_removed_with_everything_below() {
        let path = format!("sealane/test-{}", std::process::id());
        let inner = format!("{path}/node-1/pod");
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        for hierarchy in hierarchies()
            .iter()
            .filter(|hierarchy| hierarchy.is_entered())
        {
            let group = hierarchy.mount.join(&inner);
            make(&group).unwrap();
            fs::write(group.join("cgroup.procs"), child.id().to_string()).unwrap();
        }
        let pid = i32::try_from(child.id()).unwrap();
        assert_eq!(processes(&path), BTreeSet::from([pid]));
        let waiter = std::thread::spawn(move || child.wait());
        assert!(kill_all(&path, Duration::from_secs(5)).is_empty());
        waiter.join().unwrap().unwrap();
        remove(&path, Duration::from_secs(5)).unwrap();
        assert!(!exists(&path));
        remove(&path, Duration::ZERO).unwrap();
    }
}

//! Control groups: one path, made in every hierarchy that counts or limits.
//!
//! A machine may mount the v1 controllers one by one, v2 alone, or both at once
//! (hybrid: v1 controllers, and a v2 hierarchy with few or none). So nothing is
//! assumed: the mounts say which hierarchies exist, a group is a directory in
//! each of them, and a limit goes to the hierarchy that has its controller. The
//! v2 directory is made even where v2 limits nothing, since `down` finds the
//! processes of a cluster through it.
//!
//! Not used: `devices`, because every mount of a container but the standard
//! nodes of `/dev` is `nodev`, which needs no program on v2 and no list on v1;
//! `cpuset`, `blkio`, `freezer`, because nothing asks for them.

mod hierarchy;
mod limits;
mod usage;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub(crate) use hierarchy::{Hierarchy, Version, mounted};
pub use usage::{Meters, Usage};

/// A group: the same path in every hierarchy.
#[derive(Debug)]
pub(crate) struct Cgroup<'a> {
    hierarchies: &'a [Hierarchy],
    path: PathBuf,
}

impl<'a> Cgroup<'a> {
    /// The group `path` below each mount point; nothing is made yet.
    pub(crate) fn new(hierarchies: &'a [Hierarchy], path: PathBuf) -> Self {
        Self { hierarchies, path }
    }

    /// The group's directories, one for each hierarchy.
    pub(crate) fn dirs(&self) -> impl Iterator<Item = (&'a Hierarchy, PathBuf)> + '_ {
        self.hierarchies
            .iter()
            .map(|hierarchy| (hierarchy, hierarchy.mount.join(&self.path)))
    }

    /// Makes the group and its ancestors; on v2 the ancestors hand their
    /// controllers down, as far as the machine allows.
    pub(crate) fn create(&self) -> io::Result<()> {
        for (hierarchy, dir) in self.dirs() {
            make(&dir)?;
            if hierarchy.version == Version::V2 {
                delegate(&hierarchy.mount, &self.path);
            }
        }
        Ok(())
    }

    /// Moves the calling process into the group.
    pub(crate) fn join(&self) -> io::Result<()> {
        for (_, dir) in self.dirs() {
            let file = dir.join("cgroup.procs");
            fs::write(&file, "0").map_err(|e| about(&file, &e))?;
        }
        Ok(())
    }

    /// How often the kernel killed a process of this group for want of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        self.dirs()
            .filter_map(|(hierarchy, dir)| {
                let file = match hierarchy.version {
                    Version::V1 => "memory.oom_control",
                    Version::V2 => "memory.events",
                };
                counter(&fs::read_to_string(dir.join(file)).ok()?, "oom_kill")
            })
            .max()
            .unwrap_or(0)
    }

    /// Process ids in the group and the groups below it.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let mut found = Vec::new();
        for (_, dir) in self.dirs() {
            collect_processes(&dir, &mut found);
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Kills the processes in the group and the groups below it, and waits for their end.
    ///
    /// # Errors
    /// When some have not ended in time.
    pub(crate) fn kill_all(&self, patience: Duration) -> io::Result<()> {
        let deadline = Instant::now() + patience;
        // Where v2 is, the kernel does it at a stroke (Linux 5.14), however fast they fork.
        for (_, dir) in self.dirs().filter(|(h, _)| h.version == Version::V2) {
            let _ = limits::write_existing(&dir.join("cgroup.kill"), "1");
        }
        loop {
            let processes = self.processes();
            if processes.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let text = format!("processes {processes:?} do not end");
                return Err(io::Error::other(text));
            }
            for pid in processes {
                // It may have ended just now.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Removes the group and the groups below it. A group whose last process
    /// is just going away is waited for, shortly.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(1);
        let mut first_error = Ok(());
        for (_, dir) in self.dirs() {
            let removed = remove_tree(&dir, deadline);
            if first_error.is_ok() {
                first_error = removed;
            }
        }
        first_error
    }
}

fn make(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(dir).map_err(|e| about(dir, &e))
        }
        other => other.map_err(|e| about(dir, &e)),
    }
}

/// Lets each ancestor of `path` hand down the controllers that limits need.
/// What cannot be handed down shows when a limit is set.
fn delegate(mount: &Path, path: &Path) {
    let mut dir = mount.to_owned();
    for component in path.components() {
        let file = dir.join("cgroup.subtree_control");
        let enabled = fs::read_to_string(&file).unwrap_or_default();
        let available = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
        for controller in ["cpu", "memory", "pids"] {
            let has = |list: &str| list.split_whitespace().any(|word| word == controller);
            if has(&available) && !has(&enabled) {
                let _ = fs::write(&file, format!("+{controller}"));
            }
        }
        dir.push(component);
    }
}

fn counter(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.trim().parse().ok())
}

fn collect_processes(dir: &Path, found: &mut Vec<i32>) {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    for child in children(dir) {
        collect_processes(&child, found);
    }
}

fn children(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn remove_tree(dir: &Path, deadline: Instant) -> io::Result<()> {
    for child in children(dir) {
        remove_tree(&child, deadline)?;
    }
    loop {
        match fs::remove_dir(dir) {
            Err(error)
                if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => return other.map_err(|e| about(dir, &e)),
        }
    }
}

fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cgroup {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_whole_name() {
        let v1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        let v2 = "low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n";
        assert_eq!(counter(v1, "oom_kill"), Some(3));
        assert_eq!(counter(v2, "oom_kill"), Some(1));
        assert_eq!(counter("", "oom_kill"), None);
    }
}

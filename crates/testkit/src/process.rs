//! What /proc tells about processes: who they are, where they are confined, what they hold in memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A process, seen at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Process id in this machine's namespace.
    pub pid: i32,
    /// Start time in clock ticks since boot: with the pid, a process's identity. proc(5), stat field 22.
    pub start_time: u64,
    /// The words it was started with, joined by spaces.
    pub command: String,
    /// One line for each cgroup hierarchy: `4:memory:/sealane/…`.
    pub cgroups: String,
}

/// Resident memory in bytes: proc(5), smaps_rollup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All resident pages.
    pub resident_bytes: u64,
    /// Resident pages that belong to no file: what one more process of this kind costs.
    pub anonymous_bytes: u64,
    /// Resident pages, those that are shared divided among their users.
    pub proportional_bytes: u64,
}

impl Process {
    /// The process of that id, unless it is gone or a zombie.
    pub fn look(pid: i32) -> Option<Self> {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let stat = fs::read_to_string(folder.join("stat")).ok()?;
        // The name in parentheses may contain anything; fields are counted from behind it.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let is_dead = matches!(*fields.first()?, "Z" | "X");
        let start_time = fields.get(19)?.parse().ok()?;
        let words = fs::read(folder.join("cmdline")).ok()?;
        let command = String::from_utf8_lossy(&words)
            .replace('\0', " ")
            .trim()
            .to_owned();
        let cgroups = fs::read_to_string(folder.join("cgroup")).unwrap_or_default();
        (!is_dead).then_some(Self {
            pid,
            start_time,
            command,
            cgroups,
        })
    }

    /// Every process of this machine.
    pub fn all() -> Vec<Self> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter_map(Self::look).collect()
    }

    /// Whether this very process, and not a later one with its id, still runs.
    pub fn runs(&self) -> bool {
        Self::look(self.pid).is_some_and(|now| now.start_time == self.start_time)
    }

    /// The file that it runs, as far as it may be known.
    pub fn program(&self) -> Option<PathBuf> {
        fs::read_link(format!("/proc/{}/exe", self.pid)).ok()
    }

    /// Its cgroup below a top one, in the first hierarchy that has it.
    pub fn cgroup(&self, top: &str) -> Option<String> {
        let paths = self
            .cgroups
            .lines()
            .filter_map(|line| line.splitn(3, ':').nth(2));
        paths
            .into_iter()
            .find(|path| path.starts_with(&format!("/{top}/")))
            .map(str::to_owned)
    }

    /// The process that it was started by, or that has adopted it.
    pub fn parent(&self) -> Option<i32> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
        line.trim().parse().ok()
    }

    /// What it holds in memory, or None when it is gone.
    pub fn memory(&self) -> Option<Memory> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid)).ok()?;
        let bytes = |key: &str| field_kib(&text, key).map(|kib| kib * 1024);
        Some(Memory {
            resident_bytes: bytes("Rss:")?,
            anonymous_bytes: bytes("Anonymous:")?,
            proportional_bytes: bytes("Pss:")?,
        })
    }

    /// What it has used of a processor since its start, or None when it is gone. Threads that have
    /// ended do not count. Documentation/scheduler/sched-stats.rst, `/proc/PID/task/TID/schedstat`.
    pub fn processor_time(&self) -> Option<Duration> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid)).ok()?;
        let spent = |thread: fs::DirEntry| {
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        };
        let nanoseconds: u64 = threads.flatten().filter_map(spent).sum();
        Some(Duration::from_nanos(nanoseconds))
    }

    /// Ends it at once, as the kernel's out-of-memory killer or an impatient operator would.
    ///
    /// # Panics
    /// When it may not be signalled.
    #[track_caller]
    pub fn kill9(&self) {
        assert!(self.pid > 1, "refusing to kill process {}", self.pid);
        if !self.runs() {
            return;
        }
        let pid = nix::unistd::Pid::from_raw(self.pid);
        match nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
            Err(error) => panic!("kill -9 {} ({}): {error}", self.pid, self.command),
        }
    }
}

fn field_kib(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Where the controllers of cgroup v1 and the hierarchy of v2 are mounted on this machine.
pub fn cgroup_mounts() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found: Vec<PathBuf> = mounts
        .lines()
        .filter(|line| line.contains(" - cgroup ") || line.contains(" - cgroup2 "))
        .filter_map(|line| {
            line.split(' ')
                .nth(4)
                .map(|path| Path::new(path).to_owned())
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_sees_itself() {
        let this = Process::look(std::process::id().cast_signed()).unwrap();
        assert!(this.runs() && this.start_time > 0);
        assert!(Process::all().contains(&this));
        let memory = this.memory().unwrap();
        assert!(memory.resident_bytes >= memory.anonymous_bytes && memory.anonymous_bytes > 0);
    }

    #[test]
    fn another_process_with_the_same_id_is_not_the_same() {
        let this = Process::look(std::process::id().cast_signed()).unwrap();
        let earlier = Process {
            start_time: this.start_time - 1,
            ..this
        };
        assert!(!earlier.runs());
    }
}

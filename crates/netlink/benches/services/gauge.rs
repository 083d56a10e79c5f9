//! Clocks and scales.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// What was measured, with its unit in its name.
pub struct Figure {
    pub what: String,
    pub value: f64,
}

/// Tells the process that compares.
pub fn tell(what: &str, value: f64) {
    println!("{what}\t{value}");
}

impl Figure {
    pub fn read(line: &str) -> Option<Self> {
        let (what, value) = line.split_once('\t')?;
        let (what, value) = (what.into(), value.parse().ok()?);
        Some(Self { what, value })
    }
}

/// By the clock on the wall, and what the processor spent on this thread, in the kernel too.
#[derive(Clone, Copy, Default)]
pub struct Took {
    pub wall: Duration,
    pub processor: Duration,
}

impl Took {
    pub fn of<T>(work: impl FnOnce() -> T) -> (Self, T) {
        let (begun, spent) = (Instant::now(), processor());
        let kept = work();
        let took = Self {
            wall: begun.elapsed(),
            processor: processor() - spent,
        };
        (took, kept)
    }

    pub fn add(&mut self, other: Self) {
        self.wall += other.wall;
        self.processor += other.processor;
    }
}

fn processor() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .unwrap()
        .into()
}

/// Puts this process before others that want a processor.
pub fn before_others() {
    // SAFETY: takes and gives numbers; 0 is this process. A machine that does not let us is only less quiet.
    unsafe { nix::libc::setpriority(nix::libc::PRIO_PROCESS, 0, -5) };
}

pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The smallest of these that at least that share of all does not exceed, in microseconds.
pub fn quantile_us(times: &[Duration], share: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.max(1) - 1].as_secs_f64() * 1e6
}

/// `VmRSS` or `VmHWM` of this process.
pub fn memory_mb(line: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find_map(|l| l.strip_prefix(line)).unwrap();
    let kib: f64 = found.split_whitespace().next().unwrap().parse().unwrap();
    kib * 1024.0 / 1e6
}

pub fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    load.split(' ').next().unwrap().into()
}

/// A memory cgroup, to which the kernel charges what it holds for its processes.
pub struct Group(PathBuf);

impl Group {
    /// Where the process that measures finds the one that is meant for it.
    pub const VARIABLE: &str = "SEALANE_BENCH_CGROUP";

    pub fn new() -> Self {
        let root = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"];
        let root = root.into_iter().map(Path::new).find(|p| p.exists());
        let name = format!("sl-bench-{}", std::process::id());
        let group = Self(root.unwrap_or(Path::new("/")).join(name));
        // Without one there is no figure of the kernel's memory.
        let _ = fs::create_dir(&group.0);
        group
    }

    pub fn name(&self) -> &Path {
        &self.0
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// What the kernel holds for this process and its children, from when it was first asked.
pub struct Kernel(Option<PathBuf>, f64);

impl Kernel {
    pub fn new() -> Self {
        let group = std::env::var_os(Group::VARIABLE).map(PathBuf::from);
        let group = group.filter(|g| fs::write(g.join("cgroup.procs"), "0").is_ok());
        let mut kernel = Self(group, 0.0);
        kernel.1 = kernel.now_mb().unwrap_or_default();
        kernel
    }

    pub fn tell(&self, what: &str) {
        if let Some(now) = self.now_mb() {
            tell(what, now - self.1);
        }
    }

    /// Of version 1 and of version 2 of cgroups.
    fn now_mb(&self) -> Option<f64> {
        let group = self.0.as_ref()?;
        let read = |name| fs::read_to_string(group.join(name)).ok();
        let bytes = read("memory.kmem.usage_in_bytes").or_else(|| {
            let stat = read("memory.stat")?;
            stat.lines()
                .find_map(|l| l.strip_prefix("kernel ").map(str::to_owned))
        });
        Some(bytes?.trim().parse::<f64>().ok()? / 1e6)
    }
}

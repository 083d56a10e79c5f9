//! Limits as files of a cgroup.

use std::fs;
use std::io;
use std::path::Path;

use super::{Cgroup, Hierarchy, Version, about};
use crate::spec::Limits;

/// Length of an enforcement period, as the kubelet sets it.
const PERIOD_US: u64 = 100_000;
/// The kernel refuses smaller quotas.
const MIN_QUOTA_US: u64 = 1_000;

/// One file to write: its controller, name and content.
type Setting = (&'static str, &'static str, String);

impl Cgroup<'_> {
    /// Sets the limits that are given.
    ///
    /// # Errors
    /// When a limit was asked for that no hierarchy of this machine can
    /// enforce: a container must not run without a limit that was promised.
    pub(crate) fn limit(&self, limits: &Limits) -> io::Result<()> {
        let mut missing = wanted(limits);
        for (hierarchy, dir) in self.dirs() {
            for (controller, file, value) in settings(limits, hierarchy.version) {
                if has(hierarchy, &dir, controller) {
                    write(&dir.join(file), &value)?;
                    missing.retain(|name| *name != controller);
                }
            }
            limit_swap(&dir, limits);
        }
        match missing.first() {
            None => Ok(()),
            Some(controller) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("no cgroup hierarchy of this machine offers the {controller} controller"),
            )),
        }
    }

    /// Out of memory kills the whole container, as under the kubelet: half a
    /// container serves nobody. v1 knows no such thing.
    pub(crate) fn kill_as_one(&self) {
        for (_, dir) in self.dirs() {
            let _ = write_existing(&dir.join("memory.oom.group"), "1");
        }
    }
}

/// The controllers that the limits need.
fn wanted(limits: &Limits) -> Vec<&'static str> {
    let cpu = limits.cpu_millis.or(limits.cpu_shares_millis);
    [
        ("memory", limits.memory_bytes),
        ("cpu", cpu),
        ("pids", limits.pids),
    ]
    .into_iter()
    .filter(|(_, limit)| limit.is_some())
    .map(|(name, _)| name)
    .collect()
}

fn settings(limits: &Limits, version: Version) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let Some(bytes) = limits.memory_bytes {
        settings.push(match version {
            Version::V1 => ("memory", "memory.limit_in_bytes", bytes.to_string()),
            Version::V2 => ("memory", "memory.max", bytes.to_string()),
        });
    }
    if let Some(millis) = limits.cpu_millis {
        let quota = (millis * PERIOD_US / 1000).max(MIN_QUOTA_US);
        match version {
            Version::V1 => {
                settings.push(("cpu", "cpu.cfs_period_us", PERIOD_US.to_string()));
                settings.push(("cpu", "cpu.cfs_quota_us", quota.to_string()));
            }
            Version::V2 => settings.push(("cpu", "cpu.max", format!("{quota} {PERIOD_US}"))),
        }
    }
    if let Some(millis) = limits.cpu_shares_millis {
        let shares = (millis * 1024 / 1000).clamp(2, 262_144);
        settings.push(match version {
            Version::V1 => ("cpu", "cpu.shares", shares.to_string()),
            Version::V2 => ("cpu", "cpu.weight", weight(shares).to_string()),
        });
    }
    if let Some(pids) = limits.pids {
        settings.push(("pids", "pids.max", pids.to_string()));
    }
    settings
}

/// Shares of v1 (2 to 262144) as a weight of v2 (1 to 10000), by the formula that
/// the OCI runtimes have had since 2025: a quadratic of the logarithms through both
/// ends and through the defaults, 1024 and 100. The straight line before it (KEP-2254)
/// made a container's 1 CPU a weight of 39, less than that of everything beside the pods.
fn weight(shares: u64) -> u64 {
    match shares {
        ..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10f64.powf(exponent).ceil() as u64
        }
    }
}

fn has(hierarchy: &Hierarchy, dir: &Path, controller: &str) -> bool {
    match hierarchy.version {
        Version::V1 => hierarchy.controllers.iter().any(|name| name == controller),
        Version::V2 => fs::read_to_string(dir.join("cgroup.controllers"))
            .is_ok_and(|list| list.split_whitespace().any(|name| name == controller)),
    }
}

/// A memory limit means memory, not memory plus as much swap as there is.
/// Kernels without swap accounting lack the files.
fn limit_swap(dir: &Path, limits: &Limits) {
    if let Some(bytes) = limits.memory_bytes {
        let _ = write_existing(&dir.join("memory.memsw.limit_in_bytes"), &bytes.to_string());
        let _ = write_existing(&dir.join("memory.swap.max"), "0");
    }
}

fn write(file: &Path, value: &str) -> io::Result<()> {
    write_existing(file, value).map_err(|e| about(file, &e))
}

pub(super) fn write_existing(file: &Path, value: &str) -> io::Result<()> {
    use std::io::Write;
    fs::OpenOptions::new()
        .write(true)
        .open(file)?
        .write_all(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            memory_bytes: Some(64 << 20),
            cpu_millis: Some(250),
            cpu_shares_millis: Some(100),
            pids: Some(20),
        }
    }

    fn texts(version: Version) -> Vec<String> {
        settings(&limits(), version)
            .iter()
            .map(|(_, file, value)| format!("{file} {value}"))
            .collect()
    }

    #[test]
    fn v1_files() {
        assert_eq!(
            texts(Version::V1),
            [
                "memory.limit_in_bytes 67108864",
                "cpu.cfs_period_us 100000",
                "cpu.cfs_quota_us 25000",
                "cpu.shares 102",
                "pids.max 20",
            ]
        );
    }

    #[test]
    fn v2_files() {
        assert_eq!(
            texts(Version::V2),
            [
                "memory.max 67108864",
                "cpu.max 25000 100000",
                "cpu.weight 17",
                "pids.max 20"
            ]
        );
    }

    #[test]
    fn weights_span_the_range() {
        assert_eq!(weight(2), 1);
        assert_eq!(weight(1024), 100);
        assert_eq!(weight(512), 59);
        assert_eq!(weight(262_144), 10_000);
    }

    #[test]
    fn a_limit_that_nothing_enforces_is_an_error() {
        let error = Cgroup::new(&[], "x".into())
            .limit(&limits())
            .expect_err("no hierarchy");
        assert_eq!(
            error.to_string(),
            "no cgroup hierarchy of this machine offers the memory controller"
        );
    }
}

//! Edge: facts about the machine under a node.

use std::fs;
use std::path::Path;

use k8s_openapi::api::core::v1::NodeSystemInfo;
use sealane_objects::Resources;

use crate::node_status::{Facts, kubelet_version, runtime_version};
use crate::options::Options;

/// What a node shows of its machine.
pub fn facts(options: &Options) -> Facts {
    Facts {
        name: options.node_name.clone(),
        ips: options.node_ip.clone(),
        port: options.port,
        capacity: capacity(options),
        system: system(),
    }
}

/// What the node declares: the machine's, unless it is told less.
fn capacity(options: &Options) -> Resources {
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
    let memory = memory_bytes(&read("/proc/meminfo")).unwrap_or(0);
    Resources {
        cpu_millis: options.cpu.unwrap_or(cpus * 1000),
        memory_bytes: options.memory.unwrap_or(memory),
        storage_bytes: storage_bytes(&options.state_dir),
        ..Resources::default()
    }
}

/// Size of the file system on which pods' files are.
fn storage_bytes(dir: &Path) -> u64 {
    // The folder may not be made yet; what is above it is.
    let mut above = dir.ancestors();
    let found = above.find_map(|dir| nix::sys::statvfs::statvfs(dir).ok());
    found.map_or(0, |fs| fs.blocks() * fs.fragment_size())
}

fn system() -> NodeSystemInfo {
    NodeSystemInfo {
        architecture: architecture(std::env::consts::ARCH).to_owned(),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        container_runtime_version: runtime_version(),
        kernel_version: read("/proc/sys/kernel/osrelease"),
        kube_proxy_version: String::new(),
        kubelet_version: kubelet_version(),
        machine_id: read("/etc/machine-id"),
        operating_system: std::env::consts::OS.to_owned(),
        os_image: os_image(&read("/etc/os-release")).unwrap_or_else(|| "Linux".to_owned()),
        system_uuid: read("/etc/machine-id"),
        ..NodeSystemInfo::default()
    }
}

/// A small file's text without the last newline; empty where there is none.
fn read(path: &str) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim_end()
        .to_owned()
}

/// Go's name of an architecture, which is what Kubernetes uses.
fn architecture(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

/// `MemTotal` of proc_meminfo(5).
fn memory_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// `PRETTY_NAME` of os-release(5).
fn os_image(os_release: &str) -> Option<String> {
    let value = os_release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(value.trim_matches(['"', '\'']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_machine_are_read() {
        let meminfo = "MemTotal:       16393216 kB\nMemFree: 1 kB\n";
        assert_eq!(memory_bytes(meminfo), Some(16_393_216 * 1024));
        assert_eq!(memory_bytes(""), None);
        let release = "NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
        assert_eq!(
            os_image(release).as_deref(),
            Some("Debian GNU/Linux 12 (bookworm)")
        );
        assert_eq!(architecture("x86_64"), "amd64");
        assert!(!system().kernel_version.is_empty());
    }
}

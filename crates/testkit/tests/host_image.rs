//! The image that is this machine's root file system shows a root pod no private key, no state
//! directory and no home.
//!
//! Files with a mark of their own are planted where secrets lie, readable by root only; then the whole
//! tree is walked from inside the pod for the mark, for the names, and for anything that is a private key.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sealane_testkit::topology::unique;
use sealane_testkit::{Container, Pod, Shared};

/// Files that carry a mark, removed on drop.
struct Planted {
    mark: String,
    files: Vec<PathBuf>,
}

impl Planted {
    fn new() -> Self {
        let mut planted = Self {
            mark: format!("mark-{}", unique()),
            files: Vec::new(),
        };
        planted.plant(Path::new("/root"), "note");
        planted.plant(Path::new("/home"), "note");
        planted.plant(Path::new("/etc"), "server.key");
        planted.plant(Path::new("/etc"), "no-telling-name");
        planted.plant(Path::new("/run"), "secret");
        planted
    }

    /// A file that looks like a key, from its name or from what is in it.
    fn plant(&mut self, folder: &Path, name: &str) {
        use std::io::Write;
        if !folder.is_dir() {
            return;
        }
        let path = folder.join(format!("{}-{name}", self.mark));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .unwrap();
        self.files.push(path);
        let kind = "PRIVATE KEY";
        writeln!(
            file,
            "-----BEGIN {kind}-----\n{}\n-----END {kind}-----",
            self.mark
        )
        .unwrap();
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        for path in &self.files {
            if let Err(error) = fs::remove_file(path) {
                eprintln!("remove {}: {error}", path.display());
            }
        }
    }
}

#[test]
fn a_root_pod_sees_no_secret_of_this_machine() {
    let planted = Planted::new();
    let cluster = Shared::cluster();
    cluster.start(&[Pod::idle("looks-around")]);
    let see = |script: &str| cluster.exec("looks-around", ["sh", "-c", script]);
    assert_eq!(see("id -u").ok().trim(), "0", "a root pod");

    let mark = &planted.mark;
    // Pseudo file systems hold no files of this machine, and some of them never end.
    let walk =
        "find / -xdev -path /proc -prune -o -path /sys -prune -o -path /dev -prune -o -type f";
    let named = see(&format!("{walk} -name '*{mark}*' -print")).ok();
    assert_eq!(named, "", "no planted file is listed");
    let marked = see(&format!(
        "{walk} -size -64k -newer /etc/hostname -print0 | xargs -0 -r grep -l -s {mark}"
    ))
    .stdout;
    assert_eq!(marked, "", "no planted file can be read");

    let keys = see("grep -r -l -s -I --exclude-dir=proc --exclude-dir=sys -e '^-----BEGIN [A-Z ]*PRIVATE KEY-----' /etc /var /opt /srv /root /home /run /tmp").stdout;
    assert_eq!(keys, "", "no private key can be read");
    let shadow = see("cat /etc/shadow /etc/gshadow /etc/ssh/ssh_host_*_key").stdout;
    assert_eq!(shadow, "", "no password hash or host key can be read");

    let state = cluster.state_dir();
    for folder in [
        "/root",
        "/home",
        "/run/sealane",
        "/var/lib/sealane",
        "/run/netns",
        state.to_str().unwrap(),
    ] {
        let listed = see(&format!("ls -A {folder} 2>/dev/null")).stdout;
        assert_eq!(listed.trim(), "", "{folder} is empty or absent");
    }
    let sockets = see("find / -xdev -type s 2>/dev/null").stdout;
    assert_eq!(sockets, "", "no socket of this machine is reachable");
}

#[test]
fn a_pod_writes_to_a_layer_of_its_own() {
    let cluster = Shared::cluster();
    let name = unique();
    let write = format!(
        "echo x > /etc/{name} && echo x > /usr/{name} && echo x > /{name} && sleep infinity"
    );
    cluster.start(&[Pod::of(
        "writes",
        [
            Container::shell("main", &write),
            Container::host("other", ["sleep", "infinity"]),
        ],
    )]);
    for path in [
        format!("/etc/{name}"),
        format!("/usr/{name}"),
        format!("/{name}"),
    ] {
        cluster
            .kubectl(["exec", "writes", "-c", "main", "--", "test", "-e", &path])
            .ok();
        cluster
            .kubectl(["exec", "writes", "-c", "other", "--", "test", "-e", &path])
            .fails();
        assert!(!Path::new(&path).exists(), "{path} is not on this machine");
    }
    // Processes and mounts of this machine stay out of sight too.
    let processes = cluster
        .exec("writes", ["sh", "-c", "ls /proc | grep -c '^[0-9]'"])
        .ok();
    assert!(processes.trim().parse::<u32>().unwrap() < 10, "{processes}");
    let mounts = cluster.exec("writes", ["cat", "/proc/self/mountinfo"]).ok();
    assert!(!mounts.contains("/run/netns"), "{mounts}");
}

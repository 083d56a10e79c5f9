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
        let kind = "PRIVATE KEY";
        let key = format!(
            "-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n",
            planted.mark
        );
        for (folder, name) in [
            ("/root", "note"),
            ("/home", "note"),
            ("/run", "secret"),
            ("/etc", "server.key"),
            ("/etc/ssl/private", "server.pem"),
            ("/etc", "without-a-telling-name"),
            ("/var/lib", "without-a-telling-name"),
        ] {
            planted.plant(folder, name, 0o600, &key);
        }
        // What is no secret must be seen, or the walk proves nothing.
        let open = planted.mark.clone();
        planted.plant("/etc", "open", 0o644, &open);
        planted
    }

    fn plant(&mut self, folder: &str, name: &str, mode: u32, text: &str) {
        use std::io::Write;
        if !Path::new(folder).is_dir() {
            return;
        }
        let path = Path::new(folder).join(format!("{}-{name}", self.mark));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)
            .unwrap();
        self.files.push(path);
        file.write_all(text.as_bytes()).unwrap();
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
    assert_eq!(see("id -u").succeeds().trim(), "0", "a root pod");

    // Pseudo file systems hold no files of this machine, and some of them never end.
    let walk = r"find / \( -path /proc -o -path /sys -o -path /dev \) -prune -o -type f";
    let mark = &planted.mark;
    let open = format!("/etc/{mark}-open\n");
    let named = see(&format!("{walk} -name '*{mark}*' -print")).succeeds();
    assert_eq!(
        named, open,
        "of the planted files only the open one is listed"
    );
    let marked = see(&format!(
        "{walk} -size -64k -newer /etc/passwd -print0 | xargs -0 -r grep -l -s {mark}"
    ))
    .stdout;
    assert_eq!(
        marked, open,
        "of the planted files only the open one can be read"
    );

    let places = "/etc /var /opt /srv /root /home /run /tmp";
    let keys = see(&format!(
        "grep -r -l -s -I -e '^-----BEGIN [A-Z ]*PRIVATE KEY-----' {places}"
    ))
    .stdout;
    assert_eq!(keys, "", "no private key can be read");
    let hashes = see("cat /etc/shadow /etc/gshadow /etc/ssh/ssh_host_*_key").stdout;
    assert_eq!(hashes, "", "no password hash or host key can be read");

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
    let sockets = see(&walk.replace("-type f", "-type s -print")).stdout;
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
            .succeeds();
        cluster
            .kubectl(["exec", "writes", "-c", "other", "--", "test", "-e", &path])
            .fails();
        assert!(!Path::new(&path).exists(), "{path} is not on this machine");
    }
    // Processes and mounts of this machine stay out of sight too.
    let processes = cluster
        .exec("writes", ["sh", "-c", "ls /proc | grep -c '^[0-9]'"])
        .succeeds();
    assert!(processes.trim().parse::<u32>().unwrap() < 10, "{processes}");
    let mounts = cluster
        .exec("writes", ["cat", "/proc/self/mountinfo"])
        .succeeds();
    assert!(!mounts.contains("/run/netns"), "{mounts}");
}

//! The commands of the README do what it says.
//!
//! They are taken from the page and run by a shell as they stand there. Only `sealane` and `kubectl` are
//! stood in for by scripts that add this test's cluster name and take the binaries under test, so that a
//! reader's own cluster is left alone.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use sealane_testkit::{Cluster, Folder, UpOptions, binary, command, kubectl};

/// The first block of commands of the page that has a line beginning with these words.
fn block_with(page: &str, words: &str) -> String {
    let blocks = page
        .split("```sh\n")
        .skip(1)
        .filter_map(|rest| rest.split("\n```").next());
    let found = blocks
        .into_iter()
        .find(|block| block.lines().any(|line| line.starts_with(words)));
    found
        .unwrap_or_else(|| panic!("README.md has no block with `{words}`"))
        .to_owned()
}

fn script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A folder for PATH with the stand-ins.
fn stand_ins(cluster: &Cluster) -> Folder {
    let folder = Folder::new();
    let (binary, name) = (binary::path(), cluster.name());
    let first = r#"command=$1; shift; [ "$command" = up ] && set -- --no-internet "$@""#;
    let sealane = format!(
        "{first}
exec {} \"$command\" --name {name} \"$@\"",
        binary.display()
    );
    script(&folder.path().join("sealane"), &sealane);
    let kubectl = format!(
        "KUBECACHEDIR={} exec {} \"$@\"",
        folder.join("cache"),
        kubectl::path().display()
    );
    script(&folder.path().join("kubectl"), &kubectl);
    folder
}

#[test]
fn the_commands_by_hand_work_as_they_stand_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(root.join("README.md")).unwrap();
    let commands = block_with(&page, "sealane up");
    let typed: Vec<&str> = commands
        .lines()
        .filter(|line| !line.starts_with("make "))
        .collect();

    let cluster = Cluster::claim(UpOptions::default());
    let folder = stand_ins(&cluster);
    let path = format!(
        "{}:{}",
        folder.path().display(),
        std::env::var("PATH").unwrap()
    );
    let mut shell = Command::new("sh");
    shell
        .args(["-e", "-x", "-c", &typed.join("\n")])
        .current_dir(&root)
        .env("PATH", path)
        .env_remove("KUBECONFIG");
    let done = command::finish(shell);
    let text = format!("{done}");
    let output = done.succeeds();
    for wanted in [
        "node-1",
        "node-2",
        "pod/pod-a",
        "pod/pod-b",
        "pod \"pod-a\" deleted",
    ] {
        assert!(output.contains(wanted), "{wanted} is shown: {text}");
    }
    cluster.down();
}

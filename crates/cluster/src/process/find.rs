//! Processes of a cluster that no pid file and no cgroup tells of.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::Identity;

/// All process ids of this machine.
fn all() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The processes that some process of the set has started, directly or not.
/// What a dead parent left behind has gone to init and is not among them.
pub fn descendants(ancestors: &BTreeSet<i32>) -> BTreeSet<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for pid in all() {
        if let Some(parent) = parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = BTreeSet::new();
    let mut open: Vec<i32> = ancestors.iter().copied().collect();
    while let Some(pid) = open.pop() {
        for &child in children.get(&pid).into_iter().flatten() {
            if found.insert(child) {
                open.push(child);
            }
        }
    }
    found
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

/// Our own processes in a network namespace. Somebody else's, such as a person's
/// shell, is not ours to end.
pub fn in_netns(path: &Path) -> BTreeSet<i32> {
    let Ok(netns) = fs::metadata(path) else {
        return BTreeSet::new();
    };
    let inside = |pid: &i32| {
        fs::metadata(format!("/proc/{pid}/ns/net"))
            .is_ok_and(|other| (other.dev(), other.ino()) == (netns.dev(), netns.ino()))
    };
    all().filter(inside).filter(|pid| is_ours(*pid)).collect()
}

/// Whether a process runs this program, or a version of it that has been replaced.
fn is_ours(pid: i32) -> bool {
    let Ok(exe) = fs::read_link(format!("/proc/{pid}/exe")) else {
        return false;
    };
    let name = exe
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let own = std::env::current_exe().ok();
    own.is_some_and(|own| own == exe)
        || name.strip_suffix(" (deleted)").unwrap_or(name) == "sealane"
}

/// The processes that listen on the sockets of a directory.
pub fn holders_of_sockets(directory: &Path) -> BTreeSet<i32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| holder(&entry.path())).collect()
}

fn holder(socket: &Path) -> Option<i32> {
    let stream = UnixStream::connect(socket).ok()?;
    let pid = getsockopt(&stream, PeerCredentials).ok()?.pid();
    Identity::of(pid).map(|identity| identity.pid)
}

/// Processes whose command line begins with these words, after the program.
pub fn called_with(words: &[&str]) -> BTreeSet<i32> {
    all()
        .filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut typed = line.split(|byte| *byte == 0).skip(1);
            words
                .iter()
                .all(|word| typed.next() == Some(word.as_bytes()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn grandchildren_are_found() {
        let mut shell = Command::new("sh")
            .args(["-c", "sleep 60 & echo $!; wait"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = std::io::BufReader::new(shell.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
        let grandchild: i32 = line.trim().parse().unwrap();
        let me = i32::try_from(std::process::id()).unwrap();
        let found = descendants(&BTreeSet::from([me]));
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(grandchild),
            nix::sys::signal::SIGKILL,
        )
        .unwrap();
        shell.wait().unwrap();
        assert!(
            found.contains(&grandchild) && !found.contains(&me),
            "{found:?}"
        );
    }

    #[test]
    fn whoever_listens_on_a_socket_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let _listener = UnixListener::bind(dir.path().join("pod.sock")).unwrap();
        drop(UnixListener::bind(dir.path().join("stale.sock")).unwrap());
        let me = i32::try_from(std::process::id()).unwrap();
        assert_eq!(holders_of_sockets(dir.path()), BTreeSet::from([me]));
    }
}

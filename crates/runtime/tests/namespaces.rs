//! Namespaces that are shared: among a pod's containers, or with this machine.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod pod;

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use pod::{Pod, is_alive, kill, shell, until};
use sealane_runtime::{Capabilities, ContainerSpec, Limits, Mount, Propagation, reset};

/// The names of the processes that a container sees.
const PROCESSES: &str = "cat /proc/[0-9]*/comm | sort";

#[tokio::test]
async fn containers_may_share_their_processes() {
    let mut pod = Pod::with(|spec| spec.share_processes = true).await;
    pod.start(&shell("a", "exec sleep infinity")).await;
    let (_, seen) = pod.exec("a", &["sh", "-c", PROCESSES]).await;
    for name in ["pause", "sleep", "sh"] {
        assert!(seen.lines().any(|line| line == name), "{name} in {seen}");
    }
    let b = pod.script(PROCESSES).await;
    assert!(
        b.contains("sleep\n") && b.starts_with("cat\npause\n"),
        "{b}"
    );
    // One container may signal another's processes, as the users of this want it.
    let script = "pkill -KILL sleep; while pgrep sleep > /dev/null; do :; done";
    pod.script(script).await;
    let deadline = std::time::Instant::now() + pod::PATIENCE;
    let ended = async || {
        pod.shim
            .state()
            .await
            .unwrap()
            .latest("a")
            .unwrap()
            .exit
            .clone()
    };
    while ended().await.is_none() {
        assert!(std::time::Instant::now() < deadline, "it does not end");
    }
    assert_eq!(ended().await.unwrap().signal, Some(9));
}

#[tokio::test]
async fn a_container_ends_with_its_first_process_also_among_others() {
    let mut pod = Pod::with(|spec| spec.share_processes = true).await;
    pod.start(&shell("stays", "exec sleep infinity")).await;
    // The pipe that the child keeps open must not keep the container.
    let script = "setsid sleep 1000 & echo started; exit 3";
    let exit = pod.run(&shell("c", script)).await;
    assert_eq!((exit.code, pod.log("c", 0)), (3, "started\n".to_owned()));
    let (_, seen) = pod.exec("stays", &["sh", "-c", PROCESSES]).await;
    assert_eq!(seen.matches("sleep").count(), 1, "{seen}");
    assert!(pod::cgroup_dirs(&pod.spec.cgroup.join("c")).is_empty());
    // The shim goes, and with it all of them.
    let stays = pod.shim.state().await.unwrap().latest("stays").unwrap().pid;
    kill(pod.shim.pid());
    until("the container is gone", || !is_alive(stays)).await;
}

#[tokio::test]
async fn the_first_process_that_is_shared_leads_nowhere() {
    let mut pod = Pod::with(|spec| spec.share_processes = true).await;
    let spec = ContainerSpec {
        capabilities: Capabilities {
            add: pod::words(&["SYS_PTRACE"]),
            drop: Vec::new(),
        },
        ..shell(
            "c",
            "ls /proc/1/root/ | wc -l; ls /proc/1/fd | wc -l; grep CapEff /proc/1/status",
        )
    };
    pod.run(&spec).await;
    assert_eq!(pod.log("c", 0), "0\n0\nCapEff:\t0000000000000000\n");
}

#[tokio::test]
async fn a_signal_that_the_first_process_ignores_is_waited_out() {
    // In a namespace of its own `sleep` is process 1, which has no default actions.
    let mut alone = Pod::new().await;
    alone.start(&shell("c", "exec sleep infinity")).await;
    alone.shim.signal("c", libc::SIGTERM).await.unwrap();
    // An answer to a later request: the signal has been dealt with.
    assert_eq!(
        alone.exec("c", &["cat", "/proc/1/comm"]).await,
        (0, "sleep\n".to_owned())
    );
    alone
        .start(&shell(
            "d",
            "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done",
        ))
        .await;
    alone.wait_for_log("d", "ready").await;
    alone.shim.signal("d", libc::SIGTERM).await.unwrap();
    assert_eq!(
        alone.exit("d", 0).await.code,
        7,
        "one that handles it is heard"
    );
    let mut shared = Pod::with(|spec| spec.share_processes = true).await;
    shared.start(&shell("c", "exec sleep infinity")).await;
    shared.shim.signal("c", libc::SIGTERM).await.unwrap();
    assert_eq!(shared.exit("c", 0).await.signal, Some(15));
}

#[tokio::test]
async fn this_machines_processes_may_be_shared() {
    let mut pod = Pod::with(|spec| spec.host_pid = true).await;
    let own = std::process::id();
    let seen = pod
        .script(&format!("[ -d /proc/{own} ] && [ $$ -gt 1 ] && echo seen"))
        .await;
    assert_eq!(seen, "seen\n");
    pod.run(&shell("leaves", "setsid sleep 1000 & echo $!"))
        .await;
    let left: u32 = pod.log("leaves", 0).trim().parse().unwrap();
    assert!(!is_alive(left), "a container ends with its first process");
    let (code, pid) = {
        pod.start(&shell("c", "exec sleep infinity")).await;
        pod.exec("c", &["sh", "-c", "echo $PPID"]).await
    };
    assert_eq!((code, pid.trim()), (0, pod.shim.pid().to_string().as_str()));
    let inside = pod.shim.state().await.unwrap().latest("c").unwrap().pid;
    // Here the kernel does not end it with the shim; who takes the pod down does.
    kill(pod.shim.pid());
    until("the shim is gone", || !is_alive(pod.shim.pid())).await;
    reset(&pod.spec).unwrap();
    assert!(!is_alive(inside));
}

#[tokio::test]
async fn this_machines_shared_memory_may_be_shared() {
    let name = format!("sealane-test-{}", std::process::id());
    let file = Path::new("/dev/shm").join(&name);
    let mut pod = Pod::with(|spec| spec.host_ipc = true).await;
    let log = pod
        .script(&format!(
            "echo from inside > /dev/shm/{name}; readlink /proc/self/ns/ipc"
        ))
        .await;
    let text = fs::read_to_string(&file);
    fs::remove_file(&file).unwrap();
    assert_eq!(text.unwrap(), "from inside\n");
    let own = fs::read_link("/proc/self/ns/ipc").unwrap();
    assert_eq!(log.trim(), own.to_str().unwrap());
}

#[tokio::test]
async fn limits_hold_for_all_containers_together() {
    let limits = Limits {
        pids: Some(20),
        memory_bytes: Some(64 << 20),
        ..Limits::default()
    };
    let mut pod = Pod::with(|spec| spec.limits = limits).await;
    let script = "for i in $(seq 30); do sleep 100 & done 2>/dev/null; echo done; jobs | wc -l";
    pod.run(&shell("forks", script)).await;
    let count: u32 = pod
        .log("forks", 0)
        .lines()
        .last()
        .unwrap_or("0")
        .parse()
        .unwrap_or(0);
    assert!(count < 20, "{}", pod.log("forks", 0));
    let exit = pod.run(&shell("eats", "exec tail /dev/zero")).await;
    assert_eq!((exit.code, exit.oom), (137, true));
}

/// A shared mount of this machine, for one test.
struct Shared(PathBuf);

impl Shared {
    fn at(path: PathBuf) -> Self {
        mount_tmpfs(&path).unwrap();
        let shared = Self(path);
        let none = None::<&str>;
        mount(none, &shared.0, none, MsFlags::MS_SHARED, none).unwrap();
        shared
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        while umount2(&self.0.join("later"), MntFlags::MNT_DETACH).is_ok() {}
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

fn mount_tmpfs(path: &Path) -> nix::Result<()> {
    let tmpfs = Some("tmpfs");
    mount(tmpfs, path, tmpfs, MsFlags::empty(), Some("size=64k"))
}

fn follows(name: &str, source: &Path, propagation: Propagation, script: &str) -> ContainerSpec {
    ContainerSpec {
        privileged: propagation == Propagation::Both,
        mounts: vec![Mount {
            source: source.to_owned(),
            target: "/data".into(),
            propagation,
            ..Mount::default()
        }],
        ..shell(name, script)
    }
}

#[tokio::test]
async fn mounts_may_follow_this_machines() {
    let mut pod = Pod::with(|spec| spec.host_mounts = true).await;
    let shared = Shared::at(pod.outside("shared"));
    let later = shared.0.join("later");
    fs::create_dir(&later).unwrap();
    // What `both` mounts covers the file for `from` too, which therefore has to see it before.
    for (name, file, propagation) in [
        ("from", "file", Propagation::FromHost),
        ("both", "go", Propagation::Both),
    ] {
        let wait = format!(
            "until [ -e /data/later/{file} ]; do sleep 0.01; done; mount -t tmpfs x /data/later; echo seen; exec sleep infinity"
        );
        pod.start(&follows(name, &shared.0, propagation, &wait))
            .await;
    }
    pod.start(&follows(
        "none",
        &shared.0,
        Propagation::None,
        "exec sleep infinity",
    ))
    .await;
    mount_tmpfs(&later).unwrap();
    fs::write(later.join("file"), "").unwrap();
    pod.wait_for_log("from", "seen").await;
    fs::write(later.join("go"), "").unwrap();
    pod.wait_for_log("both", "seen").await;
    let (code, _) = pod.exec("none", &["ls", "/data/later/file"]).await;
    assert_ne!(code, 0, "a mount that follows nothing");
    // What the one mounted that may, covers the file here as well.
    until("the other way round", || !later.join("file").exists()).await;
    pod.shim.signal("both", libc::SIGKILL).await.unwrap();
    pod.exit("both", 0).await;
}

#[tokio::test]
async fn a_mount_that_is_not_shared_is_refused() {
    let pod = Pod::with(|spec| spec.host_mounts = true).await;
    let dir = pod.outside("private");
    mount_tmpfs(&dir).unwrap();
    let none = None::<&str>;
    mount(none, &dir, none, MsFlags::MS_PRIVATE, none).unwrap();
    let error = pod
        .shim
        .start(&follows("c", &dir, Propagation::Both, "true"))
        .await;
    umount2(&dir, MntFlags::MNT_DETACH).unwrap();
    let error = error.unwrap_err().to_string();
    assert!(error.contains("but it is not a shared mount"), "{error}");
}

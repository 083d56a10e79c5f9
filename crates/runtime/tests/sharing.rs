//! What the containers of a pod share, and what stays when one of them dies.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod pod;

use std::fs;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use pod::{Pod, echo, is_alive, leftovers, shell, until};
use sealane_runtime::{ContainerSpec, Launcher, Mount};

fn mount(source: &Path, target: &str) -> Mount {
    Mount {
        source: source.to_owned(),
        sub_path: None,
        target: target.into(),
        read_only: false,
        ..Mount::default()
    }
}

#[tokio::test]
async fn containers_share_localhost() {
    let pod = Pod::new().await;
    pod.start(&echo("server", &[])).await;
    pod.start(&echo("client", &["--port", "9090"])).await;
    pod.wait_for_log("server", "on port 8080").await;
    let command = ["curl", "-sS", "http://127.0.0.1:8080/hostname"];
    assert_eq!(pod.exec("client", &command).await, (0, "pod-a\n".into()));
    let command = ["curl", "-sS", "http://[::1]:8080/hostname"];
    assert_eq!(pod.exec("client", &command).await, (0, "pod-a\n".into()));
}

#[tokio::test]
async fn a_port_can_be_taken_once() {
    let mut pod = Pod::new().await;
    pod.start(&echo("first", &[])).await;
    pod.wait_for_log("first", "on port 8080").await;
    let exit = pod.run(&echo("second", &[])).await;
    assert_eq!(exit.code, 1);
    let log = pod.log("second", 0);
    assert!(log.contains("listen on port 8080"), "{log}");
    assert!(log.contains("in use"), "{log}");
}

#[tokio::test]
async fn containers_share_memory_and_volumes() {
    let mut pod = Pod::new().await;
    let volume = pod.outside("volume");
    let mounts = vec![mount(&volume, "/data/deep")];
    let writer = ContainerSpec {
        mounts: mounts.clone(),
        ..shell(
            "writer",
            "echo m > /dev/shm/m; echo v > /data/deep/v; echo t > /tmp/t",
        )
    };
    assert_eq!(pod.run(&writer).await.code, 0);
    let reader = ContainerSpec {
        mounts,
        ..shell("reader", "cat /dev/shm/m /data/deep/v; ls /tmp")
    };
    assert_eq!(pod.run(&reader).await.code, 0);
    assert_eq!(pod.log("reader", 0), "m\nv\n");
    assert_eq!(fs::read_to_string(volume.join("v")).unwrap(), "v\n");
    assert!(!Path::new("/dev/shm/m").exists());
}

#[tokio::test]
async fn system_v_and_posix_queues_are_the_pods() {
    let mut pod = Pod::new().await;
    pod.script("ipcmk -Q >/dev/null && ipcs -q | grep -c 0x")
        .await;
    let seen = pod
        .script("ipcs -q | grep -c 0x || true; ls /dev/mqueue | wc -l")
        .await;
    assert_eq!(seen, "1\n0\n");
}

#[tokio::test]
async fn a_read_only_volume_refuses_writes() {
    let mut pod = Pod::new().await;
    let volume = pod.outside("volume");
    fs::write(volume.join("f"), "text\n").unwrap();
    let spec = ContainerSpec {
        mounts: vec![
            Mount {
                read_only: true,
                ..mount(&volume, "/data")
            },
            Mount {
                read_only: true,
                ..mount(&volume.join("f"), "/etc/resolv.conf")
            },
        ],
        ..shell("c", "cat /etc/resolv.conf; touch /data/g; echo x > /data/f")
    };
    assert_ne!(pod.run(&spec).await.code, 0);
    let log = pod.log("c", 0);
    assert!(log.starts_with("text\n"), "{log}");
    assert_eq!(log.matches("Read-only file system").count(), 2, "{log}");
}

#[tokio::test]
async fn a_link_in_a_volume_cannot_lead_a_mount_out() {
    let mut pod = Pod::new().await;
    let volume = pod.outside("volume");
    let source = pod.outside("source");
    fs::write(source.join("planted"), "").unwrap();
    std::os::unix::fs::symlink("/srv", volume.join("link")).unwrap();
    let spec = ContainerSpec {
        mounts: vec![mount(&volume, "/data"), mount(&source, "/data/link/sub")],
        ..shell("c", "ls /srv/sub")
    };
    assert_eq!(pod.run(&spec).await.code, 0);
    assert_eq!(pod.log("c", 0), "planted\n");
    assert!(!Path::new("/srv/sub").exists());
}

/// Reads from address 1. (A process 1 is spared signals that it sends itself.)
const CRASH: &str =
    "readlink /proc/self/ns/net; exec perl -e 'print unpack(\"p\", pack(\"J\", 1))'";

#[tokio::test]
async fn the_network_outlives_a_crash() {
    let mut pod = Pod::new().await;
    let namespace = fs::read_link(pod.shim.netns_path()).unwrap();
    for attempt in 0..3 {
        let spec = ContainerSpec {
            attempt,
            ..shell("c", CRASH)
        };
        let exit = pod.run(&spec).await;
        assert_eq!((exit.code, exit.signal), (139, Some(11)));
        assert_eq!(pod.log("c", attempt), format!("{}\n", namespace.display()));
    }
    assert_ne!(namespace, fs::read_link("/proc/self/ns/net").unwrap());
}

#[tokio::test]
async fn a_pod_on_the_hosts_network_has_no_other() {
    let mut pod = Pod::with(|spec| spec.host_network = true).await;
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(fs::read_link(pod.shim.netns_path()).unwrap(), own);
    let seen = pod.script("readlink /proc/self/ns/net").await;
    assert_eq!(seen, format!("{}\n", own.display()));
}

/// Answers every query for an A record with 127.0.0.1, in the pod's network.
fn serve_dns(pod: &Pod) {
    let namespace = fs::File::open(pod.shim.netns_path()).unwrap();
    let (ready, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        nix::sched::setns(namespace.as_fd(), nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
        socket.set_read_timeout(Some(pod::PATIENCE)).unwrap();
        ready.send(()).unwrap();
        let mut query = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut query) {
            let answer = dns_answer(&query[..length]);
            socket.send_to(&answer, peer).unwrap();
        }
    });
    wait.recv().unwrap();
}

/// RFC 1035 §4.1: the question with its flags turned, and one record for A.
fn dns_answer(query: &[u8]) -> Vec<u8> {
    let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    let is_a = query[end - 4..end - 2] == [0, 1];
    let mut answer = query[..end].to_vec();
    answer[2..4].copy_from_slice(&[0x84, 0]);
    answer[6..12].copy_from_slice(&[0, u8::from(is_a), 0, 0, 0, 0]);
    if is_a {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
    }
    answer
}

#[tokio::test]
async fn names_resolve_by_file_and_by_dns() {
    let pod = Pod::new().await;
    let etc = pod.outside("etc");
    fs::write(etc.join("hosts"), "127.0.0.1 by-file\n").unwrap();
    let resolver = "nameserver 127.0.0.1\nsearch default.svc.cluster.local\noptions ndots:5\n";
    fs::write(etc.join("resolv.conf"), resolver).unwrap();
    serve_dns(&pod);
    let spec = ContainerSpec {
        mounts: ["hosts", "resolv.conf"]
            .map(|name| mount(&etc.join(name), &format!("/etc/{name}")))
            .to_vec(),
        ..echo("c", &[])
    };
    pod.start(&spec).await;
    pod.wait_for_log("c", "on port 8080").await;
    for name in ["by-file", "web", "web.default.svc.cluster.local"] {
        let url = format!("http://{name}:8080/hostname");
        let answer = pod.exec("c", &["curl", "-sS", "-m", "5", &url]).await;
        assert_eq!(answer, (0, "pod-a\n".into()), "{name}");
    }
}

#[tokio::test]
async fn an_upgrade_of_the_program_spares_running_pods() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("sealane");
    fs::copy(pod::TESTEE, &program).unwrap();
    let launcher = Launcher {
        program: program.clone(),
    };
    let pod = Pod::launched_by(&launcher, |_| {}).await;
    fs::remove_file(&program).unwrap();
    pod.start(&echo("c", &[])).await;
    pod.wait_for_log("c", "on port 8080").await;
    let command = ["curl", "-s", "http://127.0.0.1:8080/health"];
    assert_eq!(pod.exec("c", &command).await, (0, "ok\n".into()));
}

#[tokio::test]
async fn shutdown_asks_then_kills_and_leaves_nothing() {
    let pod = Pod::new().await;
    let polite = pod
        .start(&shell(
            "polite",
            "trap 'echo bye; exit 0' TERM; while :; do sleep 0.01; done",
        ))
        .await;
    let stubborn = pod
        .start(&shell(
            "stubborn",
            "trap '' TERM; echo ready; while :; do sleep 1; done",
        ))
        .await;
    pod.wait_for_log("stubborn", "ready").await;
    let shim = pod.shim.pid();
    pod.shim.shutdown(Duration::from_millis(500)).await.unwrap();
    for pid in [shim, polite.pid, stubborn.pid] {
        until("the pod has ended", || !is_alive(pid)).await;
    }
    assert_eq!(leftovers(&pod.spec), Vec::<String>::new());
    let record = |name| fs::read_to_string(sealane_runtime::exit_path(&pod.spec.dir, name, 0));
    assert!(record("polite").unwrap().contains("\"code\":0"));
    assert!(record("stubborn").unwrap().contains("\"code\":137"));
    // Once more is fine: it is gone already.
    pod.shim.shutdown(Duration::ZERO).await.unwrap();
}

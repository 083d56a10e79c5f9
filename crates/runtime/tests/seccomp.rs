//! Filters of system calls, as the kernel keeps them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod pod;

use pod::{Pod, shell};
use sealane_runtime::seccomp::{self, Seccomp};
use sealane_runtime::{Capabilities, ContainerSpec};

/// Tries calls by number, and says how each one ended.
fn attempt(calls: &[(&str, i64, &str)]) -> String {
    let mut script =
        String::from("$| = 1; sub say { print shift, ' ', $_[0] == -1 ? 0+$! : 'ok', \"\\n\" }");
    for (name, number, arguments) in calls {
        script += &format!("say('{name}', syscall({number}, {arguments}));");
    }
    format!(
        "exec perl -e \"{}\"",
        script.replace('$', "\\$").replace('"', "\\\"")
    )
}

fn confined(name: &str, script: &str) -> ContainerSpec {
    ContainerSpec {
        seccomp: Seccomp::RuntimeDefault,
        ..shell(name, script)
    }
}

fn calls() -> String {
    attempt(&[
        ("keyctl", libc::SYS_keyctl, "0, -3, 0"),
        ("unshare", libc::SYS_unshare, "0x10000000"),
        ("personality", libc::SYS_personality, "0x40000"),
        ("clone3", libc::SYS_clone3, "0, 0"),
        ("newer", 9999, "0"),
        ("getpid", libc::SYS_getpid, "0"),
        ("ptrace", libc::SYS_ptrace, "99, 0, 0, 0"),
    ])
}

const FORBIDDEN: &str =
    "keyctl 1\nunshare 1\npersonality 1\nclone3 38\nnewer 38\ngetpid ok\nptrace 3\n";

#[tokio::test]
async fn the_default_filter_forbids_what_reaches_beyond_the_container() {
    let mut pod = Pod::new().await;
    // The same without a filter succeeds, or fails for another reason.
    let free = pod.script(&calls()).await;
    assert!(
        free.starts_with("keyctl ok\nunshare ok\npersonality ok\nclone3 22\n"),
        "{free}"
    );

    pod.run(&confined("c", &calls())).await;
    assert_eq!(pod.log("c", 0), FORBIDDEN);
    pod.run(&confined("mode", "grep -h Seccomp: /proc/self/status"))
        .await;
    assert_eq!(pod.log("mode", 0), "Seccomp:\t2\n");
}

#[tokio::test]
async fn every_user_and_every_command_is_confined() {
    let mut pod = Pod::new().await;
    for (name, user, escalation) in [("a", 0, true), ("b", 1000, false), ("c", 1000, true)] {
        let spec = ContainerSpec {
            user: Some(user),
            allow_privilege_escalation: escalation,
            ..confined(name, &calls())
        };
        pod.run(&spec).await;
        assert_eq!(
            pod.log(name, 0),
            FORBIDDEN,
            "user {user}, escalation {escalation}"
        );
    }
    pod.start(&confined("runs", "exec sleep infinity")).await;
    let command = ["sh", "-c", &calls()];
    assert_eq!(pod.exec("runs", &command).await, (0, FORBIDDEN.to_owned()));
}

#[tokio::test]
async fn capabilities_open_their_calls() {
    let mut pod = Pod::new().await;
    let spec = ContainerSpec {
        capabilities: Capabilities {
            add: pod::words(&["SYS_ADMIN"]),
            drop: Vec::new(),
        },
        ..confined("c", "mount -t tmpfs x /mnt && unshare -n true && echo done")
    };
    pod.run(&spec).await;
    assert_eq!(pod.log("c", 0), "done\n");
}

#[tokio::test]
async fn ordinary_programs_run() {
    let mut pod = Pod::new().await;
    let script = "set -e
        python=$(ls /usr/bin/python3* 2>/dev/null | head -1)
        if [ -n \"$python\" ]; then $python -c 'import threading, subprocess, socket
t = threading.Thread(target=lambda: subprocess.run([\"true\"], check=True)); t.start(); t.join()
s = socket.socket(); s.bind((\"127.0.0.1\", 0)); s.listen()'; fi
        perl -MSocket -e 'socket(my $s, PF_INET, SOCK_STREAM, 0) or die; fork // die; wait'
        curl --version > /dev/null; curl -s http://127.0.0.1:1/ || [ $? = 7 ]
        if [ -x /usr/sbin/nginx ]; then nginx -t -c /dev/null 2>/dev/null || nginx -v; fi
        ls -lR /etc > /dev/null; find /usr/share -name x; tar c /etc 2>/dev/null | gzip | wc -c > /dev/null
        echo done";
    pod.run(&confined("c", script)).await;
    let log = pod.log("c", 0);
    assert!(log.ends_with("done\n"), "{log}");
    // Our own programs, threads and all.
    let echo = ContainerSpec {
        seccomp: Seccomp::RuntimeDefault,
        ..pod::echo("echo", &["--port", "8080"])
    };
    pod.start(&echo).await;
    let deadline = std::time::Instant::now() + pod::PATIENCE;
    while pod
        .exec("echo", &["curl", "-s", "http://127.0.0.1:8080/"])
        .await
        .0
        != 0
    {
        assert!(
            std::time::Instant::now() < deadline,
            "{}",
            pod.log("echo", 0)
        );
    }
}

#[tokio::test]
async fn profiles_of_their_own_are_kept() {
    let mut pod = Pod::new().await;
    let profile = br#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}"#;
    let spec = ContainerSpec {
        seccomp: Seccomp::Custom(seccomp::parse(profile).unwrap()),
        ..shell(
            "c",
            "mkdir /x; unshare -U true && echo free; exec sleep infinity",
        )
    };
    pod.start(&spec).await;
    pod.wait_for_log("c", "free\n").await;
    let log = pod.log("c", 0);
    assert!(log.contains("Operation not supported"), "{log}");
    // The shim's own steps for a command are not subject to it.
    let (code, text) = pod.exec("c", &["mkdir", "/y"]).await;
    assert!(
        code == 1 && text.contains("Operation not supported"),
        "{text}"
    );
    let deny_all = br#"{"defaultAction": "SCMP_ACT_ERRNO"}"#;
    let spec = ContainerSpec {
        seccomp: Seccomp::Custom(seccomp::parse(deny_all).unwrap()),
        ..shell("none", "true")
    };
    assert_ne!(pod.run(&spec).await.code, 0, "not even execve is allowed");
}

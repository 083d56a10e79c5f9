//! Deaths: of the client, of containers, of the shim.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod pod;

use std::fs;
use std::time::{Duration, SystemTime};

use pod::{
    PATIENCE, Pod, cgroup_dirs, echo, exec_spec, is_alive, kill, launcher, leftovers, shell,
    streams, text, until,
};
use sealane_runtime::{
    ContainerSpec, Error, ExecIo, ExitRecord, Launcher, ShimEvent, adopt, cleanup, exit_path,
    log_path, reset,
};

#[tokio::test]
async fn logs_and_exits_are_complete_without_a_client() {
    let mut pod = Pod::new().await;
    let script = "i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done; echo end >&2; exit 7";
    pod.start(&shell("c", script)).await;
    pod.wait_for_log("c", "100\n").await;
    // The only handle goes away while the container writes.
    let spec = pod.spec.clone();
    pod.events.close();
    pod.shim = {
        let record = exit_path(&spec.dir, "c", 0);
        drop(std::mem::replace(
            &mut pod.shim,
            adopt(&spec.socket).await.unwrap(),
        ));
        until("the exit is on disk", || record.exists()).await;
        adopt(&spec.socket).await.unwrap()
    };
    let state = pod.shim.state().await.unwrap();
    assert_eq!(state.pid, pod.shim.pid());
    let exit = state.latest("c").unwrap().exit.clone().unwrap();
    assert_eq!((exit.code, exit.signal, exit.oom), (7, None, false));
    let log = pod.raw_log("c", 0);
    let stdout: Vec<&str> = log.lines().filter(|l| l.contains(" stdout F ")).collect();
    let numbers = stdout.iter().map(|l| l.rsplit(' ').next().unwrap());
    assert!(numbers.eq((0..20000).map(|n| n.to_string()).collect::<Vec<_>>()));
    assert_eq!(
        log.lines().filter(|l| l.ends_with(" stderr F end")).count(),
        1
    );
}

#[tokio::test]
async fn exit_codes_and_signals_are_told_and_recorded() {
    let mut pod = Pod::new().await;
    let cases = [
        ("zero", "exit 0", 0, None),
        ("three", "exit 3", 3, None),
        ("term", "exec sleep 100", 128 + 15, Some(15)),
    ];
    for (name, script, code, signal) in cases {
        // Process 1 hears only of signals that it asked for: sh passes this on.
        let script = format!("{script} & wait $!; exit $?");
        let before = SystemTime::now();
        let spec = ContainerSpec {
            command: pod::words(&["sh", "-c", &script]),
            ..shell(name, "")
        };
        pod.start(&spec).await;
        if signal.is_some() {
            // This may be killed itself, as the container ends with its success.
            pod.exec(name, &["sh", "-c", "until pkill sleep; do :; done"])
                .await;
        }
        let exit = pod.exit(name, 0).await;
        assert_eq!(exit.code, code, "{name}");
        let record = fs::read(exit_path(&pod.spec.dir, name, 0)).unwrap();
        let record: ExitRecord = serde_json::from_slice(&record).unwrap();
        assert_eq!(record.exit.as_ref(), Some(&exit), "{name}");
        assert!(record.started_at >= before && exit.finished_at >= record.started_at);
    }
    pod.start(&echo("killed", &[])).await;
    pod.shim.signal("killed", 9).await.unwrap();
    let exit = pod.exit("killed", 0).await;
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    pod.start(&echo("asked", &[])).await;
    pod.wait_for_log("asked", "on port").await;
    pod.shim.signal("asked", 15).await.unwrap();
    assert_eq!(pod.exit("asked", 0).await.code, 0);
    // One that has ended is no error, one that never was is.
    pod.shim.signal("asked", 15).await.unwrap();
    let error = pod.shim.signal("nobody", 15).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "send a signal in pod default/pod-a: no container nobody"
    );
}

#[tokio::test]
async fn long_and_unfinished_lines_are_kept_whole() {
    let mut pod = Pod::new().await;
    let script = "head -c 100000 /dev/zero | tr '\\0' x; echo; printf half";
    pod.run(&shell("c", script)).await;
    assert_eq!(pod.log("c", 0), format!("{}\nhalf", "x".repeat(100_000)));
    for record in pod.raw_log("c", 0).lines() {
        assert!(record.len() < 17_000);
        assert_eq!(&record[29..37], "Z stdout", "{record:.60}");
    }
}

#[tokio::test]
async fn a_killed_shim_takes_its_pod_along() {
    let mut pod = Pod::new().await;
    // It changes its user, which would clear a parent-death signal.
    let changed = pod
        .start(&shell(
            "changed",
            "echo up; exec setpriv --reuid 1000 sleep infinity",
        ))
        .await;
    let plain = pod
        .start(&shell("plain", "setsid sleep infinity & sleep infinity"))
        .await;
    pod.wait_for_log("changed", "up").await;
    let (_output, fds) = streams();
    let command = exec_spec("plain", &["sleep", "infinity"]);
    let exec = pod.shim.exec(&command, ExecIo::Fds(fds)).await.unwrap();
    let shim = pod.shim.pid();
    kill(shim);
    for pid in [shim, changed.pid, plain.pid, exec.pid()] {
        until("everything has ended", || !is_alive(pid)).await;
    }
    let news = tokio::time::timeout(PATIENCE, pod.events.recv())
        .await
        .unwrap();
    assert_eq!(news, Some(ShimEvent::Gone));
    let error = pod.shim.state().await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Gone { .. }), "{text}");
    assert!(
        text.starts_with(&format!("shim of pod default/pod-a (pid {shim}) is gone: ")),
        "{text}"
    );
    let error = adopt(&pod.spec.socket).await.unwrap_err();
    assert!(matches!(error, Error::Adopt { .. }), "{error}");

    // Empty directories and the socket file are all that is left.
    reset(&pod.spec).unwrap();
    assert_eq!(leftovers(&pod.spec), Vec::<String>::new());
    assert!(log_path(&pod.spec.dir, "changed", 0).exists());
    cleanup(&pod.spec).unwrap();
    assert!(!pod.spec.dir.exists());
    cleanup(&pod.spec).unwrap();
}

#[tokio::test]
async fn a_new_sandbox_follows_a_dead_one() {
    let pod = Pod::new().await;
    pod.start(&shell("c", "echo first; sleep infinity")).await;
    pod.wait_for_log("c", "first").await;
    let before = fs::read_link(pod.shim.netns_path()).unwrap();
    // Held, or its number might be given to the next one.
    let _held = fs::File::open(pod.shim.netns_path()).unwrap();
    kill(pod.shim.pid());
    until("the shim has ended", || !is_alive(pod.shim.pid())).await;

    let shim = launcher().create(&pod.spec).await.unwrap();
    assert_ne!(shim.pid(), pod.shim.pid());
    assert_ne!(fs::read_link(shim.netns_path()).unwrap(), before);
    let spec = ContainerSpec {
        attempt: 1,
        ..shell("c", "echo second; sleep infinity")
    };
    shim.start(&spec).await.unwrap();
    until("the second attempt writes", || {
        fs::read_to_string(log_path(&pod.spec.dir, "c", 1))
            .is_ok_and(|log| text(&log) == "second\n")
    })
    .await;
    assert_eq!(pod.log("c", 0), "first\n");
    shim.shutdown(Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_living_pod_is_not_made_twice() {
    let pod = Pod::new().await;
    let error = launcher().create(&pod.spec).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "create sandbox of pod default/pod-a: its socket is served already: adopt it"
    );
    pod.shim.state().await.unwrap();
}

#[tokio::test]
async fn cleanup_ends_a_living_pod() {
    let pod = Pod::new().await;
    let started = pod.start(&echo("c", &[])).await;
    let spec = pod.spec.clone();
    tokio::task::spawn_blocking(move || cleanup(&spec))
        .await
        .unwrap()
        .unwrap();
    until("the pod has ended", || !is_alive(started.pid)).await;
    assert!(!is_alive(pod.shim.pid()));
    assert_eq!(leftovers(&pod.spec), Vec::<String>::new());
    assert!(!pod.spec.dir.exists());
}

#[tokio::test]
async fn a_start_that_fails_says_why_and_leaves_nothing() {
    let mut pod = Pod::new().await;
    let missing = sealane_runtime::Mount {
        source: "/no/such/place".into(),
        sub_path: None,
        target: "/data".into(),
        read_only: false,
        ..sealane_runtime::Mount::default()
    };
    let command = |words: &[&str]| ContainerSpec {
        command: pod::words(words),
        ..shell("c", "")
    };
    let mut cases = vec![
        (
            command(&["no-such"]),
            127,
            "exec: \"no-such\": executable file not found in $PATH",
        ),
        (
            command(&["/etc/passwd"]),
            126,
            "exec: \"/etc/passwd\": permission denied",
        ),
        (
            command(&["/no/such"]),
            127,
            "exec: \"/no/such\": stat /no/such: no such file or directory",
        ),
    ];
    let mut with_mount = command(&["true"]);
    with_mount.mounts.push(missing);
    let text = "mount /no/such/place on /data: No such file or directory (os error 2)";
    cases.push((with_mount, 128, text));
    let mut with_capability = command(&["true"]);
    with_capability.capabilities.add.push("FLY".into());
    cases.push((with_capability, 128, "unknown capability \"FLY\""));
    for (spec, expected, expected_reason) in cases {
        match pod.shim.start(&spec).await {
            Err(Error::Start { code, reason, .. }) => {
                assert_eq!((code, reason.as_str()), (expected, expected_reason));
            }
            other => panic!("{spec:?}: {other:?}"),
        }
    }
    assert_eq!(pod.shim.state().await.unwrap().containers, []);
    assert_eq!(
        cgroup_dirs(&pod.spec.cgroup.join("c")),
        Vec::<String>::new()
    );
    // The same start again is answered alike, another is refused.
    let spec = shell("c", "echo up; sleep infinity");
    let started = pod.start(&spec).await;
    assert_eq!(pod.start(&spec).await, started);
    let next = ContainerSpec { attempt: 1, ..spec };
    let error = pod.shim.start(&next).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "start container c of pod default/pod-a: attempt 0 of it is running"
    );
    pod.shim.signal("c", 9).await.unwrap();
    pod.exit("c", 0).await;
    let error = pod.shim.start(&shell("c", "true")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "start container c of pod default/pod-a: attempt 0 of it has ended"
    );
}

#[tokio::test]
async fn a_sandbox_that_cannot_be_made_says_why_and_leaves_nothing() {
    let (mut spec, dir) = pod::spec();
    let silent = Launcher {
        program: "/bin/true".into(),
    };
    let error = silent.create(&spec).await.unwrap_err().to_string();
    assert!(error.contains("/bin/true ended without a word"), "{error}");
    assert_eq!(leftovers(&spec), Vec::<String>::new());

    spec.hostname = "x".repeat(100);
    let error = launcher().create(&spec).await.unwrap_err().to_string();
    assert!(error.contains("set hostname xxx"), "{error}");
    assert_eq!(leftovers(&spec), Vec::<String>::new());

    spec.socket = dir.path().join("x".repeat(100));
    let error = launcher().create(&spec).await.unwrap_err().to_string();
    assert!(
        error.contains("the limit is 107: use a shorter run directory"),
        "{error}"
    );
    cleanup(&spec).unwrap();
}

#[tokio::test]
async fn a_shim_that_is_asked_to_end_ends_its_pod() {
    let mut pod = Pod::new().await;
    let started = pod
        .start(&shell(
            "c",
            "trap '' TERM; echo up; while :; do sleep 1; done",
        ))
        .await;
    pod.wait_for_log("c", "up").await;
    let shim = nix::unistd::Pid::from_raw(pod.shim.pid().try_into().unwrap());
    nix::sys::signal::kill(shim, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(pod.exit("c", 0).await.code, 137);
    until("the shim has ended", || !is_alive(pod.shim.pid())).await;
    assert!(!is_alive(started.pid));
    assert!(exit_path(&pod.spec.dir, "c", 0).exists());
    assert!(!pod.spec.socket.exists());
}

#[tokio::test]
async fn many_pods_come_and_go_at_once() {
    let pods = (0..20).map(|_| {
        tokio::spawn(async {
            let mut pod = Pod::new().await;
            pod.start(&echo("server", &[])).await;
            let exit = pod.run(&shell("job", "echo done; exit 3")).await;
            assert_eq!((exit.code, pod.log("job", 0)), (3, "done\n".into()));
            pod.shim.shutdown(Duration::from_secs(5)).await.unwrap();
            assert_eq!(leftovers(&pod.spec), Vec::<String>::new());
        })
    });
    for pod in pods.collect::<Vec<_>>() {
        tokio::time::timeout(PATIENCE * 2, pod)
            .await
            .unwrap()
            .unwrap();
    }
}

#[tokio::test]
async fn old_attempts_are_forgotten() {
    let mut pod = Pod::new().await;
    for attempt in 0..8 {
        let spec = ContainerSpec {
            attempt,
            ..echo("c", &["--nonsense"])
        };
        assert_eq!(pod.run(&spec).await.code, 2);
    }
    let kept = |path: &dyn Fn(u32) -> std::path::PathBuf| -> Vec<u32> {
        (0..8).filter(|attempt| path(*attempt).exists()).collect()
    };
    assert_eq!(kept(&|n| log_path(&pod.spec.dir, "c", n)), [3, 4, 5, 6, 7]);
    assert_eq!(kept(&|n| exit_path(&pod.spec.dir, "c", n)), [3, 4, 5, 6, 7]);
    let state = pod.shim.state().await.unwrap();
    let attempts: Vec<u32> = state.containers.iter().map(|c| c.attempt).collect();
    assert_eq!(attempts, [3, 4, 5, 6, 7]);
}

#[tokio::test]
async fn a_shim_is_small_and_nobodys_child() {
    let mut pod = Pod::new().await;
    for attempt in 0..3 {
        let spec = ContainerSpec {
            attempt,
            ..shell("c", "seq 10000")
        };
        pod.run(&spec).await;
    }
    pod.adopt_again().await;
    let status = fs::read_to_string(format!("/proc/{}/status", pod.shim.pid())).unwrap();
    let field = |name: &str| -> u64 {
        let line = status.lines().find(|l| l.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    assert_eq!(field("Threads:"), 1);
    assert_ne!(field("PPid:"), u64::from(std::process::id()));
    // The code of a release build is smaller, the memory of its own is not.
    assert!(field("RssAnon:") < 400, "{status}");
    assert_eq!(pod.raw_log("c", 0).lines().count(), 10_000);
}

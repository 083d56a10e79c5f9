//! Pods: what containers of one share and what each has alone, restarts, exits, logs, exec.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "pod/pools.rs"]
mod pools;

use serde_json::json;

use sealane_testkit::pod::container_status;
use sealane_testkit::{Container, Finished, LATER, Pod, SOON, Shared, eventually};

/// Runs a script in a container of a pod, by `kubectl exec`.
#[track_caller]
fn shell(cluster: &Shared, pod: &str, container: &str, script: &str) -> Finished {
    cluster.kubectl([
        "exec",
        pod,
        "--container",
        container,
        "--",
        "sh",
        "-c",
        script,
    ])
}

#[test]
fn containers_of_a_pod_share_network_memory_hostname_and_volumes() {
    let cluster = Shared::cluster();
    let mounted = json!([{"name": "scratch", "mountPath": "/scratch"}]);
    let idle =
        |name| Container::host(name, ["sleep", "infinity"]).with("volumeMounts", mounted.clone());
    let pod = Pod::of(
        "twins",
        [Container::echo("server"), idle("left"), idle("right")],
    )
    .with("volumes", json!([{"name": "scratch", "emptyDir": {}}]));
    cluster.start(&[pod]);

    let name = shell(
        &cluster,
        "twins",
        "left",
        "curl -s http://127.0.0.1:8080/hostname",
    )
    .succeeds();
    assert_eq!(
        name.trim(),
        "twins",
        "loopback reaches the other container, which has the pod's name"
    );
    assert_eq!(
        shell(&cluster, "twins", "right", "hostname")
            .succeeds()
            .trim(),
        "twins"
    );

    shell(
        &cluster,
        "twins",
        "left",
        "echo memory > /dev/shm/note; echo volume > /scratch/note",
    )
    .succeeds();
    let notes = shell(
        &cluster,
        "twins",
        "right",
        "cat /dev/shm/note /scratch/note",
    )
    .succeeds();
    assert_eq!(notes, "memory\nvolume\n");

    let namespaces =
        "readlink /proc/1/ns/net /proc/1/ns/ipc /proc/1/ns/uts /proc/1/ns/pid /proc/1/ns/mnt";
    let of = |name| shell(&cluster, "twins", name, namespaces).succeeds();
    let (left, right) = (of("left"), of("right"));
    let lines = left
        .lines()
        .zip(right.lines())
        .map(|(left, right)| left == right);
    assert_eq!(
        lines.collect::<Vec<_>>(),
        [true, true, true, false, false],
        "net, ipc, uts; pid, mnt"
    );
}

#[test]
fn a_second_listener_on_a_port_of_a_pod_fails_and_the_first_one_serves_on() {
    let cluster = Shared::cluster();
    cluster.create(&[Pod::of(
        "clash",
        [Container::echo("first"), Container::echo("second")],
    )]);

    let loser = cluster.wait_pod("clash", "has one container that fails", |pod| {
        let failed = |name| {
            let status = container_status(pod, name)?;
            let last = [&status["state"], &status["lastState"]];
            last.into_iter()
                .any(|state| {
                    state["terminated"]["exitCode"]
                        .as_i64()
                        .is_some_and(|code| code != 0)
                })
                .then_some(name)
        };
        ["first", "second"].into_iter().find_map(failed)
    });
    let log = cluster.kubectl(["logs", "clash", "--container", loser, "--previous"]);
    let log = if log.status.success() {
        log.stdout
    } else {
        cluster.kubectl(["logs", "clash", "-c", loser]).succeeds()
    };
    assert!(
        log.to_lowercase().contains("address in use")
            || log.to_lowercase().contains("already in use"),
        "{log}"
    );

    let ip = cluster.pod_ip("clash");
    let answer = cluster
        .pod_netns("clash")
        .run("curl", ["-s", &format!("http://{ip}:8080/hostname")]);
    assert_eq!(answer.succeeds().trim(), "clash");
}

#[test]
fn a_container_that_crashes_is_restarted_and_the_pod_keeps_its_address() {
    let cluster = Shared::cluster();
    let crashing = "echo started; until test -e /tmp/crash; do sleep 0.02; done; exit 3";
    cluster.start(&[Pod::of(
        "crashes",
        [Container::shell("main", crashing), Container::echo("other")],
    )]);
    let (ip, shim) = (cluster.pod_ip("crashes"), cluster.shim("crashes"));
    let before = cluster.pod("crashes").unwrap();

    // Its shell may end with the container.
    let _ = shell(&cluster, "crashes", "main", "touch /tmp/crash");
    let after = cluster.wait_pod("crashes", "has restarted", |pod| {
        let main = container_status(pod, "main")?;
        (main["restartCount"] == 1 && main["ready"] == true).then(|| pod.clone())
    });
    let ended = &container_status(&after, "main").unwrap()["lastState"]["terminated"];
    assert_eq!(
        (&ended["exitCode"], &ended["reason"]),
        (&json!(3), &json!("Error")),
        "{ended}"
    );
    assert_eq!(
        container_status(&after, "other"),
        container_status(&before, "other"),
        "the other container is untouched"
    );
    assert_eq!(
        (cluster.pod_ip("crashes"), cluster.shim("crashes")),
        (ip, shim)
    );
    assert_eq!(
        cluster
            .kubectl(["logs", "crashes", "-c", "main", "--previous"])
            .succeeds(),
        "started\n"
    );
    assert_eq!(
        cluster
            .kubectl(["logs", "crashes", "-c", "main"])
            .succeeds(),
        "started\n"
    );
}

#[test]
fn a_container_that_keeps_crashing_waits_longer_and_says_so() {
    let cluster = Shared::cluster();
    cluster.create(&[Pod::shell("crash-loop", "exit 9")]);
    let waiting = cluster.wait_pod("crash-loop", "backs off", |pod| {
        let waiting = &container_status(pod, "main")?["state"]["waiting"];
        (waiting["reason"] == "CrashLoopBackOff").then(|| waiting.clone())
    });
    let message = waiting["message"].as_str().unwrap();
    assert!(
        message.contains("back-off") && message.contains("main"),
        "{message}"
    );
    let listed = cluster.kubectl(["get", "pod", "crash-loop"]).succeeds();
    assert!(listed.contains("CrashLoopBackOff"), "{listed}");
}

#[test]
fn restart_policies_decide_what_becomes_of_a_pod_that_ends() {
    let cluster = Shared::cluster();
    cluster.create(&[
        Pod::shell("never-well", "exit 0").restart("Never"),
        Pod::shell("never-ill", "exit 5").restart("Never"),
        Pod::shell(
            "on-failure",
            "test -e /dev/shm/again || { touch /dev/shm/again; exit 1; }",
        )
        .restart("OnFailure"),
    ]);
    for (name, phase, exit, restarts) in [
        ("never-well", "Succeeded", 0, 0),
        ("never-ill", "Failed", 5, 0),
        ("on-failure", "Succeeded", 0, 1),
    ] {
        let pod = cluster.wait_pod(name, &format!("has {phase}"), |pod| {
            (pod["status"]["phase"] == phase).then(|| pod.clone())
        });
        let main = container_status(&pod, "main").unwrap();
        assert_eq!(
            main["state"]["terminated"]["exitCode"], exit,
            "{name}: {main}"
        );
        assert_eq!(main["restartCount"], restarts, "{name}: {main}");
    }
}

#[test]
fn logs_exec_and_wait_work_as_users_type_them() {
    let cluster = Shared::cluster();
    cluster.create(&[Pod::shell(
        "typed",
        "echo to stdout; echo to stderr >&2; echo last; sleep infinity",
    )]);
    cluster
        .kubectl([
            "wait",
            "--for=condition=Ready",
            "pod/typed",
            "--timeout=60s",
        ])
        .succeeds();

    let log = eventually(SOON, "the log is complete", || {
        let log = cluster.kubectl(["logs", "typed"]).succeeds();
        (log.lines().count() == 3).then_some(log)
    });
    let mut lines: Vec<&str> = log.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["last", "to stderr", "to stdout"]);
    let last = cluster
        .kubectl(["logs", "typed", "--tail=1", "--timestamps"])
        .succeeds();
    assert!(last.contains("Z ") && last.lines().count() == 1, "{last}");

    assert_eq!(
        cluster.exec("typed", ["sh", "-c", "exit 42"]).code(),
        Some(42),
        "the exit code comes through"
    );
    let both = cluster.exec("typed", ["sh", "-c", "echo out; echo err >&2"]);
    assert_eq!(
        (both.stdout.as_str(), both.stderr.as_str()),
        ("out\n", "err\n")
    );
    let mut command = cluster.kubectl_command();
    command.args(["exec", "--stdin", "typed", "--", "wc", "-c"]);
    let input = "x".repeat(300_000);
    let counted = sealane_testkit::command::finish_with_input(command, &input);
    assert_eq!(
        counted.succeeds().trim(),
        "300000",
        "standard input comes through whole"
    );
    let absent = cluster.exec("typed", ["no-such-program"]).fails();
    assert!(absent.contains("no-such-program"), "{absent}");

    cluster
        .kubectl(["delete", "pod", "typed", "--wait=false"])
        .succeeds();
    cluster
        .kubectl(["wait", "--for=delete", "pod/typed", "--timeout=60s"])
        .succeeds();
}

#[test]
fn a_pod_that_is_deleted_is_asked_to_end_before_it_is_made_to() {
    let cluster = Shared::cluster();
    let polite = "trap 'echo asked > /scratch/note; exit 0' TERM; while :; do sleep 0.02; done";
    let stubborn = "trap '' TERM; while :; do sleep 0.02; done";
    cluster.start(&[
        Pod::shell("polite", polite).with("terminationGracePeriodSeconds", json!(60)),
        Pod::shell("stubborn", stubborn).with("terminationGracePeriodSeconds", json!(1)),
    ]);
    let (polite, stubborn) = (cluster.shim("polite"), cluster.shim("stubborn"));
    // The polite one would take a minute, and the test fail, if it were not asked.
    cluster.delete(["polite", "stubborn"]);
    eventually(SOON, "their shims are gone", || {
        !polite.runs() && !stubborn.runs()
    });
}

#[test]
fn containers_are_confined() {
    let cluster = Shared::cluster();
    let limits = json!({"limits": {"memory": "32Mi", "cpu": "500m"}});
    let hungry = Container::host("main", ["sh", "-c", "head -c 200M /dev/zero | tail"])
        .with("resources", limits);
    cluster.start(&[Pod::idle("confined")]);
    cluster.create(&[Pod::of("hungry", [hungry]).restart("Never")]);

    let see = |script| shell(&cluster, "confined", "main", script).succeeds();
    assert_eq!(
        see("cat /proc/1/comm").trim(),
        "sleep",
        "a container's own process 1"
    );
    let status = see("grep CapEff /proc/self/status");
    let capabilities = u64::from_str_radix(status.split_whitespace().last().unwrap(), 16).unwrap();
    for (name, bit) in [
        ("CAP_SYS_ADMIN", 21),
        ("CAP_NET_ADMIN", 12),
        ("CAP_SYS_MODULE", 16),
        ("CAP_SYS_PTRACE", 19),
    ] {
        assert_eq!(capabilities >> bit & 1, 0, "{name} is dropped: {status}");
    }
    assert_eq!(
        capabilities >> 10 & 1,
        1,
        "CAP_NET_BIND_SERVICE is kept, as container runtimes do: {status}"
    );
    shell(
        &cluster,
        "confined",
        "main",
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
    )
    .fails();
    shell(&cluster, "confined", "main", "mount -t tmpfs none /tmp").fails();
    assert_eq!(
        see("cat /proc/kcore /proc/keys /proc/timer_list 2>/dev/null | wc -c").trim(),
        "0",
        "masked files"
    );
    shell(
        &cluster,
        "confined",
        "main",
        "ls /sys/fs/cgroup/memory/release_agent && echo x > /sys/fs/cgroup/memory/release_agent",
    )
    .fails();

    let ended = cluster.wait_pod("hungry", "is killed for its memory", |pod| {
        let ended = &container_status(pod, "main")?["state"]["terminated"];
        ended.is_object().then(|| ended.clone())
    });
    assert_eq!(
        (&ended["reason"], &ended["exitCode"]),
        (&json!("OOMKilled"), &json!(137)),
        "{ended}"
    );
}

#[test]
fn the_examples_do_what_their_comments_say() {
    let cluster = Shared::cluster();
    let example = |name: &str| format!("{}/../../examples/{name}", env!("CARGO_MANIFEST_DIR"));
    cluster
        .kubectl(["apply", "--filename", &example("two-pods.yaml")])
        .succeeds();
    cluster
        .kubectl(["apply", "--filename", &example("two-containers.yaml")])
        .succeeds();
    cluster
        .kubectl([
            "wait",
            "--for=condition=Ready",
            "pod/pod-a",
            "pod/pod-b",
            "--timeout=90s",
        ])
        .succeeds();
    let node = |name: &str| cluster.pod(name).unwrap()["spec"]["nodeName"].clone();
    assert_eq!(
        (node("pod-a"), node("pod-b")),
        (json!("node-1"), json!("node-2"))
    );
    let url = format!("http://{}:8080", cluster.pod_ip("pod-b"));
    let report = cluster.exec("pod-a", ["curl", "-s", &url]).succeeds();
    assert!(
        report.contains(&cluster.pod_ip("pod-a").to_string()),
        "{report}"
    );

    eventually(LATER, "the reader has all three notes", || {
        let log = cluster
            .kubectl(["logs", "pair", "--container", "reader"])
            .stdout;
        let wanted = ["hello through memory", "hello through a volume", "pair"];
        if wanted.iter().all(|line| log.contains(line)) {
            Ok(())
        } else {
            Err(log)
        }
    });
    let twice = cluster
        .kubectl(["apply", "--filename", &example("two-pods.yaml")])
        .succeeds();
    assert_eq!(twice.matches("unchanged").count(), 2, "{twice}");
    cluster
        .kubectl(["delete", "--filename", &example("two-pods.yaml")])
        .succeeds();
    cluster
        .kubectl(["delete", "--filename", &example("two-containers.yaml")])
        .succeeds();
}

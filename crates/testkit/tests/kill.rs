//! `kill -9` of each process of a cluster, in turn, while traffic flows: nothing about a running pod is lost.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use sealane_testkit::binary::sealane;
use sealane_testkit::cluster::Role;
use sealane_testkit::pod::container_status;
use sealane_testkit::process::Process;
use sealane_testkit::{Cluster, Container, LATER, Pod, SOON, Stream, UpOptions, eventually};

/// A container that prints a number every ten milliseconds, from 1.
const COUNT: &str = "n=0; while :; do n=$((n+1)); echo $n; sleep 0.01; done";

/// Longest time that a number of the stream may take. The kernel forwards it without any of our
/// processes, so this only has to be above what a busy machine does to the test itself.
const STALL: Duration = Duration::from_secs(5);

/// The numbers that a container has printed so far.
#[track_caller]
fn printed(cluster: &Cluster, pod: &str) -> Vec<u64> {
    let log = cluster.kubectl(["logs", pod]).succeeds();
    log.lines()
        .map(|line| {
            line.parse()
                .unwrap_or_else(|_| panic!("not a number in the log: {line:?}"))
        })
        .collect()
}

/// Requires each number from 1, in order, and more than before.
#[track_caller]
fn assert_no_hole(cluster: &Cluster, pod: &str, seen_before: usize) -> usize {
    let numbers = eventually(LATER, "the log goes on", || {
        let numbers = printed(cluster, pod);
        (numbers.len() > seen_before + 20).then_some(numbers)
    });
    let hole = numbers
        .iter()
        .zip(1..)
        .find(|(number, expected)| *number != expected);
    assert_eq!(
        hole, None,
        "(printed, expected) of the first line that is out of order"
    );
    numbers.len()
}

#[test]
fn a_stream_logs_and_new_pods_survive_the_kill_of_each_process() {
    let cluster = Cluster::up(UpOptions::default());
    cluster.start(&[
        Pod::echo("client").on_node(1),
        Pod::echo("server").on_node(2),
        Pod::shell("counter", COUNT).on_node(1),
    ]);
    let (client, server) = (cluster.pod_netns("client"), cluster.pod_netns("server"));
    let stream = Stream::between(&client, &server, cluster.pod_ip("server"));
    let shims = ["client", "server", "counter"].map(|pod| cluster.shim(pod));
    let mut lines = assert_no_hole(&cluster, "counter", 0);

    for role in [
        Role::Agent(1),
        Role::Agent(2),
        Role::Node(1),
        Role::Node(2),
        Role::ApiServer,
        Role::Controllers,
    ] {
        eprintln!("kill -9 {role:?}");
        cluster.kill9(role);
        stream.expect_progress();
        let after = format!("after-{}", role.file_stem());
        eventually(SOON, "the API answers", || cluster.pod("client"));
        cluster.start(&[Pod::echo(&after)]);
        stream.expect_progress();
        lines = assert_no_hole(&cluster, "counter", lines);
    }
    for shim in shims {
        assert!(shim.runs(), "{} outlives them all", shim.command);
    }
    for pod in ["client", "server", "counter"] {
        let restarts =
            cluster.pod(pod).unwrap()["status"]["containerStatuses"][0]["restartCount"].clone();
        assert_eq!(restarts, 0, "{pod} was not restarted");
    }
    let summary = stream.finish();
    eprintln!("{summary:?}");
    assert!(summary.longest_gap < STALL, "{summary:?}");
    cluster.down();
}

#[test]
fn without_its_supervisor_a_cluster_runs_on_and_up_gives_it_another() {
    let cluster = Cluster::up(UpOptions::default());
    cluster.start(&[
        Pod::echo("client").on_node(1),
        Pod::echo("server").on_node(2),
    ]);
    let (client, server) = (cluster.pod_netns("client"), cluster.pod_netns("server"));
    let stream = Stream::between(&client, &server, cluster.pod_ip("server"));
    let pods = ["client", "server"].map(|pod| cluster.shim(pod));

    cluster.process(Role::Supervisor).unwrap().kill9();
    stream.expect_progress();
    sealane(cluster.options().arguments()).succeeds();
    let supervisor = cluster.process(Role::Supervisor).unwrap();
    assert!(supervisor.runs());
    // The new one watches over all: those that it has found, and those that it has started.
    for role in [
        Role::ApiServer,
        Role::Controllers,
        Role::Node(1),
        Role::Agent(2),
    ] {
        cluster.kill9(role);
    }
    eventually(SOON, "the API answers", || cluster.pod("client"));
    cluster.start(&[Pod::echo("afterwards")]);
    stream.expect_progress();
    for shim in pods {
        assert!(shim.runs(), "{} was left alone", shim.command);
    }
    stream.finish();
    cluster.down();
}

#[test]
fn a_container_that_ends_while_the_node_process_is_dead_keeps_its_exit_code() {
    let cluster = Cluster::up(UpOptions {
        nodes: 1,
        ..UpOptions::default()
    });
    let ends = "until test -e /dev/shm/end; do sleep 0.01; done; echo last words; exit 7";
    cluster.start(&[
        Pod::shell("ends-once", ends).restart("Never"),
        Pod::of(
            "ends-again",
            [
                Container::shell("main", ends),
                Container::host("idle", ["sleep", "infinity"]),
            ],
        ),
    ]);
    let supervisor = cluster.process(Role::Supervisor).unwrap();
    signal(&supervisor, Signal::SIGSTOP);
    let node = cluster.process(Role::Node(1)).unwrap();
    node.kill9();
    eventually(SOON, "the node process is dead", || !node.runs());

    for pod in ["ends-once", "ends-again"] {
        let shim = cluster.shim(pod);
        let main = child_running(&shim, "end; do");
        fs::write(format!("/proc/{}/root/dev/shm/end", main.pid), "").unwrap();
        eventually(SOON, "the container has ended", || !main.runs());
        assert!(shim.runs(), "the shim holds the pod");
    }
    signal(&supervisor, Signal::SIGCONT);

    let once = cluster.wait_pod("ends-once", "has failed", |pod| {
        (pod["status"]["phase"] == "Failed").then(|| pod.clone())
    });
    assert_eq!(exit_code(&once, "state"), Some(7), "{:#}", once["status"]);
    assert_eq!(
        cluster.kubectl(["logs", "ends-once"]).succeeds(),
        "last words\n"
    );
    cluster.wait_pod(
        "ends-again",
        "has ended with 7 and been started again",
        |pod| (exit_code(pod, "lastState") == Some(7)).then_some(()),
    );
    cluster.down();
}

#[test]
fn a_pod_whose_shim_is_killed_is_made_anew() {
    let cluster = Cluster::up(UpOptions {
        nodes: 1,
        ..UpOptions::default()
    });
    cluster.start(&[Pod::echo("victim"), Pod::echo("bystander")]);
    let bystander = cluster.shim("bystander");
    let victim = cluster.shim("victim");
    let container = |pod: &Value| pod["status"]["containerStatuses"][0].clone();
    let before = container(&cluster.pod("victim").unwrap());
    victim.kill9();
    let after = cluster.wait_pod("victim", "runs again in another sandbox", |pod| {
        let now = container(pod);
        (now["ready"] == true && now["containerID"] != before["containerID"]).then_some(now)
    });
    assert_ne!(cluster.shim("victim"), victim);
    assert_eq!(after["restartCount"], 1, "{after}");
    let url = format!("http://{}:8080/hostname", cluster.pod_ip("victim"));
    assert_eq!(
        cluster
            .exec("bystander", ["curl", "-s", &url])
            .succeeds()
            .trim(),
        "victim"
    );
    assert!(bystander.runs());
    cluster.down();
}

/// Does something with each pod, and after every fourth kills a process, so that it hits some in
/// the middle. What fails since the API server is away is tried again; `done` tells an error
/// which means that the answer to an earlier try was lost.
#[track_caller]
fn with_kills(
    cluster: &Cluster,
    pods: &[Pod],
    done: &str,
    act: impl Fn(&Pod) -> Result<Value, String>,
) {
    let victims = [
        Role::Agent(1),
        Role::Node(1),
        Role::ApiServer,
        Role::Agent(2),
        Role::Controllers,
        Role::Node(2),
    ];
    let mut victims = victims.into_iter().cycle();
    for four in pods.chunks(4) {
        for pod in four {
            eventually(
                SOON,
                &format!("the API takes what is asked for pod {}", pod.name()),
                || match act(pod) {
                    Err(error) if !error.contains(done) => Err(error),
                    _ => Ok(()),
                },
            );
        }
        victims.next().map(|role| cluster.kill9(role));
    }
}

#[test]
fn pods_that_come_and_go_while_everything_is_killed_are_all_served_and_leave_nothing() {
    const PODS: &str = "/api/v1/namespaces/default/pods";
    let cluster = Cluster::up(UpOptions::default());
    let pods: Vec<Pod> = (1..=24)
        .map(|number| Pod::echo(&format!("storm-{number}")))
        .collect();
    with_kills(&cluster, &pods, "already exists", |pod| {
        cluster.api().create(PODS, pod.manifest())
    });
    for pod in &pods {
        cluster.wait_ready(pod.name());
    }
    cluster.assert_addresses_differ(&pods);
    for (pod, next) in pods.iter().zip(&pods[1..]) {
        let url = format!("http://{}:8080/hostname", cluster.pod_ip(next.name()));
        assert_eq!(
            cluster
                .exec(pod.name(), ["curl", "-s", &url])
                .succeeds()
                .trim(),
            next.name()
        );
    }

    with_kills(&cluster, &pods, "not found", |pod| {
        cluster.api().delete(&format!("{PODS}/{}", pod.name()))
    });
    for pod in &pods {
        cluster.wait_gone(pod.name());
    }
    for number in [1, 2] {
        let node = cluster.node(number);
        eventually(SOON, "no port is left on the bridge", || {
            let ports = node
                .run("ip", ["-oneline", "link", "show", "master", "cbr0"])
                .succeeds();
            if ports.is_empty() { Ok(()) } else { Err(ports) }
        });
        let folders = cluster
            .state_dir()
            .join(format!("nodes/node-{number}/pods"));
        eventually(SOON, "no folder of a pod is left", || {
            let left: Vec<_> = fs::read_dir(&folders)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path())
                .collect();
            if left.is_empty() {
                Ok(())
            } else {
                Err(format!("{left:?}"))
            }
        });
    }
    cluster.down();
}

/// The process below a shim whose command contains a text.
#[track_caller]
fn child_running(shim: &Process, text: &str) -> Process {
    eventually(
        SOON,
        &format!("a process with {text:?} runs in its pod"),
        || {
            let sibling = |process: &Process| {
                process.command.contains(text) && process.parent() == Some(shim.pid)
            };
            Process::all().into_iter().find(sibling)
        },
    )
}

fn signal(process: &Process, signal: Signal) {
    assert!(process.runs(), "{process:?}");
    kill(Pid::from_raw(process.pid), signal).unwrap();
}

fn exit_code(pod: &Value, state: &str) -> Option<i64> {
    container_status(pod, "main")?[state]["terminated"]["exitCode"].as_i64()
}

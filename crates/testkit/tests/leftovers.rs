//! Nothing is left: after many pods, after an interrupt, after a kill at any moment.
//!
//! Each test has the machine alone and compares all of it before and after.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::process::Stdio;
use std::time::{Duration, Instant};

use sealane_testkit::binary::{self, sealane};
use sealane_testkit::{
    Cluster, Finished, LATER, Leftovers, Machine, Pod, SOON, UpOptions, eventually,
};

/// Moments of `sealane up` at which it is killed.
const KILLS: u32 = 10;

#[test]
fn after_a_hundred_pods_three_times_over_nothing_is_left() {
    let _machine = Machine::alone();
    let before = Leftovers::snapshot();
    for round in 1..=3 {
        let begun = Instant::now();
        let cluster = Cluster::up(UpOptions::default());
        let up = begun.elapsed();
        let pods: Vec<Pod> = (1..=100)
            .map(|number| Pod::echo(&format!("pod-{number}")))
            .collect();
        cluster.start(&pods);
        let started = begun.elapsed();
        cluster.assert_addresses_differ(&pods);
        let last = cluster.pod_ip("pod-100");
        let url = format!("http://{last}:8080/hostname");
        assert_eq!(
            cluster
                .exec("pod-1", ["curl", "-s", &url])
                .succeeds()
                .trim(),
            "pod-100"
        );
        let checked = begun.elapsed();
        cluster.down();
        eprintln!(
            "round {round}: up {up:.1?}, pods {:.1?}, down {:.1?}",
            started - up,
            begun.elapsed() - checked
        );
        before.assert_none_since();
    }
}

/// Starts `sealane up` and ends it with a signal after a while; None when it was ready before that.
fn up_and_signal(
    cluster: &Cluster,
    signal: nix::sys::signal::Signal,
    after: Duration,
) -> Option<std::process::ExitStatus> {
    let mut up = binary::command(cluster.options().arguments());
    let mut child = up
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let mut ready = None;
    eventually(LATER, "the moment of the signal", || {
        ready = child.try_wait().unwrap();
        ready.is_some() || begun.elapsed() >= after
    });
    if ready.is_some() {
        return None;
    }
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id().cast_signed()), signal).unwrap();
    Some(child.wait().unwrap())
}

#[test]
fn up_killed_at_any_moment_is_repaired_by_down() {
    let _machine = Machine::alone();
    let before = Leftovers::snapshot();
    let whole = time_of_up();
    let mut killed = 0;
    for step in 0..KILLS {
        // Spread over the whole of `up`, its first steps with it; the machine's own noise does the rest.
        let after = whole * step / KILLS;
        let cluster = Cluster::claim(UpOptions::default());
        let status = up_and_signal(&cluster, nix::sys::signal::Signal::SIGKILL, after);
        killed += u32::from(status.is_some());
        eprintln!("killed after {after:.0?} of {whole:.0?}: {status:?}");
        cluster.down();
        before.assert_none_since();
    }
    assert!(
        killed > KILLS / 2,
        "most kills must hit a running `up`, {killed} of {KILLS} did"
    );
}

#[test]
fn up_killed_is_also_repaired_by_another_up() {
    let _machine = Machine::alone();
    let before = Leftovers::snapshot();
    let whole = time_of_up();
    for part in [2, 5, 8] {
        let cluster = Cluster::claim(UpOptions::default());
        up_and_signal(
            &cluster,
            nix::sys::signal::Signal::SIGKILL,
            whole * part / 10,
        );
        sealane(cluster.options().arguments()).succeeds();
        cluster.start(&[Pod::echo("works")]);
        cluster.down();
        before.assert_none_since();
    }
}

#[test]
fn up_interrupted_by_control_c_leaves_nothing() {
    let _machine = Machine::alone();
    let before = Leftovers::snapshot();
    let whole = time_of_up();
    let mut interrupted = 0;
    for part in [1, 4, 7] {
        let cluster = Cluster::claim(UpOptions::default());
        let status = up_and_signal(
            &cluster,
            nix::sys::signal::Signal::SIGINT,
            whole * part / 10,
        );
        if status.is_none_or(|status| status.success()) {
            // It was ready before, or as, the signal came: then there is a cluster.
            cluster.start(&[Pod::echo("works")]);
            cluster.down();
            continue;
        }
        interrupted += 1;
        let left = Leftovers::snapshot().naming(cluster.name());
        assert!(
            left.is_empty(),
            "`up` interrupted at {part}/10 cleans up after itself:\n{}",
            left.join("\n")
        );
        before.assert_none_since();
    }
    assert!(interrupted > 0, "no signal came while `up` was at work");
}

/// Takes something away from a running cluster.
type Damage = fn(&Cluster) -> Finished;

#[test]
fn down_works_whatever_is_missing() {
    let _machine = Machine::alone();
    let before = Leftovers::snapshot();
    let damages: [(&str, Damage); 4] = [
        ("the run directory", |cluster| remove(&cluster.run_dir())),
        ("the state directory", |cluster| {
            remove(&cluster.state_dir())
        }),
        ("a node's namespace's name", |cluster| {
            sealane_testkit::run("ip", ["netns", "delete", &cluster.node_netns(1)])
        }),
        ("all but the shims", kill_roles),
    ];
    for (what, damage) in damages {
        let cluster = Cluster::up(UpOptions::default());
        cluster.start(&[Pod::echo("a").on_node(1), Pod::echo("b").on_node(2)]);
        damage(&cluster).succeeds();
        eprintln!("without {what}");
        cluster.down();
        before.assert_none_since();
    }
}

fn remove(folder: &std::path::Path) -> Finished {
    sealane_testkit::run("rm", ["-r", "--one-file-system", folder.to_str().unwrap()])
}

fn kill_roles(cluster: &Cluster) -> Finished {
    use sealane_testkit::cluster::Role;
    for role in [
        Role::Supervisor,
        Role::Agent(1),
        Role::Agent(2),
        Role::Node(1),
        Role::Node(2),
        Role::ApiServer,
        Role::Controllers,
    ] {
        if let Ok(process) = cluster.process(role) {
            process.kill9();
            eventually(SOON, "the process is gone", || !process.runs());
        }
    }
    sealane_testkit::run("true", [""; 0])
}

/// How long an undisturbed `up` takes here and now.
fn time_of_up() -> Duration {
    let begun = Instant::now();
    let cluster = Cluster::up(UpOptions::default());
    let whole = begun.elapsed();
    cluster.down();
    whole
}

//! Lookups of A and AAAA side by side from many pods, while workers are replaced and keepers are killed: each is
//! answered within a second, at the first try.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sealane_testkit::cluster::Role;
use sealane_testkit::dns::{A, AAAA, question};
use sealane_testkit::process::Process;
use sealane_testkit::{Cluster, LATER, Namespace, Pod, SOON, eventually};

use super::cluster;

const SERVER: &str = "10.96.0.10:53";
const NAME: &str = "kubernetes.default.svc.cluster.local";
/// Longer, and it is lost: resolvers would ask again after five.
const PATIENCE: Duration = Duration::from_secs(1);
const PODS: usize = 50;

/// How many lookups; `make soak` asks for more.
fn lookups() -> usize {
    let asked = std::env::var("SEALANE_LOOKUPS").ok();
    asked.map_or(10_000, |text| text.parse().unwrap())
}

/// Both families at once from one socket, as glibc does; which of the two were answered, without an error.
fn look_up(socket: &UdpSocket, number: usize) -> Result<(), String> {
    let first = (number * 2 % 65_536) as u16;
    for (id, kind) in [(first, A), (first + 1, AAAA)] {
        socket
            .send(&question(id, NAME, kind))
            .map_err(|error| format!("send: {error}"))?;
    }
    let (mut missing, began) = (vec![first, first + 1], Instant::now());
    let mut reply = [0; 512];
    while !missing.is_empty() {
        let left = PATIENCE
            .saturating_sub(began.elapsed())
            .max(Duration::from_millis(1));
        socket.set_read_timeout(Some(left)).unwrap();
        let length = socket
            .recv(&mut reply)
            .map_err(|error| format!("{missing:?} after {:?}: {error}", began.elapsed()))?;
        let id = u16::from_be_bytes([reply[0], reply[1]]);
        let rcode = reply[3] & 0xf;
        if length < 12 || rcode != 0 {
            return Err(format!("rcode {rcode}"));
        }
        missing.retain(|other| *other != id);
    }
    Ok(())
}

/// The one that answers now: the youngest child of the keeper.
fn worker(cluster: &Cluster, node: u32) -> Result<i32, String> {
    let keeper = cluster.process(Role::Dns(node))?.pid;
    let children = Process::all()
        .into_iter()
        .filter(|process| process.parent() == Some(keeper));
    let youngest = children.max_by_key(|process| process.start_time);
    youngest
        .map(|process| process.pid)
        .ok_or_else(|| "it has no worker".to_owned())
}

/// Has a worker replaced, and waits until it is the only one.
fn restart(cluster: &Cluster, node: u32) {
    // A keeper that has a worker listens to signals.
    let before = eventually(SOON, "there is a worker", || worker(cluster, node));
    let keeper = cluster.process(Role::Dns(node)).unwrap();
    // SAFETY: sends a signal; no memory is involved.
    unsafe { libc::kill(keeper.pid, libc::SIGHUP) };
    eventually(LATER, "the worker is another", || {
        let gone = Process::look(before).is_none();
        match worker(cluster, node) {
            Ok(now) if gone && now != before => Ok(()),
            other => Err(format!("{before} is followed by {other:?}")),
        }
    });
}

#[test]
fn no_lookup_is_lost_or_late_while_workers_are_replaced_and_keepers_killed() {
    let cluster = cluster();
    let names: Vec<String> = (0..PODS).map(|number| format!("many-{number}")).collect();
    let pods: Vec<Pod> = names.iter().map(|name| Pod::echo(name)).collect();
    cluster.start(&pods);
    let places: Vec<Namespace> = names.iter().map(|name| cluster.pod_netns(name)).collect();
    let (next, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let total = lookups();
    let client = |place: &Namespace| {
        let socket = place.enter(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket
                .connect(SERVER.parse::<SocketAddr>().unwrap())
                .unwrap();
            socket
        });
        let mut failed = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= total {
                return failed;
            }
            failed.extend(look_up(&socket, number).err());
        }
    };
    let (failed, rounds) = thread::scope(|scope| {
        let clients: Vec<_> = places
            .iter()
            .map(|place| scope.spawn(|| client(place)))
            .collect();
        let restarts = scope.spawn(|| {
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) || rounds < 2 {
                for node in 1..=2 {
                    restart(&cluster, node);
                }
                if rounds % 3 == 1 {
                    // Its worker stands in for it until the next keeper comes.
                    cluster.kill9(Role::Dns(1));
                }
                rounds += 1;
            }
            rounds
        });
        let failed: Vec<String> = clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect();
        done.store(true, Ordering::Relaxed);
        (failed, restarts.join().unwrap())
    });
    eprintln!("{total} lookups, {rounds} rounds of restarts");
    assert!(
        failed.is_empty(),
        "{} of {total} lookups: {failed:?}",
        failed.len()
    );
    for name in &names {
        let path = format!("/api/v1/namespaces/default/pods/{name}");
        cluster.api().delete(&path).unwrap();
    }
}

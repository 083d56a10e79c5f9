//! Hundreds of random operations, and in the end exactly what was declared, on the API and on the nodes.
//!
//! Users scale, roll, undo, delete, force, relabel and cordon; containers, shims and our own processes
//! are killed in between; nobody waits for anybody. Then the cluster is left alone and must come to
//! what the workloads declare ([`declared`]), while each node holds exactly what its pods need: no folder,
//! socket, address, link, namespace, cgroup, mount or process more ([`settled`]).
//!
//! The choices follow from a seed that is printed: `SEALANE_SEED=7 SEALANE_OPERATIONS=1000`.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod declared;
mod operations;
mod settled;

use std::time::{Duration, Instant};

use sealane_testkit::chance::number;
use sealane_testkit::{Chance, Cluster, UpOptions};

use declared::Declared;

const NODES: u32 = 3;
const OPERATIONS: u64 = 200;
/// Longest time between two operations; often there is none.
const PAUSE_MS: u64 = 120;

#[test]
fn whatever_is_done_the_declared_state_is_reached_and_nothing_is_left_over() {
    let mut chance = Chance::of_this_run();
    let count = number("SEALANE_OPERATIONS").unwrap_or(OPERATIONS);
    let cluster = Cluster::up(UpOptions {
        nodes: NODES,
        ..UpOptions::default()
    });
    let mut declared = Declared::begin(&cluster);
    settled::wait(&cluster, &declared, "at the beginning");

    let begun = Instant::now();
    for number in 1..=count {
        let what = operations::one(&cluster, &mut declared, &mut chance);
        eprintln!("{number:4} {:6.2} s  {what}", begun.elapsed().as_secs_f64());
        // Not a wait for anything: operations come at random moments of what the former ones began.
        let pause = chance.below(PAUSE_MS * 2).saturating_sub(PAUSE_MS);
        std::thread::sleep(Duration::from_millis(pause));
    }
    operations::calm(&cluster, &mut declared);
    let left_alone = Instant::now();
    settled::wait(&cluster, &declared, "after the operations");
    eprintln!(
        "{count} operations in {:.1?}, settled {:.1?} after the last",
        left_alone - begun,
        left_alone.elapsed()
    );

    declared.delete_all(&cluster);
    settled::wait(&cluster, &declared, "when all is deleted");
    cluster.down();
}

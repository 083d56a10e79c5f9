//! From nothing to a ready cluster of two nodes, and back.

use std::time::Instant;

use sealane_testkit::{Cluster, UpOptions};

use crate::samples::{Report, Samples};

const ROUNDS: u32 = 10;

/// Times `sealane up` as a whole process, to its return, which is when every node is ready.
pub fn measure(report: &mut Report) {
    let (mut up, mut down) = (Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let cluster = Cluster::up(UpOptions::default());
        up.push(begun.elapsed());
        let begun = Instant::now();
        cluster.down();
        down.push(begun.elapsed());
    }
    report.times("up, 2 nodes, to ready", &up);
    report.times("down, with the test's own check", &down);
}

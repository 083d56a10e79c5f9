//! A claim on this machine: clusters share it, a test that compares before and after has it alone.

use std::cell::Cell;
use std::fs::File;

use nix::fcntl::{Flock, FlockArg};

/// Held shared by each cluster and alone by a test that compares the whole machine.
const LOCK: &str = "/run/lock/sealane-testkit";

/// A claim on this machine: clusters share it, a test that compares before and after has it alone.
#[derive(Debug)]
pub struct Machine {
    lock: Option<Flock<File>>,
    alone: bool,
}

thread_local! {
    /// Whether this thread's test has the machine alone, so that its clusters need no claim.
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

impl Machine {
    /// Waits until no cluster of another test runs, and keeps them waiting until dropped.
    ///
    /// # Panics
    /// When the lock file cannot be made (tests need root).
    #[track_caller]
    pub fn alone() -> Self {
        let machine = Self::claim(FlockArg::LockExclusive, true);
        ALONE.set(true);
        machine
    }

    /// Waits until no test has the machine alone.
    #[track_caller]
    pub(crate) fn with_others() -> Self {
        if ALONE.get() {
            Self {
                lock: None,
                alone: false,
            }
        } else {
            Self::claim(FlockArg::LockShared, false)
        }
    }

    #[track_caller]
    fn claim(how: FlockArg, alone: bool) -> Self {
        let file = File::create(LOCK)
            .unwrap_or_else(|error| panic!("make {LOCK} (tests need root): {error}"));
        let lock =
            Flock::lock(file, how).unwrap_or_else(|(_, error)| panic!("lock {LOCK}: {error}"));
        Self {
            lock: Some(lock),
            alone,
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.alone {
            ALONE.set(false);
        }
        drop(self.lock.take());
    }
}

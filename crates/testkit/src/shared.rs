//! One cluster for several tests of a file.
//!
//! The tests of a file run in parallel. The first one that asks brings a cluster up, the others use
//! the same, and it goes down with the last handle. Tests that share must name their pods
//! differently, and must not kill or change what others lean on.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::cluster::{Cluster, UpOptions};
use crate::report;

static CLUSTER: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

/// A handle of the shared two-node cluster.
#[derive(Debug)]
pub struct Shared(Arc<Cluster>);

impl Shared {
    /// The cluster that other tests use now, else a new one.
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn cluster() -> Self {
        Self::with(UpOptions::default)
    }

    /// The cluster that other tests use now, else a new one of this form. All tests of a file use the same form.
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn with(form: impl FnOnce() -> UpOptions) -> Self {
        // A test that failed while it brought one up has left nothing behind the weak reference.
        let mut slot = CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = slot.upgrade() {
            return Self(running);
        }
        let started = Arc::new(Cluster::up(form()));
        *slot = Arc::downgrade(&started);
        Self(started)
    }
}

impl Deref for Shared {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if std::thread::panicking() {
            report::print(&self.0);
        }
    }
}

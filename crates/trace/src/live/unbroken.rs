//! A packet that is on its way is followed to its end, and what it has left is taken away, whoever says stop meanwhile.

use nix::sys::signal::{SigSet, Signal};

/// While this lives, Ctrl-C and its like wait; then they end the process as ever.
pub(super) struct Unbroken(SigSet);

impl Unbroken {
    /// Also for threads that are started from now on; the command has no other.
    pub fn begin() -> nix::Result<Self> {
        let stop: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]
            .into_iter()
            .collect();
        let mut before = SigSet::empty();
        nix::sys::signal::pthread_sigmask(
            nix::sys::signal::SigmaskHow::SIG_BLOCK,
            Some(&stop),
            Some(&mut before),
        )?;
        Ok(Self(before))
    }
}

impl Drop for Unbroken {
    fn drop(&mut self) {
        // It was in force before, so the kernel takes it.
        let _ = self.0.thread_set_mask();
    }
}

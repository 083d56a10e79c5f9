//! Who has called the plugin, and whether he still waits for the answer.
//!
//! A runtime that is killed leaves its plugins behind. When it is back it
//! deletes the sandboxes that it had not finished, and an ADD that came to the
//! agent only then would make a link and take an address that nobody ever
//! gives back. So the plugin ends with whoever has called it:
//!
//! * `sealane node` says who it is in [`PARENT_VARIABLE`]; the kernel then kills
//!   the plugin in the moment in which the node ends. A plugin between the two, which
//!   has called ours, hands the variable on; then nothing is asked of the kernel.
//! * Of other runtimes nothing is asked: the plugin looks whether it has been
//!   orphaned before it does anything. The kernel's signal would be wrong there,
//!   as it comes when the *thread* ends that has started the plugin.
//!
//! What has reached the agent is in order: it works off calls as they came.

use std::{env, fmt::Display, os::unix::process};

use nix::{
    errno::Errno,
    sys::{
        prctl,
        signal::{Signal, kill},
    },
    unistd::Pid,
};

use crate::types::{CniError, code};

/// The process id of a runtime that starts plugins from a thread that lives as long as itself.
pub const PARENT_VARIABLE: &str = "SEALANE_RUNTIME_PID";

/// The process that has started this one.
pub struct Parent(u32);

impl Parent {
    /// From now on this process ends with a parent that has named itself.
    ///
    /// # Errors
    /// Code 11 when it has ended already.
    pub fn watch() -> Result<Self, CniError> {
        let parent = Self(process::parent_id());
        let named = env::var(PARENT_VARIABLE).ok();
        let Some(named) = named.and_then(|text| text.parse::<i32>().ok()) else {
            return Ok(parent);
        };
        if parent.0 == named.unsigned_abs() {
            // Refused nowhere; without it, what follows is asked all the same.
            let _ = prctl::set_pdeathsig(Signal::SIGKILL);
            return parent.is_waiting().map(|()| parent);
        }
        match kill(Pid::from_raw(named), None) {
            Err(Errno::ESRCH) => Err(has_ended(named)),
            _ => Ok(parent),
        }
    }

    /// # Errors
    /// Code 11 when it has ended.
    pub fn is_waiting(&self) -> Result<(), CniError> {
        if process::parent_id() == self.0 {
            return Ok(());
        }
        Err(has_ended(self.0))
    }
}

fn has_ended(process: impl Display) -> CniError {
    CniError::new(
        code::TRY_AGAIN_LATER,
        format!("process {process}, which has called the plugin, has ended; try again later"),
    )
    .with_details(
        "nothing was done; a runtime that starts again calls DEL for what it had not finished",
    )
}

//! When nft tables are looked at, and loaded again since somebody has edited them.
//!
//! The kernel tells of each edit, so it is mended at once, as far as our [`Patience`] goes.

use std::time::Duration;

use tokio::time::Instant;

use super::Core;
use crate::{guard::Guard, leases::Lease, patience::Patience};

/// After which the guard is tried again that could not be loaded.
const PAUSE: Duration = Duration::from_secs(1);

/// What is to be done about tables.
#[derive(Default)]
pub struct Edits {
    /// Somebody has edited them, and they were not loaded again yet.
    edited: bool,
    /// The guard is to be loaded again, not only compared.
    guard_edited: bool,
    compare: bool,
    patience: Patience,
    again_at: Option<Instant>,
    trouble: Option<String>,
}

impl Edits {
    /// Somebody has edited our tables.
    pub fn note(&mut self) {
        self.edited = true;
    }

    /// The guard is to be compared with the kernel.
    pub fn compare(&mut self) {
        self.compare = true;
    }

    /// When something is to be done.
    pub fn look_at(&self) -> Option<Instant> {
        let regained_at = self.patience.regained_at().map(Instant::from_std);
        let edit = regained_at.filter(|_| self.edited);
        edit.into_iter().chain(self.again_at).min()
    }

    /// Whether all tables are to be loaded again now.
    pub fn wake_up(&mut self, now: Instant) -> bool {
        if self.again_at.is_some_and(|at| at <= now) {
            self.again_at = None;
            self.compare = true;
        }
        if !self.edited || !self.patience.take(now.into_std()) {
            return false;
        }
        self.edited = false;
        self.guard_edited = true;
        true
    }

    /// What keeps the guard from being there when there is to be one.
    pub fn why_no_guard(&self, guard: &Guard) -> Option<String> {
        if guard.is_made() {
            return None;
        }
        Some(match &self.trouble {
            Some(trouble) => trouble.clone(),
            None => "the rules against spoofing are being loaded".into(),
        })
    }
}

impl Core {
    /// Compares the guard with the kernel if that is due. Once the links are known: a lease that
    /// only they know of must not lose what lets its pod send.
    pub(super) fn mend_guard(&mut self) {
        if !self.node.adopted() || !(self.edits.compare || self.edits.guard_edited) {
            return;
        }
        let edited = std::mem::take(&mut self.edits.guard_edited);
        self.edits.compare = false;
        let leases = self.book.leases().map(|lease| &**lease);
        let first = !self.guard.is_made();
        match self.guard.compare(leases, edited) {
            Ok(compared) => {
                self.edits.trouble = None;
                if compared.tables + compared.elements > 0 && !first {
                    tracing::warn!(
                        "mended the rules against spoofing, which somebody has changed: \
                         {} tables loaded, {} elements",
                        compared.tables,
                        compared.elements
                    );
                }
            }
            Err(error) => {
                let trouble = format!(
                    "{error}; a kernel without nftables of this family needs --anti-spoofing node"
                );
                if self.edits.trouble.as_ref() != Some(&trouble) {
                    tracing::error!("{trouble}; trying again");
                }
                self.edits.trouble = Some(trouble);
                self.edits.guard_edited = edited;
                self.edits.again_at = Some(Instant::now() + PAUSE);
            }
        }
    }

    /// Takes away what let a pod send that has gone.
    pub(super) fn dismiss(&mut self, lease: &Lease) {
        if let Err(error) = self.guard.dismiss(lease) {
            tracing::debug!("{error}");
            self.edits.compare = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_due_while_nobody_edits() {
        let mut edits = Edits::default();
        assert!(!edits.wake_up(Instant::now()));
        assert_eq!(edits.look_at(), None);
    }
}

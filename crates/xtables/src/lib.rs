//! Edge: `iptables-save` and `iptables-restore` as processes.
//!
//! ```text
//! Program ─ diff with what is loaded ─► iptables-restore --noflush -w 5, nothing when they are equal
//!                 ▲
//!   iptables-save ┘ at the start, after a failure, and when asked
//! ```
//!
//! Each call blocks, and works in the network namespace of the calling thread,
//! so [`Tables`] is used from one thread that stays in one namespace. One
//! [`Tables`] is for one family.
//!
//! `iptables-restore` changes each table as one transaction; only the chains
//! that differ are in it, so connections pass the others undisturbed, and a
//! restart, which reads what is loaded, changes nothing.
#![warn(missing_docs)]

mod process;

use sealane_iptables::{Loaded, Program, choose, diff, removal};
use sealane_net::Family;

pub use process::Error;
pub use sealane_iptables::Variant;

/// How long `iptables-restore` waits for others that hold the lock.
const LOCK_SECONDS: &str = "5";

/// The tables of one family, and what is known to be loaded.
#[derive(Debug)]
pub struct Tables {
    family: Family,
    variant: Variant,
    /// `None`: not known, so it is read first.
    loaded: Option<Loaded>,
}

/// Whether iptables-legacy translates anything here; asking the program would load its modules.
pub fn has_legacy(family: Family) -> bool {
    let file = match family {
        Family::V4 => "ip_tables_names",
        Family::V6 => "ip6_tables_names",
    };
    let names = std::fs::read_to_string(format!("/proc/thread-self/net/{file}"));
    names.is_ok_and(|names| names.lines().any(|name| name == "nat"))
}

/// What [`Tables::sync`] has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Chains that were written.
    pub written: usize,
    /// Chains that were deleted.
    pub deleted: usize,
}

impl Tables {
    /// Finds out which of the two iptables this node uses. Changes nothing.
    ///
    /// # Errors
    /// When the node has neither.
    pub fn open(family: Family) -> Result<Self, Error> {
        let (nft, legacy) = (
            process::save(family, Variant::Nft),
            process::save(family, Variant::Legacy),
        );
        if let (Err(error), Err(_)) = (&nft, &legacy) {
            return Err(error.clone());
        }
        let variant = choose(nft.as_deref().ok(), legacy.as_deref().ok());
        Ok(Self::with(family, variant))
    }

    /// With a variant that was chosen.
    pub fn with(family: Family, variant: Variant) -> Self {
        Self {
            family,
            variant,
            loaded: None,
        }
    }

    /// Which of the two iptables it is.
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// Makes the chains those of the program; those of others stay, and so does the order of their rules.
    ///
    /// # Errors
    /// Names what `iptables-restore` refused; the table it was in is as before,
    /// and the next call reads what is loaded before it tries again.
    pub fn sync(&mut self, program: &Program) -> Result<Applied, Error> {
        let mut loaded = match self.loaded.take() {
            Some(loaded) => loaded,
            None => self.read()?,
        };
        let difference = diff(&loaded, program);
        if !difference.text.is_empty() {
            process::restore(self.family, self.variant, &difference.text)?;
            loaded.replace(program);
        }
        self.loaded = Some(loaded);
        Ok(Applied {
            written: difference.written,
            deleted: difference.deleted,
        })
    }

    /// Reads what is loaded before the next [`Tables::sync`]: somebody else may have changed it.
    pub fn doubt(&mut self) {
        self.loaded = None;
    }

    /// Removes what a program of ours has put there, if one has: what kube-proxy has is its own.
    ///
    /// # Errors
    /// As [`Tables::sync`].
    pub fn remove(&mut self) -> Result<Applied, Error> {
        self.loaded = None;
        let loaded = self.read()?;
        if !loaded.is_ours() {
            return Ok(Applied::default());
        }
        let difference = removal(&loaded);
        process::restore(self.family, self.variant, &difference.text)?;
        Ok(Applied {
            written: 0,
            deleted: difference.deleted,
        })
    }

    fn read(&self) -> Result<Loaded, Error> {
        process::save(self.family, self.variant).map(|text| Loaded::read(&text))
    }
}

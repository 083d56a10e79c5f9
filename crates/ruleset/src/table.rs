use sealane_net::{Family, fingerprint};

use crate::{Chain, Set};

/// The version of our tables' layout and of their encoding.
///
/// It must grow when the same text is to mean something else in the kernel,
/// after a fix of the encoder for instance; text that changes is noticed by itself.
pub const LAYOUT: u32 = 1;

/// A table with all that is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// nft's `ip` or `ip6`.
    pub family: Family,
    /// The name, see [`sealane_net::names`].
    pub name: String,
    /// Sets, printed and loaded before the chains that use them.
    pub sets: Vec<Set>,
    /// Chains.
    pub chains: Vec<Chain>,
}

impl Table {
    /// What the table's comment says: the layout's version and a fingerprint of everything else in the table.
    ///
    /// Two tables with the same stamp are the same program.
    pub fn stamp(&self) -> String {
        let text = crate::render::body(self);
        format!(
            "layout {LAYOUT}, program {:016x}",
            fingerprint(text.as_bytes())
        )
    }
}

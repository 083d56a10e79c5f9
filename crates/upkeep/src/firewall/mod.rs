//! Rules of others, as far as they decide whether a packet of ours passes.
//!
//! ```text
//!  nft -j list ruleset ──┐
//!  iptables-nft-save  ───┼─► [`Table`]s ─► [`walk`] with a [`Packet`] ─► who drops it
//!  iptables-legacy-save ─┘
//! ```
//!
//! A rule set is never understood in whole: there are matches on time, on
//! limits, on what an earlier packet has done. So a match says yes, no or
//! perhaps, and whoever reads the answer decides what a perhaps is worth.

mod iptables;
mod model;
mod nft;
mod walk;

pub use iptables::{Variant, parse as parse_iptables};
pub use model::{
    Base, Chain, Condition, Hook, Match, Packet, Rule, Source, State, Table, TableFamily, Verdict,
};
pub use nft::parse as parse_nft;
pub use walk::{Certainty, Drop, drops};

/// The tables of all three sources: what `iptables-nft-save` tells of a table, it tells better than nft.
pub fn merge(nft: Vec<Table>, iptables: Vec<Table>) -> Vec<Table> {
    let told = |table: &Table| {
        iptables.iter().any(|other| {
            other.source == Source::IptablesNft
                && (other.family, &other.name) == (table.family, &table.name)
        })
    };
    let mut tables: Vec<Table> = nft.into_iter().filter(|table| !told(table)).collect();
    tables.extend(iptables);
    tables
}

//! Programs: nftables rulesets as values that can be printed and compared.
//!
//! A [`Table`] holds exactly what the kernel will run: rules are lists of the
//! kernel's own expressions on its registers ([`Expr`]), not nft's language.
//! So there is one thing to encode, to print, to compare and to reason about,
//! and forms that nft's grammar cannot express are open to later programs.
//! `Display` follows the registers and prints what `nft -s list table` shows,
//! so a test can hold the kernel against a value.
//!
//! Every table carries a stamp in its comment: the version of the layout and a
//! fingerprint of its text. [`fn@diff`] compares stamps, so a program that is
//! loaded already is left alone and no counter, set or flow is disturbed by a
//! restart.
//!
//! Rejected: text for `nft -f -`, since it needs that program in the right
//! version and takes 10 to 80 ms for a change; a crate that models nft's JSON,
//! since it does not know all that nft prints.
#![warn(missing_docs)]

mod chain;
mod diff;
mod dns;
mod egress;
mod expr;
mod guard;
mod keyed;
mod render;
mod rule;
pub mod services;
mod set;
mod table;

pub use chain::{Base, Chain, ChainType, Hook, Policy, priority};
pub use diff::{Change, Loaded, diff};
pub use dns::dns_table;
pub use egress::{NodeEgress, bridge_egress, machine_confinement, machine_egress, node_egress};
pub use expr::{
    CmpOp, Expr, MetaKey, NatFlags, PayloadField, Register, SetRef, Source, Verdict, ether_type,
    transport,
};
pub use guard::{DropReason, guard_elements, guard_tables};
pub use keyed::{Element, Key, KeyType, KeyedSet};
pub use rule::Rule;
pub use set::{Interval, Set};
pub use table::{LAYOUT, Table, TableFamily};

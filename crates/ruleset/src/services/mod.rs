//! Services as a program of nftables: a few fixed chains, and maps that hold all that varies.
//!
//! ```text
//! prerouting, output ─► services ─┬─► picker-of: frontend ─► number ─┬─► gates:   who may, who is masqueraded
//!                                 │                                  └─► pickers: goto pick
//!                                 └─► pick ─┬─► draws: number . random ─► slot ─┐
//!                                           └─► frontends: frontend ─► id ──────┴─► eps: slot . id ─► dnat
//! postrouting ─► masquerade what is marked, and pods that reach themselves
//! ```
//!
//! A **frontend** is address, protocol and port. Its **number** says at which
//! gate it is looked at, which chain picks (which affinity), and from how many
//! endpoints; its **id** says whose endpoints are meant. So no chain belongs to
//! a Service, and a change of a Service is a change of a few elements with
//! integers in them, which takes the kernel some microseconds however many
//! Services there are. Measured and rejected: verdicts in the large maps (the
//! kernel walks all of them at each commit), a chain for each Service, sets
//! made for single rules.
//!
//! * A number read from a map passes through the packet's mark before it is
//!   used, and the mark is put back: nft 1.0 cannot list rules that do
//!   without. Foreign bits of the mark are never changed.
//! * Two lookups of one packet may see two generations of the maps, so each
//!   chain ends with a try at slot 0, and then a drop: nothing passes untranslated.
//!   For the same reason slots are deleted in a second transaction, after
//!   the number says that there are fewer.
//! * Up to 64 endpoints are drawn from by one chain, through ranges of random numbers for each
//!   count. Beyond, counts grow by an eighth, each has a chain, and a random slot that is empty is drawn again.
//! * A cluster IP is refused at ports that it does not have, by a set of all of them.
//! * Node ports answer at all of 127.0.0.0/8, which is one frontend with that address, looked for when a process of
//!   the node has sent a packet there that is for nobody else; a rule keeps others from there.
//! * Which counts can be picked from grows with need ([`Sizes`]), in steps.

mod chains;
mod element;
mod fingerprint;
mod image;
mod number;
mod port;
mod program;
mod text;
mod walk;

pub use chains::{Pickers, static_table};
pub use element::{Bytes, Data, Element, Field, Map, MapSpec};
pub use fingerprint::Fingerprints;
pub use image::{Image, Loaded};
pub use number::{Gate, Number, Sizes, Step, Style};
pub use program::{ServiceProgram, Transaction};
pub(crate) use text::rule_text;
pub use walk::{Flow, Origin, Outcome, Trace, TraceStep, World, walk};

#[cfg(test)]
mod tests;

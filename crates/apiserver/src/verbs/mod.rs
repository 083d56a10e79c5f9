//! What can be done with objects.
//!
//! ```text
//!   create ─┐                                    ┌─ complete, default ─ admit ─ validate ─┐
//!   update ─┤ read body ─ check types ─ prepare ─┤                                        ├─ store
//!   patch ──┘ (patch: apply to the current)      └─ again, if somebody else was faster ◄──┘
//! ```

mod apply;
mod bind;
mod create;
mod decode;
mod delete;
mod evict;
mod finish;
mod list;
mod patch;
mod scale;
mod update;
mod watch;

pub use apply::MEDIA as APPLY;
pub use bind::bind;
pub use create::{create, create_object, suffix};
pub use decode::{Incoming, cannot, decode, judge};
pub use delete::{delete, delete_collection, delete_object};
pub use evict::evict;
pub use finish::Outcome;
pub use list::{check_fields, get, list_or_watch, selected};
pub use patch::patch;
pub use scale::scale;
pub use update::{Part, replace, update};

//! Task: what each role of a node begins with.
//!
//! - [`read_settings`] and [`node_name`]: what a user has said where no flag does.
//! - [`keep`], [`become_user`] and [`never_more`]: from root to as little as the role needs, for good.
//!
//! All of it comes before the first thread, runtime or packet. Which rights and which settings
//! is the role's own to say.
#![warn(missing_docs)]

mod rights;
mod settings;

pub use rights::{RightsError, become_user, keep, never_more};
pub use settings::{SettingsError, node_name, read_settings};

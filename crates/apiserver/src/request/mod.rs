//! Requests: what is asked of what, in which form.

mod accept;
mod body;
mod options;
mod path;
mod query;

pub use accept::{Accept, Form, Include, Syntax};
pub use body::{Payload, read, read_value};
pub use options::{DeleteOptions, FieldValidation, ListOptions, VersionMatch, WriteOptions};
pub use path::{Path, Target};
pub use query::Query;

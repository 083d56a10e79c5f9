//! Requests: what is asked of what, in which form.

mod accept;
mod body;
mod delete_options;
mod options;
mod path;
mod query;

pub use accept::{Accept, Form, Include, Syntax};
pub use body::{PROTOBUF, Payload, read, read_value};
pub use delete_options::{DeleteOptions, Propagation};
pub use options::{FieldValidation, ListOptions, VersionMatch, WriteOptions};
pub use path::{Path, Target};
pub use query::Query;

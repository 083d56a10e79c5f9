//! LimitRanges, applied to pods.

use sealane_quota::limit_range;
use serde_json::Value;

use super::called;
use crate::{
    kinds::{LIMIT_RANGE, POD},
    server::Server,
    status::ApiError,
};

/// Gives a new pod the requests and limits that its namespace has for those who say nothing.
pub fn fill(server: &Server, namespace: &str, pod: &mut Value) {
    let ranges = ranges(server, namespace);
    if !ranges.is_empty() && pod["spec"].is_object() {
        limit_range::fill(pod, &ranges);
    }
}

/// Refuses a new pod that asks for more, or less, than its namespace allows.
///
/// # Errors
///
/// 403 with all that is wrong.
pub fn check(server: &Server, namespace: &str, pod: &Value) -> Result<(), ApiError> {
    let wrong = limit_range::check(pod, &ranges(server, namespace));
    let why = match wrong.as_slice() {
        [] => return Ok(()),
        [one] => one.clone(),
        all => format!("[{}]", all.join(", ")),
    };
    Err(ApiError::forbidden(&POD, called(pod), why))
}

fn ranges(server: &Server, namespace: &str) -> Vec<Value> {
    let bucket = LIMIT_RANGE.bucket();
    let found = server.store.list(&bucket, Some(namespace), |_| true);
    let read = found.entries.iter();
    read.filter_map(|entry| serde_json::from_slice(&entry.object.unpack()).ok())
        .collect()
}

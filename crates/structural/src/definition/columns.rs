//! Columns of `kubectl get`.

use serde_json::Value;

use crate::path::Path;
use crate::problem::Problem;

const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const FORMATS: [&str; 8] = [
    "byte",
    "date",
    "date-time",
    "double",
    "float",
    "int32",
    "int64",
    "password",
];

pub(super) fn check(columns: &Value, at: &Path<'_>, problems: &mut Vec<Problem>) {
    for (index, column) in columns.as_array().into_iter().flatten().enumerate() {
        check_one(column, &at.index(index), problems);
    }
}

fn check_one(column: &Value, at: &Path<'_>, problems: &mut Vec<Problem>) {
    let text = |name: &str| column[name].as_str().unwrap_or_default();
    if text("name").is_empty() {
        problems.push(Problem::required(at.field("name"), ""));
    }
    let (kind, kind_at) = (text("type"), at.field("type"));
    let types = format!("must be one of {}", TYPES.join(","));
    if kind.is_empty() {
        problems.push(Problem::required(kind_at, types));
    } else if !TYPES.contains(&kind) {
        problems.push(Problem::invalid(kind_at, kind, types));
    }
    let format = text("format");
    if !format.is_empty() && !FORMATS.contains(&format) {
        let detail = format!("must be one of {}", FORMATS.join(","));
        problems.push(Problem::invalid(at.field("format"), format, detail));
    }
    let path = text("jsonPath");
    if path.is_empty() {
        problems.push(Problem::required(at.field("jsonPath"), ""));
    } else {
        simple_path(path, &at.field("jsonPath"), problems);
    }
}

/// Whether a path begins as one; whether it leads somewhere is seen when it is followed.
pub(super) fn simple_path(path: &str, at: &Path<'_>, problems: &mut Vec<Problem>) -> bool {
    let right = path.starts_with('.');
    if !right {
        let detail = "must be a simple json path starting with .";
        problems.push(Problem::invalid(at, path, detail));
    }
    right
}

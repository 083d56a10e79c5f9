//! What a definition's schema finds, for the machinery that all kinds share.

use sealane_structural::{Problem, Schema};
use serde_json::{Value, json};

use crate::check::Findings;

/// The schema of a version, from its `openAPIV3Schema`, which was found to be right when the
/// definition was written. What has none may have any fields.
pub fn load(written: &Value) -> Schema {
    if written.is_null() {
        return Schema::load(&json!({
            "type": "object", "x-kubernetes-preserve-unknown-fields": true,
        }));
    }
    Schema::load(written)
}

/// Adds problems to what was found.
pub fn add(findings: &mut Findings, problems: Vec<Problem>) {
    for problem in problems {
        let (reason, message) = (problem.kind.reason(), problem.message());
        findings.add(problem.path, reason, message);
    }
}

//! Kinds of work that ends: Job, and CronJob, which makes Jobs by the clock.

mod cron_job;
mod failure_policy;
mod indexes;
mod job;
mod success_policy;

pub use cron_job::CRON_JOB;
pub use job::JOB;

use serde_json::Value;

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

/// Whether a condition of this type holds.
fn is_true(object: &Value, condition: &str) -> bool {
    items(&object["status"]["conditions"])
        .iter()
        .any(|one| one["type"] == condition && one["status"] == "True")
}

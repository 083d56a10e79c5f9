//! Exit records on disk, and the end of old attempts.

use std::fs;
use std::io;
use std::path::Path;

use crate::spec::{exit_path, log_name, log_path};
use crate::state::ExitRecord;

/// How many attempts of a container keep their log and exit record.
pub(super) const KEPT_ATTEMPTS: u32 = 5;

/// Writes how an attempt ended. A reader sees the whole record or none.
pub(super) fn write(dir: &Path, record: &ExitRecord) -> io::Result<()> {
    let path = exit_path(dir, &record.name, record.attempt);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut text = serde_json::to_vec(record)?;
    text.push(b'\n');
    let draft = path.with_extension("tmp");
    fs::write(&draft, text)?;
    fs::rename(&draft, &path)
}

/// Removes what is now too old: logs and exit records, and of the logs but the
/// last one all that was put aside.
pub(super) fn forget_old(dir: &Path, container: &str, attempt: u32) {
    if let Some(old) = attempt.checked_sub(KEPT_ATTEMPTS) {
        let _ = fs::remove_file(exit_path(dir, container, old));
    }
    let logs = log_path(dir, container, attempt);
    let entries = logs.parent().and_then(|logs| fs::read_dir(logs).ok());
    for entry in entries.into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some((number, rotation)) = name.to_str().and_then(log_name) else {
            continue;
        };
        let kept = if rotation.is_some() { 2 } else { KEPT_ATTEMPTS };
        if number.saturating_add(kept) <= attempt {
            let _ = fs::remove_file(entry.path());
        }
    }
}

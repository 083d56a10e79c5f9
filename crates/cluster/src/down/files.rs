//! The cluster's directories.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::layout::{Layout, STATE_ROOT};
use crate::lock::Lock;
use crate::record::UNFINISHED;

/// Whether the state directory is a cluster's: it has the record, or it is the
/// default place, which is nobody else's.
pub fn has_state(layout: &Layout) -> bool {
    let record = layout.cluster_file();
    record.exists()
        || record.with_file_name(UNFINISHED).exists()
        || (is_default(layout) && layout.state.exists())
}

fn is_default(layout: &Layout) -> bool {
    layout.state == Path::new(STATE_ROOT).join(layout.name.as_str())
}

/// Whether there is a run directory.
pub fn has_run(layout: &Layout) -> bool {
    layout.run.exists()
}

/// Removes the state directory, the record last: as long as anything is left,
/// the record says whose it is.
pub fn remove_state(layout: &Layout) -> io::Result<()> {
    if !has_state(layout) {
        // Made for a cluster that came no further, or somebody else's and not empty.
        _ = fs::remove_dir(&layout.state);
        return Ok(());
    }
    let named = |path: &Path, error: io::Error| {
        io::Error::other(format!("remove {}: {error}", path.display()))
    };
    let record = layout.cluster_file();
    let entries = fs::read_dir(&layout.state).map_err(|error| named(&layout.state, error))?;
    for entry in entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| *path != record)
    {
        remove(&entry).map_err(|error| named(&entry, error))?;
    }
    remove(&record).map_err(|error| named(&record, error))?;
    absent_is_fine(fs::remove_dir(&layout.state)).map_err(|error| named(&layout.state, error))
}

/// Removes the run directory.
pub fn remove_run(layout: &Layout) -> io::Result<()> {
    remove(&layout.run)
        .map_err(|error| io::Error::other(format!("remove {}: {error}", layout.run.display())))?;
    remove_shared(layout);
    Ok(())
}

/// Removes the run directory if nothing is in it, and what all clusters share
/// if this was the last.
pub fn remove_shared(layout: &Layout) {
    _ = fs::remove_dir(&layout.run);
    // Whoever holds this lock makes a cluster, and so needs what is shared.
    let Ok(lock) = Lock::acquire(&layout.machine_lock(), Duration::ZERO) else {
        return;
    };
    if is_default(layout) {
        _ = fs::remove_dir(STATE_ROOT);
    }
    let mut entries = fs::read_dir(&layout.shared).into_iter().flatten().flatten();
    let in_use = entries.any(|entry| !entry.file_name().to_string_lossy().ends_with("lock"));
    if !in_use {
        _ = lock.remove();
        _ = fs::remove_dir(&layout.shared);
    }
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    absent_is_fine(removed)
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

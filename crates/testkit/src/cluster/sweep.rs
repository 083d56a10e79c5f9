//! Clusters of test runs that were killed before they could take them down.

use std::fs;

use crate::binary;
use crate::process::Process;

/// Takes down the clusters of test runs that were killed before they could.
///
/// Their names carry the process id of the run (see [`unique`](crate::topology::unique)), so those of runs that live are left alone.
pub fn sweep() {
    let folders = ["/run/sealane", "/var/lib/sealane"];
    let entries = folders
        .into_iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .flatten();
    for name in entries.filter_map(|entry| entry.file_name().into_string().ok()) {
        if test_process_of(&name).is_some_and(|pid| Process::look(pid).is_none()) {
            eprintln!("taking down {name}, which a killed test run has left");
            eprintln!("{}", binary::sealane(["down", "--name", &name]));
        }
    }
}

fn test_process_of(name: &str) -> Option<i32> {
    let (pid, counter) = name.strip_prefix('t')?.split_once('-')?;
    counter.parse::<u32>().ok()?;
    pid.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_which_test_run_made_them() {
        assert_eq!(test_process_of("t123-4"), Some(123));
        for foreign in ["sealane", "t123", "t-1", "test-1", "t1-node"] {
            assert_eq!(test_process_of(foreign), None, "{foreign}");
        }
    }
}

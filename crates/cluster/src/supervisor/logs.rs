//! Logs of a bounded size.
//!
//! A process writes its log itself, into a file that is open for appending. So
//! a log needs no running supervisor, and no process ever blocks on a pipe. A
//! file that has grown is copied aside and cut to nothing; what is written in
//! that instant may be lost, which is accepted for a log.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

/// Size from which a log is put aside. There are at most two files of it.
const LIMIT_BYTES: u64 = 8 << 20;

/// Puts logs aside that have grown too large.
pub fn bound(directory: &Path) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for path in entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "log"))
    {
        if let Err(error) = bound_one(&path, LIMIT_BYTES) {
            tracing::warn!("cut log {}: {error}", path.display());
        }
    }
}

fn bound_one(path: &Path, limit_bytes: u64) -> io::Result<()> {
    if fs::metadata(path)?.len() <= limit_bytes {
        return Ok(());
    }
    fs::copy(path, path.with_extension("log.1"))?;
    OpenOptions::new().write(true).open(path)?.set_len(0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::supervisor::spawn::open_log;

    #[test]
    fn a_log_is_cut_while_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node-1.log");
        let mut log = open_log(&path).unwrap();
        log.write_all(b"0123456789\n").unwrap();
        bound_one(&path, 20).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "0123456789\n");
        bound_one(&path, 10).unwrap();
        log.write_all(b"after\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "after\n");
        assert_eq!(
            fs::read_to_string(path.with_extension("log.1")).unwrap(),
            "0123456789\n"
        );
    }
}

//! Edge: the files of a container's log, one after the other.
//!
//! The shim may put a file aside, and remove the oldest, at any moment. So what is found is looked
//! at twice: when nothing has changed in between, it belongs together.

use std::collections::VecDeque;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sealane_runtime::{log_files, log_path};

use super::tail;

/// Looks in vain before an error is told; each one means that the container has written megabytes.
const MAX_LOOKS: usize = 100;

/// Where the log of one attempt is.
#[derive(Clone, Debug)]
pub struct LogFiles {
    dir: PathBuf,
    container: String,
    attempt: u32,
}

impl LogFiles {
    /// The log of an attempt of a container of the pod whose folder this is.
    pub fn new(dir: &Path, container: &str, attempt: u32) -> Self {
        Self {
            dir: dir.to_owned(),
            container: container.to_owned(),
            attempt,
        }
    }

    /// The file that is written.
    pub fn current(&self) -> PathBuf {
        log_path(&self.dir, &self.container, self.attempt)
    }

    /// All files, oldest first.
    ///
    /// # Errors
    /// When there is no log, or it cannot be read.
    pub fn open(&self) -> io::Result<VecDeque<File>> {
        self.look(|paths| paths.iter().map(File::open).collect())
    }

    /// The file that follows this one, which is complete if there is one.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn after(&self, file: &File) -> io::Result<Option<File>> {
        let own = file.metadata()?;
        self.look(|paths| {
            let all: Vec<Metadata> = paths.iter().map(fs::metadata).collect::<io::Result<_>>()?;
            let same = |other: &Metadata| (other.dev(), other.ino()) == (own.dev(), own.ino());
            // A file that is no longer there was older than all that are.
            let next = all.iter().position(same).map_or(0, |index| index + 1);
            paths.get(next).map(File::open).transpose()
        })
    }

    /// Does something with the paths of all files, as often as they change meanwhile.
    fn look<T>(&self, act: impl Fn(&[PathBuf]) -> io::Result<T>) -> io::Result<T> {
        let mut looks = 0;
        let mut paths = self.paths()?;
        loop {
            let done = act(&paths);
            let now = self.paths()?;
            looks += 1;
            // One of them is gone, or the log is not there at all.
            let absent = matches!(&done, Err(error) if error.kind() == io::ErrorKind::NotFound);
            if looks >= MAX_LOOKS || now == paths && (!absent || paths.len() == 1) {
                return done;
            }
            paths = now;
        }
    }

    fn paths(&self) -> io::Result<Vec<PathBuf>> {
        let mut paths = log_files(&self.dir, &self.container, self.attempt)?;
        paths.push(self.current());
        Ok(paths)
    }
}

/// The file, by index, and the place in it where the last `lines` lines begin.
///
/// # Errors
/// When a file cannot be read.
pub fn tail_of_all(files: &VecDeque<File>, mut lines: u64) -> io::Result<(usize, u64)> {
    for (index, file) in files.iter().enumerate().rev() {
        let end = tail(file, file.metadata()?.len(), lines)?;
        if end.lines >= lines {
            return Ok((index, end.begin));
        }
        lines -= end.lines;
    }
    Ok((0, 0))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn log() -> (tempfile::TempDir, LogFiles) {
        let dir = tempfile::tempdir().unwrap();
        let log = LogFiles::new(dir.path(), "c", 0);
        fs::create_dir_all(log.current().parent().unwrap()).unwrap();
        (dir, log)
    }

    fn write(log: &LogFiles, name: &str, text: &str) {
        fs::write(log.current().with_file_name(name), text).unwrap();
    }

    fn text(mut file: File) -> String {
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn files_come_in_their_order() {
        let (_dir, log) = log();
        assert!(log.open().is_err(), "there is no log yet");
        for (name, text) in [
            ("0.log.9", "a"),
            ("0.log.10", "b"),
            ("0.log", "c"),
            ("1.log", "x"),
        ] {
            write(&log, name, text);
        }
        let all: Vec<_> = log.open().unwrap().into_iter().map(text).collect();
        assert_eq!(all, ["a", "b", "c"]);
    }

    #[test]
    fn a_reader_goes_from_one_to_the_next_also_when_it_is_late() {
        let (_dir, log) = log();
        write(&log, "0.log", "a");
        let mut file = log.open().unwrap().pop_back().unwrap();
        assert!(
            log.after(&file).unwrap().is_none(),
            "it is the one that is written"
        );
        let aside = |number| log.current().with_file_name(format!("0.log.{number}"));
        fs::rename(log.current(), aside(1)).unwrap();
        write(&log, "0.log", "b");
        file = log.after(&file).unwrap().unwrap();
        fs::rename(log.current(), aside(2)).unwrap();
        write(&log, "0.log", "c");
        let next = log.after(&file).unwrap().unwrap();
        assert_eq!(text(next), "c");
        // Its own file is gone: what is left follows.
        fs::rename(log.current(), aside(3)).unwrap();
        write(&log, "0.log", "d");
        fs::remove_file(aside(1)).unwrap();
        fs::remove_file(aside(2)).unwrap();
        assert_eq!(text(log.after(&file).unwrap().unwrap()), "c");
    }

    #[test]
    fn last_lines_are_counted_across_files() {
        let (_dir, log) = log();
        write(&log, "0.log.1", "1\n2\n");
        write(&log, "0.log.2", "3\n4\n");
        write(&log, "0.log", "5\n");
        let files = log.open().unwrap();
        for (lines, expected) in [
            (0, (2, 2)),
            (1, (2, 0)),
            (2, (1, 2)),
            (3, (1, 0)),
            (4, (0, 2)),
            (9, (0, 0)),
        ] {
            assert_eq!(tail_of_all(&files, lines).unwrap(), expected, "{lines}");
        }
    }
}

//! The file that a log is written to, and those that were put aside.
//!
//! ```text
//! 0.log.6   0.log.7   0.log.8   0.log.9   0.log      max_files = 5
//! oldest ─────────────────────> newest    written
//! ```
//!
//! A file keeps its name once it has been put aside, so that one who reads the
//! log knows which file follows which, also when another is put aside meanwhile.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use crate::spec::LogLimits;

/// A log that is being written.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    length: u64,
    limits: LogLimits,
    /// The number of the next file that is put aside.
    number: u64,
}

impl LogFile {
    /// Opens the log at `path`; an attempt writes its log from the beginning.
    pub(super) fn open(path: &Path, limits: LogLimits) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let file = append_to(path)?;
        Ok(Self {
            path: path.to_owned(),
            length: file.metadata()?.len(),
            file,
            limits,
            number: 1,
        })
    }

    /// Adds whole records, each of which ends with its newline.
    pub(super) fn write(&mut self, mut records: &[u8]) -> io::Result<()> {
        let mut result = Ok(());
        while !records.is_empty() {
            let (part, rest) = records.split_at(self.part(records));
            self.file.write_all(part)?;
            self.length += part.len() as u64;
            records = rest;
            if self.length >= self.limits.max_bytes {
                // What cannot be put aside now is written on, and tried again later.
                self.length = 0;
                result = result.and(self.rotate());
            }
        }
        result
    }

    /// How much still belongs into this file: up to the record that makes it full.
    fn part(&self, records: &[u8]) -> usize {
        let room = self.limits.max_bytes.saturating_sub(self.length).max(1);
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let beyond = records.get(room - 1..).unwrap_or_default();
        let end = beyond.iter().position(|byte| *byte == b'\n');
        end.map_or(records.len(), |end| room + end)
    }

    /// The new file comes into the place of the old one at a stroke: at every
    /// moment there is one that is written, for those who look for it.
    fn rotate(&mut self) -> io::Result<()> {
        let aside = self.aside(self.number);
        let file = append_to(&aside)?;
        match renameat2(
            AT_FDCWD,
            &aside,
            AT_FDCWD,
            &self.path,
            RenameFlags::RENAME_EXCHANGE,
        ) {
            Ok(()) => self.file = file,
            // Some network file systems cannot.
            Err(Errno::EINVAL | Errno::ENOSYS) => {
                fs::rename(&self.path, &aside)?;
                self.file = append_to(&self.path)?;
            }
            Err(error) => {
                let _ = fs::remove_file(&aside);
                return Err(error.into());
            }
        }
        let kept = u64::from(self.limits.max_files.max(2)) - 1;
        if let Some(surplus) = self.number.checked_sub(kept) {
            let _ = fs::remove_file(self.aside(surplus));
        }
        self.number += 1;
        Ok(())
    }

    fn aside(&self, number: u64) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(format!(".{number}"));
        path.into()
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{log_files, log_path};

    const LIMITS: LogLimits = LogLimits {
        max_bytes: 100,
        max_files: 3,
    };

    fn read(path: impl AsRef<Path>) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn files_are_put_aside_between_records_and_the_newest_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = log_path(dir.path(), "c", 0);
        let mut log = LogFile::open(&path, LIMITS).unwrap();
        // Of another attempt, and nobody's.
        fs::write(path.with_file_name("10.log.7"), "").unwrap();
        fs::write(path.with_file_name("0.log.x"), "").unwrap();
        let records = |range: std::ops::Range<u32>| -> String {
            range
                .map(|number| format!("record {number:02}\n"))
                .collect()
        };
        for range in [0..3, 3..4, 4..35, 35..50] {
            log.write(records(range).as_bytes()).unwrap();
        }
        let aside = log_files(dir.path(), "c", 0).unwrap();
        let names: Vec<_> = aside.iter().map(|path| path.file_name().unwrap()).collect();
        assert_eq!(names, ["0.log.4", "0.log.5"]);
        let all: String = aside.iter().chain([&path]).map(read).collect();
        assert_eq!(all, records(30..50));
    }

    #[test]
    fn a_log_that_cannot_be_put_aside_is_written_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = log_path(dir.path(), "c", 0);
        let mut log = LogFile::open(&path, LIMITS).unwrap();
        let obstacle = path.with_file_name("0.log.1");
        fs::create_dir(&obstacle).unwrap();
        let long = [b'x'; 99];
        log.write(&long).unwrap();
        assert!(log.write(b"yz").is_err());
        fs::remove_dir(&obstacle).unwrap();
        log.write(&long).unwrap();
        log.write(b"!").unwrap();
        assert_eq!(read(&obstacle).len(), 201);
        assert_eq!(read(&path), "");
    }
}

//! A process' number and start time.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Identifies a process for as long as this machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    /// The process id.
    pub pid: i32,
    /// When it started, in clock ticks since boot (field 22 of proc_pid_stat(5)).
    pub start_time: u64,
}

impl Identity {
    /// The process that has this number now; `None` when none has, or it is a
    /// zombie, which runs no more.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, start_time) = parse_stat(&stat)?;
        (!matches!(state, 'Z' | 'X')).then_some(Self { pid, start_time })
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        Self::of(self.pid) == Some(*self)
    }

    /// Reads an identity from a pid file; `None` when there is none, or it is
    /// broken: a file that says nothing identifies nobody.
    pub fn read(path: &Path) -> Option<Self> {
        serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
    }

    /// Writes a pid file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_string(self)?)?;
        fs::rename(new, path)
    }
}

/// State and start time. The command's name, in parentheses, may contain
/// anything, so fields are counted from its end.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let tail = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";
        assert_eq!(parse_stat(&format!("7 (a b) c) {tail}")), Some(('S', 4711)));
        assert_eq!(parse_stat("7 (a"), None);
    }

    #[test]
    fn a_process_is_itself_and_not_an_earlier_one_of_the_same_number() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let me = Identity::of(pid).unwrap();
        assert!(me.is_alive());
        assert!(
            !Identity {
                start_time: me.start_time + 1,
                ..me
            }
            .is_alive()
        );

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("me.json");
        me.write(&path).unwrap();
        assert_eq!(Identity::read(&path), Some(me));
        fs::write(&path, "{").unwrap();
        assert_eq!(Identity::read(&path), None);
    }
}

//! Finding and executing a program, with the errors that users of container
//! runtimes know.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access, execve};

use super::Settings;
use crate::failure::{Failure, NOT_EXECUTABLE, NOT_FOUND};
use crate::sys;

/// A program that has been found, with its arguments and environment.
pub(super) struct Prepared {
    path: PathBuf,
    program: CString,
    argv: Vec<CString>,
    env: Vec<CString>,
}

/// Looks the program up as the container's user.
pub(super) fn prepare(settings: &Settings, argv: &[String]) -> Result<Prepared, Failure> {
    let name = argv
        .first()
        .ok_or_else(|| Failure::new("no command specified"))?;
    let path = find(name, search_path(&settings.env))?;
    let env = settings
        .env
        .iter()
        .map(|(k, v)| c_string(&format!("{k}={v}")));
    Ok(Prepared {
        program: sys::c_path(&path).map_err(|e| Failure::new(e.to_string()))?,
        argv: argv
            .iter()
            .map(|word| c_string(word))
            .collect::<Result<_, _>>()?,
        env: env.collect::<Result<_, _>>()?,
        path,
    })
}

impl Prepared {
    /// Becomes the program.
    pub(super) fn execute(&self) -> Result<Infallible, Failure> {
        execve(&self.program, &self.argv, &self.env).map_err(|errno| Failure {
            code: NOT_EXECUTABLE,
            reason: format!("exec {}: {}", self.path.display(), words(errno)),
        })
    }
}

fn c_string(text: &str) -> Result<CString, Failure> {
    CString::new(text).map_err(|_| Failure::new(format!("{text:?} contains a zero byte")))
}

fn search_path(env: &[(String, String)]) -> &str {
    env.iter()
        .find(|(name, _)| name == "PATH")
        .map_or("", |(_, value)| value)
}

/// As Go's `exec.LookPath`, which the usual runtimes use.
fn find(name: &str, search_path: &str) -> Result<PathBuf, Failure> {
    if name.contains('/') {
        return check(Path::new(name))
            .map(|()| PathBuf::from(name))
            .map_err(|errno| refusal(name, errno));
    }
    let candidates = search_path.split(':').filter(|dir| !dir.is_empty());
    let mut denied = false;
    for dir in candidates {
        let path = Path::new(dir).join(name);
        match check(&path) {
            Ok(()) => return Ok(path),
            Err(errno) => denied |= errno == Errno::EACCES,
        }
    }
    let (code, why) = if denied {
        (NOT_EXECUTABLE, "permission denied")
    } else {
        (NOT_FOUND, "executable file not found in $PATH")
    };
    Err(Failure {
        code,
        reason: format!("exec: {name:?}: {why}"),
    })
}

fn check(path: &Path) -> Result<(), Errno> {
    let file =
        fs::metadata(path).map_err(|e| e.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    if file.is_dir() {
        return Err(Errno::EISDIR);
    }
    if file.permissions().mode() & 0o111 == 0 {
        return Err(Errno::EACCES);
    }
    access(path, AccessFlags::X_OK)
}

fn refusal(name: &str, errno: Errno) -> Failure {
    let (code, reason) = match errno {
        Errno::ENOENT => (
            NOT_FOUND,
            format!("exec: {name:?}: stat {name}: {}", words(errno)),
        ),
        _ => (NOT_EXECUTABLE, format!("exec: {name:?}: {}", words(errno))),
    };
    Failure { code, reason }
}

/// The kernel's words in lower case, as Go writes them.
fn words(errno: Errno) -> String {
    errno.desc().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(name: &str, path: &str) -> (i32, String) {
        let failure = find(name, path).expect_err(name);
        (failure.code, failure.reason)
    }

    #[test]
    fn programs_are_found_along_the_path() {
        assert_eq!(find("sh", "/nowhere::/bin").unwrap(), Path::new("/bin/sh"));
        assert_eq!(find("/bin/sh", "").unwrap(), Path::new("/bin/sh"));
    }

    #[test]
    fn failures_read_as_usual() {
        let cases = [
            (
                "no-such",
                127,
                "exec: \"no-such\": executable file not found in $PATH",
            ),
            ("passwd", 126, "exec: \"passwd\": permission denied"),
            (
                "/no/such",
                127,
                "exec: \"/no/such\": stat /no/such: no such file or directory",
            ),
            (
                "/etc/passwd",
                126,
                "exec: \"/etc/passwd\": permission denied",
            ),
            ("/etc", 126, "exec: \"/etc\": is a directory"),
        ];
        for (name, code, reason) in cases {
            assert_eq!(fails(name, "/etc"), (code, reason.into()), "{name}");
        }
    }
}

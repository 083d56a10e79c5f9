//! Kernel settings below `/proc/sys`. Those of `net.*` belong to a namespace, so a thread inside it reads and writes them.
//!
//! Keys are written as `sysctl` takes them: `net.ipv4.ip_forward`, or with
//! slashes where a link's name has a dot: `net/ipv4/conf/eth0.5/rp_filter`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::netlink::Netlink;

/// Reads a setting in the namespace of the calling thread.
///
/// # Errors
/// [`Error::is_absent`] when this kernel, or this namespace, has no such setting.
pub fn get(key: &str) -> Result<String> {
    read(key).map_err(|error| Error::system(format!("read sysctl {key}"), error))
}

/// Writes a setting in the namespace of the calling thread, unless it has the value already. Returns the value that it had.
///
/// # Errors
/// [`Error::is_absent`] as for [`get`]; otherwise when the kernel refuses the value.
pub fn set(key: &str, value: &str) -> Result<String> {
    replace(key, value).map_err(|error| Error::system(format!("set sysctl {key}={value}"), error))
}

impl Netlink {
    /// Reads a setting.
    ///
    /// # Errors
    /// As [`get`].
    pub fn sysctl(&self, key: &str) -> Result<String> {
        self.run(|| read(key))?
            .map_err(|error| Error::system(format!("read sysctl {key}{}", self.place), error))
    }

    /// Writes settings, one after the other, on one thread; those that have their value already are left alone.
    ///
    /// # Errors
    /// As [`set`]; settings before the one that failed are written.
    pub fn set_sysctls(&self, settings: &[(&str, &str)]) -> Result<()> {
        self.run(|| {
            for (key, value) in settings {
                replace(key, value).map_err(|error| {
                    Error::system(format!("set sysctl {key}={value}{}", self.place), error)
                })?;
            }
            Ok(())
        })?
    }
}

fn read(key: &str) -> io::Result<String> {
    Ok(fs::read_to_string(path(key)?)?.trim_end().to_string())
}

/// Many settings act when they are written, even with the same value, so ours are only written to change them.
fn replace(key: &str, value: &str) -> io::Result<String> {
    let before = read(key)?;
    if before != value {
        fs::write(path(key)?, value)?;
    }
    Ok(before)
}

fn path(key: &str) -> io::Result<PathBuf> {
    let relative = if key.contains('/') {
        key.to_string()
    } else {
        key.replace('.', "/")
    };
    let inside = !relative
        .split('/')
        .any(|part| part.is_empty() || part == "." || part == "..");
    if !inside {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "expected a key such as net.ipv4.ip_forward",
        ));
    }
    Ok(Path::new("/proc/sys").join(relative))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_paths_that_stay_below_proc_sys() {
        for (key, expected) in [
            ("net.ipv4.ip_forward", Some("/proc/sys/net/ipv4/ip_forward")),
            (
                "net/ipv4/conf/eth0.5/rp_filter",
                Some("/proc/sys/net/ipv4/conf/eth0.5/rp_filter"),
            ),
            ("net/../../etc/passwd", None),
            ("", None),
            ("net..ipv4", None),
            ("/etc/passwd", None),
        ] {
            assert_eq!(path(key).ok(), expected.map(PathBuf::from), "{key}");
        }
    }
}

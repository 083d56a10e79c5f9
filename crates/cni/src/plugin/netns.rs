//! The namespace that the runtime names, opened and checked.

use std::{fs::File, io, os::fd::AsRawFd, os::unix::fs::MetadataExt, path::Path};

use nix::libc;

use crate::types::{CniError, code};

nix::ioctl_none_bad!(
    /// `NS_GET_NSTYPE` of linux/nsfs.h, ioctl_ns(2): the CLONE_NEW* flag of a namespace.
    ns_get_nstype,
    0xb703
);

/// Opens a network namespace other than this process's own.
///
/// # Errors
/// Code 3 when nothing is there, so that the runtime need not clean up; 4 when
/// it is no network namespace, or is the host's, where a pod's interface would
/// land among the host's.
pub fn open(path: &Path) -> Result<File, CniError> {
    let file = File::open(path).map_err(|e| cannot_open(path, &e))?;
    // SAFETY: the request takes no argument, and any other file answers ENOTTY.
    let kind = unsafe { ns_get_nstype(file.as_raw_fd()) };
    if kind != Ok(libc::CLONE_NEWNET) {
        return Err(invalid(path, "is not a network namespace"));
    }
    if is_our_own(&file) {
        return Err(invalid(path, "is the namespace of the host"));
    }
    Ok(file)
}

fn is_our_own(file: &File) -> bool {
    let identity = |file: &File| file.metadata().map(|m| (m.dev(), m.ino())).ok();
    File::open("/proc/self/ns/net").is_ok_and(|own| identity(&own) == identity(file))
}

fn cannot_open(path: &Path, error: &io::Error) -> CniError {
    let code = match error.kind() {
        io::ErrorKind::NotFound => code::UNKNOWN_CONTAINER,
        _ => code::IO_FAILURE,
    };
    CniError::new(code, format!("open CNI_NETNS {}: {error}", path.display()))
        .with_details("the pod has gone, or the runtime's path is not one of this mount namespace")
}

fn invalid(path: &Path, why: &str) -> CniError {
    CniError::new(
        code::INVALID_ENVIRONMENT,
        format!("CNI_NETNS {} {why}", path.display()),
    )
    .with_details("expected the path of the pod's own network namespace, such as /run/netns/NAME")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_not_a_pods_namespace() {
        for (path, code, why) in [
            ("/run/netns/there-is-no-such-namespace", 3, "No such file"),
            ("/proc/self/ns/uts", 4, "is not a network namespace"),
            ("/dev/null", 4, "is not a network namespace"),
            ("/proc/self/ns/net", 4, "is the namespace of the host"),
        ] {
            let error = open(Path::new(path)).expect_err(path);
            assert_eq!(error.code, code, "{path}");
            assert!(
                error.msg.contains(path) && error.msg.contains(why),
                "{}",
                error.msg
            );
        }
    }
}

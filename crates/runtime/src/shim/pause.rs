//! The first process of the PID namespace that containers share
//! (`shareProcessNamespace`).
//!
//! The shim itself cannot be that process: whoever has CAP_SYS_PTRACE in a
//! container could reach through `/proc/1/root` into the shim's world, which is
//! this machine. So it is a process that has nothing: no root but an empty
//! directory, no descriptors, no capabilities. It is needed because a namespace
//! ends with its first process, and a container may end before the others do;
//! and it takes leave of the processes that lose their parents.

use std::io::{Read, Write};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::{chdir, pivot_root, setsid};

use super::process::{self, Birth, spawn};
use super::sandbox::Places;
use crate::failure::{Context, Failure};
use crate::sys;

/// Starts it; returns its process id as this machine sees it.
pub(super) fn start(places: &Places) -> Result<u32, Failure> {
    let (mut near, far) = std::io::pipe().context(|| "make a pipe".into())?;
    let child = || {
        let said = match prepare(places) {
            Ok(pid) => format!("{pid}"),
            Err(failure) => failure.reason,
        };
        let _ = (&far).write_all(said.as_bytes());
        if said.parse::<u32>().is_ok() {
            rest();
        }
    };
    spawn(&Birth::New, child)?;
    drop(far);
    let mut said = String::new();
    near.read_to_string(&mut said)
        .context(|| "hear from the pod's first process".into())?;
    let failed = |_| Failure::new(format!("start the pod's first process: {said}"));
    said.parse().map_err(failed)
}

fn prepare(places: &Places) -> Result<u32, Failure> {
    let pid = process::own_pid()?;
    let _ = sys::set_name(c"pause");
    sys::prctl(libc::PR_SET_DUMPABLE, 0).context(|| "forbid tracing".into())?;
    setsid().context(|| "start a session".into())?;
    // SAFETY: no handler is installed. Children that end are gone at once.
    let _ = unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) };
    unshare(CloneFlags::CLONE_NEWNS).context(|| "make a mount namespace".into())?;
    leave_machine(places)?;
    sys::capset(0).context(|| "drop capabilities".into())?;
    Ok(pid)
}

/// Makes an empty directory the root.
fn leave_machine(places: &Places) -> Result<(), Failure> {
    let none = None::<&str>;
    let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
    mount(none, "/", none, private, none).context(|| "separate mounts".into())?;
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY;
    let (tmpfs, size) = (Some("tmpfs"), Some("mode=555,size=4k"));
    mount(tmpfs, &places.root, tmpfs, quiet, size).context(|| "mount an empty root".into())?;
    chdir(&places.root).context(|| "enter the empty root".into())?;
    pivot_root(".", ".").context(|| "change the root".into())?;
    nix::mount::umount2(".", nix::mount::MntFlags::MNT_DETACH)
        .context(|| "let go of this machine's root".into())
}

/// Lets go of the pipe to the shim, and of everything of the shim's, and waits for ever.
fn rest() -> ! {
    let _ = sys::close_from(0);
    loop {
        // SAFETY: no memory is involved.
        unsafe { libc::pause() };
    }
}

//! The pod shim: the pause process, and more.
//!
//! One process for each pod. It holds the pod's namespaces, is the parent of
//! its containers, writes their logs and exit records to files, and serves
//! requests on a socket. The node process may die and come back: nothing of a
//! running pod is lost.
//!
//! # Why it is the first process of a PID namespace
//!
//! A killed shim must take its pod along. `PR_SET_PDEATHSIG` on the containers
//! would do that only until one of them changes its user id, which clears it.
//! So the shim itself is process 1 of a PID namespace, and the containers' own
//! PID namespaces are inside it: when it dies, however it dies, the kernel
//! kills everything below.
//!
//! ```text
//! this machine's PID namespace      node process
//!   └ the pod's                     shim (1)                 net, ipc, uts, mnt of the pod
//!       ├ a container's             its command (1), …       own mnt and cgroup namespaces
//!       └ a container's             its command (1), …
//! ```
//!
//! With `hostPID` there is no namespace of the pod's: the containers' processes
//! are this machine's like any other. When such a shim is killed, the node process
//! kills what is in the pod's cgroup. With `shareProcessNamespace` there is one
//! namespace for all containers, inside the shim's, see `pause`. In both a
//! container ends with its first process as well: what is left in its cgroup is
//! killed.
//!
//! # Why our own code starts containers, not `libcontainer`
//!
//! Measured beside each other, `libcontainer` took 68 ms to the first output
//! of a container, own code 30 ms with another exec in between, and here there
//! is none: the shim is single-threaded and small, so it forks, and the child
//! makes its own root file system before it executes the command. That brings
//! a start to a few milliseconds, most of them the kernel's wait when a process
//! moves to another cgroup. `libcontainer` also brings CRIU and protobuf
//! bindings, works from bundle directories with a `config.json` each, and in a
//! shim of under 2 MB its pages alone would be the greater part. The isolation
//! is the same: see `crate::init`.
//!
//! # Why it is small
//!
//! No threads, no async runtime, no argument parser. Descriptors, buffers and
//! records are freed as soon as they are used up, some 100 KiB remain. When
//! nothing happens for a second, it gives back the pages of program text, which
//! are the greater part by far.

mod attach;
mod connection;
mod container;
mod exec;
mod log;
mod log_file;
mod pause;
mod process;
mod records;
mod report;
mod sandbox;
mod server;
mod streams;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{ForkResult, dup2_stdin, dup2_stdout, fork, setsid};

use crate::failure::{Context, Failure};
use crate::spec::SandboxSpec;
use crate::sys;

pub(crate) use process::own_pid;
pub(crate) use sandbox::{Places, Sandbox};

/// Name of the file in the pod's directory that holds the specification.
pub(crate) const SPEC_FILE: &str = "sandbox.json";

/// First word of the shim's report on standard output when all is well; the
/// process id follows. Anything else is the reason of a failure.
pub(crate) const READY: &str = "ready ";

/// The whole life of a shim. `args` are those after `sealane shim`: the pod's
/// name, which is only for `ps`, and its directory. The binary calls this
/// before anything else: no thread may exist.
pub fn shim_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Some(dir) = args.into_iter().nth(1).map(PathBuf::from) else {
        eprintln!("usage: sealane shim NAMESPACE/NAME DIR (started by sealane node)");
        return ExitCode::from(2);
    };
    let done = read_spec(&dir).and_then(|spec| match detach(&spec)? {
        Stage::Launcher => Ok(()),
        Stage::Shim => run(spec),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // To whom it concerns: `create` reads standard output, and once
            // that is gone the log in the pod's directory tells.
            let _ = writeln!(io::stdout(), "{}", failure.reason);
            eprintln!("{}", failure.reason);
            ExitCode::FAILURE
        }
    }
}

enum Stage {
    Launcher,
    Shim,
}

/// Leaves the caller's session and becomes process 1 of a new PID namespace,
/// whose parent is whoever adopts orphans. Without a namespace it adopts the
/// orphans of its containers itself.
fn detach(spec: &SandboxSpec) -> Result<Stage, Failure> {
    setsid().context(|| "start a session".into())?;
    sys::close_from(3).context(|| "close inherited descriptors".into())?;
    if !spec.host_pid {
        process::new_pid_namespace()?;
    }
    // SAFETY: no other thread exists.
    match unsafe { fork() }.context(|| "fork the shim".into())? {
        ForkResult::Parent { .. } => Ok(Stage::Launcher),
        ForkResult::Child => Ok(Stage::Shim),
    }
}

fn run(spec: SandboxSpec) -> Result<(), Failure> {
    let _ = sys::set_name(c"sealane-shim");
    if spec.host_pid {
        sys::prctl(libc::PR_SET_CHILD_SUBREAPER, 1).context(|| "adopt orphans".into())?;
    }
    let pid = process::own_pid()?;
    let signals = server::signals()?;
    let mut sandbox = sandbox::Sandbox::enter(spec, pid)?;
    check_asked()?;
    let listener = server::listen(&sandbox.spec.socket)?;
    report_ready(pid).inspect_err(|_| listener.forget())?;
    sandbox.join_cgroup();
    server::Server::new(sandbox, listener.socket, signals).serve()
}

fn read_spec(dir: &Path) -> Result<SandboxSpec, Failure> {
    let file = dir.join(SPEC_FILE);
    let text = fs::read(&file).context(|| format!("read {}", file.display()))?;
    serde_json::from_slice(&text).map_err(|e| Failure::new(format!("read {}: {e}", file.display())))
}

/// A node process that was killed meanwhile does not wait any more: the next one
/// makes another shim, which must find no name of this one in its way.
fn check_asked() -> Result<(), Failure> {
    let out = io::stdout();
    let mut fds = [PollFd::new(out.as_fd(), PollFlags::empty())];
    poll(&mut fds, PollTimeout::ZERO).context(|| "look after the node process".into())?;
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
    match fds[0].revents() {
        Some(events) if events.intersects(gone) => Err(Failure::new(
            "the node process that asked for this shim is gone",
        )),
        _ => Ok(()),
    }
}

/// Tells `create`, and lets go of everything of the caller.
fn report_ready(pid: u32) -> Result<(), Failure> {
    writeln!(io::stdout(), "{READY}{pid}").context(|| "report to the node process".into())?;
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .context(|| "open /dev/null".into())?;
    dup2_stdin(&null).context(|| "detach standard input".into())?;
    dup2_stdout(&null).context(|| "detach standard output".into())?;
    Ok(())
}

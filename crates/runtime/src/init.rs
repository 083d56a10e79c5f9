//! What a child of the shim does between `fork` and `exec`: it makes its own
//! world, and then becomes the container's command.
//!
//! ```text
//! container                                   command in a container
//!   join the container's cgroups                join the container's cgroups
//!   own mount and cgroup namespace              enter mount and cgroup namespace
//!   root file system, mounts, pivot_root        terminal
//!   masked and read-only paths                  user, capabilities, no_new_privs
//!   user, capabilities, no_new_privs            seccomp
//!   seccomp                                     exec
//!   exec
//! ```
//!
//! Every mount is made in the container's own mount namespace, so that nothing
//! is left on the machine when the container dies, however it dies. The old
//! root is detached before the command runs: nothing can be unmounted to reveal
//! it. The process cannot be traced meanwhile (`PR_SET_DUMPABLE`), so that
//! nothing in a container can take hold of the shim's program or descriptors.

mod command;
mod dev;
mod masks;
mod mounts;
mod privileges;
mod propagation;
mod rootfs;
mod settings;
mod terminal;
mod user;
mod within;

use std::convert::Infallible;
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout, setsid};

use crate::cgroup::Cgroup;
use crate::failure::{Context, Failure};
use crate::protocol::{Reply, Window};
use crate::shim::{Sandbox, own_pid};
use crate::spec::ContainerSpec;
use crate::sys;
use crate::wire;

pub(crate) use settings::Settings;
pub(crate) use user::Identity;

/// The child's line to the shim. It closes when the command is executed, and
/// says the process id just before that, or the reason of a failure.
pub(crate) struct Reporter(pub(crate) UnixStream);

impl Reporter {
    fn say(&self, reply: &Reply, fds: &[RawFd]) {
        if let Ok(frame) = wire::encode(reply) {
            // A shim that no longer listens has nobody to tell.
            let _ = wire::send(self.0.as_fd(), &frame, fds);
        }
    }

    fn fail(&self, failure: Failure) {
        let Failure { code, reason } = failure;
        self.say(&Reply::Failed { code, reason }, &[]);
    }
}

/// Becomes the first process of a container. Returns only when it failed,
/// having said why.
pub(crate) fn container(
    sandbox: &Sandbox,
    spec: &ContainerSpec,
    settings: &Settings,
    io: CommandIo,
    reporter: &Reporter,
) {
    match try_container(sandbox, spec, settings, io, reporter) {
        Err(failure) => reporter.fail(failure),
        Ok(never) => match never {},
    }
}

fn try_container(
    sandbox: &Sandbox,
    spec: &ContainerSpec,
    settings: &Settings,
    io: CommandIo,
    reporter: &Reporter,
) -> Result<Infallible, Failure> {
    let pid = begin()?;
    join(&sandbox.container_cgroup(&spec.name))?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWCGROUP)
        .context(|| "make the container's namespaces".into())?;
    make_private()?;
    let root = rootfs::build(sandbox, spec)?;
    let mounts = mounts::gather(sandbox, spec)?;
    enter_root(&root)?;
    rootfs::prepare(spec)?;
    let who = settings.look_up()?;
    mounts.place(spec)?;
    settings.make_dir()?;
    if !spec.privileged {
        masks::apply()?;
    }
    if spec.read_only_root {
        rootfs::make_read_only()?;
    }
    let known = who.as_ref().map(|who| settings.identified(who));
    let settings = known.as_ref().unwrap_or(settings);
    let terminal = take_streams(io, settings)?;
    settings.change_dir()?;
    let birth = Birth { pid, who };
    finish(settings, settings.argv(), birth, reporter, terminal)
}

/// A further command for a running container.
pub(crate) struct Command<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) argv: &'a [String],
    pub(crate) cgroup: Cgroup<'a>,
    /// The container's mount and cgroup namespaces.
    pub(crate) namespaces: [File; 2],
    pub(crate) io: CommandIo,
}

/// Where a container or a command reads and writes.
pub(crate) enum CommandIo {
    Fds([OwnedFd; 3]),
    Terminal(Window),
}

/// Becomes a command in a container. Returns only when it failed, having said why.
pub(crate) fn command(command: Command<'_>, reporter: &Reporter) {
    match try_command(command, reporter) {
        Err(failure) => reporter.fail(failure),
        Ok(never) => match never {},
    }
}

fn try_command(command: Command<'_>, reporter: &Reporter) -> Result<Infallible, Failure> {
    let pid = begin()?;
    join(&command.cgroup)?;
    for namespace in &command.namespaces {
        setns(namespace.as_fd(), CloneFlags::empty())
            .context(|| "enter the container's namespaces".into())?;
    }
    let terminal = take_streams(command.io, command.settings)?;
    command.settings.change_dir()?;
    let birth = Birth { pid, who: None };
    finish(command.settings, command.argv, birth, reporter, terminal)
}

/// Makes these the standard streams; returns the near end of a terminal, if it is one.
fn take_streams(io: CommandIo, settings: &Settings) -> Result<Option<OwnedFd>, Failure> {
    match io {
        CommandIo::Fds([stdin, stdout, stderr]) => {
            dup2_stdin(&stdin).context(|| "set standard input".into())?;
            dup2_stdout(&stdout).context(|| "set standard output".into())?;
            dup2_stderr(&stderr).context(|| "set standard error".into())?;
            Ok(None)
        }
        CommandIo::Terminal(window) => terminal::open(window, settings.user).map(Some),
    }
}

/// Lets go of what the shim's state would leak into a command. The process id
/// is read while this machine's `/proc` is in sight.
fn begin() -> Result<u32, Failure> {
    sys::prctl(libc::PR_SET_DUMPABLE, 0).context(|| "forbid tracing".into())?;
    setsid().context(|| "start a session".into())?;
    // A kernel without keyrings has none to keep apart.
    let _ = sys::join_new_keyring();
    for number in Signal::iterator() {
        // SAFETY: restores the default action; no handler is installed.
        // SIGKILL and SIGSTOP refuse, and need none.
        let _ = unsafe { signal(number, SigHandler::SigDfl) };
    }
    SigSet::empty()
        .thread_set_mask()
        .context(|| "unblock signals".into())?;
    umask(Mode::from_bits_truncate(0o022));
    own_pid()
}

fn join(cgroup: &Cgroup<'_>) -> Result<(), Failure> {
    cgroup.join().context(|| "join".into())
}

fn make_private() -> Result<(), Failure> {
    let flags = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
        .context(|| "separate the container's mounts".into())
}

/// Makes `root` the root, and lets go of the old one. Both are stacked on `/`
/// for a moment, the new one below (pivot_root(2), "pivot_root(".", ".")").
fn enter_root(root: &Path) -> Result<(), Failure> {
    chdir(root).context(|| "enter the container's root".into())?;
    nix::unistd::pivot_root(".", ".").context(|| "change the root".into())?;
    nix::mount::umount2(".", nix::mount::MntFlags::MNT_DETACH)
        .context(|| "let go of this machine's root".into())?;
    chdir("/").context(|| "change to /".into())
}

/// What the shim is told of a child that is about to execute its command.
struct Birth {
    pid: u32,
    /// Who it is, where the image was asked.
    who: Option<Identity>,
}

/// The last steps, the same for containers and commands.
///
/// The filter of system calls comes last, so that it need not allow what these steps do. Without
/// `no_new_privs` the kernel takes it only from those who have CAP_SYS_ADMIN, before it is dropped.
fn finish(
    settings: &Settings,
    argv: &[String],
    Birth { pid, who }: Birth,
    reporter: &Reporter,
    terminal: Option<OwnedFd>,
) -> Result<Infallible, Failure> {
    sys::close_on_exec_from(3).context(|| "close descriptors".into())?;
    let filter = settings.seccomp.program(settings.capabilities)?;
    let confine = |now: bool| match filter.as_ref().filter(|_| now) {
        Some(filter) => filter.load().context(|| "load the seccomp filter".into()),
        None => Ok(()),
    };
    confine(!settings.no_new_privs)?;
    privileges::drop_to(settings)?;
    let prepared = command::prepare(settings, argv)?;
    let fds: Vec<RawFd> = terminal.iter().map(AsRawFd::as_raw_fd).collect();
    reporter.say(&Reply::ExecStarted { pid, who }, &fds);
    confine(settings.no_new_privs)?;
    prepared.execute()
}

/// Makes a directory and its parents, as `mkdir -p`.
fn make_dirs(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).context(|| format!("make directory {}", path.display()))
}

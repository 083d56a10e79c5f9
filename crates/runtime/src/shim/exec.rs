//! A further command in a running container.

use std::os::fd::OwnedFd;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::container::Container;
use super::process::{Birth, open_namespace, spawn};
use super::report::{self, Report};
use super::sandbox::Sandbox;
use crate::failure::{Context, Failure};
use crate::init::{self, Command, CommandIo, Settings};
use crate::protocol::Window;
use crate::spec::ExecSpec;

/// A command, for as long as it runs.
#[derive(Debug)]
pub(super) struct Exec {
    /// In the pod's PID namespace; leader of a session and a process group.
    pub(super) pid: Pid,
    /// The connection that asked for it, and that it dies with.
    pub(super) asked_by: u64,
    /// Until the command has been executed.
    pub(super) report: Option<Report>,
}

impl Exec {
    /// Starts the child; whether its command gets executed shows later.
    pub(super) fn launch(
        sandbox: &Sandbox,
        container: &Container,
        spec: &ExecSpec,
        io: CommandIo,
        asked_by: u64,
    ) -> Result<Self, Failure> {
        let not_running = || Failure::new(format!("container {} is not running", container.name));
        let host_pid = container.host_pid().ok_or_else(not_running)?;
        let settings = settings(container, spec).ok_or_else(not_running)?;
        let open = |kind: &str| {
            open_namespace(host_pid, kind).context(|| format!("open {kind} namespace"))
        };
        // The cgroup namespace first: the mount namespace has another /proc.
        let namespaces = [open("cgroup")?, open("mnt")?];
        let (report, reporter) = report::line()?;
        let command = Command {
            settings: &settings,
            argv: &spec.command,
            cgroup: sandbox.container_cgroup(&container.name),
            namespaces,
            io,
        };
        let pid = spawn(&Birth::Beside(&host_pid), || {
            init::command(command, &reporter);
        })?;
        Ok(Self {
            pid,
            asked_by,
            report: Some(report),
        })
    }

    /// Kills the command and what it has started, unless that left its group.
    pub(super) fn kill(&self) {
        let group = Pid::from_raw(-self.pid.as_raw());
        for target in [group, self.pid] {
            // It may have ended just now.
            let _ = kill(target, Signal::SIGKILL);
        }
    }
}

fn settings(container: &Container, spec: &ExecSpec) -> Option<Settings> {
    let mut env = spec.env.clone();
    if spec.tty {
        env.insert(0, ("TERM".into(), "xterm".into()));
    }
    Some(container.settings.as_ref()?.with_env(&env))
}

/// Streams of a command, from what came with the request.
pub(super) fn io(window: Option<Window>, fds: Vec<OwnedFd>) -> Result<CommandIo, Failure> {
    match (window, <[OwnedFd; 3]>::try_from(fds)) {
        (Some(window), _) => Ok(CommandIo::Terminal(window)),
        (None, Ok(fds)) => Ok(CommandIo::Fds(fds)),
        (None, Err(fds)) => Err(Failure::new(format!(
            "exec needs three descriptors or a terminal, not {} descriptors",
            fds.len()
        ))),
    }
}

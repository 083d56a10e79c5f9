//! One attempt of a container, from its start to its exit.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use nix::unistd::Pid;

use super::log::{Listener, Output};
use super::process::{self, End, spawn};
use super::records;
use super::report::{self, Report};
use super::sandbox::Sandbox;
use super::streams::{Input, Streams};
use crate::failure::{Context, Failure};
use crate::init::{self, Settings};
use crate::spec::{ContainerSpec, log_path};
use crate::state::{ContainerState, Exit, Started};

/// How long the shim waits for the end of processes that it has killed.
const LAST_KILLS: Duration = Duration::from_secs(1);

/// Where an attempt is in its life.
///
/// ```text
/// Starting ──executed──> Running ──reaped──> Exited
///     └──────failed────> Failed  ──reaped──> (forgotten)
/// ```
#[derive(Debug)]
pub(super) enum Phase {
    /// The child makes its world; `asked_by` wait for the outcome.
    Starting { report: Report, asked_by: Vec<u64> },
    /// The command was not executed; the child is about to end.
    Failed {
        failure: Failure,
        asked_by: Vec<u64>,
    },
    /// The command runs.
    Running {
        host_pid: u32,
        started_at: SystemTime,
    },
    /// The command has ended.
    Exited(ContainerState),
}

/// An attempt of a container.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) attempt: u32,
    /// Of its first process, in the pod's PID namespace.
    pub(super) pid: Pid,
    pub(super) phase: Phase,
    /// While it has processes.
    pub(super) settings: Option<Settings>,
    pub(super) output: Option<Output>,
    /// While it keeps its input open.
    pub(super) input: Option<Input>,
    /// It asked for input.
    reads_input: bool,
    /// It runs on a terminal.
    pub(super) tty: bool,
}

impl Container {
    /// Starts the child; whether its command gets executed shows later.
    pub(super) fn launch(
        sandbox: &Sandbox,
        spec: &ContainerSpec,
        asked_by: u64,
    ) -> Result<Self, Failure> {
        check_name(&spec.name)?;
        sandbox.limited()?;
        let settings = Settings::of(spec, &sandbox.spec.hostname)?;
        records::forget_old(&sandbox.spec.dir, &spec.name, spec.attempt);
        let cgroup = sandbox.container_cgroup(&spec.name);
        cgroup.create().context(|| "make".into())?;
        cgroup.limit(&spec.limits).context(|| "set limits".into())?;
        cgroup.kill_as_one();
        let streams = Streams::of(spec).context(|| "make pipes".into())?;
        let log = log_path(&sandbox.spec.dir, &spec.name, spec.attempt);
        let output = Output::open(&log, spec.log, streams.outputs)
            .context(|| format!("open {}", log.display()))?;
        let (report, reporter) = report::line()?;
        let pid = spawn(&sandbox.birth(), || {
            init::container(sandbox, spec, &settings, streams.far, &reporter);
        })?;
        Ok(Self {
            name: spec.name.clone(),
            attempt: spec.attempt,
            pid,
            phase: Phase::Starting {
                report,
                asked_by: vec![asked_by],
            },
            settings: Some(settings),
            output: Some(output),
            input: streams.input,
            reads_input: spec.stdin,
            tty: spec.tty,
        })
    }

    /// The child's line has ended: the command has been executed, or not.
    /// Returns whom to tell of a success.
    pub(super) fn settle(&mut self) -> Option<(Vec<u64>, Started)> {
        let unknown = Phase::Failed {
            failure: Failure::new("start was interrupted"),
            asked_by: Vec::new(),
        };
        let phase = std::mem::replace(&mut self.phase, unknown);
        let Phase::Starting { report, asked_by } = phase else {
            self.phase = phase;
            return None;
        };
        match report.outcome() {
            Ok(executed) => {
                let started_at = SystemTime::now();
                self.phase = Phase::Running {
                    host_pid: executed.pid,
                    started_at,
                };
                let pid = executed.pid;
                if let (Some(settings), Some(who)) = (&mut self.settings, &executed.who) {
                    *settings = settings.identified(who);
                }
                if let Some(terminal) = executed.terminal
                    && let Err(error) = self.take_terminal(terminal)
                {
                    eprintln!("read the terminal of container {}: {error}", self.name);
                }
                Some((asked_by, Started { pid, started_at }))
            }
            Err(failure) => {
                self.phase = Phase::Failed { failure, asked_by };
                None
            }
        }
    }

    fn take_terminal(&mut self, near: OwnedFd) -> io::Result<()> {
        let input = near.try_clone()?;
        if let Some(output) = &mut self.output {
            output.read_terminal(near)?;
        }
        self.input = Some(Input {
            fd: input,
            once: false,
        });
        Ok(())
    }

    /// Whether somebody who attaches may write to it.
    pub(super) fn takes_input(&self) -> bool {
        self.reads_input && self.input.is_some()
    }

    /// The first process has ended, and all of them with it. Completes the log,
    /// removes the cgroup, and returns the state to be recorded.
    pub(super) fn ended(
        &mut self,
        sandbox: &Sandbox,
        end: End,
        listener: Listener<'_>,
    ) -> Option<ContainerState> {
        let cgroup = sandbox.container_cgroup(&self.name);
        if !sandbox.ends_as_one()
            && let Err(error) = cgroup.kill_all(LAST_KILLS)
        {
            eprintln!("end container {}: {error}", self.name);
        }
        if let Some(output) = &mut self.output {
            output.drain(listener);
        }
        self.output = None;
        self.input = None;
        self.settings = None;
        let oom = cgroup.oom_kills() > 0;
        if let Err(error) = cgroup.remove() {
            eprintln!("remove {error}");
        }
        let Phase::Running {
            host_pid,
            started_at,
        } = self.phase
        else {
            return None;
        };
        let code = end.code();
        let state = ContainerState {
            name: self.name.clone(),
            attempt: self.attempt,
            pid: host_pid,
            started_at,
            exit: Some(Exit {
                code,
                signal: end.signal(),
                oom: oom && code != 0,
                finished_at: SystemTime::now(),
            }),
        };
        self.phase = Phase::Exited(state.clone());
        Some(state)
    }

    /// For the node process; a start that is under way is not yet there.
    pub(super) fn state(&self) -> Option<ContainerState> {
        match &self.phase {
            Phase::Starting { .. } | Phase::Failed { .. } => None,
            Phase::Running {
                host_pid,
                started_at,
            } => Some(ContainerState {
                name: self.name.clone(),
                attempt: self.attempt,
                pid: *host_pid,
                started_at: *started_at,
                exit: None,
            }),
            Phase::Exited(state) => Some(state.clone()),
        }
    }

    /// There are processes, or at least one that has not been reaped.
    pub(super) fn is_alive(&self) -> bool {
        !matches!(self.phase, Phase::Exited(_))
    }

    /// The first process, as this machine sees it, while the command runs.
    pub(super) fn host_pid(&self) -> Option<u32> {
        match self.phase {
            Phase::Running { host_pid, .. } => Some(host_pid),
            _ => None,
        }
    }

    /// Sends a signal to the first process.
    pub(super) fn signal(&self, signal: i32) -> Result<(), Failure> {
        process::send_signal(self.pid, signal)
            .context(|| format!("send signal {signal} to container {}", self.name))
    }
}

/// Names become directories: of logs, of cgroups.
fn check_name(name: &str) -> Result<(), Failure> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > 63 || !name.bytes().all(good) {
        return Err(Failure::new(format!(
            "container name {name:?} is not a DNS label"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for name in ["a", "web-1"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", "..", "a/b", "_shim", "A", &"x".repeat(64)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}

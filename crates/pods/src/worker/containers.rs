//! The worker's steps that concern one container.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container as Spec;
use sealane_kube::events::Severity;
use sealane_runtime::{ContainerSpec, Error, Shim};

use super::Worker;
use super::images::Ready;
use crate::backoff::Backoff;
use crate::container_spec::{self, Origin, SpecError};
use crate::desired::Desired;
use crate::images::Resolved;
use crate::messages;
use crate::observe;
use crate::record::{Exit, Hold, State, Stop};
use crate::{status, volumes};

/// Longest wait for an answer of the shim.
const ANSWER: Duration = Duration::from_secs(30);
/// Pause before a file of this node that was not there is looked for again.
const FILE_PAUSE: Duration = Duration::from_secs(10);
/// The exit code of a container whose command could not be executed, as container runtimes give it.
const START_ERROR: i32 = 128;

impl Worker {
    /// Starts a container, or notes why it cannot be started.
    pub(super) async fn start(&mut self, pod: &Desired, name: &str) {
        let Some(shim) = self.shim.clone() else {
            return;
        };
        let Some(container) = pod.container(name) else {
            return;
        };
        let Some(Ready { image, told }) = self.image(pod, container).await else {
            return;
        };
        let attempt = self.next_attempt(name);
        let spec = match self.spec(pod, container, attempt, &image) {
            Ok(spec) => spec,
            Err(error) => {
                self.hold_config(pod, name, &error.to_string());
                if let (SpecError::Seccomp(_), Some(hold)) =
                    (&error, &mut self.record.container_mut(name).hold)
                {
                    // A file of this node may come, and nothing tells.
                    hold.until = Some(Timestamp::now() + FILE_PAUSE);
                }
                return;
            }
        };
        if let Err(error) = messages::prepare(self.folder.dir(), name, attempt) {
            return self.hold_config(pod, name, &format!("make terminationMessagePath: {error}"));
        }
        if !pod.init_names().contains(&name) {
            self.record.initialized = true;
        }
        self.begin(pod, container, &image, told);
        self.launch(pod, &shim, &spec).await;
        if matches!(self.record.container(name).state, State::Running(_)) {
            self.after_start(pod, name);
        }
    }

    fn next_attempt(&self, name: &str) -> u32 {
        let container = self.record.container(name);
        container.attempt + u32::from(container.exit().is_some())
    }

    fn spec(
        &self,
        pod: &Desired,
        container: &Spec,
        attempt: u32,
        image: &Resolved,
    ) -> Result<ContainerSpec, container_spec::SpecError> {
        let volumes = volumes::plan(pod.spec());
        self.with_env(pod, |env| {
            let origin = Origin {
                container,
                env,
                volumes: &volumes,
                folder: &self.folder,
                rules: &self.node.rules,
            };
            container_spec::compile(origin, attempt, image)
        })
    }

    /// Notes on disk that a start is under way, then says so.
    fn begin(&mut self, pod: &Desired, spec: &Spec, image: &Resolved, pulled: String) {
        let container = self.record.container_mut(&spec.name);
        container.begin(Timestamp::now());
        container.image = spec.image.clone().unwrap_or_default();
        container.image_id.clone_from(&image.id);
        container.stop_signal = image.stop_signal;
        container.image_backoff = Backoff::NEW;
        self.keep(pod);
        self.tell(pod, &spec.name, Severity::Normal, "Pulled", pulled);
        let created = format!("Created container: {}", spec.name);
        self.tell(pod, &spec.name, Severity::Normal, "Created", created);
    }

    async fn launch(&mut self, pod: &Desired, shim: &Shim, spec: &ContainerSpec) {
        let name = &spec.name;
        let answer = tokio::time::timeout(ANSWER, shim.start(spec)).await;
        let failed = match answer {
            Ok(Ok(started)) => {
                self.record.container_mut(name).state =
                    State::Running(observe::timestamp(started.started_at));
                let message = format!("Started container {name}");
                return self.tell(pod, name, Severity::Normal, "Started", message);
            }
            Ok(Err(Error::Gone { .. })) => return self.lose_shim(),
            Ok(Err(Error::Start { code, reason, .. })) => (code, reason),
            Ok(Err(error)) => (START_ERROR, error.to_string()),
            Err(_) => (
                START_ERROR,
                format!("no answer from the pod's shim within {ANSWER:?}"),
            ),
        };
        let (code, reason) = failed;
        self.tell(
            pod,
            name,
            Severity::Warning,
            "Failed",
            format!("Error: {reason}"),
        );
        self.record.container_mut(name).state = State::Exited(Exit {
            code,
            reason: "StartError".to_owned(),
            message: Some(reason),
            started_at: None,
            finished_at: Timestamp::now(),
        });
    }

    fn hold_config(&mut self, pod: &Desired, name: &str, reason: &str) {
        self.record.container_mut(name).hold = Some(Hold {
            reason: "CreateContainerConfigError".to_owned(),
            message: reason.to_owned(),
            since: Timestamp::now(),
            until: None,
        });
        self.tell(
            pod,
            name,
            Severity::Warning,
            "Failed",
            format!("Error: {reason}"),
        );
    }

    pub(super) fn announce_back_off(&mut self, pod: &Desired, name: &str) {
        let container = self.record.container_mut(name);
        container.backoff_announced = true;
        let words = pod.in_words();
        tracing::info!("{}", status::crash_message(container, name, &words));
        let message = format!("Back-off restarting failed container {name} in pod {words}");
        self.tell(pod, name, Severity::Warning, "BackOff", message);
    }

    pub(super) async fn stop(&mut self, pod: &Desired, name: &str, how: Stop) {
        let Some(shim) = self.shim.clone() else {
            return;
        };
        let container = self.record.container(name);
        if container.stopping.is_none() {
            let doomed = container.doom.as_ref().map(|doom| doom.message.clone());
            let message = doomed.unwrap_or_else(|| format!("Stopping container {name}"));
            self.tell(pod, name, Severity::Normal, "Killing", message);
        }
        if how != Stop::Hook {
            self.give_up_hook(name);
        }
        let container = self.record.container_mut(name);
        container.stopping = Some(how);
        let of_image = container.stop_signal;
        let signal = match how {
            Stop::Hook => return self.before_stop(pod, name),
            Stop::Terminate => stop_signal(pod, name).or(of_image).unwrap_or(libc::SIGTERM),
            Stop::Kill => libc::SIGKILL,
        };
        match tokio::time::timeout(ANSWER, shim.signal(name, signal)).await {
            Ok(Ok(())) => {}
            Ok(Err(Error::Gone { .. })) => self.lose_shim(),
            Ok(Err(error)) => tracing::warn!("stop container {name}: {error}"),
            Err(_) => tracing::warn!("stop container {name}: no answer within {ANSWER:?}"),
        }
    }

    pub(super) fn tell(
        &self,
        pod: &Desired,
        name: &str,
        severity: Severity,
        reason: &str,
        message: String,
    ) {
        self.node.tell_of(pod, name, severity, reason, message);
    }
}

/// What asks a container to end where the pod says it: `lifecycle.stopSignal`.
fn stop_signal(pod: &Desired, name: &str) -> Option<i32> {
    let container = pod.container(name);
    let asked =
        container.and_then(|container| container.lifecycle.as_ref()?.stop_signal.as_deref());
    asked.and_then(signal_of)
}

/// A signal's number by its name in the API, real-time ones included (`SIGRTMIN+3`).
pub fn signal_of(name: &str) -> Option<i32> {
    let offset = |text: &str| match text {
        "" => Some(0),
        text => text.trim_start_matches(['+', '-']).parse::<i32>().ok(),
    };
    if let Some(rest) = name.strip_prefix("SIGRTMIN") {
        return Some(libc::SIGRTMIN() + offset(rest)?);
    }
    if let Some(rest) = name.strip_prefix("SIGRTMAX") {
        return Some(libc::SIGRTMAX() - offset(rest)?);
    }
    let signal: nix::sys::signal::Signal = name.parse().ok()?;
    Some(signal as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names() {
        for (name, expected) in [
            ("SIGUSR1", Some(libc::SIGUSR1)),
            ("SIGQUIT", Some(3)),
            ("SIGRTMIN", Some(34)),
            ("SIGRTMIN+3", Some(37)),
            ("SIGRTMAX-1", Some(63)),
            ("SIGSING", None),
        ] {
            assert_eq!(signal_of(name), expected, "{name}");
        }
    }
}

//! Which container a request is about.

use std::sync::Arc;

use sealane_runtime::Shim;
use tokio::sync::watch;

use super::answer::Refusal;
use crate::dispatch::Directory;
use crate::record::{Container, State};
use crate::worker::View;

/// A container of a pod of this node.
pub struct Target {
    /// What its pod's worker lets others see.
    pub view: watch::Receiver<Arc<View>>,
    /// `metadata.name` of the pod.
    pub pod: String,
    /// The container's name.
    pub container: String,
}

impl Target {
    /// Looks for a container.
    ///
    /// # Errors
    /// A refusal that says whether the pod or the container is missing.
    pub fn find(
        directory: &Directory,
        namespace: &str,
        pod: &str,
        container: &str,
    ) -> Result<Self, Refusal> {
        let Some(view) = directory.find(namespace, pod) else {
            return Err(Refusal::not_on_this_node(namespace, pod));
        };
        if view.borrow().desired.container(container).is_none() {
            let message = format!("container {container} is not valid for pod {pod}");
            return Err(Refusal::bad_request(message));
        }
        Ok(Self {
            view,
            pod: pod.to_owned(),
            container: container.to_owned(),
        })
    }

    /// The shim of a container that runs.
    ///
    /// # Errors
    /// 400 when it does not.
    pub fn running(&self) -> Result<Shim, Refusal> {
        let view = self.view.borrow();
        let (container, pod) = (&self.container, &self.pod);
        let runs = matches!(view.record.container(container).state, State::Running(_));
        match &view.shim {
            Some(shim) if runs => Ok(shim.clone()),
            _ => Err(Refusal::bad_request(format!(
                "container \"{container}\" of pod \"{pod}\" is not running: see kubectl describe pod {pod}"
            ))),
        }
    }

    /// What is known of the container.
    pub fn state(&self) -> Container {
        self.view.borrow().record.container(&self.container).clone()
    }
}

/// The attempt whose log is asked for, if it has one.
///
/// As in the kubelet, the log before a crash that is being waited out is both
/// the newest and, since the container has a new state, the previous one.
pub fn attempt(container: &Container, previous: bool) -> Option<u32> {
    let newest = match container.state {
        State::New => container.attempt.checked_sub(1),
        _ => Some(container.attempt),
    };
    let waits = container.state == State::New || container.backoff_announced;
    match previous {
        false => newest,
        true if waits => newest,
        true => newest?.checked_sub(1),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::record::Exit;

    #[test]
    fn logs_are_those_of_the_newest_attempt_or_of_the_one_before() {
        let exited = || {
            State::Exited(Exit {
                code: 1,
                reason: "Error".into(),
                message: None,
                started_at: None,
                finished_at: Timestamp::UNIX_EPOCH,
            })
        };
        let running = || State::Running(Timestamp::UNIX_EPOCH);
        let cases = [
            ("not started", State::New, 0, false, None, None),
            ("first run", running(), 0, false, Some(0), None),
            ("third run", running(), 2, false, Some(2), Some(1)),
            ("just ended", exited(), 2, false, Some(2), Some(1)),
            ("crash loop", exited(), 2, true, Some(2), Some(2)),
            ("sandbox made anew", State::New, 3, false, Some(2), Some(2)),
        ];
        for (case, state, number, announced, newest, previous) in cases {
            let container = Container {
                state,
                attempt: number,
                backoff_announced: announced,
                ..Container::default()
            };
            assert_eq!(attempt(&container, false), newest, "{case}");
            assert_eq!(attempt(&container, true), previous, "{case}, previous");
        }
    }
}

//! The worker's part in a pod that is changed while it runs: of its containers only the image can
//! be another one, and then the container is ended and started again, whatever its restart policy.

use jiff::Timestamp;

use super::Worker;
use crate::backoff::Backoff;
use crate::decide::outcome;
use crate::desired::Desired;
use crate::record::{Doom, State};

impl Worker {
    /// Looks for containers that run, or wait for, another image than the pod says by now.
    pub(super) fn notice_changes(&mut self, pod: &Desired) {
        if pod.grace().is_some() || outcome(pod, &self.record).is_some() {
            return;
        }
        let kill_at = Timestamp::now() + pod.own_grace();
        for spec in pod.sidecars().chain(pod.main()) {
            let image = spec.image.as_deref().unwrap_or_default();
            let Some(container) = self.record.containers.get_mut(&spec.name) else {
                continue;
            };
            if container.image.is_empty() || container.image == image {
                continue;
            }
            if container.hold.is_some() {
                // It waited for the other one.
                container.hold = None;
                container.image_backoff = Backoff::NEW;
                container.image.clear();
            }
            if matches!(container.state, State::Running(_)) {
                let name = &spec.name;
                container.doom.get_or_insert(Doom {
                    message: format!("Container {name} definition changed, will be restarted"),
                    kill_at,
                    changed: true,
                });
            }
        }
    }
}

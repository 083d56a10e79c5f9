//! The worker's part in images: to have one before a container starts, and to
//! tell what keeps it from having one.
//!
//! A pull runs beside the worker, which meanwhile goes on: the pod may be
//! deleted, and other containers of it start.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container as Spec;
use sealane_kube::events::Severity;
use tokio::task::JoinSet;

use super::Worker;
use crate::desired::Desired;
use crate::images::pull::Pulled;
use crate::images::secrets::{Credentials, credentials};
use crate::images::{self, BACK_OFF, INVALID, NEVER, Name, Place, Policy, Refusal, Resolved};
use crate::record::{Hold, PULLING};

/// How often a container that waits without a back-off looks again, as the kubelet syncs.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_secs(10);

/// The pulls of one pod.
#[derive(Default)]
pub(super) struct Pulls {
    running: JoinSet<Ended>,
    /// By container: the image that was pulled for its next start, told with it.
    fresh: BTreeMap<String, (String, Pulled)>,
    /// By container: what registries were shown in the pull that failed.
    shown: BTreeMap<String, Vec<String>>,
}

/// A pull that has come to its end.
pub(super) struct Ended {
    container: String,
    /// As the pod named it.
    image: String,
    outcome: Result<Pulled, Refusal>,
}

impl Pulls {
    /// The next pull that comes to its end.
    pub(super) async fn next(&mut self) -> Ended {
        loop {
            match self.running.join_next().await {
                Some(Ok(ended)) => return ended,
                // It was given up.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }
}

/// What a container's start needs of its image.
pub(super) struct Ready {
    pub(super) image: Resolved,
    /// The Event `Pulled`.
    pub(super) told: String,
}

impl Worker {
    /// The image of a container that is about to start; `None` when it is not to be had yet,
    /// which has been noted.
    pub(super) async fn image(&mut self, pod: &Desired, container: &Spec) -> Option<Ready> {
        let name = container.image.as_deref().unwrap_or_default();
        match self.look_up(pod, container, name).await {
            Ok(ready) => ready,
            Err(refusal) => {
                self.hold_image(pod, &container.name, &refusal);
                None
            }
        }
    }

    async fn look_up(
        &mut self,
        pod: &Desired,
        container: &Spec,
        name: &str,
    ) -> Result<Option<Ready>, Refusal> {
        let elsewhere = match self.node.images.locate(name)? {
            Place::Here(image) => {
                let told = images::present(name, image.alias.as_ref());
                return Ok(Some(Ready {
                    image: *image,
                    told,
                }));
            }
            Place::Elsewhere(elsewhere) => elsewhere,
        };
        let found = self.find(pod, &elsewhere).await?;
        let policy = Policy::of(container);
        let fresh = self.pulls.fresh.remove(&container.name);
        let fresh = fresh.filter(|(image, _)| image == name);
        match (found, fresh, policy) {
            (Some(image), Some((_, pulled)), _) => {
                let present = || images::present(name, image.alias.as_ref());
                let told = pulled.told(name).unwrap_or_else(present);
                Ok(Some(Ready { image, told }))
            }
            (Some(image), None, Policy::IfNotPresent | Policy::Never) => {
                let told = images::present(name, image.alias.as_ref());
                Ok(Some(Ready { image, told }))
            }
            (None, _, Policy::Never) => Err(Refusal::never(name)),
            (_, _, policy) => {
                self.pull(pod, container, &elsewhere, policy);
                Ok(None)
            }
        }
    }

    async fn find(&self, pod: &Desired, name: &Name) -> Result<Option<Resolved>, Refusal> {
        let (images, name) = (self.node.images.clone(), name.clone());
        let (uid, folder) = (pod.uid().to_owned(), self.folder.dir().to_owned());
        let found = move || images.find(&name, &uid, &folder);
        let found = tokio::task::spawn_blocking(found).await;
        found.unwrap_or_else(|error| Err(Refusal::pull(error)))
    }

    /// Starts a pull; the container waits for its end.
    fn pull(&mut self, pod: &Desired, container: &Spec, image: &Name, policy: Policy) {
        let Some(puller) = self.node.puller.clone() else {
            return;
        };
        let name = container.image.as_deref().unwrap_or_default();
        let Credentials { configs, missing } = self.credentials(pod);
        if !missing.is_empty() {
            let missing = missing.join(", ");
            let message = format!(
                "Unable to retrieve some image pull secrets ({missing}); attempting to pull the image may not succeed."
            );
            let reason = "FailedToRetrieveImagePullSecret";
            self.node.tell(&pod.pod, Severity::Warning, reason, message);
        }
        let message = format!("Pulling image \"{name}\"");
        self.tell(pod, &container.name, Severity::Normal, "Pulling", message);
        let record = self.record.container_mut(&container.name);
        record.image = name.to_owned();
        record.hold = Some(Hold {
            reason: PULLING.to_owned(),
            message: String::new(),
            since: Timestamp::now(),
            until: None,
        });
        self.pulls
            .shown
            .insert(container.name.clone(), configs.clone());
        let (container, reference) = (container.name.clone(), image.reference.clone());
        let image = name.to_owned();
        self.pulls.running.spawn(async move {
            let always = policy == Policy::Always;
            Ended {
                outcome: puller.pull(&reference, &configs, always).await,
                container,
                image,
            }
        });
    }

    fn credentials(&self, pod: &Desired) -> Credentials {
        self.with_env(pod, |origin| credentials(pod.spec(), origin.sources))
    }

    /// Enters how a pull has ended.
    pub(super) fn pull_ended(&mut self, ended: Ended) {
        let pod = self.desired.borrow().clone();
        let name = &ended.container;
        if image_name(&pod, name) != ended.image {
            // The pod wants another one by now.
            return;
        }
        self.record.container_mut(name).hold = None;
        match ended.outcome {
            Ok(pulled) => {
                self.pulls.shown.remove(name);
                let fresh = (ended.image, pulled);
                self.pulls.fresh.insert(ended.container, fresh);
            }
            Err(refusal) => self.hold_image(&pod, name, &refusal),
        }
    }

    /// Forgets the pulls of a former process, which ended with it.
    pub(super) fn forget_pulls(&mut self) {
        for container in self.record.containers.values_mut() {
            container.hold.take_if(|hold| hold.reason == PULLING);
        }
    }

    /// What pods show to registries has changed, perhaps: who was refused tries again at once.
    pub(super) fn secrets_changed(&mut self) {
        let pod = self.desired.borrow().clone();
        if pod.spec().image_pull_secrets.is_none() {
            return;
        }
        let now = self.credentials(&pod).configs;
        let changed: Vec<String> = self
            .pulls
            .shown
            .iter()
            .filter(|(_, shown)| **shown != now)
            .map(|(name, _)| name.clone())
            .collect();
        for name in changed {
            let container = self.record.container_mut(&name);
            let failed =
                |hold: &mut Hold| images::is_pull_failure(&hold.reason) || hold.reason == BACK_OFF;
            container.hold.take_if(failed);
        }
    }

    /// Notes why a container has no image, and when that is looked at again.
    fn hold_image(&mut self, pod: &Desired, name: &str, refusal: &Refusal) {
        let now = Timestamp::now();
        let Refusal { reason, message } = refusal;
        let image = image_name(pod, name);
        let container = self.record.container_mut(name);
        container.image = image.to_owned();
        let known = container.hold.as_ref();
        let known = known.is_some_and(|hold| hold.reason == *reason && hold.message == *message);
        let delay = match refusal.backs_off() {
            true => {
                // The first failure already has a delay: an image does not appear within a second.
                container.image_backoff.raise(now, now);
                container.image_backoff.delay()
            }
            false => LOOK_AGAIN,
        };
        container.hold = Some(Hold {
            reason: (*reason).to_owned(),
            message: message.clone(),
            since: now,
            until: Some(now + delay),
        });
        if known && !refusal.backs_off() {
            return;
        }
        let (event, message) = match *reason {
            INVALID => ("InspectFailed", message.clone()),
            NEVER => (NEVER, message.clone()),
            _ => (
                "Failed",
                format!("Failed to pull image \"{image}\": {message}"),
            ),
        };
        self.tell(pod, name, Severity::Warning, event, message);
        let error = format!("Error: {reason}");
        self.tell(pod, name, Severity::Warning, "Failed", error);
    }

    /// Says that an image is not tried again for a while.
    pub(super) fn shelve_image(&mut self, pod: &Desired, name: &str) {
        let image = image_name(pod, name);
        let Some(hold) = &mut self.record.container_mut(name).hold else {
            return;
        };
        hold.message = format!(
            "Back-off pulling image \"{image}\": {}: {}",
            hold.reason, hold.message
        );
        hold.reason = BACK_OFF.to_owned();
        let message = format!("Back-off pulling image \"{image}\"");
        self.tell(pod, name, Severity::Normal, "BackOff", message);
        let error = format!("Error: {BACK_OFF}");
        self.tell(pod, name, Severity::Warning, "Failed", error);
    }
}

fn image_name<'a>(pod: &'a Desired, name: &str) -> &'a str {
    let container = pod.container(name);
    container
        .and_then(|container| container.image.as_deref())
        .unwrap_or_default()
}

//! How many pods somebody keeps: the subresource `scale` of any kind.

use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::discovery::ApiCapabilities;
use kube::{Api, Error};
use sealane_kube::{Backoff, explain, is_not_found, is_unreachable};

use super::Actor;
use crate::action::Outcome;
use crate::facts::Controller;

impl Actor {
    /// Asks until the API server answers.
    pub(super) async fn ask_scale(&self, namespace: &str, keeper: &Controller) -> Outcome {
        let mut backoff = Backoff::reconnect();
        loop {
            match self.scale_of(namespace, keeper).await {
                Ok(outcome) => return outcome,
                Err(error) if is_unreachable(&error) => {
                    tokio::time::sleep(backoff.next_delay()).await;
                }
                Err(Error::Api(status)) => return Outcome::Refused(status.message.clone()),
                Err(error) => return Outcome::Refused(explain(&error).to_string()),
            }
        }
    }

    async fn scale_of(&self, namespace: &str, keeper: &Controller) -> Result<Outcome, Error> {
        let Some((resource, able)) = self.served(keeper).await? else {
            return Ok(Outcome::Refused(format!(
                "no matches for kind {:?} in version {:?}",
                keeper.kind, keeper.api_version
            )));
        };
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, &resource);
        match api.get_scale(&keeper.name).await {
            Ok(scale) if scale.metadata.uid.as_ref() != Some(&keeper.uid) => Ok(Outcome::Gone),
            Ok(scale) => {
                let replicas = scale.spec.and_then(|spec| spec.replicas);
                Ok(Outcome::Keeps(replicas.unwrap_or(0)))
            }
            // The object is gone, or its kind has no scale.
            Err(error) if is_not_found(&error) => Ok(match can_scale(&able) {
                true => Outcome::Gone,
                false => Outcome::Refused(no_scale(&resource)),
            }),
            Err(error) => Err(error),
        }
    }

    /// Where a kind is served, and what it can; none if it is not.
    async fn served(
        &self,
        keeper: &Controller,
    ) -> Result<Option<(ApiResource, ApiCapabilities)>, Error> {
        let version = &keeper.api_version;
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let kind = GroupVersionKind::gvk(group, version, &keeper.kind);
        match kube::discovery::pinned_kind(&self.client, &kind).await {
            Ok(found) => Ok(Some(found)),
            Err(Error::Discovery(_)) => Ok(None),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn can_scale(able: &ApiCapabilities) -> bool {
    let mut parts = able.subresources.iter();
    parts.any(|(part, _)| part.plural == "scale")
}

fn no_scale(resource: &ApiResource) -> String {
    let of = match &*resource.group {
        "" => String::new(),
        group => format!(".{group}"),
    };
    format!(
        "{}{of} does not implement the scale subresource",
        resource.plural
    )
}

//! The bandwidth of pods: read from requests, and kept for pods that are there.
//!
//! What a pod is to receive is known as long as its annotations are, so a limit
//! that somebody has taken away comes back whenever links are looked at. One that
//! is there is left as it is: like the kubelet we read annotations when a pod is made.

use std::sync::Arc;

use sealane_cni::{protocol::Request, types::CniError};

use super::{Core, attach::pod_of};
use crate::{
    leases::Lease,
    shape::Shape,
    wire::{self, Limited, NearEnds},
};

impl Core {
    /// How much a pod may send and receive; nothing to see to where a plugin behind ours does.
    pub(super) fn shape(&self, request: &Request) -> Result<Shape, CniError> {
        let pod = pod_of(request);
        let known = pod.as_ref().and_then(|pod| self.pods.get(&pod.name));
        let shape = Shape::of(request, known.map(|pod| &pod.annotations))?;
        let ours = self.choices.limit_bandwidth;
        Ok(if ours { shape } else { Shape::default() })
    }

    /// Puts back limits that are gone.
    pub(super) fn keep_limits(&self, links: &NearEnds) {
        let limited: Vec<Limited> = self
            .book
            .leases()
            .filter_map(|lease| self.limited(lease, links))
            .collect();
        if !self.choices.limit_bandwidth || limited.is_empty() {
            return;
        }
        let kernel = self.kernel.clone();
        tokio::spawn(async move {
            if let Err(error) = wire::keep_limits(&kernel, &limited).await {
                tracing::warn!("{error}");
            }
        });
    }

    fn limited(&self, lease: &Arc<Lease>, links: &NearEnds) -> Option<Limited> {
        let key = lease.key();
        if self.work.contains_key(&key) {
            return None;
        }
        let near = links.get(&wire::link_name(&key))?;
        let pod = self.pods.get(&lease.pod.as_ref()?.name)?;
        let shape = Shape::annotated(|key| pod.annotations.get(key).map(String::as_str));
        Some(Limited {
            link: near.link.name.clone(),
            index: near.link.index,
            rate: shape.ok()?.ingress?,
        })
    }
}

//! Nodes whose stored state is not believed.
//!
//! After a cluster was stopped, its store still says that every node is ready,
//! and a node process that finds its own words there sees nothing to say. So a
//! node that starts from nothing is set to Unknown once, as a controller would
//! have done had it been running meanwhile, and counts as ready when it has
//! contradicted that.
//!
//! ```text
//!   stored: ready ──► patched: Unknown ──► seen: not ready ──► no doubt any more
//! ```

use std::collections::{BTreeMap, BTreeSet};

use kube::api::{Patch, PatchParams};
use sealane_kube::k8s_openapi::api::core::v1::Node;
use sealane_kube::k8s_openapi::jiff::Timestamp;
use sealane_kube::{Api, Backoff, Mirror, explain, is_not_found};
use serde_json::json;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::View;

/// The nodes that are doubted, and the patches that are on their way.
#[derive(Debug)]
pub struct Doubt {
    unseen: BTreeSet<String>,
    patched: BTreeMap<String, AbortOnDropHandle<()>>,
}

impl Doubt {
    /// Doubts these nodes until they have been heard.
    pub fn about(nodes: impl IntoIterator<Item = String>) -> Self {
        Self {
            unseen: nodes.into_iter().collect(),
            patched: BTreeMap::new(),
        }
    }

    /// Whether a node is doubted.
    pub fn holds(&self, node: &str) -> bool {
        self.unseen.contains(node) || self.patched.contains_key(node)
    }

    /// Looks at what the API says by now.
    pub fn look(&mut self, mirror: &Mirror<View>, api: &Api<Node>) {
        if !mirror.is_synced() {
            return;
        }
        let ready = |name: &str| mirror.get_cluster_wide(name).is_some_and(|view| view.ready);
        for name in std::mem::take(&mut self.unseen) {
            if ready(&name) {
                let patch = tokio::spawn(set_unknown(api.clone(), name.clone()));
                self.patched.insert(name, AbortOnDropHandle::new(patch));
            }
        }
        self.patched.retain(|name, _| ready(name));
    }
}

async fn set_unknown(api: Api<Node>, name: String) {
    let mut backoff = Backoff::reconnect();
    loop {
        let condition = json!({
            "type": "Ready",
            "status": "Unknown",
            "reason": "ClusterStopped",
            "message": "the cluster was stopped, and the node has not reported since",
            "lastTransitionTime": Timestamp::now(),
        });
        let patch = Patch::Strategic(json!({"status": {"conditions": [condition]}}));
        match api
            .patch_status(&name, &PatchParams::default(), &patch)
            .await
        {
            Ok(_) => return,
            Err(error) if is_not_found(&error) => return,
            Err(error) => tracing::warn!("set node {name} to Unknown: {}", explain(&error)),
        }
        sleep(backoff.next_delay()).await;
    }
}

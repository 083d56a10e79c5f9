//! What the API server knows of all nodes.

use std::time::Duration;

use sealane_kube::k8s_openapi::api::core::v1::Node;
use sealane_kube::k8s_openapi::api::networking::v1::ServiceCIDR;
use sealane_kube::{Access, Api, client, node_net};
use tokio::time::timeout;

use crate::observe::Outside;

/// A check is wanted now, also while nobody answers.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks for Nodes and the ranges of Services; without an answer the checks that need them are skipped.
pub async fn ask(access: &Access) -> Outside {
    match timeout(PATIENCE, list(access)).await {
        Ok(Ok(outside)) => outside,
        Ok(Err(why)) => Outside::unknown(format!("{why:#}")),
        Err(_) => Outside::unknown(format!(
            "the API server does not answer within {} s",
            PATIENCE.as_secs()
        )),
    }
}

async fn list(access: &Access) -> anyhow::Result<Outside> {
    let client = client(access, "check").await?;
    let all = Default::default();
    let nodes = Api::<Node>::all(client.clone()).list(&all).await?;
    // Older servers have no such kind, and a node need not be allowed to read it.
    let ranges = Api::<ServiceCIDR>::all(client).list(&all).await;
    let specs = ranges.into_iter().flat_map(|list| list.items);
    let texts = specs.flat_map(|range| range.spec.and_then(|spec| spec.cidrs).unwrap_or_default());
    Ok(Outside {
        nodes: Ok(nodes.items.iter().map(node_net).collect()),
        services: texts.filter_map(|text| text.parse().ok()).collect(),
    })
}

//! What the API says of nodes and pods.

use std::time::Duration;

use ipnet::IpNet;
use sealane_kube::k8s_openapi::api::core::v1::{Node, Pod};
use sealane_kube::{Access, Api, client, explain, node_net};
use serde::Serialize;
use tokio::time::timeout;

use crate::layout::Layout;

/// How long the API may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The node that it is on; empty while it is on none.
    pub node: String,
    /// Its phase.
    pub phase: String,
    /// Its address.
    pub ip: Option<String>,
    /// How often its containers have been restarted.
    pub restarts: i32,
}

/// Nodes and pods; empty while the API does not answer.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Whether the API answered.
    pub answers: bool,
    nodes: Vec<Node>,
    /// The pods, by namespace and name.
    pub pods: Vec<PodStatus>,
}

/// Asks the API, as the administrator.
pub async fn look(layout: &Layout) -> Result<View, String> {
    let ask = async {
        let access = Access::from_kubeconfig(layout.kubeconfig());
        let client = client(&access, "status")
            .await
            .map_err(|error| error.to_string())?;
        let (nodes, pods) = (Api::<Node>::all(client.clone()), Api::<Pod>::all(client));
        let everything = Default::default();
        let (nodes, pods) = tokio::try_join!(nodes.list(&everything), pods.list(&everything))
            .map_err(|error| explain(&error).to_string())?;
        let mut pods: Vec<PodStatus> = pods.items.into_iter().map(pod_status).collect();
        pods.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        Ok(View {
            answers: true,
            nodes: nodes.items,
            pods,
        })
    };
    match timeout(PATIENCE, ask).await {
        Ok(view) => view,
        Err(_) => Err(format!(
            "the API does not answer within {} s",
            PATIENCE.as_secs()
        )),
    }
}

fn pod_status(pod: Pod) -> PodStatus {
    let status = pod.status.unwrap_or_default();
    let containers = status.container_statuses.unwrap_or_default();
    PodStatus {
        namespace: pod.metadata.namespace.unwrap_or_default(),
        name: pod.metadata.name.unwrap_or_default(),
        node: pod.spec.and_then(|spec| spec.node_name).unwrap_or_default(),
        phase: status.phase.unwrap_or_else(|| "Pending".to_owned()),
        ip: status.pod_ip,
        restarts: containers
            .iter()
            .map(|container| container.restart_count)
            .sum(),
    }
}

impl View {
    fn node(&self, name: &str) -> Option<&Node> {
        self.nodes
            .iter()
            .find(|node| node.metadata.name.as_deref() == Some(name))
    }

    /// Whether a node's condition `Ready` is true.
    pub fn is_ready(&self, node: &str) -> bool {
        self.condition(node)
            .is_some_and(|(status, _)| status == "True")
    }

    /// Why a node is not ready, in its own words.
    pub fn reason(&self, node: &str) -> Option<String> {
        self.condition(node)
            .map(|(status, message)| message.unwrap_or(status))
    }

    fn condition(&self, node: &str) -> Option<(String, Option<String>)> {
        let conditions = self.node(node)?.status.as_ref()?.conditions.as_ref()?;
        let ready = conditions
            .iter()
            .find(|condition| condition.type_ == "Ready")?;
        Some((ready.status.clone(), ready.message.clone()))
    }

    /// The subnets of a node's pods.
    pub fn pod_cidrs(&self, node: &str) -> Vec<IpNet> {
        self.node(node)
            .map(|node| node_net(node).pod_cidrs)
            .unwrap_or_default()
    }
}

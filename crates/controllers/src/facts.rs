//! What those look at in a pod who keep pods, or send traffic to them.

pub mod job;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::Timestamp;

use crate::pools::Pools;
use job::JobPod;

/// The part of a Pod that says whose it is and how it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFacts {
    pub labels: Arc<BTreeMap<String, String>>,
    /// The owner reference with `controller: true`.
    pub controller: Option<Arc<Controller>>,
    pub phase: Phase,
    /// Since when condition Ready is True.
    pub ready: Option<Timestamp>,
    /// When condition Ready last became what it is.
    pub ready_turned: Option<Timestamp>,
    pub created: Option<Timestamp>,
    /// The most restarts of any container.
    pub restarts: i32,
    /// Annotation `controller.kubernetes.io/pod-deletion-cost`.
    pub deletion_cost: i32,
    pub addresses: Vec<IpAddr>,
    pub hostname: Option<String>,
    pub subdomain: Option<String>,
    /// Ports of containers that have a name, with their protocols.
    pub ports: Arc<Vec<NamedPort>>,
    /// What its Job reads, if a Job keeps it.
    pub job: Option<Arc<JobPod>>,
}

/// Who keeps a pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Controller {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub uid: String,
}

/// `status.phase`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    #[default]
    Pending,
    Unknown,
    Running,
    Succeeded,
    Failed,
}

/// A port of a container that Services may name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NamedPort {
    pub name: String,
    pub protocol: String,
    pub port: i32,
}

impl PodFacts {
    pub fn of(pod: &Pod, pools: &mut Pools) -> Self {
        let meta = &pod.metadata;
        let spec = pod.spec.as_ref();
        let status = pod.status.as_ref();
        let cost = meta
            .annotations
            .as_ref()
            .and_then(|all| all.get("controller.kubernetes.io/pod-deletion-cost"));
        let controller = controller_of(meta.owner_references.as_deref());
        let keeper = controller.as_ref().map(|controller| &*controller.kind);
        Self {
            job: JobPod::of(pod, keeper).map(Arc::new),
            labels: pools.labels.share(meta.labels.clone().unwrap_or_default()),
            controller: controller.map(|controller| pools.controllers.share(controller)),
            phase: Phase::of(status.and_then(|s| s.phase.as_deref())),
            ready: status.and_then(ready_since),
            ready_turned: status.and_then(ready_turned),
            created: meta.creation_timestamp.as_ref().map(|time| time.0),
            restarts: status.map_or(0, most_restarts),
            deletion_cost: cost.and_then(|text| text.parse().ok()).unwrap_or(0),
            addresses: sealane_kube::pod_net(pod).pod_ips,
            hostname: spec.and_then(|s| s.hostname.clone()),
            subdomain: spec.and_then(|s| s.subdomain.clone()),
            ports: pools.ports.share(spec.map(named_ports).unwrap_or_default()),
        }
    }

    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    pub fn is_ready(&self) -> bool {
        self.ready.is_some()
    }

    /// Ready for at least `min_ready`.
    pub fn is_available(&self, min_ready: Duration, now: Timestamp) -> bool {
        self.available_in(min_ready, now) == Some(Duration::ZERO)
    }

    /// How long until it is available, if it stays ready; none while it is not ready.
    pub fn available_in(&self, min_ready: Duration, now: Timestamp) -> Option<Duration> {
        let ready_for = now.duration_since(self.ready?);
        let ready_for = Duration::try_from(ready_for).unwrap_or_default();
        Some(min_ready.saturating_sub(ready_for))
    }
}

impl Phase {
    fn of(text: Option<&str>) -> Self {
        match text {
            None | Some("" | "Pending") => Self::Pending,
            Some("Running") => Self::Running,
            Some("Succeeded") => Self::Succeeded,
            Some("Failed") => Self::Failed,
            Some(_) => Self::Unknown,
        }
    }
}

/// The owner that keeps an object.
pub fn controller_of(owners: Option<&[OwnerReference]>) -> Option<Controller> {
    let owners = owners.unwrap_or_default();
    let controller = owners.iter().find(|o| o.controller == Some(true))?;
    Some(Controller {
        api_version: controller.api_version.clone(),
        kind: controller.kind.clone(),
        name: controller.name.clone(),
        uid: controller.uid.clone(),
    })
}

fn ready(status: &PodStatus) -> Option<&PodCondition> {
    let conditions = status.conditions.as_ref()?;
    conditions.iter().find(|c| c.type_ == "Ready")
}

fn ready_turned(status: &PodStatus) -> Option<Timestamp> {
    Some(ready(status)?.last_transition_time.as_ref()?.0)
}

fn ready_since(status: &PodStatus) -> Option<Timestamp> {
    let ready = ready(status)?;
    let since = ready.last_transition_time.as_ref();
    (ready.status == "True").then(|| since.map_or(Timestamp::UNIX_EPOCH, |time| time.0))
}

fn most_restarts(status: &PodStatus) -> i32 {
    let restarts = |all: &Option<Vec<ContainerStatus>>| {
        let all = all.iter().flatten().map(|c| c.restart_count);
        all.max().unwrap_or(0)
    };
    restarts(&status.container_statuses).max(restarts(&status.init_container_statuses))
}

fn named_ports(spec: &k8s_openapi::api::core::v1::PodSpec) -> Vec<NamedPort> {
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars);
    let ports = ports.flat_map(|c| c.ports.iter().flatten());
    ports
        .filter_map(|port| {
            Some(NamedPort {
                name: port.name.clone()?,
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                port: port.container_port,
            })
        })
        .collect()
}

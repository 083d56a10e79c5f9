//! A pod as the API wants it, with the API's defaults filled in where it is read.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerRestartRule, Pod, PodSpec};

/// Shortest time that a container gets between SIGTERM and SIGKILL, as in the kubelet.
pub const SHORTEST_GRACE: Duration = Duration::from_secs(2);
/// `terminationGracePeriodSeconds` of a pod that does not say.
const DEFAULT_GRACE: i64 = 30;

/// What the API wants of one pod.
#[derive(Clone, Debug)]
pub struct Desired {
    /// The pod as last seen.
    pub pod: Arc<Pod>,
    /// The API no longer has it: take it down, there is nothing to report to.
    pub gone: bool,
}

/// When a container that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Whatever its exit code was.
    Always,
    /// When its exit code was not 0.
    OnFailure,
    /// Not at all.
    Never,
}

fn policy(text: Option<&str>) -> RestartPolicy {
    match text {
        Some("Never") => RestartPolicy::Never,
        Some("OnFailure") => RestartPolicy::OnFailure,
        _ => RestartPolicy::Always,
    }
}

impl RestartPolicy {
    /// Whether a container that ended with `code` runs again.
    pub fn restarts(self, code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => code != 0,
            Self::Never => false,
        }
    }

    /// The policy of init containers: `Always` would never let them finish.
    pub fn for_init(self) -> Self {
        match self {
            Self::Always => Self::OnFailure,
            policy => policy,
        }
    }
}

/// When one container runs again: its own word goes before its pod's.
///
/// Source: Kubernetes docs "Pod Lifecycle", individual container restart policy and rules.
#[derive(Clone, Copy, Debug)]
pub struct Restarts<'a> {
    /// Where no rule applies.
    pub policy: RestartPolicy,
    rules: &'a [ContainerRestartRule],
}

impl Restarts<'_> {
    /// Whether it runs again after it ended with `code`.
    pub fn after(self, code: i32) -> bool {
        let applies = |rule: &ContainerRestartRule| {
            let codes = rule.exit_codes.as_ref();
            codes.is_some_and(|codes| {
                let listed = codes.values.iter().flatten().any(|value| *value == code);
                match codes.operator.as_str() {
                    "In" => listed,
                    "NotIn" => !listed,
                    _ => false,
                }
            })
        };
        self.rules.iter().any(applies) || self.policy.restarts(code)
    }
}

impl Desired {
    /// A pod that the API has.
    pub fn new(pod: Arc<Pod>) -> Self {
        Self { pod, gone: false }
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.pod.metadata.name.as_deref().unwrap_or_default()
    }

    /// `metadata.namespace`.
    pub fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> &str {
        self.pod.metadata.uid.as_deref().unwrap_or_default()
    }

    /// The pod as the kubelet's messages name it: `name_namespace(uid)`.
    pub fn in_words(&self) -> String {
        format!("{}_{}({})", self.name(), self.namespace(), self.uid())
    }

    /// `spec`; an absent one is empty.
    pub fn spec(&self) -> &PodSpec {
        static EMPTY: LazyLock<PodSpec> = LazyLock::new(PodSpec::default);
        self.pod.spec.as_ref().unwrap_or(&EMPTY)
    }

    /// The init containers in order.
    pub fn init(&self) -> &[Container] {
        self.spec().init_containers.as_deref().unwrap_or_default()
    }

    /// The containers in order.
    pub fn main(&self) -> &[Container] {
        &self.spec().containers
    }

    /// One container's spec, init containers included.
    pub fn container(&self, name: &str) -> Option<&Container> {
        let mut all = self.init().iter().chain(self.main());
        all.find(|container| container.name == name)
    }

    /// Names of the init containers.
    pub fn init_names(&self) -> Vec<&str> {
        self.init()
            .iter()
            .map(|container| container.name.as_str())
            .collect()
    }

    /// When a container of this pod runs again.
    pub fn restarts<'a>(&self, spec: &'a Container) -> Restarts<'a> {
        let own = spec.restart_policy.as_deref();
        let policy = policy(own.or(self.spec().restart_policy.as_deref()));
        let init = self.init().iter().any(|init| init.name == spec.name);
        let once = init && !Self::is_sidecar(spec);
        Restarts {
            policy: if once { policy.for_init() } else { policy },
            rules: spec.restart_policy_rules.as_deref().unwrap_or_default(),
        }
    }

    /// Whether the pod uses the node's own network.
    pub fn host_network(&self) -> bool {
        self.spec().host_network.unwrap_or(false)
    }

    /// Whether an init container stays beside the containers: a sidecar.
    pub fn is_sidecar(container: &Container) -> bool {
        container.restart_policy.as_deref() == Some("Always")
    }

    /// The sidecars in order.
    pub fn sidecars(&self) -> impl DoubleEndedIterator<Item = &Container> {
        let init = self.init().iter();
        init.filter(|container| Self::is_sidecar(container))
    }

    /// When a pod that was first seen at this moment has run for as long as it may.
    pub fn deadline(&self, seen_at: Timestamp) -> Option<Timestamp> {
        let seconds = u64::try_from(self.spec().active_deadline_seconds?).ok()?;
        Some(seen_at + Duration::from_secs(seconds))
    }

    /// How long its containers may take to stop when it is not deleted.
    pub fn own_grace(&self) -> Duration {
        let seconds = self.spec().termination_grace_period_seconds;
        let seconds = seconds.unwrap_or(DEFAULT_GRACE).max(0) as u64;
        Duration::from_secs(seconds).max(SHORTEST_GRACE)
    }

    /// How long its containers may take to stop; `None` while it is wanted.
    pub fn grace(&self) -> Option<Duration> {
        if !self.gone && self.pod.metadata.deletion_timestamp.is_none() {
            return None;
        }
        let seconds = self.pod.metadata.deletion_grace_period_seconds;
        let seconds = seconds.or(self.spec().termination_grace_period_seconds);
        let seconds = seconds.unwrap_or(DEFAULT_GRACE).max(0) as u64;
        Some(Duration::from_secs(seconds).max(SHORTEST_GRACE))
    }

    /// Whether the API says that the pod has ended.
    pub fn ended(&self) -> bool {
        let phase = self
            .pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        matches!(phase, Some("Succeeded" | "Failed"))
    }
}

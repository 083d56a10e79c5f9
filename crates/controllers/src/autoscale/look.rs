//! One look of an autoscaler: what it asks the API server for, and what it tells it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus};
use k8s_openapi::api::core::v1::{self as core, ObjectReference};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, Error};
use sealane_autoscaling::{
    Container, Decision, Memory, Observed, Phase, Pod, Reading, Ready, Scale, decide, rescaled,
};
use sealane_kube::events::{Recorder, Severity};
use sealane_kube::explain;
use sealane_objects::ObjectName;
use serde::Deserialize;
use serde_json::json;

use super::spec::{Spec, TargetRef, milli};
use super::status;

/// A request is not waited for longer than until the next look but one.
const PATIENCE: Duration = Duration::from_secs(20);

/// Looks at autoscalers.
#[derive(Clone)]
pub struct Looker {
    client: Client,
    events: Recorder,
    /// Where kinds are served that have been scaled before.
    kinds: Arc<Mutex<HashMap<(String, String), ApiResource>>>,
}

/// How the target is scaled, with what is needed to change it.
struct Found {
    api: Api<DynamicObject>,
    scale: k8s_openapi::api::autoscaling::v1::Scale,
    selector: String,
}

impl Looker {
    pub fn new(client: Client, events: Recorder) -> Self {
        Self {
            client,
            events,
            kinds: Arc::default(),
        }
    }

    /// Looks, scales, and says so.
    pub async fn look(&self, name: &ObjectName, spec: &Spec, memory: &mut Memory) {
        let now = Timestamp::now();
        let found = match timely(self.find(name, &spec.target)).await {
            Ok(found) => found,
            Err(failure) => {
                self.tell(name, spec, "FailedGetScale", &failure);
                let status = status::without_scale(&spec.status, &failure, now);
                return self.write(name, spec, status).await;
            }
        };
        let replicas = |spec: Option<i32>| spec.unwrap_or(0);
        let current = replicas(found.scale.spec.as_ref().and_then(|spec| spec.replicas));
        let scale = Scale {
            replicas: current,
            has_selector: !found.selector.is_empty(),
        };
        let (min, max) = (spec.autoscaler.min, spec.autoscaler.max);
        let observed = match (min..=max).contains(&current) && scale.has_selector {
            true => self.observe(&name.namespace, &found.selector).await,
            false => Observed::default(),
        };
        let now_ms = now.as_millisecond();
        let mut decision = decide(&spec.autoscaler, &scale, &observed, memory, now_ms);
        let wanted = decision.replicas.unwrap_or(current);
        if wanted != current {
            let done = timely(rescale(&found, &spec.target.name, wanted)).await;
            let failure = done.err();
            let change = (current, wanted);
            let (autoscaler, failure) = (&spec.autoscaler, failure.as_deref());
            rescaled(autoscaler, &mut decision, change, failure, memory, now_ms);
        }
        for note in &decision.notes {
            self.tell(name, spec, note.reason, &note.message);
        }
        let counts = (current, settled(&decision, current));
        let status = status::after(&spec.status, &decision, counts, now);
        self.write(name, spec, status).await;
    }

    async fn find(&self, name: &ObjectName, target: &TargetRef) -> Result<Found, String> {
        let resource = self.resource(target).await?;
        let api = Api::namespaced_with(self.client.clone(), &name.namespace, &resource);
        let scale = api.get_scale(&target.name).await.map_err(words)?;
        let selector = scale
            .status
            .as_ref()
            .and_then(|status| status.selector.clone());
        Ok(Found {
            api,
            selector: selector.unwrap_or_default(),
            scale,
        })
    }

    /// Where a kind is served. It is asked once; a kind that goes is noticed when it is used.
    async fn resource(&self, target: &TargetRef) -> Result<ApiResource, String> {
        let key = (target.api_version.clone(), target.kind.clone());
        let known = || self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known().get(&key) {
            return Ok(found.clone());
        }
        let (group, version) = target
            .api_version
            .split_once('/')
            .unwrap_or(("", &target.api_version));
        let kind = GroupVersionKind::gvk(group, version, &target.kind);
        let found = kube::discovery::pinned_kind(&self.client, &kind).await;
        let (resource, _) = found.map_err(|error| match error {
            Error::Discovery(_) => no_such(target),
            error if sealane_kube::is_not_found(&error) => no_such(target),
            error => words(error),
        })?;
        known().insert(key, resource.clone());
        Ok(resource)
    }

    /// The pods that a selector selects, and what they take.
    async fn observe(&self, namespace: &str, selector: &str) -> Observed {
        let pods = Api::<core::Pod>::namespaced(self.client.clone(), namespace);
        let selected = ListParams::default().labels(selector);
        let pods = timely(async { pods.list(&selected).await.map_err(words) }).await;
        let pods = match pods {
            Ok(pods) => pods.items.iter().map(pod).collect(),
            Err(why) => {
                let failure = format!("unable to get pods while calculating replica count: {why}");
                return Observed {
                    failure: Some(failure),
                    ..Observed::default()
                };
            }
        };
        match timely(self.readings(namespace, &selected)).await {
            Ok(readings) => Observed {
                pods,
                readings,
                failure: None,
            },
            Err(why) => Observed {
                pods,
                failure: Some(format!(
                    "unable to fetch metrics from resource metrics API: {why}"
                )),
                ..Observed::default()
            },
        }
    }

    async fn readings(
        &self,
        namespace: &str,
        selected: &ListParams,
    ) -> Result<BTreeMap<String, Reading>, String> {
        let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods");
        let request = kube::core::Request::new(path).list(selected);
        let request = request.map_err(|error| error.to_string())?;
        let list: MetricsList = self.client.request(request).await.map_err(words)?;
        let readings = list.items.into_iter().map(|one| {
            let name = one.metadata.name.clone().unwrap_or_default();
            (name, one.reading())
        });
        Ok(readings.collect())
    }

    async fn write(&self, name: &ObjectName, spec: &Spec, status: HorizontalPodAutoscalerStatus) {
        if status == spec.status {
            return;
        }
        let api = Api::<HorizontalPodAutoscaler>::namespaced(self.client.clone(), &name.namespace);
        let patch = Patch::Merge(json!({"metadata": {"uid": spec.uid}, "status": status}));
        let params = PatchParams::default();
        let written = async {
            let written = api.patch_status(&name.name, &params, &patch).await;
            written.map(drop).map_err(words)
        };
        if let Err(why) = timely(written).await {
            tracing::debug!("write the status of HorizontalPodAutoscaler {name}: {why}");
        }
    }

    fn tell(&self, name: &ObjectName, spec: &Spec, reason: &'static str, message: &str) {
        let about = ObjectReference {
            api_version: Some("autoscaling/v2".into()),
            kind: Some("HorizontalPodAutoscaler".into()),
            name: Some(name.name.clone()),
            namespace: Some(name.namespace.clone()),
            uid: Some(spec.uid.clone()),
            ..ObjectReference::default()
        };
        let severity = match reason {
            "SuccessfulRescale" => Severity::Normal,
            _ => Severity::Warning,
        };
        tracing::info!("HorizontalPodAutoscaler {name}: {reason}: {message}");
        self.events
            .record(&about, severity, reason, message.to_owned());
    }
}

/// How many pods there are to be after what was done.
fn settled(decision: &Decision, current: i32) -> i32 {
    let refused = |note: &sealane_autoscaling::Note| note.reason == "FailedRescale";
    match decision.replicas {
        Some(replicas) if !decision.notes.iter().any(refused) => replicas,
        _ => current,
    }
}

async fn rescale(found: &Found, name: &str, replicas: i32) -> Result<(), String> {
    let mut scale = found.scale.clone();
    scale.spec.get_or_insert_default().replicas = Some(replicas);
    let params = PostParams::default();
    let done = found.api.replace_scale(name, &params, &scale).await;
    done.map(drop).map_err(words)
}

async fn timely<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = |_| Err("the API server does not answer in time".to_owned());
    tokio::time::timeout(PATIENCE, work)
        .await
        .unwrap_or_else(late)
}

fn words(error: Error) -> String {
    match error {
        Error::Api(status) => status.message.clone(),
        error => explain(&error).to_string(),
    }
}

fn no_such(target: &TargetRef) -> String {
    let TargetRef {
        api_version, kind, ..
    } = target;
    format!(
        "unable to determine resource for scale target reference: no matches for kind {kind:?} in \
         version {api_version:?}"
    )
}

/// A pod as the decision sees it.
fn pod(pod: &core::Pod) -> Pod {
    let status = pod.status.as_ref();
    let spec = pod.spec.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let ready = conditions.and_then(|all| all.iter().find(|one| one.type_ == "Ready"));
    let sidecars = spec
        .iter()
        .flat_map(|spec| spec.init_containers.iter().flatten());
    let sidecars = sidecars.filter(|one| one.restart_policy.as_deref() == Some("Always"));
    let containers = spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .chain(sidecars);
    let started = status.and_then(|status| status.start_time.as_ref());
    Pod {
        name: pod.metadata.name.clone().unwrap_or_default(),
        phase: match status.and_then(|status| status.phase.as_deref()) {
            Some("Pending") => Phase::Pending,
            Some("Failed") => Phase::Failed,
            _ => Phase::Running,
        },
        deleting: pod.metadata.deletion_timestamp.is_some(),
        started_ms: started.map(|time| time.0.as_millisecond()),
        ready: ready.map(|ready| Ready {
            is: ready.status != "False",
            since_ms: ready
                .last_transition_time
                .as_ref()
                .map_or(0, |time| time.0.as_millisecond()),
        }),
        containers: containers
            .map(|one| Container {
                name: one.name.clone(),
                requests_milli: requests(one.resources.as_ref()),
            })
            .collect(),
        requests_milli: requests(spec.and_then(|spec| spec.resources.as_ref())),
    }
}

fn requests(resources: Option<&core::ResourceRequirements>) -> BTreeMap<String, i64> {
    let requests = resources.and_then(|resources| resources.requests.as_ref());
    let requests = requests.into_iter().flatten();
    requests
        .filter_map(|(name, amount)| Some((name.clone(), milli(amount)?)))
        .collect()
}

/// `PodMetricsList`, which is no type of `k8s-openapi`.
#[derive(Deserialize)]
struct MetricsList {
    items: Vec<PodMetrics>,
}

#[derive(Deserialize)]
struct PodMetrics {
    metadata: kube::core::ObjectMeta,
    timestamp: Timestamp,
    window: SignedDuration,
    containers: Vec<ContainerMetrics>,
}

#[derive(Deserialize)]
struct ContainerMetrics {
    name: String,
    usage: BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>,
}

impl PodMetrics {
    fn reading(self) -> Reading {
        let containers = self.containers.into_iter().map(|one| {
            let usage = one.usage.iter();
            let usage = usage.filter_map(|(name, amount)| Some((name.clone(), milli(amount)?)));
            (one.name, usage.collect())
        });
        Reading {
            at_ms: self.timestamp.as_millisecond(),
            window_ms: i64::try_from(self.window.as_millis()).unwrap_or(0),
            containers: containers.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_api_says_is_read() {
        let said = json!({"items": [{
            "metadata": {"name": "p"}, "timestamp": "2026-11-21T20:00:00Z", "window": "10.052s",
            "containers": [{"name": "c", "usage": {"cpu": "250000000n", "memory": "20480Ki"}}],
        }]});
        let list: MetricsList = serde_json::from_value(said).unwrap();
        let reading = list.items.into_iter().next().unwrap().reading();
        assert_eq!(reading.window_ms, 10_052);
        assert_eq!(reading.containers["c"]["cpu"], 250);
        assert_eq!(reading.containers["c"]["memory"], 20_971_520_000);

        let object = json!({
            "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}],
                "initContainers": [{"name": "once"}, {"name": "side", "restartPolicy": "Always"}]},
            "status": {"phase": "Pending", "startTime": "1970-01-01T00:00:01Z",
                "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": "1970-01-01T00:00:02Z"}]},
        });
        let pod = pod(&serde_json::from_value(object).unwrap());
        assert_eq!((pod.phase, pod.started_ms), (Phase::Pending, Some(1000)));
        let ready = Ready {
            is: false,
            since_ms: 2000,
        };
        assert_eq!(pod.ready, Some(ready));
        let names: Vec<_> = pod.containers.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["c", "side"]);
        assert_eq!(pod.containers[0].requests_milli["cpu"], 1000);
    }
}

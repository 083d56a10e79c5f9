//! What a pod gets when it says nothing.

use serde_json::{Value, json};

use crate::{
    kinds::defaults::fill,
    object::{self, elements_mut},
};

/// Defaults of a pod's spec, in pods and in templates of pods.
pub const SPEC_DEFAULTS: &[(&str, &str)] = &[
    ("spec.restartPolicy", "\"Always\""),
    ("spec.dnsPolicy", "\"ClusterFirst\""),
    ("spec.schedulerName", "\"default-scheduler\""),
    ("spec.terminationGracePeriodSeconds", "30"),
    ("spec.securityContext", "{}"),
    ("spec.{containers,initContainers}[].resources", "{}"),
    (
        "spec.{containers,initContainers}[].terminationMessagePath",
        "\"/dev/termination-log\"",
    ),
    (
        "spec.{containers,initContainers}[].terminationMessagePolicy",
        "\"File\"",
    ),
    (
        "spec.{containers,initContainers}[].ports[].protocol",
        "\"TCP\"",
    ),
    (
        "spec.{containers,initContainers}[].env[].valueFrom.fieldRef.apiVersion",
        "\"v1\"",
    ),
    (
        "spec.{containers,initContainers}[].{livenessProbe,readinessProbe,startupProbe}.timeoutSeconds",
        "1",
    ),
    (
        "spec.{containers,initContainers}[].{livenessProbe,readinessProbe,startupProbe}.periodSeconds",
        "10",
    ),
    (
        "spec.{containers,initContainers}[].{livenessProbe,readinessProbe,startupProbe}.successThreshold",
        "1",
    ),
    (
        "spec.{containers,initContainers}[].{livenessProbe,readinessProbe,startupProbe}.failureThreshold",
        "3",
    ),
    (
        "spec.{containers,initContainers}[].{livenessProbe,readinessProbe,startupProbe}.httpGet.path",
        "\"/\"",
    ),
    (
        "spec.{containers,initContainers}[].{livenessProbe,readinessProbe,startupProbe}.httpGet.scheme",
        "\"HTTP\"",
    ),
    (
        "spec.{containers,initContainers}[].{livenessProbe,readinessProbe,startupProbe}.grpc.service",
        "\"\"",
    ),
    (
        "spec.{containers,initContainers}[].lifecycle.{postStart,preStop}.httpGet.path",
        "\"/\"",
    ),
    (
        "spec.{containers,initContainers}[].lifecycle.{postStart,preStop}.httpGet.scheme",
        "\"HTTP\"",
    ),
    (
        "spec.volumes[].{secret,configMap,downwardAPI,projected}.defaultMode",
        "420",
    ),
    ("spec.volumes[].hostPath.type", "\"\""),
    (
        "spec.volumes[].downwardAPI.items[].fieldRef.apiVersion",
        "\"v1\"",
    ),
    (
        "spec.volumes[].projected.sources[].serviceAccountToken.expirationSeconds",
        "3600",
    ),
];

/// Defaults that only pods themselves have.
pub const POD_DEFAULTS: &[(&str, &str)] = &[
    ("spec.enableServiceLinks", "true"),
    ("status.phase", "\"Pending\""),
];

const CONTAINERS: [&str; 2] = ["containers", "initContainers"];

/// Fills in what depends on other fields, in a pod or a template of pods.
pub fn complete_spec(holder: &mut Value) {
    let Some(spec) = holder.get_mut("spec").filter(|spec| spec.is_object()) else {
        return;
    };
    for part in CONTAINERS {
        for container in elements_mut(spec, part).filter(|container| container.is_object()) {
            if let Some(resources) = container.get_mut("resources") {
                normalize_both(resources);
            }
            if container["imagePullPolicy"].is_null() {
                let image = container["image"].as_str().unwrap_or("");
                container["imagePullPolicy"] = pull_policy(image).into();
            }
        }
    }
    normalize(spec, "overhead");
    if let Some(resources) = spec.get_mut("resources") {
        normalize_both(resources);
    }
    for volume in elements_mut(spec, "volumes") {
        if let Some(volume) = volume.as_object_mut().filter(|volume| volume.len() == 1) {
            volume.insert("emptyDir".into(), json!({}));
        }
    }
    account(spec);
}

/// Fills in what depends on other fields, and what is decided of pods when they are made.
pub fn complete(pod: &mut Value) {
    complete_spec(pod);
    fill(SPEC_DEFAULTS, pod);
    if !pod["spec"].is_object() {
        return;
    }
    let host_network = pod["spec"]["hostNetwork"] == json!(true);
    for part in CONTAINERS {
        for container in elements_mut(&mut pod["spec"], part) {
            complete_container(container, host_network);
        }
    }
    let spec = &mut pod["spec"];
    if spec["serviceAccountName"].is_null() {
        spec["serviceAccountName"] = json!("default");
        spec["serviceAccount"] = json!("default");
    }
    if pod["status"]["qosClass"].is_null() {
        pod["status"]["qosClass"] = qos_class(pod).into();
    }
}

fn complete_container(container: &mut Value, host_network: bool) {
    let limits = container["resources"]["limits"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    for (resource, limit) in limits {
        let requests = &mut container["resources"]["requests"];
        if requests[&resource].is_null() {
            requests[&resource] = limit;
        }
    }
    for port in elements_mut(container, "ports") {
        if host_network && port["hostPort"].is_null() {
            port["hostPort"] = port["containerPort"].clone();
        }
    }
}

/// Whether an image is named by the tag `latest`, or by none.
fn is_latest(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or(image);
    !image.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

/// Writes the amounts of a list of resources in their normal form.
fn normalize(holder: &mut Value, list: &str) {
    if let Some(list) = holder.get_mut(list) {
        object::normalize(list);
    }
}

fn normalize_both(resources: &mut Value) {
    for list in ["limits", "requests"] {
        normalize(resources, list);
    }
}

fn pull_policy(image: &str) -> &'static str {
    if is_latest(image) {
        "Always"
    } else {
        "IfNotPresent"
    }
}

/// The older name of the field has the same value.
fn account(spec: &mut Value) {
    let names = ["serviceAccountName", "serviceAccount"];
    let said = names
        .iter()
        .find_map(|name| spec[*name].as_str().filter(|name| !name.is_empty()));
    let said = said.map(str::to_owned);
    for name in names {
        match (&said, spec.as_object_mut()) {
            (Some(said), _) => spec[name] = said.as_str().into(),
            (None, Some(spec)) => drop(spec.remove(name)),
            (None, None) => {}
        }
    }
}

/// The class of service that a pod's requests and limits put it into.
pub fn qos_class(pod: &Value) -> &'static str {
    let containers = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|part| pod["spec"][part].as_array().into_iter().flatten());
    let (mut any, mut all) = (false, true);
    for container in containers {
        let resources = &container["resources"];
        for resource in ["cpu", "memory"] {
            let (request, limit) = (
                &resources["requests"][resource],
                &resources["limits"][resource],
            );
            any |= !request.is_null() || !limit.is_null();
            all &= !limit.is_null() && (request.is_null() || request == limit);
        }
    }
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_without_a_version_are_always_pulled() {
        for (image, latest) in [
            ("nginx", true),
            ("nginx:latest", true),
            ("nginx:1.25", false),
            ("host:5000/nginx", true),
            ("host:5000/nginx:1", false),
            ("nginx@sha256:abc", false),
        ] {
            assert_eq!(is_latest(image), latest, "{image}");
        }
    }

    #[test]
    fn requests_follow_limits_and_make_the_class() {
        let pod = |resources: Value| json!({"spec": {"containers": [{"resources": resources}]}});
        let mut guaranteed = pod(json!({"limits": {"cpu": "1", "memory": "1Gi"}}));
        complete(&mut guaranteed);
        assert_eq!(guaranteed["status"]["qosClass"], "Guaranteed");
        let requests = &guaranteed["spec"]["containers"][0]["resources"]["requests"];
        assert_eq!(*requests, json!({"cpu": "1", "memory": "1Gi"}));
        assert_eq!(qos_class(&pod(json!({}))), "BestEffort");
        assert_eq!(
            qos_class(&pod(json!({"requests": {"cpu": "1"}}))),
            "Burstable"
        );
    }

    #[test]
    fn completing_twice_changes_nothing() {
        let mut pod = json!({"spec": {
            "hostNetwork": true, "volumes": [{"name": "v"}],
            "containers": [{"name": "c", "image": "x", "ports": [{"containerPort": 1}]}],
        }});
        complete(&mut pod);
        let once = pod.clone();
        complete(&mut pod);
        assert_eq!(pod, once);
        assert_eq!(pod["spec"]["volumes"][0]["emptyDir"], json!({}));
        assert_eq!(pod["spec"]["containers"][0]["ports"][0]["hostPort"], 1);
        assert_eq!(pod["spec"].get("initContainers"), None);
    }
}

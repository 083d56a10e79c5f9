//! Deployments, StatefulSets, DaemonSets, Jobs and Services as users work with them, by kubectl.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod disruption;
mod jobs;

use serde_json::{Value, json};

use sealane_testkit::pod::{ECHO, HOST};
use sealane_testkit::{LATER, SOON, Shared, eventually};

/// As long as kubectl may wait for a rollout.
const PATIENCE: &str = "--timeout=60s";

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// What kubectl prints.
#[track_caller]
fn kubectl(cluster: &Shared, line: &str) -> String {
    cluster.kubectl(words(line)).succeeds()
}

#[track_caller]
fn get(cluster: &Shared, what: &str) -> Value {
    let line = format!("get {what} -o json");
    cluster.kubectl(words(&line)).json()
}

#[track_caller]
fn items(cluster: &Shared, what: &str) -> Vec<Value> {
    get(cluster, what)["items"].as_array().unwrap().clone()
}

/// Waits until `what` lists this many objects.
#[track_caller]
fn count_is(cluster: &Shared, what: &str, expected: usize) {
    eventually(LATER, &format!("there are {expected} of {what}"), || {
        let count = items(cluster, what).len();
        if count == expected {
            Ok(())
        } else {
            Err(format!("{count}"))
        }
    });
}

fn deployment(name: &str, replicas: u32) -> String {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{"name": "echo", "image": ECHO}],
                },
            },
        },
    })
    .to_string()
}

fn names(objects: &[Value]) -> Vec<String> {
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    let mut names: Vec<_> = objects.iter().map(name).collect();
    names.sort();
    names
}

#[test]
fn a_deployment_comes_up_scales_rolls_is_undone_and_goes() {
    let cluster = Shared::cluster();
    cluster.apply(&deployment("roll", 3)).succeeds();
    let done = kubectl(
        &cluster,
        &format!("rollout status deployment/roll {PATIENCE}"),
    );
    assert!(done.contains("successfully rolled out"), "{done}");

    kubectl(&cluster, "scale deployment/roll --replicas=4");
    kubectl(
        &cluster,
        &format!("rollout status deployment/roll {PATIENCE}"),
    );
    assert_eq!(items(&cluster, "pods -l app=roll").len(), 4);

    kubectl(&cluster, "set env deployment/roll COLOUR=blue");
    kubectl(
        &cluster,
        &format!("rollout status deployment/roll {PATIENCE}"),
    );
    let sets = items(&cluster, "replicasets -l app=roll");
    assert_eq!(sets.len(), 2);
    let history = kubectl(&cluster, "rollout history deployment/roll");
    assert!(
        history.contains("\n1 ") && history.contains("\n2 "),
        "{history}"
    );

    kubectl(&cluster, "rollout undo deployment/roll");
    kubectl(
        &cluster,
        &format!("rollout status deployment/roll {PATIENCE}"),
    );
    let object = get(&cluster, "deployment/roll");
    let container = &object["spec"]["template"]["spec"]["containers"][0];
    assert!(container["env"].is_null(), "{container}");
    let revision = &object["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
    assert_eq!(revision, "3");
    let described = kubectl(&cluster, "describe deployment roll");
    assert!(
        described.contains("Scaled up replica set roll-"),
        "{described}"
    );
    assert!(described.contains("NewReplicaSetAvailable"), "{described}");

    kubectl(&cluster, "delete deployment roll");
    count_is(&cluster, "replicasets -l app=roll", 0);
    count_is(&cluster, "pods -l app=roll", 0);
}

#[test]
fn an_image_that_does_not_exist_stops_a_rollout_and_no_pod_is_missed() {
    let cluster = Shared::cluster();
    cluster.apply(&deployment("stuck", 2)).succeeds();
    kubectl(
        &cluster,
        &format!("rollout status deployment/stuck {PATIENCE}"),
    );
    kubectl(
        &cluster,
        "set image deployment/stuck echo=sealane.io/no-such-image",
    );
    eventually(LATER, "the new pod cannot start", || {
        let pods = items(&cluster, "pods -l app=stuck");
        let waiting = "/status/containerStatuses/0/state/waiting/reason";
        let reasons: Vec<_> = pods.iter().filter_map(|pod| pod.pointer(waiting)).collect();
        let pulls = |reason: &&Value| reason.as_str().is_some_and(|r| r.contains("Image"));
        if reasons.iter().any(pulls) {
            Ok(())
        } else {
            Err(format!("{reasons:?}"))
        }
    });
    let status = &get(&cluster, "deployment/stuck")["status"];
    assert_eq!(status["availableReplicas"], 2);
    kubectl(&cluster, "rollout undo deployment/stuck");
    kubectl(
        &cluster,
        &format!("rollout status deployment/stuck {PATIENCE}"),
    );
    kubectl(&cluster, "delete deployment stuck");
    count_is(&cluster, "pods -l app=stuck", 0);
}

#[test]
fn pods_are_deleted_first_or_left_behind_and_taken_in_again_as_kubectl_is_told() {
    let cluster = Shared::cluster();
    cluster.apply(&deployment("keep", 2)).succeeds();
    kubectl(
        &cluster,
        &format!("rollout status deployment/keep {PATIENCE}"),
    );
    let before = names(&items(&cluster, "pods -l app=keep"));

    kubectl(&cluster, "delete deployment keep --cascade=orphan");
    let sets = items(&cluster, "replicasets -l app=keep");
    assert!(
        sets[0]["metadata"]["ownerReferences"].is_null(),
        "{}",
        sets[0]
    );
    assert_eq!(names(&items(&cluster, "pods -l app=keep")), before);

    cluster.apply(&deployment("keep", 2)).succeeds();
    kubectl(
        &cluster,
        &format!("rollout status deployment/keep {PATIENCE}"),
    );
    assert_eq!(names(&items(&cluster, "pods -l app=keep")), before);

    // kubectl returns when the Deployment is gone, and that goes last.
    kubectl(&cluster, "delete deployment keep --cascade=foreground");
    assert_eq!(
        names(&items(&cluster, "replicasets,pods -l app=keep")),
        [""; 0]
    );
}

#[test]
fn a_pod_that_is_deleted_is_replaced() {
    let cluster = Shared::cluster();
    cluster.apply(&deployment("heal", 2)).succeeds();
    kubectl(
        &cluster,
        &format!("rollout status deployment/heal {PATIENCE}"),
    );
    let before = names(&items(&cluster, "pods -l app=heal"));
    kubectl(&cluster, &format!("delete pod {}", before[0]));
    kubectl(
        &cluster,
        &format!("rollout status deployment/heal {PATIENCE}"),
    );
    let after = names(&items(&cluster, "pods -l app=heal"));
    assert_eq!(after.len(), 2);
    assert!(
        after.contains(&before[1]) && !after.contains(&before[0]),
        "{after:?}"
    );
    kubectl(&cluster, "delete deployment heal");
    count_is(&cluster, "pods -l app=heal", 0);
}

#[test]
fn a_stateful_set_keeps_names_and_rolls_from_the_last_to_the_first() {
    let cluster = Shared::cluster();
    let mut set: Value = serde_json::from_str(&deployment("state", 2)).unwrap();
    set["kind"] = json!("StatefulSet");
    set["spec"]["serviceName"] = json!("state");
    cluster.apply(&set.to_string()).succeeds();
    kubectl(
        &cluster,
        &format!("rollout status statefulset/state {PATIENCE}"),
    );
    assert_eq!(
        names(&items(&cluster, "pods -l app=state")),
        ["state-0", "state-1"]
    );
    let pod = get(&cluster, "pod/state-1");
    assert_eq!(pod["spec"]["hostname"], "state-1");
    assert_eq!(pod["spec"]["subdomain"], "state");

    kubectl(&cluster, "set env statefulset/state COLOUR=blue");
    kubectl(
        &cluster,
        &format!("rollout status statefulset/state {PATIENCE}"),
    );
    let pods = items(&cluster, "pods -l app=state");
    let coloured = |pod: &Value| pod["spec"]["containers"][0]["env"][0]["value"] == "blue";
    assert!(pods.len() == 2 && pods.iter().all(coloured));

    kubectl(&cluster, "scale statefulset/state --replicas=1");
    count_is(&cluster, "pods -l app=state", 1);
    assert_eq!(names(&items(&cluster, "pods -l app=state")), ["state-0"]);
    kubectl(&cluster, "delete statefulset state");
    count_is(&cluster, "pods -l app=state", 0);
    count_is(&cluster, "controllerrevisions -l app=state", 0);
}

#[test]
fn a_daemon_set_has_a_pod_on_every_node() {
    let cluster = Shared::cluster();
    let mut set: Value = serde_json::from_str(&deployment("daemon", 1)).unwrap();
    set["kind"] = json!("DaemonSet");
    set["spec"].as_object_mut().unwrap().remove("replicas");
    cluster.apply(&set.to_string()).succeeds();
    kubectl(
        &cluster,
        &format!("rollout status daemonset/daemon {PATIENCE}"),
    );
    let pods = items(&cluster, "pods -l app=daemon");
    let mut nodes: Vec<_> = pods
        .iter()
        .map(|pod| pod["spec"]["nodeName"].to_string())
        .collect();
    nodes.sort();
    nodes.dedup();
    assert_eq!(nodes.len(), usize::try_from(cluster.nodes()).unwrap());
    kubectl(&cluster, "delete daemonset daemon");
    count_is(&cluster, "pods -l app=daemon", 0);
}

#[test]
fn endpoint_slices_follow_the_pods_of_a_service() {
    let cluster = Shared::cluster();
    cluster.apply(&deployment("served", 2)).succeeds();
    kubectl(
        &cluster,
        "expose deployment served --port 80 --target-port 8080",
    );
    kubectl(
        &cluster,
        &format!("rollout status deployment/served {PATIENCE}"),
    );
    let slices = "endpointslices -l kubernetes.io/service-name=served";
    let ready = |expected: usize| {
        eventually(SOON, &format!("{expected} endpoints are ready"), || {
            let slices = items(&cluster, slices);
            let endpoints = slices
                .iter()
                .flat_map(|slice| slice["endpoints"].as_array());
            let is_ready = |endpoint: &&Value| endpoint["conditions"]["ready"] == true;
            let ready = endpoints.flatten().filter(is_ready).count();
            if ready == expected {
                Ok(())
            } else {
                Err(format!("{ready}"))
            }
        });
    };
    ready(2);
    let slice = &items(&cluster, slices)[0];
    assert_eq!(slice["ports"][0]["port"], 8080);
    let endpoints = get(&cluster, "endpoints/served");
    assert_eq!(
        endpoints["subsets"][0]["addresses"]
            .as_array()
            .unwrap()
            .len(),
        2
    );

    kubectl(&cluster, "scale deployment/served --replicas=3");
    ready(3);
    kubectl(&cluster, "scale deployment/served --replicas=0");
    ready(0);
    kubectl(&cluster, "delete service served");
    count_is(&cluster, slices, 0);
    count_is(
        &cluster,
        "endpoints --field-selector metadata.name=served",
        0,
    );
    kubectl(&cluster, "delete deployment served");
}

/// Busy until `/tmp/rest` is there.
fn busy() -> String {
    let script = "while [ ! -e /tmp/rest ]; do :; done; exec sleep 1000";
    let resources = json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}});
    let mut object: Value = serde_json::from_str(&deployment("busy", 1)).unwrap();
    object["spec"]["template"]["spec"]["containers"] = json!([{
        "name": "c", "image": HOST, "command": ["sh", "-c", script], "resources": resources,
    }]);
    object.to_string()
}

/// Half a minute: a pod's processor time counts when it has been ready for a whole window of ten
/// seconds, and a rest shows when the window is over.
#[test]
fn a_busy_pod_makes_an_autoscaler_grow_and_its_rest_makes_it_shrink() {
    let cluster = Shared::cluster();
    cluster.apply(&busy()).succeeds();
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "busy"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "busy"},
            "maxReplicas": 2,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
        },
    });
    cluster.apply(&autoscaler.to_string()).succeeds();
    let mut looks = 0;
    // It is looked at every 15 seconds, and at once when its spec has changed.
    let mut replicas_become = |expected: i64| {
        eventually(LATER, &format!("there are to be {expected} pods"), || {
            looks += 1;
            let window = json!({"spec": {"behavior": {"scaleUp": {"stabilizationWindowSeconds": looks % 2}}}});
            let patch = format!("patch hpa busy --type=merge -p {window}");
            kubectl(&cluster, &patch);
            match get(&cluster, "deployment busy")["spec"]["replicas"].as_i64() {
                Some(found) if found == expected => Ok(()),
                found => Err(format!(
                    "{found:?}: {}",
                    get(&cluster, "hpa busy")["status"]
                )),
            }
        });
    };
    replicas_become(2);
    kubectl(
        &cluster,
        &format!("rollout status deployment/busy {PATIENCE}"),
    );
    // A pod that has just begun has no rate yet.
    eventually(SOON, "both pods are shown", || {
        let top = kubectl(&cluster, "top pod -l app=busy --no-headers");
        (top.lines().count() == 2).then_some(()).ok_or(top)
    });
    for pod in names(&items(&cluster, "pods -l app=busy")) {
        kubectl(&cluster, &format!("exec {pod} -- touch /tmp/rest"));
    }
    replicas_become(1);
    // Events are told after what they tell of.
    for said in [
        "New size: 2; reason: cpu resource utilization (percentage of request) above target",
        "New size: 1; reason: All metrics below target",
    ] {
        eventually(SOON, said, || {
            let described = kubectl(&cluster, "describe hpa busy");
            described.contains(said).then_some(()).ok_or(described)
        });
    }
    kubectl(&cluster, "delete hpa,deployment busy");
}

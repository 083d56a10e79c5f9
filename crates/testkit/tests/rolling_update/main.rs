//! A rolling update under constant load: who is listed as ready is ready, and is served.
//!
//! Clients on every node follow the EndpointSlices as a proxy does and send requests straight to the
//! addresses that are listed as ready, one after the other, while a Deployment rolls, is undone,
//! paused, scaled, and the readiness of its pods comes and goes. Afterwards the whole history of the
//! pods and of the slices, merged by version, is held against the rules ([`judge`]).

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod judge;
mod load;
mod proxied;
mod slices;
mod steward;

use std::sync::{Mutex, MutexGuard, PoisonError};

use sealane_testkit::pod::ECHO;
use sealane_testkit::{Chance, Cluster, LATER, Pod, UpOptions, eventually};
use serde_json::{Value, json};

use load::Load;
use steward::{GATE, Steward};

/// Both tests want all processors: one at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Waits until the other test is over.
fn in_turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

const PODS: &str = "/api/v1/namespaces/default/pods";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/default/deployments/web";
const REPLICAS: u64 = 6;
/// As long as kubectl may wait for a rollout.
const PATIENCE: &str = "--timeout=120s";

/// A Deployment as a user writes it who wants no request to fail: a pod that is told to end goes on
/// serving while word of it spreads.
fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": REPLICAS, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "terminationGracePeriodSeconds": 20,
                    "readinessGates": [{"conditionType": GATE}],
                    "containers": [{
                        "name": "echo", "image": ECHO,
                        "ports": [{"name": "http", "containerPort": 8080}],
                        "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 1},
                        "lifecycle": {"preStop": {"sleep": {"seconds": 8}}},
                    }],
                },
            },
        },
    })
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
    })
}

/// Runs kubectl with these words.
#[track_caller]
fn kubectl(cluster: &Cluster, line: &str) -> String {
    cluster.kubectl(line.split_whitespace()).succeeds()
}

#[track_caller]
fn rolled_out(cluster: &Cluster) {
    kubectl(
        cluster,
        &format!("rollout status deployment/web {PATIENCE}"),
    );
}

/// Waits until the Deployment's status has at least so many of something.
#[track_caller]
fn reaches(cluster: &Cluster, field: &str, least: u64) {
    eventually(LATER, &format!("{field} is at least {least}"), || {
        let deployment = cluster.api().get(DEPLOYMENT)?;
        let status = &deployment["status"];
        let current = status["observedGeneration"] == deployment["metadata"]["generation"];
        match status[field].as_u64() {
            Some(count) if current && count >= least => Ok(()),
            _ => Err(format!("{status:#}")),
        }
    });
}

/// All that a Deployment is asked for while clients lean on it.
fn story(cluster: &Cluster) {
    eprintln!("a whole update");
    kubectl(cluster, "set env deployment/web VERSION=2");
    rolled_out(cluster);

    eprintln!("an update that is scaled up in the middle");
    kubectl(cluster, "set env deployment/web VERSION=3");
    reaches(cluster, "updatedReplicas", 2);
    kubectl(cluster, "scale deployment/web --replicas=9");
    rolled_out(cluster);

    eprintln!("an update that is undone in the middle");
    kubectl(cluster, "set env deployment/web VERSION=4");
    reaches(cluster, "updatedReplicas", 3);
    kubectl(cluster, "rollout undo deployment/web");
    rolled_out(cluster);

    eprintln!("an update that is paused in the middle, scaled down, and resumed");
    kubectl(cluster, "set env deployment/web VERSION=5");
    reaches(cluster, "updatedReplicas", 2);
    // As `kubectl rollout pause` does, which on a busy machine comes after the end.
    let paused = json!({"spec": {"paused": true, "replicas": REPLICAS}});
    cluster.api().merge(DEPLOYMENT, &paused).unwrap();
    eventually(LATER, "it is scaled down and stays half updated", || {
        let status = cluster.api().get(DEPLOYMENT)?["status"].clone();
        let (all, new) = (
            status["replicas"].as_u64(),
            status["updatedReplicas"].as_u64(),
        );
        let half = all.is_some_and(|all| (REPLICAS..=REPLICAS + 2).contains(&all)) && new < all;
        if half {
            Ok(())
        } else {
            Err(format!("{status:#}"))
        }
    });
    kubectl(cluster, "rollout resume deployment/web");
    rolled_out(cluster);
}

#[test]
fn every_request_is_served_through_updates_and_no_slice_names_a_pod_that_was_not_ready() {
    let _turn = in_turn();
    let cluster = Cluster::up(UpOptions {
        nodes: 3,
        ..UpOptions::default()
    });
    let clients = [1, 2, 3].map(|node| Pod::echo(&format!("client-{node}")).on_node(node));
    cluster.start(&clients);
    let pods = cluster.api().history(PODS);
    let slices = cluster.api().history(SLICES);

    let steward = Steward::start(&cluster, Chance::of_this_run());
    cluster.apply(&service().to_string()).succeeds();
    cluster.apply(&deployment().to_string()).succeeds();
    rolled_out(&cluster);
    let places = clients.each_ref().map(|pod| cluster.pod_netns(pod.name()));
    let load = Load::start(&cluster, &places);

    story(&cluster);

    let flips = steward.stop();
    let last = slices::wait_for_rest(&cluster, "web");
    let served = load.stop();
    slices.reach(last);
    pods.reach(slices::newest(&cluster, "web"));

    let verdict = judge::judge(&pods.changes(), &slices.changes(), "web");
    eprintln!("readiness taken away {flips} times; {served}; {verdict}");
    assert!(served.failures.is_empty(), "{:#?}", served.failures);
    assert!(verdict.wrongs.is_empty(), "{:#?}", verdict.wrongs);
    assert!(verdict.listed.len() > 20, "{verdict}");
    assert!(flips > 0, "no readiness was taken away");
    assert!(served.pods.len() > 20, "{served}");
    cluster.down();
}

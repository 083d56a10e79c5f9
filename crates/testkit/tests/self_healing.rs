//! Self-healing: whatever is killed, the desired state comes back, and the time it took is printed.
//!
//! A node that falls silent without dying is another story: its pods are replaced elsewhere.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use sealane_testkit::cluster::Role;
use sealane_testkit::pod::{ECHO, container_status};
use sealane_testkit::process::Process;
use sealane_testkit::report::Times;
use sealane_testkit::{Cluster, LATER, Pod, SOON, UpOptions, eventually};
use serde_json::{Value, json};

const PODS: &str = "/api/v1/namespaces/default/pods?labelSelector=app%3Dweb";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io/service-name%3Dweb";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/default/deployments/web";
const REPLICAS: usize = 4;

fn objects() -> [Value; 2] {
    let probe = json!({"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 1});
    let pod = json!({
        "terminationGracePeriodSeconds": 1,
        "containers": [{
            "name": "echo", "image": ECHO, "readinessProbe": probe, "livenessProbe": probe,
        }],
    });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": REPLICAS, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod},
        },
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    });
    [service, deployment]
}

/// A cluster with the Deployment, and what is measured on it.
struct Stage {
    cluster: Cluster,
    times: Times,
}

impl Stage {
    #[track_caller]
    fn set() -> Self {
        let cluster = Cluster::up(UpOptions::default());
        for object in objects() {
            cluster.apply(&object.to_string()).succeeds();
        }
        let stage = Self {
            cluster,
            times: Times::default(),
        };
        stage.wait_whole(REPLICAS, "at the beginning");
        stage
    }

    /// Does something bad, and waits until it is mended and all is as desired.
    #[track_caller]
    fn heals(
        &mut self,
        what: &str,
        hurt: impl FnOnce(&Cluster),
        mended: impl Fn(&Cluster) -> Result<(), String>,
    ) {
        eprintln!("{what}");
        let begun = Instant::now();
        hurt(&self.cluster);
        eventually(LATER, &format!("mended: {what}"), || mended(&self.cluster));
        self.wait_whole(REPLICAS, what);
        self.times.add(what, begun.elapsed());
    }

    #[track_caller]
    fn wait_whole(&self, replicas: usize, when: &str) {
        eventually(
            LATER,
            &format!("{replicas} pods are served ({when})"),
            || whole(&self.cluster, replicas),
        );
    }
}

/// All replicas are ready, named by the slice, and answer.
fn whole(cluster: &Cluster, replicas: usize) -> Result<(), String> {
    let status = cluster.api().get(DEPLOYMENT)?["status"].clone();
    let counts = ["replicas", "readyReplicas", "availableReplicas"];
    if counts.iter().any(|field| status[*field] != replicas) {
        return Err(format!("{status:#}"));
    }
    let pods = pods(cluster)?;
    let there: BTreeSet<String> = pods
        .iter()
        .map(|pod| text(&pod["status"]["podIP"]))
        .collect();
    let slices = cluster.api().get(SLICES)?;
    let slices = slices["items"].as_array().cloned().unwrap_or_default();
    let endpoints = slices
        .iter()
        .filter_map(|slice| slice["endpoints"].as_array())
        .flatten();
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
    let listed: BTreeSet<String> = ready
        .map(|endpoint| text(&endpoint["addresses"][0]))
        .collect();
    let all = there.iter().filter(|ip| listed.contains(*ip)).count();
    if listed.len() != replicas || all != replicas {
        return Err(format!(
            "pods are at {there:?}, ready in slices are {listed:?}"
        ));
    }
    for ip in &listed {
        let address = format!("{ip}:8080")
            .parse()
            .map_err(|error| format!("{ip}: {error}"))?;
        let answer = cluster.node(1).enter(|| ask(address));
        answer.map_err(|error| format!("{ip}: {error}"))?;
    }
    Ok(())
}

fn ask(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(b"GET /hostname HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map(drop)
}

fn pods(cluster: &Cluster) -> Result<Vec<Value>, String> {
    let list = cluster.api().get(PODS)?;
    let stays = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null();
    let items = list["items"].as_array().into_iter().flatten();
    Ok(items.filter(stays).cloned().collect())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A pod that runs on that node.
#[track_caller]
fn pod_on(cluster: &Cluster, node: u32) -> String {
    let title = format!("node-{node}");
    eventually(SOON, &format!("a pod is on {title}"), || {
        let pods = pods(cluster)?;
        let mut there = pods.iter().filter(|pod| pod["spec"]["nodeName"] == title);
        let name = there.next().map(|pod| text(&pod["metadata"]["name"]));
        name.ok_or_else(|| "there is none".to_owned())
    })
}

fn restarts(cluster: &Cluster, pod: &str) -> Result<u64, String> {
    let object = cluster.pod(pod)?;
    let status = container_status(&object, "echo").ok_or("its container has no status")?;
    status["restartCount"]
        .as_u64()
        .ok_or_else(|| status.to_string())
}

/// Whether the container of a pod was started again since it had so many restarts.
fn restarted(cluster: &Cluster, pod: &str, before: u64) -> Result<(), String> {
    match restarts(cluster, pod)? {
        count if count > before => Ok(()),
        count => Err(format!("{pod} has {count} restarts")),
    }
}

/// Starts a pod on that node, which takes every process concerned, and deletes it.
fn takes_pods(cluster: &Cluster, node: u32) -> Result<(), String> {
    let name = format!("probe-{node}");
    let pod = Pod::echo(&name).on_node(node);
    let path = "/api/v1/namespaces/default/pods";
    let created = cluster.api().create(path, pod.manifest());
    created.or_else(|error| match error.contains("already exists") {
        true => Ok(Value::Null),
        false => Err(error),
    })?;
    cluster.wait_ready(&name);
    cluster.delete([name.as_str()]);
    Ok(())
}

#[test]
fn whatever_is_killed_the_desired_state_comes_back() {
    let mut stage = Stage::set();

    let victim = pod_on(&stage.cluster, 1);
    stage.heals(
        "the process of a container",
        |cluster| {
            let shim = cluster.shim(&victim);
            let all = Process::all();
            let children = all
                .iter()
                .filter(|process| process.parent() == Some(shim.pid));
            children.for_each(Process::kill9);
        },
        |cluster| restarted(cluster, &victim, 0),
    );

    let victim = pod_on(&stage.cluster, 2);
    let before = restarts(&stage.cluster, &victim).unwrap();
    stage.heals(
        "the shim of a pod",
        |cluster| cluster.shim(&victim).kill9(),
        |cluster| restarted(cluster, &victim, before),
    );

    let pods = pods(&stage.cluster).unwrap();
    let there = pods
        .iter()
        .filter(|pod| pod["spec"]["nodeName"] == "node-2");
    let before: Vec<_> = there
        .map(|pod| text(&pod["metadata"]["name"]))
        .map(|name| (restarts(&stage.cluster, &name).unwrap(), name))
        .collect();
    assert!(!before.is_empty(), "node-2 has a pod");
    stage.heals(
        "all processes of a node, shims and containers too",
        |cluster| cluster.processes_on(2).iter().for_each(Process::kill9),
        |cluster| {
            let mut all = before.iter();
            all.try_for_each(|(count, name)| restarted(cluster, name, *count))
        },
    );

    for (what, role) in [
        ("the node process, to the next pod there", Role::Node(1)),
        ("the agent, to the next pod there", Role::Agent(1)),
        ("the API server, to the next pod", Role::ApiServer),
        ("the controllers, to the next pod", Role::Controllers),
    ] {
        let victim = stage.cluster.process(role).unwrap();
        stage.heals(
            what,
            |_| victim.kill9(),
            |cluster| match cluster.process(role) {
                Ok(now) if now != victim => takes_pods(cluster, 1),
                Ok(_) => Err("the killed one still runs".to_owned()),
                Err(error) => Err(error),
            },
        );
    }

    let victim = pod_on(&stage.cluster, 1);
    stage.heals(
        "a pod is deleted by force while the controllers are dead",
        |cluster| {
            cluster.process(Role::Controllers).unwrap().kill9();
            let options = json!({"gracePeriodSeconds": 0});
            let path = format!("/api/v1/namespaces/default/pods/{victim}");
            cluster.api().delete_with(&path, &options).unwrap();
        },
        |cluster| match cluster.pod(&victim) {
            Err(error) if error.contains("not found") => Ok(()),
            other => Err(format!("{other:?}")),
        },
    );

    eprintln!("{}", stage.times);
    stage.cluster.down();
}

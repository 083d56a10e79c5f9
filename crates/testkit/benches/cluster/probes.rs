//! Probes: what hundreds of idle pods cost that are asked all the time, and how soon an answer is an endpoint.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sealane_testkit::cluster::Role;
use sealane_testkit::process::Process;
use sealane_testkit::{Cluster, Container, History, LATER, Pod, SOON, UpOptions, eventually};
use serde_json::{Value, json};

use crate::samples::{Report, Samples};

const NODES: u32 = 3;
const IDLE_PODS: u32 = 300;
/// How long an idle cluster is watched: several periods of each probe.
const WINDOW: Duration = Duration::from_secs(40);

const FLIPPING_PODS: u32 = 10;
const FLIPS: usize = 400;
/// Where a flipping pod is asked.
const PORT: u16 = 9000;
const PODS: &str = "/api/v1/namespaces/default/pods";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

/// Processor time of a cluster whose pods are asked for liveness and readiness by HTTP every 10 s.
pub fn measure_idle(report: &mut Report) {
    let cluster = Cluster::up(UpOptions {
        nodes: NODES,
        ..UpOptions::default()
    });
    let probe = json!({"httpGet": {"path": "/health", "port": 8080}});
    let container = Container::echo("echo")
        .with("readinessProbe", probe.clone())
        .with("livenessProbe", probe);
    let pods: Vec<Pod> = (0..IDLE_PODS)
        .map(|n| Pod::of(&format!("idle-{n}"), [container.clone()]).on_node(n % NODES + 1))
        .collect();
    cluster.start(&pods);
    let before = processor_times(&cluster);
    // The figure is that of a time in which nothing happens.
    std::thread::sleep(WINDOW);
    let after = processor_times(&cluster);
    for (what, end) in &after {
        let used = end.saturating_sub(before.get(what).copied().unwrap_or_default());
        let percent = used.as_secs_f64() * 100.0 / WINDOW.as_secs_f64();
        let percent = (percent * 100.0).round() / 100.0;
        report.row(
            &format!("300 idle probed pods, {what}"),
            json!({"percent_of_a_core": percent}),
        );
    }
    for role in (1..=NODES).map(Role::Node) {
        if let Some(memory) = process(&cluster, role).memory() {
            let mb = |bytes: u64| (bytes as f64 / 1e4).round() / 100.0;
            report.row(
                &format!("300 idle probed pods, memory of {}", role.file_stem()),
                json!({"rss_mb": mb(memory.resident_bytes), "anonymous_mb": mb(memory.anonymous_bytes)}),
            );
        }
    }
    cluster.down();
}

fn process(cluster: &Cluster, role: Role) -> Process {
    let process = cluster.process(role);
    process.unwrap_or_else(|error| panic!("{error}"))
}

/// What each kind of process has used of a processor so far.
fn processor_times(cluster: &Cluster) -> BTreeMap<&'static str, Duration> {
    let of = |role| process(cluster, role).processor_time().unwrap_or_default();
    let nodes = 1..=cluster.nodes();
    let top = format!("sealane/{}/node-", cluster.name());
    let all = Process::all();
    let in_pods = all.iter().filter(|process| process.cgroups.contains(&top));
    BTreeMap::from([
        (
            "the node processes together",
            nodes.clone().map(|n| of(Role::Node(n))).sum(),
        ),
        (
            "the busiest node process",
            nodes
                .clone()
                .map(|n| of(Role::Node(n)))
                .max()
                .unwrap_or_default(),
        ),
        (
            "the agents together",
            nodes.map(|n| of(Role::Agent(n))).sum(),
        ),
        ("API server", of(Role::ApiServer)),
        ("controllers", of(Role::Controllers)),
        ("supervisor", of(Role::Supervisor)),
        (
            "shims and echo servers",
            in_pods.filter_map(Process::processor_time).sum(),
        ),
    ])
}

/// A moment at which a pod's answer to its probe became another.
struct Flip {
    pod: String,
    ready: bool,
    at: Instant,
}

type Flips = Arc<Mutex<Vec<Flip>>>;

/// From the answer to a readiness probe that differs to the EndpointSlice that says so, seen by a watch.
pub fn measure_flips(report: &mut Report) {
    let cluster = Cluster::up(UpOptions::default());
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "flip"},
        "spec": {"selector": {"app": "flip"}, "ports": [{"port": 80}]},
    });
    cluster.apply(&service.to_string()).succeeds();
    let probe = json!({
        "httpGet": {"path": "/", "port": PORT}, "periodSeconds": 1, "failureThreshold": 1,
    });
    let container = Container::echo("echo").with("readinessProbe", probe);
    let pods: Vec<Pod> = (0..FLIPPING_PODS)
        .map(|n| Pod::of(&format!("flip-{n}"), [container.clone()]).label("app", "flip"))
        .collect();
    cluster.create(&pods);
    let (flips, flipping) = (Flips::default(), Arc::new(AtomicBool::new(false)));
    for pod in &pods {
        cluster.pod_ip(pod.name());
        let listener = cluster
            .pod_netns(pod.name())
            .enter(|| TcpListener::bind(("0.0.0.0", PORT)));
        let listener = listener.unwrap_or_else(|error| panic!("listen in {}: {error}", pod.name()));
        let (name, flips, flipping) = (
            pod.name().to_owned(),
            Arc::clone(&flips),
            Arc::clone(&flipping),
        );
        // It ends with the bench.
        std::thread::spawn(move || serve(&listener, &name, &flips, &flipping));
    }
    for pod in &pods {
        cluster.wait_ready(pod.name());
    }
    let (pod_history, history) = (cluster.api().history(PODS), cluster.api().history(SLICES));
    flipping.store(true, Ordering::Relaxed);
    eventually(LATER, "readiness flips often enough", || {
        let count = flips.lock().unwrap_or_else(PoisonError::into_inner).len();
        if count >= FLIPS {
            Ok(())
        } else {
            Err(format!("{count} times"))
        }
    });
    flipping.store(false, Ordering::Relaxed);
    let flips = std::mem::take(&mut *flips.lock().unwrap_or_else(PoisonError::into_inner));
    let to_pod = lags(&flips, &pod_history, says_ready);
    report.times("readiness flip to the pod's status, by a watch", &to_pod);
    let to_slice = lags(&flips, &history, lists_ready);
    report.times("readiness flip to EndpointSlice, by a watch", &to_slice);
    cluster.down();
}

/// Answers probes; after the first 200, every second answer is another while `flipping`.
fn serve(listener: &TcpListener, pod: &str, flips: &Flips, flipping: &AtomicBool) {
    let (mut ready, mut asked) = (true, 0_u32);
    while let Ok((stream, _)) = listener.accept() {
        asked += 1;
        let flip = flipping.load(Ordering::Relaxed) && asked.is_multiple_of(2);
        ready ^= flip;
        if answer(stream, ready).is_ok() && flip {
            let flip = Flip {
                pod: pod.to_owned(),
                ready,
                at: Instant::now(),
            };
            flips
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(flip);
        }
    }
}

fn answer(mut stream: TcpStream, ready: bool) -> std::io::Result<()> {
    let mut request = [0; 1024];
    let length = stream.read(&mut request)?;
    let status = if ready {
        "200 OK"
    } else {
        "503 Service Unavailable"
    };
    if length > 0 {
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")?;
    }
    Ok(())
}

/// From each flip to the first object after it that tells of it.
fn lags(flips: &[Flip], history: &History, tells: fn(&Value, &str) -> Option<bool>) -> Samples {
    let lag = |flip: &Flip| {
        eventually(SOON, &format!("{} flips", flip.pod), || {
            history.read(0, |changes| {
                let after = changes.iter().filter(|change| change.seen > flip.at);
                let mut telling =
                    after.filter(|change| tells(&change.object, &flip.pod) == Some(flip.ready));
                telling.next().map(|change| change.seen - flip.at)
            })
        })
    };
    flips.iter().map(lag).collect()
}

/// What a pod says of its readiness, if it is this one.
fn says_ready(object: &Value, pod: &str) -> Option<bool> {
    let conditions = object["status"]["conditions"].as_array()?;
    let condition = conditions
        .iter()
        .find(|condition| condition["type"] == "Ready")?;
    (object["metadata"]["name"] == pod).then(|| condition["status"] == "True")
}

/// What a slice says of a pod's readiness.
fn lists_ready(slice: &Value, pod: &str) -> Option<bool> {
    let endpoints = slice["endpoints"].as_array()?;
    let endpoint = endpoints
        .iter()
        .find(|endpoint| endpoint["targetRef"]["name"] == pod)?;
    endpoint["conditions"]["ready"].as_bool()
}

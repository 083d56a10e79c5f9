//! A rolling update as a Service's clients see it: none of their requests fails.
//!
//! The pods have no `preStop` hook: told to end, each drains for two seconds, and is gone then. So within two seconds
//! every node must send new connections elsewhere, also while its agent is killed every second, just when it has
//! a change to apply.
//!
//! Half of the clients open a connection for each request. The others keep theirs for a second, as a pool of connections
//! does, or until the server says that it closes it, as one does that drains.

mod client;
mod story;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sealane_introspect::fetch;
use sealane_testkit::chance::number;
use sealane_testkit::cluster::Role;
use sealane_testkit::pod::ECHO;
use sealane_testkit::{
    Chance, Cluster, History, LATER, Namespace, Pod, SOON, UpOptions, eventually,
};
use serde_json::{Value, json};

use crate::{PODS, SLICES, in_turn, kubectl, rolled_out};
use client::{Manner, Served, ask_on};
use story::Story;

const REPLICAS: u64 = 10;
const CLUSTER_IP: &str = "10.96.0.80";
const NODE_PORT: u16 = 30080;
/// Clients in each of four places, half of them of either kind.
const CLIENTS: u32 = 4;
/// Requests of all clients in a second, unless `SEALANE_REQUESTS` says otherwise.
const REQUESTS: u64 = 1000;
/// How long a connection is kept.
const KEPT: Duration = Duration::from_secs(1);
/// From when a node's agent is ready until it may be killed.
const LIFE: Duration = Duration::from_secs(1);
/// How long it waits then for a change in which to be killed.
const CHANGES: Duration = Duration::from_millis(500);
/// From when a change is told until the agent is killed: it is in the middle of it, or about to begin, or done.
const MIDDLE_MICROSECONDS: u64 = 4000;
/// How often each is killed in one update.
const KILLS: u32 = 5;

fn objects() -> Value {
    let echo = json!({
        "name": "echo", "image": ECHO,
        "args": ["netexec", "--http-port=8080", "--udp-port=-1", "--delay-shutdown=2"],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1},
    });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": REPLICAS, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"terminationGracePeriodSeconds": 20, "containers": [echo]},
            },
        },
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {
            "type": "NodePort", "clusterIP": CLUSTER_IP, "selector": {"app": "web"},
            "ports": [{"port": 80, "targetPort": "http", "nodePort": NODE_PORT}],
        },
    });
    json!({"apiVersion": "v1", "kind": "List", "items": [deployment, service]})
}

/// Threads that end when they are told to.
struct Crew<T> {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<T>>,
}

impl<T: Send + 'static> Crew<T> {
    fn new() -> Self {
        Self {
            stop: Arc::default(),
            threads: Vec::new(),
        }
    }

    fn add(&mut self, work: impl FnOnce(&AtomicBool) -> T + Send + 'static) {
        let stop = Arc::clone(&self.stop);
        self.threads.push(std::thread::spawn(move || work(&stop)));
    }

    fn end(mut self) -> Vec<T> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.threads.drain(..).map(JoinHandle::join);
        ended.map(|result| result.unwrap()).collect()
    }
}

impl<T> Drop for Crew<T> {
    /// So that the cluster is theirs no more when a test fails.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

/// Pods of both nodes, a node and this machine, each with whom it calls.
fn clients(cluster: &Cluster) -> Crew<Served> {
    let cluster_ip = SocketAddr::new(CLUSTER_IP.parse().unwrap(), 80);
    let places = [
        (cluster.pod_netns("client-1"), cluster_ip),
        (cluster.pod_netns("client-2"), cluster_ip),
        (cluster.node(1), cluster_ip),
        (
            Namespace::own(),
            SocketAddr::new(cluster.node_ip(1), NODE_PORT),
        ),
    ];
    let requests = number("SEALANE_REQUESTS").unwrap_or(REQUESTS);
    let pace = Duration::from_secs(4 * u64::from(CLIENTS)).div_f64(requests as f64);
    let mut crew = Crew::new();
    for (place, to) in places {
        for number in 0..CLIENTS {
            let place = place.clone();
            let kept = KEPT * (number % 2);
            let manner = Manner { to, pace, kept };
            crew.add(move |stop| place.enter(|| ask_on(manner, stop)));
        }
    }
    crew
}

/// An agent's death.
struct Kill {
    at: Instant,
    /// From then on until the next one was ready.
    away: Duration,
}

/// Kills the agents of all nodes about every second, while they apply a change; when.
fn killers(cluster: &Arc<Cluster>, slices: &Arc<History>, chance: &mut Chance) -> Crew<Vec<Kill>> {
    let mut crew = Crew::new();
    for node in 1..=cluster.nodes() {
        let (cluster, slices) = (Arc::clone(cluster), Arc::clone(slices));
        let mut chance = Chance::new(chance.draw());
        crew.add(move |stop| {
            let socket = cluster
                .run_dir()
                .join(format!("node-{node}/agent.debug.sock"));
            let mut kills = Vec::new();
            while kills.len() < KILLS as usize && !stop.load(Ordering::Relaxed) {
                await_change(&slices, stop);
                std::thread::sleep(Duration::from_micros(chance.below(MIDDLE_MICROSECONDS)));
                let at = Instant::now();
                cluster.kill9(Role::Agent(node));
                eventually(SOON, "the agent is ready", || {
                    let answer = fetch(&socket, "GET", "/readyz").map_err(|e| e.to_string())?;
                    let is_ready = answer.status == 200;
                    is_ready.then_some(()).ok_or(answer.body)
                });
                let away = at.elapsed();
                kills.push(Kill { at, away });
                std::thread::sleep(LIFE);
            }
            kills
        });
    }
    crew
}

/// Waits until a slice changes, or nothing does for a while.
fn await_change(slices: &History, stop: &AtomicBool) {
    let begun = Instant::now();
    let seen = slices.read(0, <[_]>::len);
    while slices.read(seen, <[_]>::is_empty)
        && begun.elapsed() < CHANGES
        && !stop.load(Ordering::Relaxed)
    {
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn restart(cluster: &Cluster) {
    kubectl(cluster, "rollout restart deployment/web");
    rolled_out(cluster);
    // The old ones drain, and then are gone.
    eventually(LATER, "only the new pods are left", || {
        let pods = cluster
            .api()
            .get(&format!("{}?labelSelector=app%3Dweb", PODS))?;
        match pods["items"].as_array().map(Vec::len) {
            Some(count) if count as u64 == REPLICAS => Ok(()),
            count => Err(format!("there are {count:?}")),
        }
    });
}

#[test]
fn no_request_to_a_service_fails_while_its_pods_are_replaced_and_agents_are_killed() {
    let _turn = in_turn();
    let rounds = number("SEALANE_ROLLOUTS").unwrap_or(1);
    let mut chance = Chance::of_this_run();
    let cluster = Arc::new(Cluster::up(UpOptions::default()));
    cluster.start(&[1, 2].map(|node| Pod::echo(&format!("client-{node}")).on_node(node)));
    let pods = cluster.api().history(PODS);
    let slices = Arc::new(cluster.api().history(SLICES));
    cluster.apply(&objects().to_string()).succeeds();
    rolled_out(&cluster);
    let begun = Instant::now();
    let clients = clients(&cluster);
    let mut story = Story::default();
    let mut kills = 0;
    for _ in 0..rounds {
        restart(&cluster);
        story.add(Instant::now(), "from now on agents are killed".to_owned());
        let killers = killers(&cluster, &slices, &mut chance);
        restart(&cluster);
        for (node, killed) in (1..).zip(killers.end()) {
            kills += killed.len();
            for Kill { at, away } in killed {
                let what = format!("the agent of node-{node} is killed, for {away:.1?}");
                story.add(at, what);
            }
        }
    }
    let took = begun.elapsed();
    let mut all = Served::default();
    clients.end().into_iter().for_each(|served| all.add(served));
    let (requests, served_by, failed) = (all.requests, all.pods.len(), all.failures.len());
    eprintln!(
        "{requests} requests in {took:.1?} were served by {served_by} pods, {failed} were not; agents were killed {kills} times"
    );
    if !all.failures.is_empty() {
        story.add_pods(&pods.changes());
        story.add_slices(&slices.changes(), "web");
        panic!(
            "{failed} requests failed:\n{}",
            story.around(&all.failures, begun)
        );
    }
    let expected = REPLICAS * (1 + 2 * rounds);
    assert_eq!(served_by as u64, expected, "every pod had its share");
    assert!(kills > 0, "no agent was killed");
    drop((pods, slices));
    Arc::into_inner(cluster).unwrap().down();
}

//! Services of a whole cluster: from an EndpointSlice to the first connection, what a connection through a cluster
//! IP costs, what the agent holds in memory, and its restart; with few and with many other Services.

pub mod objects;

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use sealane_testkit::cluster::Role;
use sealane_testkit::{Cluster, LATER, Namespace, Pod, UpOptions, eventually};
use serde_json::json;

use crate::datapath::load;
use crate::samples::{Report, Samples};
use objects::Objects;

/// How many EndpointSlices are posted for the first connection.
const POSTED: usize = 100;
/// Turns of the direct address and the cluster IP.
const ROUNDS: usize = 31;
/// An attempt that is not answered is followed by another.
const ATTEMPT: Duration = Duration::from_millis(3);
const TIMED_OUT: Duration = Duration::from_secs(60);
const PORT: u16 = 9100;

/// A backend, and with how many other Services it is measured.
struct Backend {
    name: &'static str,
    mode: &'static str,
    sizes: &'static [usize],
}

const BACKENDS: [Backend; 3] = [
    Backend {
        name: "nftables",
        mode: "nftables",
        sizes: &[0, 1_000, 5_000, 10_000],
    },
    Backend {
        name: "iptables, legacy",
        mode: "iptables",
        sizes: &[0, 1_000, 10_000],
    },
    // More take this variant minutes to load.
    Backend {
        name: "iptables, nft",
        mode: "iptables",
        sizes: &[0, 1_000],
    },
];

/// Measures all backends, each in a cluster of its own.
pub fn measure(report: &mut Report) {
    for backend in &BACKENDS {
        let options = UpOptions {
            nodes: 1,
            ..UpOptions::default()
        };
        let scene = Scene::new(Cluster::up(options.flag("--proxy-mode", backend.mode)));
        if backend.name == "iptables, legacy" {
            scene.prefer_legacy();
        }
        for services in backend.sizes {
            scene.objects().fill(*services, 2);
            let what = |what: &str| format!("{}, {services} Services: {what}", backend.name);
            // With the first connection all Services have been taken in.
            scene.served_after(|| {});
            report.times(
                &what("EndpointSlice posted to first connection"),
                &scene.posted(),
            );
            let (direct, through, ratio) = scene.connections();
            let round = |value: f64| (value * 1000.0).round() / 1000.0;
            let row = json!({"direct_us": round(direct), "cluster_ip_us": round(through), "ratio": round(ratio)});
            report.row(&what("connection"), row);
            let agent = scene.cluster.process(Role::Agent(1));
            let agent = agent.unwrap_or_else(|error| panic!("{error}"));
            crate::memory::add(report, &what("memory of the agent"), &agent);
            let took = scene.served_after(|| agent.kill9());
            let row = json!({"ms": round(took.as_secs_f64() * 1e3)});
            report.row(&what("kill -9 of the agent to a new endpoint served"), row);
        }
        scene.cluster.down();
    }
}

/// A cluster of one node with two pods, `client` and `server`.
struct Scene {
    cluster: Cluster,
    client: Namespace,
    server: Namespace,
    address: IpAddr,
    /// Of a Service whose endpoints come and go.
    probe: SocketAddr,
    /// Of one that stays.
    steady: SocketAddr,
}

impl Scene {
    fn new(cluster: Cluster) -> Self {
        cluster.start(&["client", "server"].map(Pod::idle));
        let objects = Objects(cluster.api());
        // Rules of iptables stand in the order of names: this is amid the others.
        let [probe, steady] =
            ["m-probe", "m-steady"].map(|name| (objects.service(name), 80).into());
        let address = cluster.pod_ip("server");
        objects.slice("m-steady", &[address], PORT);
        let [client, server] = ["client", "server"].map(|pod| cluster.pod_netns(pod));
        let scene = Self {
            client,
            server,
            address,
            probe,
            steady,
            cluster,
        };
        let listener = scene.listen();
        // It ends with the bench.
        thread::spawn(move || while listener.accept().is_ok() {});
        scene
    }

    fn objects(&self) -> Objects<'_> {
        Objects(self.cluster.api())
    }

    fn listen(&self) -> TcpListener {
        let listen = || TcpListener::bind((self.address, PORT + 1));
        self.server
            .enter(listen)
            .unwrap_or_else(|error| panic!("listen in server: {error}"))
    }

    /// As a kubelet with legacy iptables leaves it; the agent that starts next takes that variant.
    fn prefer_legacy(&self) {
        let hint = ["-t", "mangle", "-N", "KUBE-IPTABLES-HINT"];
        self.cluster.node(1).run("iptables-legacy", hint).succeeds();
        self.cluster.kill9(Role::Agent(1));
    }

    fn posted(&self) -> Samples {
        (0..POSTED).map(|_| self.served_after(|| {})).collect()
    }

    /// From a deed and the EndpointSlice that is posted then to the first connection that works.
    fn served_after(&self, deed: impl FnOnce()) -> Duration {
        let objects = self.objects();
        objects.no_slice("m-probe");
        eventually(LATER, "nobody serves any more", || !self.answers());
        let (begin, begun) = mpsc::channel();
        let connected = thread::scope(|scope| {
            let connect = scope.spawn(move || {
                let begun: Instant = begun.recv().expect("the beginning is told");
                while !self.answers() {
                    assert!(
                        begun.elapsed() < TIMED_OUT,
                        "nobody serves at {}",
                        self.probe
                    );
                }
                begun.elapsed()
            });
            deed();
            begin.send(Instant::now()).expect("the client waits");
            objects.slice("m-probe", &[self.address], PORT + 1);
            connect.join()
        });
        connected.expect("the client ends")
    }

    fn answers(&self) -> bool {
        let connect = || TcpStream::connect_timeout(&self.probe, ATTEMPT);
        self.client.enter(connect).is_ok()
    }

    /// Direct and through the cluster IP, in turns: microseconds, and the middle of the rounds' ratios.
    fn connections(&self) -> (f64, f64, f64) {
        let direct = SocketAddr::new(self.address, PORT);
        let mut rounds: Vec<[f64; 2]> = Vec::new();
        for round in 0..ROUNDS {
            let mut took = [0.0; 2];
            for turn in 0..2 {
                let which = (round + turn) % 2;
                let target = [direct, self.steady][which];
                took[which] = load::connection_us(&self.client, &self.server, direct, target);
            }
            rounds.push(took);
        }
        let middle = |of: fn(&[f64; 2]) -> f64| crate::datapath::middle(rounds.iter().map(of));
        (middle(|r| r[0]), middle(|r| r[1]), middle(|r| r[1] / r[0]))
    }
}

//! Names: from a change of an EndpointSlice to the answer that shows it, with few and with many other Services; what
//! the DNS server of a node holds in memory then; and what a pod is answered while another one asks as fast as it can.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use sealane_testkit::cluster::Role;
use sealane_testkit::process::Process;
use sealane_testkit::{Cluster, LATER, Namespace, Pod, UpOptions, dns, eventually};
use serde_json::json;

use crate::samples::{Report, Samples};
use crate::services::objects::Objects;

/// Other Services, each with ten endpoints.
const SIZES: [usize; 3] = [0, 1_000, 10_000];
const CHANGES: u32 = 500;
const SERVICES: &str = "/api/v1/namespaces/default/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
const SERVICE: &str = "m-names";
const NAME: &str = "m-names.default.svc.cluster.local";
const SERVER: &str = "10.96.0.10:53";
const PORT: u16 = 80;
/// Whoever asks leaves the processors to others between two questions; so long, a figure may be too large.
const PAUSE: Duration = Duration::from_micros(100);
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a pod asks as fast as it can.
const FLOOD: Duration = Duration::from_secs(5);
/// After so long, resolvers ask again.
const LOST: Duration = Duration::from_secs(1);

/// Measures a cluster of one node.
pub fn measure(report: &mut Report) {
    let scene = Scene::new();
    let mut number = 0;
    for services in SIZES {
        scene.objects().fill(services, 1);
        let what = |what: &str| format!("names, {services} Services: {what}");
        // With the first change all Services have been taken in.
        number += 1;
        scene.change(number);
        let (mut sent, mut replied) = (Samples::default(), Samples::default());
        for _ in 0..CHANGES {
            number += 1;
            let (since_sent, since_replied) = scene.change(number);
            sent.push(since_sent);
            replied.push(since_replied);
        }
        report.times(&what("EndpointSlice sent to changed answer"), &sent);
        report.times(&what("API server's reply to changed answer"), &replied);
        for (process, title) in [(scene.keeper(), "keeper"), (scene.worker(), "worker")] {
            crate::memory::add(report, &what(&format!("memory of the {title}")), &process);
        }
    }
    scene.flood(report);
    scene.cluster.down();
}

/// A headless Service, a pod that asks for its name, and one that does so without end.
struct Scene {
    cluster: Cluster,
    client: Namespace,
    hostile: Namespace,
}

impl Scene {
    fn new() -> Self {
        let cluster = Cluster::up(UpOptions {
            nodes: 1,
            ..UpOptions::default()
        });
        cluster.start(&["client", "hostile"].map(Pod::idle));
        let [client, hostile] = ["client", "hostile"].map(|pod| cluster.pod_netns(pod));
        let scene = Self {
            cluster,
            client,
            hostile,
        };
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": SERVICE},
            "spec": {"clusterIP": "None", "ports": [{"port": PORT, "protocol": "TCP"}]},
        });
        let made = scene.cluster.api().create(SERVICES, &service);
        made.unwrap_or_else(|error| panic!("{error}"));
        scene
            .objects()
            .slice(SERVICE, &[IpAddr::V4(address(0))], PORT);
        scene
    }

    fn objects(&self) -> Objects<'_> {
        Objects(self.cluster.api())
    }

    fn keeper(&self) -> Process {
        let process = self.cluster.process(Role::Dns(1));
        process.unwrap_or_else(|error| panic!("{error}"))
    }

    fn worker(&self) -> Process {
        let keeper = self.keeper();
        eventually(LATER, "the keeper has a worker", || {
            let mut all = Process::all().into_iter();
            all.find(|process| process.parent() == Some(keeper.pid))
                .ok_or("it has none")
        })
    }

    /// Until the answer shows another address: since the change was sent, and since the API server had replied.
    fn change(&self, number: u32) -> (Duration, Duration) {
        let wanted = address(number);
        let endpoints =
            json!({"endpoints": [{"addresses": [wanted], "conditions": {"ready": true}}]});
        let (ready, asking) = mpsc::channel();
        thread::scope(|scope| {
            let asker = scope.spawn(move || {
                let socket = self.client.enter(socket);
                ready.send(()).expect("the change waits");
                seen(&socket, wanted)
            });
            asking.recv().expect("the asker begins");
            let sent = Instant::now();
            let changed = self
                .cluster
                .api()
                .merge(&format!("{SLICES}/{SERVICE}"), &endpoints);
            let replied = Instant::now();
            changed.unwrap_or_else(|error| panic!("{error}"));
            let seen = asker.join().expect("the asker ends");
            (
                seen.duration_since(sent),
                seen.saturating_duration_since(replied),
            )
        })
    }
}

impl Scene {
    fn flood(&self, report: &mut Report) {
        let (mut times, mut lost) = (Samples::default(), 0);
        let until = Instant::now() + FLOOD;
        let sent = thread::scope(|scope| {
            let flood = scope.spawn(|| flood(&self.hostile.enter(socket), until));
            let socket = self.client.enter(socket);
            socket
                .set_read_timeout(Some(LOST))
                .expect("limit its patience");
            let mut reply = [0; 512];
            for id in (0..=u16::MAX).cycle() {
                let begun = Instant::now();
                if begun >= until {
                    break;
                }
                socket
                    .send(&dns::question(id, NAME, dns::A))
                    .expect("send a question");
                match socket.recv(&mut reply) {
                    Ok(_) => times.push(begun.elapsed()),
                    Err(_) => lost += 1,
                }
                thread::sleep(PAUSE);
            }
            flood.join().expect("the flood ends")
        });
        let a_second = sent as f64 / FLOOD.as_secs_f64();
        let row = json!({"questions_a_second": a_second.round(), "lost_by_the_other": lost});
        report.row("names, a pod asks as fast as it can", row);
        report.times(
            "names, a pod asks as fast as it can: another's answers",
            &times,
        );
    }
}

/// Asks and does not listen; how often.
fn flood(socket: &UdpSocket, until: Instant) -> u64 {
    let question = dns::question(1, NAME, dns::A);
    let mut sent = 0;
    while Instant::now() < until {
        // A full queue is what is wanted.
        sent += u64::from(socket.send(&question).is_ok());
    }
    sent
}

/// Addresses that nobody has.
fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 77, 0, 1).to_bits() + number)
}

fn socket() -> UdpSocket {
    let server: SocketAddr = SERVER.parse().expect("an address and a port");
    let socket = UdpSocket::bind("0.0.0.0:0").expect("bind a socket");
    socket.connect(server).expect("connect it");
    socket
        .set_read_timeout(Some(PATIENCE))
        .expect("limit its patience");
    socket
}

/// Asks again and again; when the answer has this address.
fn seen(socket: &UdpSocket, wanted: Ipv4Addr) -> Instant {
    let begun = Instant::now();
    let mut reply = [0; 512];
    for id in (0..=u16::MAX).cycle() {
        socket
            .send(&dns::question(id, NAME, dns::A))
            .expect("send a question");
        let length = socket.recv(&mut reply).expect("receive the reply");
        let found = reply[..length]
            .windows(4)
            .any(|bytes| bytes == wanted.octets());
        if found {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{wanted} is in no answer");
        thread::sleep(PAUSE);
    }
    Instant::now()
}

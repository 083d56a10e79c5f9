//! From the creation of a pod to Running in its status and to its answer over the network.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::Instant;

use sealane_testkit::{Api, Cluster, LATER, Namespace, Pod, SOON, UpOptions, eventually};
use serde_json::{Value, json};

use crate::samples::{Report, Samples};

const PODS: &str = "/api/v1/namespaces/default/pods";
const ALONE: u32 = 20;
const AT_ONCE: u32 = 100;

/// When each pod was seen Running, and when it answered, since its creation was sent.
#[derive(Default)]
struct Times {
    running: Samples,
    reachable: Samples,
}

/// Measures pods one after the other, then many at once.
pub fn measure(report: &mut Report) {
    let cluster = Cluster::up(UpOptions::default());
    cluster.start(&[Pod::echo("client").on_node(1)]);
    let client = cluster.pod_netns("client");

    let mut alone = Times::default();
    for number in 1..=ALONE {
        let name = format!("alone-{number}");
        start_together(
            &cluster,
            &client,
            &[Pod::echo(&name).on_node(2)],
            &mut alone,
        );
        cluster.delete([name.as_str()]);
    }
    report.times("pod alone, Running in its status", &alone.running);
    report.times("pod alone, answers over the network", &alone.reachable);

    let pods: Vec<Pod> = (1..=AT_ONCE)
        .map(|number| Pod::echo(&format!("many-{number}")))
        .collect();
    let mut together = Times::default();
    let begun = Instant::now();
    start_together(&cluster, &client, &pods, &mut together);
    let whole = begun.elapsed();
    report.times("100 pods at once, Running in its status", &together.running);
    report.times(
        "100 pods at once, answers over the network",
        &together.reachable,
    );
    let each = whole.as_secs_f64() * 1000.0 / f64::from(AT_ONCE);
    report.row(
        "100 pods at once, all answered",
        json!({"total_ms": whole.as_millis() as u64, "per_pod_ms": each.round()}),
    );
    cluster.down();
}

/// Creates pods as soon as a watch is known to run, and follows them by it.
fn start_together(cluster: &Cluster, client: &Namespace, pods: &[Pod], times: &mut Times) {
    let creator = Api::from_kubeconfig(&cluster.kubeconfig());
    // Opens the connection, which is not what is measured.
    drop(creator.get(PODS));
    let (watching, go) = mpsc::channel();
    let mut waiting: Vec<&str> = pods.iter().map(Pod::name).collect();
    std::thread::scope(|scope| {
        let creation = scope.spawn(move || {
            go.recv()
                .unwrap_or_else(|_| panic!("the watch ended before it began"));
            create_all(&creator, pods)
        });
        let mut running = Vec::new();
        let followed = cluster.api().watch(PODS, LATER, |pod| {
            // The client's pod is there already: its event tells that the watch runs.
            watching.send(()).unwrap_or_default();
            let name = pod["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            if let (Some(ip), Some(place)) = (
                running_at(pod),
                waiting.iter().position(|other| *other == name),
            ) {
                waiting.swap_remove(place);
                let seen = Instant::now();
                running.push((
                    name.clone(),
                    seen,
                    scope.spawn(move || ask(client, ip, &name)),
                ));
            }
            waiting.is_empty().then_some(())
        });
        followed.unwrap_or_else(|error| panic!("{error}; not yet running: {waiting:?}"));
        let created = joined(creation);
        for (name, seen, asked) in running {
            times.running.push(seen - created[&name]);
            times.reachable.push(joined(asked) - created[&name]);
        }
    });
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn create_all(api: &Api, pods: &[Pod]) -> BTreeMap<String, Instant> {
    let create = |pod: &Pod| {
        let begun = Instant::now();
        api.create(PODS, pod.manifest())
            .unwrap_or_else(|error| panic!("{error}"));
        (pod.name().to_owned(), begun)
    };
    pods.iter().map(create).collect()
}

fn running_at(pod: &Value) -> Option<IpAddr> {
    let running = pod["status"]["phase"] == "Running"
        && pod["status"]["containerStatuses"][0]["ready"] == true;
    pod["status"]["podIP"]
        .as_str()
        .filter(|_| running)?
        .parse()
        .ok()
}

/// Asks until the pod answers with its name, and tells when it did.
fn ask(client: &Namespace, ip: IpAddr, name: &str) -> Instant {
    eventually(SOON, &format!("pod {name} answers at {ip}"), || {
        let answer = client
            .enter(|| request(ip))
            .map_err(|error| error.to_string())?;
        if answer.contains(name) {
            Ok(Instant::now())
        } else {
            Err(answer)
        }
    })
}

fn request(ip: IpAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(ip, 8080), SOON)?;
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(b"GET /hostname HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

//! The manifests of the documents that users learn from, as they are written there, each with one
//! alias for its images: `examples/documents/`.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use serde_json::Value;

use sealane_testkit::cluster::Role;
use sealane_testkit::topology::add_address;
use sealane_testkit::{
    Capture, Cluster, LATER, Namespace, Pod, SOON, Topology, UpOptions, eventually,
};

/// What stands in for the images of all documents.
const ALIASES: [&str; 3] = [
    "contoso/*=sealane.io/echo",
    "consoto/*=sealane.io/echo",
    "nginx=sealane.io/echo",
];

fn up() -> Cluster {
    let options = ALIASES.iter().fold(UpOptions::default(), |options, alias| {
        options.flag("--image-alias", alias)
    });
    Cluster::up(options)
}

fn file(name: &str) -> String {
    let root: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join("examples/documents").join(name);
    path.to_str().unwrap().to_owned()
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[track_caller]
fn kubectl(cluster: &Cluster, line: &str) -> String {
    cluster.kubectl(words(line)).succeeds()
}

#[track_caller]
fn items(cluster: &Cluster, what: &str) -> Vec<Value> {
    let line = format!("get {what} -o json");
    let list = cluster.kubectl(words(&line)).json();
    list["items"].as_array().unwrap().clone()
}

/// Names and addresses of the pods with a label.
#[track_caller]
fn pods(cluster: &Cluster, label: &str) -> Vec<(String, String)> {
    items(cluster, &format!("pods -l {label}"))
        .iter()
        .map(|pod| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (
                text(&pod["metadata"]["name"]),
                text(&pod["status"]["podIP"]),
            )
        })
        .collect()
}

/// Addresses of a Service's slices that are ready, with the port.
fn endpoints(cluster: &Cluster, service: &str) -> BTreeSet<String> {
    let label = format!("kubernetes.io/service-name={service}");
    let slices = items(cluster, &format!("endpointslices -l {label}"));
    let mut found = BTreeSet::new();
    for slice in &slices {
        let ports = slice["ports"].as_array().cloned().unwrap_or_default();
        let list = slice["endpoints"].as_array().cloned().unwrap_or_default();
        for endpoint in list.iter().filter(|e| e["conditions"]["ready"] == true) {
            for port in &ports {
                let address = endpoint["addresses"][0].as_str().unwrap();
                found.insert(format!("{address}:{}", port["port"]));
            }
        }
    }
    found
}

/// Waits until a Service has exactly the pods with this label as its endpoints.
#[track_caller]
fn serves(cluster: &Cluster, service: &str, label: &str, port: u16) {
    eventually(LATER, &format!("slices of {service} name its pods"), || {
        let wanted: BTreeSet<String> = pods(cluster, label)
            .iter()
            .map(|(_, ip)| format!("{ip}:{port}"))
            .collect();
        let found = endpoints(cluster, service);
        match found == wanted && !found.is_empty() {
            true => Ok(()),
            false => Err(format!("they name {found:?}, the pods are {wanted:?}")),
        }
    });
}

/// Each pod with this label answers `path` on `port` to the node, with its own name.
#[track_caller]
fn answer(cluster: &Cluster, label: &str, port: u16, count: usize) {
    let pods = pods(cluster, label);
    assert_eq!(pods.len(), count, "{pods:?}");
    for (name, ip) in &pods {
        let url = format!("http://{ip}:{port}/hostname");
        let seen = cluster.kubectl(["exec", name, "--", "curl", "-s", &url]);
        assert_eq!(seen.succeeds().trim(), name);
        let (other, _) = pods
            .iter()
            .find(|(other, _)| other != name)
            .unwrap_or(&pods[0]);
        let seen = cluster.kubectl(["exec", other, "--", "curl", "-s", &url]);
        assert_eq!(seen.succeeds().trim(), name);
    }
}

#[track_caller]
fn apply(cluster: &Cluster, name: &str) {
    kubectl(cluster, &format!("apply -f {}", file(name)));
}

/// Deletes what a file describes; nothing of it is left.
#[track_caller]
fn delete(cluster: &Cluster, name: &str, label: &str, service: &str) {
    kubectl(
        cluster,
        &format!("delete --timeout=60s --grace-period=1 -f {}", file(name)),
    );
    eventually(LATER, "nothing is left", || {
        let slices = format!("endpointslices -l kubernetes.io/service-name={service}");
        let left =
            items(cluster, &format!("pods -l {label}")).len() + items(cluster, &slices).len();
        match left {
            0 => Ok(()),
            _ => Err(format!("{left} pods and slices are")),
        }
    });
}

const BACKEND: &str = "app.kubernetes.io/name=backend";
const FRONTEND: &str = "app.kubernetes.io/name=frontend";

#[test]
fn the_documents_manifests_run_as_they_are_with_one_alias_each() {
    let cluster = up();
    a_pod_and_its_service(&cluster);
    a_backend_and_a_frontend(&cluster);
    a_readiness_probe(&cluster);
    a_service_without_a_selector(&cluster);
    a_stateful_set_of_two(&cluster);
    aliases_are_shown_and_kept(&cluster);
}

fn a_pod_and_its_service(cluster: &Cluster) {
    apply(cluster, "backend-pod.yaml");
    cluster.wait_ready("backend");
    serves(cluster, "backend-service", BACKEND, 8080);
    answer(cluster, BACKEND, 8080, 1);

    let pod = cluster.pod("backend").unwrap();
    let status = &pod["status"]["containerStatuses"][0];
    assert_eq!(status["image"], "contoso/mybackend");
    let id = status["imageID"].as_str().unwrap();
    assert!(id.starts_with("sealane.io/echo@"), "{id}");
    let log = kubectl(cluster, "logs backend");
    assert!(
        log.contains("runs in place of contoso/mybackend, by an alias")
            && log.contains("serves HTTP and TCP on port 8080"),
        "{log}"
    );
    eventually(LATER, "an Event tells of the alias", || {
        let events = kubectl(cluster, "get events --field-selector reason=Pulled");
        let told = "\"contoso/mybackend\" already present on machine: \
                    by the alias contoso/* it is sealane.io/echo";
        match events.contains(told) {
            true => Ok(()),
            false => Err(events),
        }
    });
    delete(cluster, "backend-pod.yaml", BACKEND, "backend-service");
}

fn a_backend_and_a_frontend(cluster: &Cluster) {
    let name = "backend-and-frontend.yaml";
    apply(cluster, name);
    for deployment in ["backend", "frontend"] {
        let line = format!("rollout status deployment/{deployment} --timeout=60s");
        kubectl(cluster, &line);
    }
    for (service, label) in [("backend-service", BACKEND), ("frontend-service", FRONTEND)] {
        serves(cluster, service, label, 8080);
        answer(cluster, label, 8080, 3);
    }
    let service = cluster
        .kubectl(words("get service frontend-service -o json"))
        .json();
    assert_eq!(service["spec"]["ports"][0]["nodePort"], 31000);
    delete(cluster, name, FRONTEND, "frontend-service");
    eventually(LATER, "the backend is gone too", || {
        match pods(cluster, BACKEND) {
            left if left.is_empty() => Ok(()),
            left => Err(format!("{left:?}")),
        }
    });
}

fn a_readiness_probe(cluster: &Cluster) {
    apply(cluster, "readiness.yaml");
    let line = "wait --for=jsonpath={.status.availableReplicas}=3 deployment/backend --timeout=60s";
    kubectl(cluster, line);
    serves(cluster, "backend-service", BACKEND, 8080);
    // The first delay is five seconds: whoever was ready before was not asked.
    for pod in items(cluster, &format!("pods -l {BACKEND}")) {
        let moment = |value: &Value| {
            let text = value.as_str().unwrap();
            let (_, clock) = text.trim_end_matches('Z').split_once('T').unwrap();
            clock
                .split(':')
                .map(|part| part.parse::<i64>().unwrap())
                .fold(0, |sum, part| sum * 60 + part)
        };
        let conditions = pod["status"]["conditions"].as_array().unwrap();
        let ready = conditions.iter().find(|c| c["type"] == "Ready").unwrap();
        let status = &pod["status"]["containerStatuses"][0];
        let started = moment(&status["state"]["running"]["startedAt"]);
        // Modulo a day, for whoever tests at midnight.
        let waited = (moment(&ready["lastTransitionTime"]) - started).rem_euclid(86_400);
        assert!(waited >= 4, "ready {waited} s after the start: {pod:#}");
    }
    delete(cluster, "readiness.yaml", BACKEND, "backend-service");
}

fn a_service_without_a_selector(cluster: &Cluster) {
    apply(cluster, "external-database.yaml");
    let slice = cluster
        .kubectl(words("get endpointslice external-database-1 -o json"))
        .json();
    assert_eq!(slice["endpoints"][0]["addresses"][0], "10.4.5.6");
    kubectl(
        cluster,
        &format!("delete --timeout=60s -f {}", file("external-database.yaml")),
    );
}

fn a_stateful_set_of_two(cluster: &Cluster) {
    apply(cluster, "nginx-statefulset.yaml");
    kubectl(cluster, "rollout status statefulset/nginx --timeout=60s");
    serves(cluster, "nginx", "app=nginx", 80);
    answer(cluster, "app=nginx", 80, 2);
    let mut nodes = BTreeSet::new();
    for pod in items(cluster, "pods -l app=nginx") {
        let name = pod["metadata"]["name"].as_str().unwrap();
        assert_eq!(pod["spec"]["hostname"], name);
        assert_eq!(pod["spec"]["subdomain"], "nginx");
        nodes.insert(pod["spec"]["nodeName"].as_str().unwrap().to_owned());
    }
    assert_eq!(nodes.len(), 2, "each pod has a node of its own");
    kubectl(cluster, "delete pod nginx-0 --timeout=60s --grace-period=1");
    kubectl(cluster, "rollout status statefulset/nginx --timeout=60s");
    serves(cluster, "nginx", "app=nginx", 80);
    answer(cluster, "app=nginx", 80, 2);
    delete(cluster, "nginx-statefulset.yaml", "app=nginx", "nginx");
}

/// `status` shows the rules, a bare `up` keeps them, another rule is refused while it runs.
fn aliases_are_shown_and_kept(cluster: &Cluster) {
    let name = cluster.name();
    let status = sealane_testkit::binary::sealane(["status", "--name", name]).succeeds();
    assert!(status.contains("contoso/* = sealane.io/echo"), "{status}");
    sealane_testkit::binary::sealane(["up", "--name", name]).succeeds();
    let other = ["up", "--name", name, "--image-alias", "a=sealane.io/echo"];
    let refused = sealane_testkit::binary::sealane(other).fails();
    let has = ALIASES.join(" ");
    assert!(
        refused.contains(&format!(
            "--image-alias: the cluster has {has}, asked for a=sealane.io/echo"
        )) && refused.contains(&format!(
            "stop it first (`sealane down --keep-state --name {name}`)"
        )),
        "{refused}"
    );
}

/// What the gateway to the outside of the document is called: this machine, in a namespace of its own.
const GATEWAY: [&str; 2] = ["203.0.113.2", "2001:db8::2"];
const WORLD: [&str; 2] = ["203.0.113.1", "2001:db8::1"];

/// Document 001, "Egress communication": the node gives what leaves it its own address, and the
/// gateway to the outside gives it another one. Both go when the cluster does, even after a crash.
#[test]
fn what_leaves_is_translated_by_the_node_and_again_by_the_gateway() {
    let (topology, [machine, world]) = Topology::new(["machine", "world"]);
    let [near, far] = [GATEWAY, WORLD].map(|ips| format!("{}/24", ips[0]));
    topology.join((&machine, "uplink", &near), (&world, "uplink", &far));
    for (end, ips) in [(&machine, GATEWAY), (&world, WORLD)] {
        add_address(end, "uplink", &format!("{}/64", ips[1]));
    }
    for (family, way) in ["-4", "-6"].into_iter().zip(WORLD) {
        let route = [family, "route", "add", "default", "via", way];
        machine.run("ip", route).succeeds();
    }
    let forwarding = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"];
    for key in forwarding {
        machine
            .run("sysctl", ["-w", &format!("{key}=0")])
            .succeeds();
    }
    machine.enter(|| {
        let cluster = Cluster::up(UpOptions {
            nodes: 1,
            internet: true,
            ..UpOptions::default().flag("--ip-family", "dual")
        });
        cluster.start(&[Pod::idle("leaves")]);
        assert_translated_twice(&cluster, &machine, &world);
        cluster.process(Role::Supervisor).unwrap().kill9();
        cluster.down();
    });
    for key in forwarding {
        assert_eq!(
            machine.run("sysctl", ["-n", key]).succeeds().trim(),
            "0",
            "{key}"
        );
    }
    assert_eq!(machine.run("nft", ["list", "ruleset"]).succeeds(), "");
}

#[track_caller]
fn assert_translated_twice(cluster: &Cluster, machine: &Namespace, world: &Namespace) {
    let node = cluster.api().get("/api/v1/nodes/node-1").unwrap();
    let addresses = node["status"]["addresses"].as_array().unwrap().iter();
    let node_ips: Vec<IpAddr> = addresses
        .filter(|address| address["type"] == "InternalIP")
        .map(|address| address["address"].as_str().unwrap().parse().unwrap())
        .collect();
    let pod = cluster.pod_netns("leaves");
    let pod_ips = cluster.pod_ips("leaves");
    for (family, world_ip) in WORLD.into_iter().enumerate() {
        let places = [
            (&pod, "eth0", pod_ips[family]),
            (&cluster.node(1), "eth0", node_ips[family]),
            (machine, "uplink", GATEWAY[family].parse().unwrap()),
        ];
        let captures = places.map(|(at, link, source)| (Capture::on(at, link), source));
        let listener = world.enter(|| TcpListener::bind((world_ip, 0))).unwrap();
        let target = listener.local_addr().unwrap();
        let mut stream = pod
            .enter(|| TcpStream::connect_timeout(&target, SOON))
            .unwrap();
        let (mut accepted, from) = listener.accept().unwrap();
        assert_eq!(from.ip(), captures[2].1, "the world sees the gateway");
        accepted.write_all(b"answer").unwrap();
        stream.read_exact(&mut [0; 6]).unwrap();
        for (capture, source) in &captures {
            let what = format!("the request from {source}");
            capture.expect(SOON, &what, |packet| {
                (packet.source, packet.to()) == (*source, target)
            });
            capture.refuse("it with another address", |packet| {
                packet.to() == target && packet.source != *source
            });
        }
    }
}

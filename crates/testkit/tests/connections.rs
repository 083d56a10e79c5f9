//! Connections to pods with real kubectl, the newest and an older one: exec, attach, cp,
//! port-forward, the proxies.
//!
//! kubectl up to 1.29 speaks SPDY for all of them, 1.30 for port-forward; newer ones WebSocket.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use sealane_testkit::command::finish_with_input;
use sealane_testkit::kubectl::{self, Generation};
use sealane_testkit::{Container, Folder, LATER, Pod, SOON, Shared, eventually};

/// Large enough for every buffer on the way to be full many times.
const LARGE_BYTES: usize = 20_000_000;

fn kubectl_of(cluster: &Shared, generation: &Generation) -> Command {
    let mut command = Command::new(&generation.path);
    command.env("KUBECONFIG", cluster.kubeconfig());
    command.env("KUBECACHEDIR", cluster.run_dir().join("kubectl-cache"));
    command
}

/// Bytes that no compression or repetition hides an error in.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..bytes).map(next).collect()
}

#[test]
fn commands_carry_streams_and_codes_with_each_generation() {
    let cluster = Shared::cluster();
    cluster.start(&[Pod::idle("exec-codes")]);
    for generation in kubectl::generations() {
        let run = |words: &[&str], input: &str| {
            let mut command = kubectl_of(&cluster, &generation);
            command.args(["exec", "-i", "exec-codes"]).args(words);
            finish_with_input(command, input)
        };
        let done = run(
            &["--", "sh", "-c", "cat; echo wrong >&2; exit 7"],
            "some input\n",
        );
        assert_eq!(done.code(), Some(7), "{generation}: {done}");
        assert_eq!(done.stdout, "some input\n", "{generation}");
        assert!(done.stderr.starts_with("wrong\n"), "{generation}: {done}");
        let done = run(&["--", "no-such-thing"], "");
        assert_eq!(done.code(), Some(127), "{generation}: {done}");
        let words = "exec: \"no-such-thing\": executable file not found in $PATH";
        assert!(done.stderr.contains(words), "{generation}: {done}");
        let done = run(&["-c", "nobody", "--", "ls"], "");
        let words = "container nobody is not valid for pod exec-codes";
        assert!(done.stderr.contains(words), "{generation}: {done}");
        let large = run(
            &["--", "head", "-c", &LARGE_BYTES.to_string(), "/dev/zero"],
            "",
        );
        assert_eq!(large.stdout.len(), LARGE_BYTES, "{generation}");
    }
}

#[test]
fn files_are_copied_both_ways_with_each_generation() {
    let cluster = Shared::cluster();
    cluster.start(&[Pod::idle("copies")]);
    let folder = Folder::new();
    let path = |name: &str| folder.join(name);
    fs::write(path("large"), noise(LARGE_BYTES)).unwrap();
    fs::create_dir(path("many")).unwrap();
    for number in 0..100 {
        fs::write(path(&format!("many/{number}")), number.to_string()).unwrap();
    }
    for generation in kubectl::generations() {
        let minor = generation.minor;
        let cp = |from: &str, to: &str| {
            let mut command = kubectl_of(&cluster, &generation);
            command.args(["cp", from, to]);
            finish_with_input(command, "").succeeds();
        };
        let there = |name: &str| format!("copies:/tmp/{name}-{minor}");
        cp(&path("large"), &there("large"));
        cp(&there("large"), &path("back"));
        assert!(fs::read(path("large")).unwrap() == fs::read(path("back")).unwrap());
        cp(&path("many"), &there("many"));
        let back = path(&format!("many-{minor}"));
        cp(&there("many"), &back);
        for number in 0..100 {
            let text = fs::read_to_string(format!("{back}/{number}")).unwrap();
            assert_eq!(text, number.to_string(), "{generation}");
        }
    }
}

#[test]
fn a_container_is_attached_to_with_each_generation() {
    let cluster = Shared::cluster();
    for generation in kubectl::generations() {
        let name = format!("attached-{}", generation.minor);
        let script = "while read line; do echo got $line; done; echo over";
        let container = Container::shell("main", script)
            .with("stdin", json!(true))
            .with("stdinOnce", json!(true));
        cluster.start(&[Pod::of(&name, [container]).restart("Never")]);
        let mut command = kubectl_of(&cluster, &generation);
        command.args(["attach", "-i", &name]);
        let done = finish_with_input(command, "one\ntwo\n");
        assert!(
            done.stdout.ends_with("got two\nover\n"),
            "{generation}: {done}"
        );
        assert_eq!(
            cluster.kubectl(["logs", &name]).succeeds(),
            "got one\ngot two\nover\n",
            "the log has it as well"
        );
    }
}

#[test]
fn a_pod_is_run_for_one_command() {
    let cluster = Shared::cluster();
    for generation in kubectl::generations() {
        let name = format!("once-{}", generation.minor);
        let mut command = kubectl_of(&cluster, &generation);
        command.args(["run", &name, "--rm", "-i", "--restart=Never"]);
        command.args(["--image=sealane.io/host", "--", "sh", "-c"]);
        command.arg("read line; echo got $line; exit 4");
        let done = finish_with_input(command, "a line\n");
        assert_eq!(done.code(), Some(4), "{generation}: {done}");
        assert!(done.stdout.contains("got a line\n"), "{generation}: {done}");
        cluster.wait_gone(&name);
    }
}

/// A running `kubectl port-forward`, which is ended with the test.
struct Forward {
    child: Child,
    /// The ports on this machine, in the order of those that were asked for.
    ports: Vec<u16>,
}

impl Forward {
    #[track_caller]
    fn start(mut command: Command, pod: &str, ports: &[&str]) -> Self {
        command.arg("port-forward").arg(format!("pod/{pod}"));
        command.args(ports).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut found = Vec::new();
        while found.len() < ports.len() {
            let line = lines.next().expect("kubectl forwards").unwrap();
            let words = line.strip_prefix("Forwarding from 127.0.0.1:");
            if let Some((port, _)) = words.and_then(|words| words.split_once(' ')) {
                found.push(port.parse().unwrap());
            }
        }
        // What it says of each connection is of no interest, but must be read.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            ports: found,
        }
    }

    fn connect(&self, index: usize) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.ports[index])).unwrap();
        stream.set_read_timeout(Some(LATER)).unwrap();
        stream
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Sends bytes to the echo server and returns what comes back after its greeting.
fn echoed(mut stream: TcpStream, bytes: &[u8]) -> Vec<u8> {
    let mut writer = stream.try_clone().unwrap();
    let mut back = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            writer.write_all(bytes).unwrap();
            // The end of what is sent is not the end of the answer.
            writer.shutdown(Shutdown::Write).unwrap();
        });
        stream.read_to_end(&mut back).unwrap();
    });
    let greeting = back.iter().position(|byte| *byte == b'\n').unwrap();
    back.split_off(greeting + 1)
}

#[test]
fn ports_are_forwarded_with_each_generation() {
    let cluster = Shared::cluster();
    cluster.start(&[Pod::echo("forwarded")]);
    let mut noise = noise(LARGE_BYTES / 4);
    // Nothing that looks like a request.
    noise[0] = 0;
    for generation in kubectl::generations() {
        let command = kubectl_of(&cluster, &generation);
        let forward = Forward::start(command, "forwarded", &[":8080"]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let back = echoed(forward.connect(0), &noise);
                    assert!(
                        back == noise,
                        "{generation}: {} bytes came back",
                        back.len()
                    );
                });
            }
            for _ in 0..30 {
                scope.spawn(|| {
                    let mut stream = forward.connect(0);
                    let request = "GET /hostname HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
                    stream.write_all(request.as_bytes()).unwrap();
                    let mut answer = String::new();
                    stream.read_to_string(&mut answer).unwrap();
                    assert!(answer.contains("forwarded"), "{generation}: {answer}");
                });
            }
        });
    }
}

#[test]
fn a_port_where_nobody_listens_is_said() {
    let cluster = Shared::cluster();
    cluster.start(&[Pod::idle("deaf")]);
    for generation in kubectl::generations() {
        let mut command = kubectl_of(&cluster, &generation);
        let folder = Folder::new();
        let log = folder.join("log");
        command.stderr(fs::File::create(&log).unwrap());
        let forward = Forward::start(command, "deaf", &[":9"]);
        let mut stream = forward.connect(0);
        let mut nothing = Vec::new();
        // Ended or reset: kubectl decides.
        let _either = stream.read_to_end(&mut nothing);
        assert!(nothing.is_empty());
        eventually(SOON, "kubectl tells why", || {
            let said = fs::read_to_string(&log).unwrap();
            let words = "error forwarding port 9 to pod default/deaf";
            (said.contains(words) && said.contains("connection refused"))
                .then_some(())
                .ok_or(said)
        });
    }
}

#[test]
fn pods_are_reached_through_the_proxy() {
    let cluster = Shared::cluster();
    cluster.start(&[Pod::echo("proxied")]);
    let address = cluster.pod_ip("proxied");
    let manifest = json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "proxied"},
            "spec": {"ports": [{"name": "web", "port": 80, "targetPort": 8080}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": "proxied-by-hand", "labels": {"kubernetes.io/service-name": "proxied"},
            },
            "ports": [{"name": "web", "port": 8080}],
            "endpoints": [{
                "addresses": [address], "conditions": {"ready": true},
                "targetRef": {"kind": "Pod", "namespace": "default", "name": "proxied"},
            }],
        },
    ]});
    cluster.apply(&manifest.to_string()).succeeds();
    let core = "/api/v1/namespaces/default";
    for place in [
        "pods/proxied:8080",
        "services/proxied:80",
        "services/http:proxied:web",
    ] {
        let path = format!("{core}/{place}/proxy/hostname");
        let said = cluster.kubectl(["get", "--raw", &path]).succeeds();
        assert_eq!(said.trim(), "proxied", "{place}");
    }
    let path = format!("{core}/pods/proxied:9/proxy/");
    let refused = cluster.kubectl(["get", "--raw", &path]).fails();
    let words =
        format!("error trying to reach service: dial tcp {address}:9: connect: connection refused");
    assert!(refused.contains(&words), "{refused}");
    let path = format!("{core}/services/proxied/proxy/");
    let refused = cluster.kubectl(["get", "--raw", &path]).fails();
    assert!(
        refused.contains("no endpoints available for service \"proxied\""),
        "{refused}"
    );
}

//! The server as the programs whose arguments it takes, asked over loopback.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_sealane-echo");

/// A server with the ports that it says it serves; it dies with this.
struct Server {
    child: Child,
    ports: Vec<u16>,
    said: Vec<String>,
    _stderr: BufReader<ChildStderr>,
}

impl Server {
    /// Starts it with arguments, and waits until it serves so many sockets.
    fn start(args: &[&str], sockets: usize) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(args)
            .env("POD_NAME", "pod-a")
            .env_remove("PORT")
            .env_remove("HTTP_PORT")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let (mut ports, mut said) = (Vec::new(), Vec::new());
        while ports.len() < sockets {
            let mut line = String::new();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "ended: {said:?}");
            if line.contains(" serves ") {
                let port = line.trim_end().rsplit(' ').next().unwrap();
                ports.push(port.parse().unwrap());
            }
            said.push(line.trim_end().to_owned());
        }
        Self {
            child,
            ports,
            said,
            _stderr: stderr,
        }
    }

    fn get(&self, path: &str) -> String {
        curl(&[&format!("http://127.0.0.1:{}{path}", self.ports[0])])
    }

    fn ask_udp(&self, port: u16, text: &str) -> String {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        socket
            .send_to(text.as_bytes(), ("127.0.0.1", port))
            .unwrap();
        let mut buffer = [0; 1024];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).output().unwrap()
}

fn curl(args: &[&str]) -> String {
    let output = run(&[&["curl", "-s"], args].concat());
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn netexec_answers_what_network_tests_ask() {
    // One port for both, which the kernel chooses.
    let args = ["netexec", "--http-port=0", "--udp-port=0", "--sctp-port=-1"];
    let server = Server::start(&args, 1);
    let (http, udp) = (server.ports[0], server.ports[0]);
    assert_eq!(server.get("/hostname"), "pod-a");
    assert_eq!(server.get("/echo?msg=a%20b"), "a b");
    assert!(server.get("/clientip").starts_with("127.0.0.1:"));
    assert!(server.get("/").starts_with("NOW: "));
    assert_eq!(server.get("/healthz"), "");
    for (path, status) in [
        ("/echo?msg=x&code=503", "503"),
        ("/shell?cmd=ls", "501"),
        ("/none", "404"),
        ("/redirect?location=/hostname", "302"),
        ("/dial?port=1", "400"),
    ] {
        let url = format!("http://127.0.0.1:{http}{path}");
        let told = curl(&["-o", "/dev/null", "-w", "%{http_code}", &url]);
        assert_eq!(told, status, "{path}");
    }
    assert_eq!(server.ask_udp(udp, "hostname"), "pod-a");
    assert_eq!(server.ask_udp(udp, "echo hi there\n"), "hi there");
    assert!(server.ask_udp(udp, "clientip").starts_with("127.0.0.1:"));
    let dial = |rest: &str| server.get(&format!("/dial?host=127.0.0.1&{rest}"));
    assert_eq!(
        dial(&format!("port={http}&request=hostname&tries=2")),
        r#"{"responses":["pod-a","pod-a"]}"#
    );
    assert_eq!(
        dial(&format!("port={udp}&protocol=udp&request=echo%20x")),
        r#"{"responses":["x"]}"#
    );
    let free = {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap();
        closed.local_addr().unwrap().port()
    };
    let refused = dial(&format!("port={free}&request=hostname"));
    assert!(refused.contains("refused"), "{refused}");
}

#[test]
fn netexec_ends_as_it_is_told() {
    let mut server = Server::start(&["netexec", "--http-port=0", "--udp-port=-1"], 1);
    let url = format!("http://127.0.0.1:{}/exit?code=3", server.ports[0]);
    assert!(!run(&["curl", "-s", &url]).status.success());
    assert_eq!(server.child.wait().unwrap().code(), Some(3));
}

/// Sends a request by a connection that may stay; what was answered.
fn ask(stream: &mut TcpStream) -> String {
    stream
        .write_all(b"GET /hostname HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"pod-a") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    String::from_utf8(answer).unwrap()
}

#[test]
fn netexec_that_drains_answers_everybody_and_keeps_nobody() {
    let args = [
        "netexec",
        "--http-port=0",
        "--udp-port=-1",
        "--delay-shutdown=1",
    ];
    let mut server = Server::start(&args, 1);
    let address = ("127.0.0.1", server.ports[0]);
    let mut kept = TcpStream::connect(address).unwrap();
    assert!(!ask(&mut kept).contains("Connection: close"));
    let pid = nix::unistd::Pid::from_raw(server.child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    while !ask(&mut kept).contains("Connection: close") {}
    assert_eq!(kept.read(&mut [0]).unwrap(), 0);
    assert!(ask(&mut TcpStream::connect(address).unwrap()).contains("Connection: close"));
    assert!(server.child.wait().unwrap().success());
}

#[test]
fn the_name_is_served_in_three_ways() {
    let args = ["serve-hostname", "--tcp", "--udp", "--port", "0"];
    let server = Server::start(&args, 1);
    let mut stream = TcpStream::connect(("127.0.0.1", server.ports[0])).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text, "pod-a\n");
    assert_eq!(server.ask_udp(server.ports[0], "x"), "pod-a");
    let server = Server::start(&["serve-hostname", "--port", "0"], 1);
    assert_eq!(server.get("/anything"), "pod-a");
}

#[test]
fn texts_and_reports_read_as_those_of_the_originals() {
    let server = Server::start(&["-text=hello world", "-listen=:0"], 1);
    assert_eq!(server.get("/any"), "hello world\n");
    assert_eq!(server.get("/health"), "{\"status\":\"ok\"}\n");
    let server = Server::start(&["--port", "0", "--name", "who"], 1);
    let told = server.get("/x?y");
    assert!(told.starts_with("Name: who\nHostname: pod-a\n"), "{told}");
    assert!(told.contains("\nGET /x?y HTTP/1.1\nHost: "), "{told}");
    assert!(server.get("/api").contains("\"hostname\":\"pod-a\""));
    let server = Server::start(&["nc", "-l", "-p", "0"], 1);
    let at = format!("127.0.0.1:{}", server.ports[0]);
    let output = run(&["echo-client", "tcp", &at, "just this"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "just this\n");
}

#[test]
fn a_server_behind_an_alias_says_whom_it_stands_in_for() {
    let args = [
        "--in-place-of",
        "contoso/mybackend",
        "--declared",
        "0/TCP",
        "--",
        "serve",
        "--all",
    ];
    let server = Server::start(&args, 1);
    assert_eq!(
        server.said[..2],
        [
            "echo-server: runs in place of contoso/mybackend, by an alias",
            "echo-server: `serve --all` is for another program and is ignored; the declared ports are served",
        ]
    );
    assert!(server.get("/").starts_with("name       pod-a\n"));
}

#[test]
fn what_is_not_understood_ends_with_a_list_of_what_is() {
    let output = run(&["serve", "--all"]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.starts_with(
            "echo-server: unknown argument \"serve\"\nthis image understands: --port PORT"
        ),
        "{text}"
    );
}

#[test]
fn a_connection_is_tried_and_judged_by_a_word() {
    let server = Server::start(&["nc", "-l", "0"], 1);
    let at = format!("127.0.0.1:{}", server.ports[0]);
    assert!(run(&["connect", &at, "--timeout=3s"]).status.success());
    let free = {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap();
        closed.local_addr().unwrap().to_string()
    };
    let refused = run(&["agnhost", "connect", &free, "--timeout=3s"]);
    assert_eq!(refused.status.code(), Some(1));
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(text.starts_with("REFUSED: "), "{text}");
}

#[test]
fn a_sleep_ends_by_itself() {
    assert_eq!(run(&["sleep", "0.01"]).status.code(), Some(0));
}

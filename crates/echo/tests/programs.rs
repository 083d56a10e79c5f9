//! The programs as processes, over loopback: the server asked by our clients,
//! by plain sockets and, where the answer is a matter of habit, our `curl`
//! beside the real one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_sealane-echo");

/// A server on a port of the kernel's choice; it dies with this.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start() -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["--port", "0"])
            .env("POD_NAME", "pod-a")
            .env_remove("PORT")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        stderr.read_line(&mut line).unwrap();
        let port = line.trim_end().rsplit(' ').next().unwrap().parse();
        Self {
            port: port.unwrap_or_else(|_| panic!("{line}")),
            child,
        }
    }

    fn at(&self, host: &str) -> String {
        format!("{host}:{}", self.port)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at("127.0.0.1"))
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.at("127.0.0.1")).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(program: &str, args: &[&str]) -> Output {
    Command::new(PROGRAM)
        .arg(program)
        .args(args)
        .output()
        .unwrap()
}

/// Output of our curl, which must succeed.
fn curl(args: &[&str]) -> String {
    let output = run("curl", args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(args: &[&str]) -> serde_json::Value {
    serde_json::from_str(&curl(args)).unwrap()
}

fn read_all(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn http_tells_who_answered_whom() {
    let server = Server::start();
    let report = json(&[&server.url("/a?x=1&format=json"), "-H", "X-Test: yes"]);
    assert_eq!(report["name"], "pod-a");
    assert_eq!(report["protocol"], "http");
    assert_eq!(report["local"]["address"], "127.0.0.1");
    assert_eq!(report["local"]["port"], server.port);
    assert_eq!(report["peer"]["address"], "127.0.0.1");
    assert_eq!(report["request"]["method"], "GET");
    assert_eq!(report["request"]["path"], "/a?x=1&format=json");
    assert_eq!(report["request"]["headers"]["X-Test"], "yes");

    let posted = json(&[
        &server.url("/"),
        "-H",
        "Accept: application/json",
        "-d",
        "a=1",
    ]);
    assert_eq!(posted["request"]["body"], "a=1");
    assert!(curl(&[&server.url("/")]).starts_with("name       pod-a\n"));
    assert_eq!(curl(&[&server.url("/hostname")]), "pod-a\n");
    assert_eq!(curl(&[&server.url("/health")]), "ok\n");
}

#[test]
fn both_families_are_served_and_told_apart() {
    let server = Server::start();
    for (host, address) in [("127.0.0.1", "127.0.0.1"), ("[::1]", "::1")] {
        let url = format!("http://{}/?format=json", server.at(host));
        assert_eq!(json(&[&url])["local"]["address"], address);
        let output = run("echo-client", &["udp", &server.at(host), "hi"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.contains(&format!("local={}", server.at(host))),
            "{text}"
        );
        assert!(text.ends_with("\nhi\n"), "{text}");
    }
}

#[test]
fn tcp_is_echoed_after_a_line_of_report() {
    let server = Server::start();
    let mut stream = server.connect();
    let peer = stream.local_addr().unwrap();
    stream.write_all(b"hello").unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.starts_with("name=pod-a "), "{line}");
    assert!(line.contains("protocol=tcp"), "{line}");
    assert!(line.ends_with(&format!("peer={peer}\n")), "{line}");

    stream.write_all(b" again").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "hello again");
}

#[test]
fn what_only_begins_like_http_is_tcp() {
    let server = Server::start();
    for text in ["GET", "GET some milk\n"] {
        let mut stream = server.connect();
        stream.write_all(text.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let answer = read_all(stream);
        assert!(answer.ends_with(&format!("\n{text}")), "{answer:?}");
    }
}

#[test]
fn a_long_stream_comes_back_whole() {
    let server = Server::start();
    let mut stream = server.connect();
    let sent: Vec<u8> = (0..8 << 20).map(|n: u32| (n % 251) as u8).collect();
    let mut writer = stream.try_clone().unwrap();
    let copy = sent.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&copy).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    writing.join().unwrap();
    let report = received.iter().position(|byte| *byte == b'\n').unwrap();
    assert!(
        received[report + 1..] == sent[..],
        "{} bytes",
        received.len()
    );
}

#[test]
fn http_connections_are_kept_and_pipelined() {
    let server = Server::start();
    let mut stream = server.connect();
    let request = "GET /hostname HTTP/1.1\r\nHost: a\r\n\r\n";
    let last = "HEAD /hostname HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(request.repeat(3).as_bytes()).unwrap();
    stream.write_all(last.as_bytes()).unwrap();
    let answer = read_all(stream);
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 4);
    assert_eq!(answer.matches("\r\n\r\npod-a\n").count(), 3);
    assert_eq!(answer.matches("Content-Length: 6").count(), 4);
}

#[test]
fn nonsense_over_http_is_refused() {
    let server = Server::start();
    let mut stream = server.connect();
    stream
        .write_all(b"GET / HTTP/1.1\r\nno colon\r\n\r\n")
        .unwrap();
    assert!(read_all(stream).starts_with("HTTP/1.1 400 Bad Request\r\n"));
    assert_eq!(curl(&[&server.url("/health")]), "ok\n");
}

#[test]
fn a_thousand_connections_take_little_memory() {
    let server = Server::start();
    let streams: Vec<TcpStream> = (0..1000)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(b"x").unwrap();
            stream
        })
        .collect();
    for stream in &streams {
        let mut reader = BufReader::new(stream);
        reader.read_line(&mut String::new()).unwrap();
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let anonymous = status
        .lines()
        .find(|line| line.starts_with("RssAnon"))
        .unwrap();
    let kilobytes: u64 = anonymous
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    assert!(kilobytes < 2048, "{anonymous}");
}

#[test]
fn the_server_ends_at_once_when_told() {
    let mut server = Server::start();
    let _idle = server.connect();
    let start = Instant::now();
    let pid = nix::unistd::Pid::from_raw(server.child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(server.child.wait().unwrap().success());
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("[::]:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = Command::new(PROGRAM)
        .args(["--port", &port])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.starts_with(&format!("echo-server: listen on port {port}: ")),
        "{text}"
    );
}

#[test]
fn udp_client_says_when_nobody_answers() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = silent.local_addr().unwrap().to_string();
    let output = run("echo-client", &["--timeout", "0.2", "udp", &target]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        text,
        format!("echo-client: {target}: no answer within 0.2 s\n")
    );
}

#[test]
fn tcp_client_prints_the_answer() {
    let server = Server::start();
    let output = run(
        "echo-client",
        &["tcp", &server.at("127.0.0.1"), "hi", "there"],
    );
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .ends_with("\nhi there\n")
    );
}

/// The real curl, which the set-up installs.
fn real_curl(args: &[&str]) -> Output {
    Command::new("curl").args(args).output().unwrap()
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or(-1)
}

#[test]
fn our_curl_fails_as_the_real_one_does() {
    let server = Server::start();
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}/", silent.local_addr().unwrap());
    let closed = format!("http://{closed}/");
    let fine = server.url("/hostname");
    let cases: [(&[&str], i32); 9] = [
        (&["-s", "http://no-such-host.invalid/"], 6),
        (&["-s", &closed], 7),
        (&["-s", "-m", "0.3", &silent], 28),
        (&["-sS", "--max-time", "0.3", &silent], 28),
        (&["-s", "ftpx://a/"], 1),
        (&["-s", "http://127.0.0.1:99999/"], 3),
        (&["-s"], 2),
        (&["-s", "-6", &fine], 6),
        (&["-s", "-o", "/no/such/dir/x", &fine], 23),
    ];
    for (args, expected) in cases {
        assert_eq!(code(run("curl", args).status), expected, "{args:?}");
        let real = code(real_curl(args).status);
        // The last two differ between versions of curl: 7 or 6, and 23.
        assert!(
            real == expected || (args.contains(&"-6") && real == 7),
            "{args:?}: {real}"
        );
    }
}

#[test]
fn our_curl_prints_as_the_real_one_does() {
    let server = Server::start();
    let url = server.url("/hostname");
    let cases: [&[&str]; 8] = [
        &["-s", &url],
        &["-si", &url],
        &["-sI", &url],
        &["-sf", &url],
        &["-s", "-o", "/dev/null", "-w", "%{http_code}\\n", &url],
        &[
            "-s",
            "-o/dev/null",
            "-w%{http_code} %{size_download} %{remote_ip}",
            &url,
        ],
        &["-sX", "DELETE", &url],
        &[
            "-s",
            "-d",
            "a=1",
            "-d",
            "b=2",
            "-H",
            "Content-Type: text/x",
            &url,
        ],
    ];
    for args in cases {
        let (ours, real) = (run("curl", args), real_curl(args));
        assert_eq!(
            String::from_utf8(ours.stdout).unwrap(),
            String::from_utf8(real.stdout).unwrap(),
            "{args:?}"
        );
    }
}

#[test]
fn fail_turns_a_status_into_an_exit_code() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone");
        }
    });
    let failing = run("curl", &["-sS", "-f", &url]);
    assert_eq!(code(failing.status), 22);
    assert_eq!(failing.stdout, b"");
    assert_eq!(
        String::from_utf8(failing.stderr).unwrap(),
        "curl: (22) The requested URL returned error: 404\n"
    );
    assert_eq!(curl(&["-s", &url]), "none");
}

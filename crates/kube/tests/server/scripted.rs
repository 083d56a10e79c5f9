//! An API server that answers by a script, one request after the other, over real HTTP on loopback.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use sealane_kube::{Access, Client, client};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What to answer to the next request.
pub enum Reply {
    /// A status and a body.
    Json(u16, Value),
    /// The events of a watch, then the connection is cut.
    CutAfter(Vec<Value>),
    /// The events of a watch, then silence.
    HoldAfter(Vec<Value>),
    /// The connection is cut before an answer.
    Cut,
}

/// One expected request, by parts of its request line, and its answer.
pub struct Step(pub &'static [&'static str], pub Reply);

/// The server; it stops when this is dropped.
pub struct Scripted {
    pub client: Client,
    /// Requests as they came: request line, then body.
    seen: Arc<Mutex<Vec<(String, String)>>>,
    task: JoinHandle<()>,
    _kubeconfig: tempfile::TempDir,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Scripted {
    pub async fn new(steps: Vec<Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::default();
        let task = tokio::spawn(serve(listener, steps.into(), Arc::clone(&seen)));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig");
        std::fs::write(&path, kubeconfig(&server)).unwrap();
        let access = Access::from_kubeconfig(&path);
        Self {
            client: client(&access, "test").await.unwrap(),
            seen,
            task,
            _kubeconfig: dir,
        }
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<(String, String)> {
        self.seen.lock().unwrap().clone()
    }
}

fn kubeconfig(server: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": server}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "users": [{"name": "x", "user": {}}],
    })
    .to_string()
}

async fn serve(
    listener: TcpListener,
    steps: VecDeque<Step>,
    seen: Arc<Mutex<Vec<(String, String)>>>,
) {
    let steps = Arc::new(Mutex::new(steps));
    let mut held = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        held.spawn(converse(stream, Arc::clone(&steps), Arc::clone(&seen)));
    }
}

async fn converse(
    mut stream: TcpStream,
    steps: Arc<Mutex<VecDeque<Step>>>,
    seen: Arc<Mutex<Vec<(String, String)>>>,
) {
    while let Some((line, body)) = read_request(&mut stream).await {
        seen.lock().unwrap().push((line.clone(), body));
        let step = steps.lock().unwrap().pop_front();
        let Some(Step(parts, reply)) = step else {
            panic!("a request too many: {line}");
        };
        for part in parts {
            assert!(line.contains(part), "expected {part} in {line}");
        }
        match reply {
            Reply::Json(status, body) => {
                let body = body.to_string();
                let head = format!(
                    "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                stream.write_all((head + &body).as_bytes()).await.unwrap();
            }
            Reply::CutAfter(events) => return send_events(&mut stream, &events).await,
            Reply::HoldAfter(events) => {
                send_events(&mut stream, &events).await;
                return std::future::pending().await;
            }
            Reply::Cut => return,
        }
    }
}

async fn send_events(stream: &mut TcpStream, events: &[Value]) {
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    for event in events {
        let line = format!("{event}\n");
        let chunk = format!("{:x}\r\n{line}\r\n", line.len());
        stream.write_all(chunk.as_bytes()).await.unwrap();
    }
}

/// The request line and the body; nothing when the client has closed the connection.
async fn read_request(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(head_end) = find(&bytes, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..head_end]).to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |text| text.trim().parse().unwrap());
            let body_start = head_end + 4;
            if bytes.len() >= body_start + length {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let line = text.lines().next().unwrap_or_default().to_owned();
                return Some((line, text[body_start..].to_owned()));
            }
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

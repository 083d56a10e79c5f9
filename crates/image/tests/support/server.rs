//! A registry that answers as a test says, one request for each connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What was asked.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The first byte that is wanted.
    pub fn from(&self) -> usize {
        let range = self.header("range").and_then(|r| r.strip_prefix("bytes="));
        range
            .and_then(|r| r.trim_end_matches('-').parse().ok())
            .unwrap_or(0)
    }
}

/// What is answered.
#[derive(Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// Bytes of the body after which the connection breaks.
    pub cut: Option<usize>,
    /// Stay silent instead of breaking it.
    pub hang: bool,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    pub fn ok(body: Vec<u8>) -> Self {
        Self {
            status: 200,
            body,
            ..Self::default()
        }
    }

    /// A part of a body, as `Range` wants it.
    pub fn part(body: &[u8], from: usize) -> Self {
        match from {
            0 => Self::ok(body.to_vec()),
            _ => Self {
                status: 206,
                body: body[from..].to_vec(),
                ..Self::default()
            }
            .with(
                "Content-Range",
                format!("bytes {from}-{}/{}", body.len() - 1, body.len()),
            ),
        }
    }

    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((key, value.into()));
        self
    }
}

type Script = dyn Fn(&Request) -> Reply + Send + Sync;

pub struct Server {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (end, requests) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(Mutex::new(Vec::new())),
        );
        let script: Arc<Script> = Arc::new(script);
        let thread = std::thread::spawn({
            let (end, requests) = (end.clone(), requests.clone());
            move || {
                for stream in listener.incoming() {
                    if end.load(Ordering::SeqCst) {
                        return;
                    }
                    let (script, requests, stream) =
                        (script.clone(), requests.clone(), stream.unwrap());
                    // Whoever breaks a connection is part of the test.
                    std::thread::spawn(move || drop(serve(stream, &*script, &requests)));
                }
            }
        });
        Self {
            address,
            requests,
            end,
            thread: Some(thread),
        }
    }

    /// All that was asked, but for the question which protocol is spoken.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub fn image(&self, name: &str) -> sealane_image::Reference {
        format!("{}/{name}", self.address).parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn serve(
    mut stream: TcpStream,
    script: &Script,
    requests: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    let Some(request) = read(&stream)? else {
        // TLS, which is not spoken here.
        return Ok(());
    };
    requests.lock().unwrap().push(request.clone());
    let reply = script(&request);
    let mut head = format!(
        "HTTP/1.1 {} X\r\nConnection: close\r\nContent-Length: {}\r\n",
        reply.status,
        reply.body.len()
    );
    for (key, value) in &reply.headers {
        head.push_str(&format!("{key}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    if request.method != "HEAD" {
        stream.write_all(&reply.body[..reply.cut.unwrap_or(reply.body.len())])?;
    }
    if reply.hang {
        // Until the other side has had enough.
        stream.read_to_end(&mut Vec::new())?;
    }
    Ok(())
}

fn read(stream: &TcpStream) -> std::io::Result<Option<Request>> {
    let mut reader = BufReader::new(stream);
    if reader
        .fill_buf()?
        .first()
        .is_none_or(|b| !b.is_ascii_uppercase())
    {
        return Ok(None);
    }
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((key, value)) = line.trim().split_once(':') else {
            break;
        };
        headers.push((key.to_owned(), value.trim().to_owned()));
    }
    let mut request = Request {
        method,
        path,
        headers,
        body: String::new(),
    };
    let len = request
        .header("content-length")
        .and_then(|len| len.parse().ok())
        .unwrap_or(0);
    reader.take(len).read_to_string(&mut request.body)?;
    Ok(Some(request))
}

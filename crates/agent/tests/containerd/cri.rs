//! The few calls of CRI (`runtime.v1`) that the test makes: gRPC by hand over
//! HTTP/2, since a whole generated client would be a hundred times the size.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
};

use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};

/// A client that connects for each call.
pub struct Cri {
    socket: PathBuf,
    cgroup: String,
    tokio: tokio::runtime::Runtime,
}

/// A pod to make.
pub struct Sandbox<'a> {
    pub name: &'a str,
    pub annotations: &'a [(&'a str, &'a str)],
}

impl<'a> Sandbox<'a> {
    pub fn named(name: &'a str) -> Self {
        Self {
            name,
            annotations: &[],
        }
    }
}

impl Cri {
    /// A client whose pods are all below one cgroup.
    pub fn new(socket: PathBuf, cgroup: &str) -> Self {
        let tokio = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        Self {
            socket,
            cgroup: format!("/{cgroup}"),
            tokio,
        }
    }

    pub fn version(&self) -> Result<(), String> {
        self.call("RuntimeService/Version", Message::default())
            .map(drop)
    }

    pub fn has_image(&self, image: &str) -> Result<(), String> {
        let spec = Message::default().text(1, image);
        let answer = self.call(
            "ImageService/ImageStatus",
            Message::default().nested(1, spec),
        )?;
        match answer.field(1) {
            Some(_) => Ok(()),
            None => Err(format!("no image {image}")),
        }
    }

    /// The condition `NetworkReady`, and what it says.
    pub fn network_ready(&self) -> (bool, String) {
        let answer = self
            .call("RuntimeService/Status", Message::default())
            .unwrap();
        let status = Fields::of(answer.field(1).unwrap());
        let conditions = status.all(1).map(Fields::of);
        let network = conditions
            .into_iter()
            .find(|condition| condition.text(1) == "NetworkReady")
            .unwrap();
        (network.number(2) == 1, network.text(4))
    }

    #[track_caller]
    pub fn run(&self, sandbox: &Sandbox<'_>) -> String {
        let metadata = Message::default()
            .text(1, sandbox.name)
            .text(2, &format!("uid-{}", sandbox.name))
            .text(3, "default");
        let mut config = Message::default().nested(1, metadata).text(2, sandbox.name);
        for (key, value) in sandbox.annotations {
            config = config.nested(7, Message::default().text(1, key).text(2, value));
        }
        let linux = Message::default().text(1, &self.cgroup);
        let request = Message::default().nested(1, config.nested(8, linux));
        let answer = self.call("RuntimeService/RunPodSandbox", request);
        answer
            .unwrap_or_else(|error| panic!("run pod {}: {error}", sandbox.name))
            .text(1)
    }

    #[track_caller]
    pub fn ip(&self, id: &str) -> String {
        let answer = self.of_sandbox("PodSandboxStatus", id);
        let status = Fields::of(answer.field(1).unwrap());
        Fields::of(status.field(5).unwrap()).text(1)
    }

    pub fn list(&self) -> Vec<String> {
        let answer = self
            .call("RuntimeService/ListPodSandbox", Message::default())
            .unwrap();
        answer.all(1).map(|item| Fields::of(item).text(1)).collect()
    }

    #[track_caller]
    pub fn stop(&self, id: &str) {
        self.of_sandbox("StopPodSandbox", id);
    }

    #[track_caller]
    pub fn remove(&self, id: &str) {
        self.of_sandbox("RemovePodSandbox", id);
    }

    #[track_caller]
    fn of_sandbox(&self, method: &str, id: &str) -> Fields {
        let request = Message::default().text(1, id);
        self.call(&format!("RuntimeService/{method}"), request)
            .unwrap_or_else(|error| panic!("{method} {id}: {error}"))
    }

    fn call(&self, method: &str, message: Message) -> Result<Fields, String> {
        self.tokio
            .block_on(exchange(&self.socket, method, &message.0))
            .map(|bytes| Fields::of(&bytes))
    }
}

/// One call: a frame there, a frame back, and the status in the trailers.
async fn exchange(socket: &Path, method: &str, message: &[u8]) -> Result<Vec<u8>, String> {
    fn words(error: impl Display) -> String {
        error.to_string()
    }
    let stream = tokio::net::UnixStream::connect(socket)
        .await
        .map_err(words)?;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .map_err(words)?;
    let connected = tokio::spawn(connection);
    let length = (message.len() as u32).to_be_bytes();
    let frame = [&[0], &length[..], message].concat();
    let request = Request::post(format!("http://localhost/runtime.v1.{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from(frame)))
        .map_err(words)?;
    let response = sender.send_request(request).await.map_err(words)?;
    let headers = response.headers().clone();
    let body = response.into_body().collect().await.map_err(words)?;
    connected.abort();
    // A call that fails at once has its status in the headers.
    let trailers = body.trailers().cloned().unwrap_or(headers);
    let of = |name: &str| {
        let value = trailers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    if of("grpc-status") != "0" {
        return Err(format!(
            "{} (gRPC status {})",
            of("grpc-message"),
            of("grpc-status")
        ));
    }
    let bytes = body.to_bytes();
    Ok(bytes.get(5..).unwrap_or_default().to_vec())
}

/// A message of Protocol Buffers that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn text(self, field: u8, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    fn nested(self, field: u8, message: Message) -> Self {
        self.bytes(field, &message.0)
    }

    fn bytes(mut self, field: u8, bytes: &[u8]) -> Self {
        const LENGTH_DELIMITED: u8 = 2;
        self.0.push(field << 3 | LENGTH_DELIMITED);
        let mut length = bytes.len();
        while length >= 0x80 {
            self.0.push(length as u8 | 0x80);
            length >>= 7;
        }
        self.0.push(length as u8);
        self.0.extend(bytes);
        self
    }
}

/// A message of Protocol Buffers that was read: its fields in order.
struct Fields(Vec<(u64, Value)>);

enum Value {
    Number(u64),
    Bytes(Vec<u8>),
}

impl Fields {
    fn of(mut bytes: &[u8]) -> Self {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let tag = number(&mut bytes);
            let value = match tag & 7 {
                0 => Value::Number(number(&mut bytes)),
                2 => {
                    let length = number(&mut bytes) as usize;
                    let (value, rest) = bytes.split_at(length);
                    bytes = rest;
                    Value::Bytes(value.to_vec())
                }
                kind => panic!("a field of kind {kind}"),
            };
            fields.push((tag >> 3, value));
        }
        Self(fields)
    }

    fn all(&self, field: u64) -> impl Iterator<Item = &[u8]> {
        self.0
            .iter()
            .filter_map(move |(number, value)| match value {
                Value::Bytes(bytes) if *number == field => Some(&bytes[..]),
                _ => None,
            })
    }

    fn field(&self, field: u64) -> Option<&[u8]> {
        self.all(field).next()
    }

    fn text(&self, field: u64) -> String {
        String::from_utf8_lossy(self.field(field).unwrap_or_default()).into_owned()
    }

    fn number(&self, field: u64) -> u64 {
        let found = self.0.iter().find_map(|(number, value)| match value {
            Value::Number(value) if *number == field => Some(*value),
            _ => None,
        });
        found.unwrap_or_default()
    }
}

fn number(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    while let Some((byte, rest)) = bytes.split_first() {
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
        shift += 7;
    }
    value
}

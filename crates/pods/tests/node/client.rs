//! What the API server does with a node's server: HTTPS, and WebSockets for exec.

use std::sync::Arc;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use super::harness::Harness;

pub struct Client {
    tls: Arc<rustls::ClientConfig>,
    port: u16,
}

impl Client {
    /// A client whose certificate makes it a member of `organization`.
    pub fn new(harness: &Harness, organization: Option<&str>) -> Self {
        Self {
            tls: harness.certificates.client(organization),
            port: harness.port,
        }
    }

    pub fn master(harness: &Harness) -> Self {
        Self::new(harness, Some("system:masters"))
    }

    async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let name = ServerName::try_from("127.0.0.1").unwrap();
        TlsConnector::from(self.tls.clone())
            .connect(name, stream)
            .await
    }

    /// Begins a request; the body is read by whoever wants it.
    pub async fn begin(&self, path: &str) -> anyhow::Result<Response<Incoming>> {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(self.connect().await?)).await?;
        tokio::spawn(connection);
        let request = Request::get(path)
            .header("host", "node")
            .body(Empty::<Bytes>::new())?;
        Ok(sender.send_request(request).await?)
    }

    /// The status and text of an answer.
    pub async fn get(&self, path: &str) -> anyhow::Result<(u16, String)> {
        let response = self.begin(path).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// A connection that has switched to another protocol, or the refusal.
    pub async fn switch(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<TokioIo<Upgraded>, (u16, String)> {
        let io = TokioIo::new(self.connect().await.unwrap());
        let (mut sender, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        let mut request = Request::post(path)
            .header("host", "node")
            .header("connection", "Upgrade");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let mut response = sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        if status == 101 {
            return Ok(TokioIo::new(
                hyper::upgrade::on(&mut response).await.unwrap(),
            ));
        }
        let body = response.into_body().collect().await.unwrap().to_bytes();
        Err((status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// A WebSocket whose messages the test reads itself.
    pub async fn socket(&self, path: &str, protocol: &'static str) -> Socket {
        self.exec(path, protocol).await.socket
    }

    /// A command in a container.
    pub async fn exec(&self, path: &str, protocol: &'static str) -> Exec {
        let url = format!("wss://127.0.0.1:{}{path}", self.port);
        let mut request = url.into_client_request().unwrap();
        let header = HeaderValue::from_static(protocol);
        request
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", header);
        let stream = self.connect().await.unwrap();
        let (socket, response) = tokio_tungstenite::client_async(request, stream)
            .await
            .unwrap();
        assert_eq!(response.headers()["Sec-WebSocket-Protocol"], protocol);
        Exec { socket }
    }
}

pub type Socket = WebSocketStream<TlsStream<TcpStream>>;

pub struct Exec {
    socket: Socket,
}

/// What a command has said.
#[derive(Debug, Default)]
pub struct Said {
    pub stdout: String,
    pub stderr: String,
    pub status: Value,
}

impl Exec {
    pub async fn send(&mut self, channel: u8, bytes: &[u8]) {
        let message = [&[channel], bytes].concat();
        self.socket
            .send(Message::Binary(message.into()))
            .await
            .unwrap();
    }

    /// Reads until standard output holds `text`.
    pub async fn read_until(&mut self, text: &str) -> Said {
        let mut said = Said::default();
        while !said.stdout.contains(text) {
            let message = self
                .socket
                .next()
                .await
                .expect("the command goes on")
                .unwrap();
            said.take(message);
        }
        said
    }

    /// Reads until the end.
    pub async fn finish(mut self) -> Said {
        let mut said = Said::default();
        while let Some(Ok(message)) = self.socket.next().await {
            if let Message::Close(frame) = &message {
                let code = frame.as_ref().map(|frame| u16::from(frame.code));
                assert_eq!(
                    code,
                    Some(1000),
                    "clients take any other for a broken connection"
                );
            }
            said.take(message);
        }
        said
    }
}

impl Said {
    fn take(&mut self, message: Message) {
        let Message::Binary(bytes) = message else {
            return;
        };
        let text = String::from_utf8_lossy(&bytes[1..]).into_owned();
        match bytes[0] {
            1 => self.stdout += &text,
            2 => self.stderr += &text,
            3 if !text.is_empty() => self.status = serde_json::from_str(&text).unwrap(),
            _ => {}
        }
    }
}

//! Attach, port-forward, and SPDY, as clients of both generations ask for them.

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use sealane_spdy::Frame;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

use super::client::{Client, Socket};
use super::harness::Harness;
use super::spdy::Spdy;

const V5: &str = "v5.channel.k8s.io";
const SPDY: &[(&str, &str)] = &[
    ("upgrade", "SPDY/3.1"),
    ("x-stream-protocol-version", "v5.channel.k8s.io"),
    ("x-stream-protocol-version", "v4.channel.k8s.io"),
];
const FORWARD: &[(&str, &str)] = &[
    ("upgrade", "SPDY/3.1"),
    ("x-stream-protocol-version", "portforward.k8s.io"),
];
const REQUEST: &[u8] = b"GET /hostname HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

async fn with_container(container: Value) -> Harness {
    let harness = Harness::start().await;
    let spec = json!({"terminationGracePeriodSeconds": 0, "restartPolicy": "Never", "containers": [container]});
    harness.create_pod("a", spec);
    harness.wait_running("a").await;
    harness
}

async fn with_script(script: &str) -> Harness {
    with_container(json!({
        "name": "c", "image": "sealane.io/host", "stdin": true, "stdinOnce": true,
        "command": ["sh", "-c", script],
    }))
    .await
}

/// A pod that serves HTTP on port 8080.
async fn with_server() -> (Harness, Client) {
    let harness = with_container(json!({"name": "c", "image": "sealane.io/echo"})).await;
    let client = Client::master(&harness);
    let mut log = String::new();
    while !log.contains("on port 8080") {
        log = client.get("/containerLogs/default/a/c").await.unwrap().1;
    }
    (harness, client)
}

#[tokio::test]
async fn a_container_is_attached_to_until_it_ends() {
    let harness = with_script("while read line; do echo got $line; done; echo over; exit 3").await;
    let client = Client::master(&harness);
    let path = "/attach/default/a/c?stdin=1&stdout=1&stderr=1";
    let mut second = client.exec("/attach/default/a/c?stdout=1", V5).await;
    let mut first = client.exec(path, V5).await;
    let (tell, mut heard) = tokio::sync::oneshot::channel();
    let second = tokio::spawn(async move {
        second.read_until("got one\n").await;
        tell.send(()).unwrap();
        second.finish().await
    });
    // An attacher hears what is said from now on, whenever that is.
    while heard.try_recv().is_err() {
        first.send(0, b"one\n").await;
        first.read_until("got one\n").await;
    }
    first.send(255, &[0]).await;
    for said in [first.finish().await, second.await.unwrap()] {
        assert!(said.stdout.ends_with("over\n"), "{said:?}");
        // The container's exit code is the pod's to tell.
        assert_eq!(said.status["status"], "Success", "{said:?}");
    }
}

#[tokio::test]
async fn the_end_of_a_session_ends_its_input_alone() {
    let harness = with_script("cat; echo no more; exec sleep 1000").await;
    let client = Client::master(&harness);
    let mut cut = client
        .exec("/attach/default/a/c?stdin=1&stdout=1", V5)
        .await;
    cut.send(0, b"line\n").await;
    cut.read_until("line\n").await;
    drop(cut);
    let mut log = String::new();
    while !log.contains("no more") {
        log = client.get("/containerLogs/default/a/c").await.unwrap().1;
    }
    assert_eq!(log, "line\nno more\n");
}

#[tokio::test]
async fn a_restarted_node_ends_sessions_and_no_containers() {
    let mut harness =
        with_script("while read line; do echo got $line; done; exec sleep 1000").await;
    let client = Client::master(&harness);
    let mut attached = client
        .exec("/attach/default/a/c?stdin=1&stdout=1", V5)
        .await;
    attached.send(0, b"one\n").await;
    attached.read_until("got one\n").await;
    harness.kill();
    assert_eq!(attached.finish().await.status, Value::Null, "it is cut");
    harness.run();
    harness.wait_running("a").await;
    let client = Client::master(&harness);
    let mut log = String::new();
    while log != "got one\n" {
        log = match client.get("/containerLogs/default/a/c").await {
            Ok((200, text)) => text,
            _ => String::new(),
        };
    }
    let path = "/exec/default/a/c?command=echo&command=alive&stdout=1";
    let said = loop {
        let said = client.exec(path, V5).await.finish().await;
        // The node has the container's log before it has its shim again.
        if !said.status.to_string().contains("is not running") {
            break said;
        }
    };
    assert_eq!(said.stdout, "alive\n", "{said:?}");
}

#[tokio::test]
async fn an_old_client_runs_commands_over_spdy() {
    let harness = with_script("exec sleep 1000").await;
    let client = Client::master(&harness);
    let script = "cat;echo+err+%3E%262;exit+5";
    let path = format!(
        "/exec/default/a/c?command=sh&command=-c&command={script}&input=1&output=1&error=1"
    );
    let mut spdy = Spdy::new(client.switch(&path, SPDY).await.unwrap());
    let error = spdy.open(&[("streamType", "error")]).await;
    let stdin = spdy.open(&[("Streamtype", "stdin")]).await;
    let stdout = spdy.open(&[("streamtype", "stdout")]).await;
    let stderr = spdy.open(&[("streamType", "stderr")]).await;
    spdy.send(error, b"", true).await;
    spdy.ping(1).await;
    spdy.send(stdin, b"some ", false).await;
    spdy.send(stdin, b"input\n", true).await;
    assert_eq!(spdy.read(stdout).await, "some input\n");
    assert_eq!(spdy.read(stderr).await, "err\n");
    let status: Value = serde_json::from_str(&spdy.read(error).await).unwrap();
    assert_eq!(status["details"]["causes"][0]["message"], "5", "{status}");

    let path = "/attach/default/a/x?output=1";
    let refused = client.switch(path, SPDY).await.map(drop).unwrap_err();
    assert_eq!(refused, (400, "container x is not valid for pod a".into()));
}

#[tokio::test]
async fn a_terminal_over_spdy_has_the_clients_size() {
    let harness = with_script("exec sleep 1000").await;
    let client = Client::master(&harness);
    let path = "/exec/default/a/c?command=sh&input=1&output=1&tty=1";
    let mut spdy = Spdy::new(client.switch(path, SPDY).await.unwrap());
    let error = spdy.open(&[("streamType", "error")]).await;
    let stdin = spdy.open(&[("streamType", "stdin")]).await;
    let stdout = spdy.open(&[("streamType", "stdout")]).await;
    let resize = spdy.open(&[("streamType", "resize")]).await;
    spdy.send(resize, b"{\"Width\":123,", false).await;
    spdy.send(resize, b"\"Height\":45}\n", false).await;
    // The size arrives on its own: asked again until it is there.
    let script = b"while [ \"$(stty size)\" != '45 123' ]; do :; done; echo is-$((1+1)); exit 0\n";
    spdy.send(stdin, script, false).await;
    spdy.read_until(stdout, "is-2").await;
    assert!(spdy.read(error).await.contains("Success"));
}

/// Asks the pod's server over streams, and a port where nobody listens.
async fn forward<S>(mut spdy: Spdy<S>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut pairs = Vec::new();
    for (request, port) in [("0", "8080"), ("1", "9"), ("2", "8080")] {
        let named = |kind| [("streamType", kind), ("port", port), ("requestID", request)];
        let error = spdy.open(&named("error")).await;
        spdy.send(error, b"", true).await;
        let data = spdy.open(&named("data")).await;
        // The end of input does not end what the pod says.
        spdy.send(data, REQUEST, true).await;
        pairs.push((error, data));
    }
    for (error, data) in [pairs[2], pairs[0]] {
        let answer = spdy.read(data).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(spdy.read(error).await, "");
    }
    let (error, data) = pairs[1];
    let refused = spdy.read(error).await;
    assert!(
        refused.starts_with("error forwarding port 9 to pod default/a, uid "),
        "{refused}"
    );
    assert!(
        refused.contains("dial tcp4 127.0.0.1:9: connect: connection refused"),
        "{refused}"
    );
    assert_eq!(spdy.read(data).await, "");
    spdy.ping(7).await;
    while spdy.next().await != Some(Frame::Ping { id: 7 }) {}
}

#[tokio::test]
async fn ports_are_forwarded_over_streams() {
    let (_harness, client) = with_server().await;
    let path = "/portForward/default/a";
    forward(Spdy::new(client.switch(path, FORWARD).await.unwrap())).await;
    let refused = client
        .switch("/portForward/default/b", FORWARD)
        .await
        .map(drop);
    let message = "pod \"b\" in namespace \"default\" is not on this node";
    assert_eq!(refused.unwrap_err(), (404, message.into()));
}

#[tokio::test]
async fn ports_are_forwarded_over_streams_within_messages() {
    let (_harness, client) = with_server().await;
    let socket = client
        .socket("/portForward/default/a", "SPDY/3.1+portforward.k8s.io")
        .await;
    let (near, far) = tokio::io::duplex(1 << 16);
    let tunnel = tokio::spawn(carry(socket, far));
    forward(Spdy::new(near)).await;
    tunnel.abort();
}

/// Puts bytes into messages, a few at a time, and takes them out.
async fn carry(mut socket: Socket, mut far: tokio::io::DuplexStream) {
    let mut piece = [0; 7];
    loop {
        tokio::select! {
            count = far.read(&mut piece) => {
                let bytes = Bytes::copy_from_slice(&piece[..count.unwrap()]);
                if bytes.is_empty() || socket.send(Message::Binary(bytes)).await.is_err() {
                    return;
                }
            }
            message = socket.next() => match message {
                Some(Ok(Message::Binary(bytes))) => far.write_all(&bytes).await.unwrap(),
                Some(Ok(_)) => {}
                _ => return,
            },
        }
    }
}

#[tokio::test]
async fn ports_are_forwarded_over_channels() {
    let (_harness, client) = with_server().await;
    let path = "/portForward/default/a?ports=8080,9";
    let mut socket = client.socket(path, "v4.channel.k8s.io").await;
    let request = [&[0], REQUEST].concat();
    socket.send(Message::Binary(request.into())).await.unwrap();
    let mut channels = vec![Vec::new(); 4];
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Binary(bytes) = message {
            channels[usize::from(bytes[0])].extend_from_slice(&bytes[1..]);
        }
    }
    let ports: Vec<u16> = channels
        .iter()
        .map(|c| u16::from_le_bytes([c[0], c[1]]))
        .collect();
    assert_eq!(ports, [8080, 8080, 9, 9]);
    let text = |channel: usize| String::from_utf8_lossy(&channels[channel][2..]).into_owned();
    assert!(text(0).starts_with("HTTP/1.1 200"), "{}", text(0));
    assert_eq!((text(1), text(2)), (String::new(), String::new()));
    assert!(text(3).contains("connection refused"), "{}", text(3));
}

#[tokio::test]
async fn the_bytes_of_one_connection_are_carried() {
    let (_harness, client) = with_server().await;
    let bytes = [("upgrade", "sealane-bytes")];
    let path = "/portForward/default/a?port=8080";
    let mut io = client.switch(path, &bytes).await.unwrap();
    io.write_all(REQUEST).await.unwrap();
    let mut answer = String::new();
    io.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for (query, code, words) in [
        (
            "port=9",
            503,
            "dial tcp4 127.0.0.1:9: connect: connection refused",
        ),
        (
            "port=8080&address=10.1.1.1",
            400,
            "10.1.1.1 is not an address of pod default/a",
        ),
        (
            "port=1&port=2",
            400,
            "2 ports: the bytes of one connection need one",
        ),
        ("port=x", 400, "port \"x\" must be a number from 1 to 65535"),
    ] {
        let path = format!("/portForward/default/a?{query}");
        let (status, text) = client.switch(&path, &bytes).await.map(drop).unwrap_err();
        assert_eq!(status, code, "{text}");
        assert!(text.contains(words), "{text}");
    }
}

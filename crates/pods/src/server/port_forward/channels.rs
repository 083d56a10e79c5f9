//! Port-forward over WebSocket channels (`v4.channel.k8s.io`), as the Python client speaks it.
//!
//! Port number I of the request has channel 2·I for data and 2·I+1 for errors. The first message
//! on each, from here, is the port in two bytes, the lower one first. A channel cannot be closed, so the
//! connection ends when all ports' have. With `v4.base64.channel.k8s.io` messages are text: a
//! digit for the channel, and the bytes in base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::copy::{Sink, both_ways};
use super::dial::PodNet;
use crate::server::idle::Idle;
use crate::server::session::farewell;

/// Messages that may wait, in each direction of each port.
const QUEUE: usize = 16;

/// Forwards the ports until all their connections have ended, or the client goes away.
pub async fn serve(
    socket: WebSocketStream<TokioIo<Upgraded>>,
    base64: bool,
    ports: &[u16],
    pod: PodNet,
) {
    let (mut sink, mut source) = socket.split();
    let (say, mut said) = mpsc::channel::<(u8, Bytes)>(QUEUE);
    let idle = Idle::new();
    let mut forwards = JoinSet::new();
    let mut inputs = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let Ok(index) = u8::try_from(index) else {
            break;
        };
        let (input, queue) = mpsc::channel(QUEUE);
        inputs.push(input);
        let channel = Channel {
            number: 2 * index,
            say: say.clone(),
        };
        forwards.spawn(forward(*port, channel, queue, pod.clone(), idle.clone()));
    }
    drop(say);
    let take = async {
        while let Some(Ok(message)) = source.next().await {
            let Some((channel, bytes)) = understand(message, base64) else {
                continue;
            };
            idle.touch();
            // Nothing is expected on channels for errors.
            let input = inputs
                .get(usize::from(channel / 2))
                .filter(|_| channel.is_multiple_of(2));
            if let Some(input) = input {
                // A connection that has ended misses nothing.
                let _ended = input.send(bytes).await.is_err();
            }
        }
    };
    let speak = async {
        while let Some((channel, bytes)) = said.recv().await {
            if sink.send(message(channel, &bytes, base64)).await.is_err() {
                return;
            }
        }
        // All connections have ended.
        let _gone = sink.send(farewell()).await;
    };
    tokio::select! {
        () = take => {}
        () = speak => {}
        () = idle.expired() => {}
    }
}

/// What goes to the client on one channel.
struct Channel {
    number: u8,
    say: mpsc::Sender<(u8, Bytes)>,
}

impl Sink for Channel {
    async fn send(&self, bytes: Bytes) -> bool {
        self.say.send((self.number, bytes)).await.is_ok()
    }

    async fn finish(&self) -> bool {
        true
    }
}

async fn forward(port: u16, data: Channel, input: mpsc::Receiver<Bytes>, pod: PodNet, idle: Idle) {
    let errors = Channel {
        number: data.number + 1,
        say: data.say.clone(),
    };
    let number = Bytes::copy_from_slice(&port.to_le_bytes());
    if !(data.send(number.clone()).await && errors.send(number).await) {
        return;
    }
    let carried = match pod.connect(port).await {
        Ok(tcp) => carry(tcp, input, &data, &idle).await,
        Err(why) => Err(why),
    };
    if let Err(why) = carried {
        tracing::debug!("{why}");
        let _gone = errors.send(why.into()).await;
    }
}

/// A connection that the pod has closed is over: nothing could tell the client of its half.
async fn carry(
    tcp: tokio::net::TcpStream,
    input: mpsc::Receiver<Bytes>,
    data: &Channel,
    idle: &Idle,
) -> Result<(), String> {
    let ended = tokio_util::sync::CancellationToken::new();
    let sink = Ending {
        data,
        ended: ended.clone(),
    };
    tokio::select! {
        copied = both_ways(tcp, input, &sink, idle) => {
            copied.map_err(|cause| format!("a forwarded connection broke: {cause}"))
        }
        () = ended.cancelled() => Ok(()),
    }
}

struct Ending<'a> {
    data: &'a Channel,
    ended: tokio_util::sync::CancellationToken,
}

impl Sink for Ending<'_> {
    async fn send(&self, bytes: Bytes) -> bool {
        self.data.send(bytes).await
    }

    async fn finish(&self) -> bool {
        self.ended.cancel();
        true
    }
}

/// Channel and bytes of a message; `None` for one that has neither.
fn understand(message: Message, base64: bool) -> Option<(u8, Bytes)> {
    let bytes = match message {
        Message::Binary(bytes) => bytes,
        Message::Text(text) => text.into(),
        _ => return None,
    };
    let channel = *bytes.first()?;
    let rest = bytes.slice(1..);
    if base64 {
        let channel = channel.checked_sub(b'0')?;
        return Some((channel, STANDARD.decode(rest).ok()?.into()));
    }
    Some((channel, rest))
}

fn message(channel: u8, bytes: &[u8], base64: bool) -> Message {
    if base64 {
        let mut text = String::from(char::from(b'0' + channel % 10));
        STANDARD.encode_string(bytes, &mut text);
        return Message::text(text);
    }
    let mut message = Vec::with_capacity(bytes.len() + 1);
    message.push(channel);
    message.extend_from_slice(bytes);
    Message::Binary(message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_their_channel() {
        for base64 in [false, true] {
            for channel in [0, 1, 5] {
                let there = message(channel, b"\x50\x00", base64);
                assert_eq!(there.is_text(), base64);
                let back = understand(there, base64);
                assert_eq!(back, Some((channel, Bytes::from_static(b"\x50\x00"))));
            }
        }
        assert_eq!(understand(Message::Binary(Bytes::new()), false), None);
        assert_eq!(understand(Message::text("0***"), true), None);
        assert_eq!(understand(Message::Ping(Bytes::new()), false), None);
    }
}

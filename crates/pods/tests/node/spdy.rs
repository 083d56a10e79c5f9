//! The client's side of SPDY, as kubectl has it.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use sealane_spdy::{Decoder, Encoder, Frame, Headers, StreamId};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::harness::DEADLINE;

pub struct Spdy<S> {
    io: S,
    encoder: Encoder,
    decoder: Decoder,
    last: StreamId,
    /// What has come on each stream, and whether it has ended.
    pub heard: BTreeMap<StreamId, (Vec<u8>, bool)>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Spdy<S> {
    pub fn new(io: S) -> Self {
        Self {
            io,
            encoder: Encoder::new(),
            decoder: Decoder::new(),
            last: 0,
            heard: BTreeMap::new(),
        }
    }

    async fn say(&mut self, frame: Frame) {
        let mut bytes = BytesMut::new();
        self.encoder.encode(&frame, &mut bytes).unwrap();
        self.io.write_all(&bytes).await.unwrap();
        self.io.flush().await.unwrap();
    }

    /// Opens a stream with these headers.
    pub async fn open(&mut self, headers: &[(&str, &str)]) -> StreamId {
        let id = if self.last == 0 { 1 } else { self.last + 2 };
        self.last = id;
        let headers = Headers::new(headers.iter().copied());
        self.say(Frame::SynStream {
            id,
            headers,
            fin: false,
        })
        .await;
        id
    }

    pub async fn send(&mut self, id: StreamId, bytes: &[u8], fin: bool) {
        let bytes = Bytes::copy_from_slice(bytes);
        self.say(Frame::Data { id, bytes, fin }).await;
    }

    pub async fn ping(&mut self, id: u32) {
        self.say(Frame::Ping { id }).await;
    }

    /// The next frame; what streams say is kept.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next().unwrap() {
                if let Frame::Data { id, bytes, fin } = &frame {
                    let heard = self.heard.entry(*id).or_default();
                    heard.0.extend_from_slice(bytes);
                    heard.1 |= fin;
                }
                return Some(frame);
            }
            let mut piece = vec![0; 64 << 10];
            let reading = tokio::time::timeout(DEADLINE, self.io.read(&mut piece));
            match reading.await.expect("the server says something").unwrap() {
                0 => return None,
                count => self.decoder.push(&piece[..count]),
            }
        }
    }

    /// Reads a stream to its end.
    pub async fn read(&mut self, id: StreamId) -> String {
        while !self.heard.get(&id).is_some_and(|(_, ended)| *ended) {
            let frame = self.next().await;
            frame.expect("the stream ends before the connection does");
        }
        String::from_utf8(self.heard[&id].0.clone()).unwrap()
    }

    /// Reads a stream until it has said this.
    pub async fn read_until(&mut self, id: StreamId, text: &str) {
        let said = |heard: &(Vec<u8>, bool)| String::from_utf8_lossy(&heard.0).contains(text);
        while !self.heard.get(&id).is_some_and(said) {
            self.next().await.expect("the connection goes on");
        }
    }
}

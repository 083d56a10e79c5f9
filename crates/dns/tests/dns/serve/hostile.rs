//! Clients that mean no good: nothing of it reaches others.

use std::time::Duration;

use sealane_dns::serve::Settings;
use sealane_message::{Kind, Rcode};
use tokio::io::AsyncWriteExt;

use super::{Server, Tcp, Udp, id, query, rcode, settings};

/// Numbers that look random, the same in each run.
fn noise() -> impl Iterator<Item = u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_datagrams_are_harmless() {
    let server = Server::start("127.0.0.1:0", &settings());
    let hostile = Udp::new("127.0.0.1:0", server.at).await;
    let client = Udp::new("127.0.0.1:0", server.at).await;
    let mut noise = noise();
    for round in 0..300 {
        let length = round * 7;
        let mut message: Vec<_> = noise.by_ref().take(length).collect();
        hostile.send(&message).await;
        // Behind a header that promises a question, or a record.
        if length > 12 {
            message[2..12].copy_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, (round % 2) as u8]);
            hostile.send(&message).await;
        }
        if round % 10 == 0 {
            let reply = client.ask(&query(round as u16, "here.test", Kind::A)).await;
            assert_eq!(id(&reply), round as u16);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rubbish_is_told_so_and_replies_are_not_answered() {
    let server = Server::start("127.0.0.1:0", &settings());
    let client = Udp::new("127.0.0.1:0", server.at).await;
    let mut trailing = query(1, "here.test", Kind::A);
    trailing.push(0);
    assert_eq!(rcode(&client.ask(&trailing).await), Rcode::FORMERR);
    let looped = b"\0\x02\x01\0\0\x01\0\0\0\0\0\0\x01a\xc0\x0c\0\x01\0\x01";
    assert_eq!(rcode(&client.ask(looped).await), Rcode::FORMERR);
    let mut reply = query(3, "here.test", Kind::A);
    reply[2] |= 0x80;
    client.send(&reply).await;
    client.send(b"short").await;
    client.send(b"").await;
    client.send(&query(4, "silent.test", Kind::A)).await;
    assert_eq!(
        id(&client.ask(&query(5, "here.test", Kind::A)).await),
        5,
        "the first that is answered"
    );
    // Longer than any query: read in part, so it cannot be right.
    let long = [query(6, "here.test", Kind::A), vec![0; 20_000]].concat();
    assert_eq!(rcode(&client.ask(&long).await), Rcode::FORMERR);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_64_kib_is_refused_when_its_header_is_there() {
    let server = Server::start("127.0.0.1:0", &settings());
    let mut client = Tcp::new(server.at).await;
    let message = query(9, "here.test", Kind::A);
    client.0.write_all(&[0xFF, 0xFF]).await.unwrap();
    client.0.write_all(&message).await.unwrap();
    let reply = client.receive().await;
    assert_eq!((id(&reply), rcode(&reply)), (9, Rcode::FORMERR));
    assert_eq!(client.rest().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_streams_are_harmless() {
    let server = Server::start("127.0.0.1:0", &settings());
    let mut noise = noise();
    for _ in 0..50 {
        let mut hostile = Tcp::new(server.at).await;
        let bytes: Vec<_> = noise.by_ref().take(3000).collect();
        // It may be closed before all of it is written.
        let _maybe = hostile.0.write_all(&bytes).await;
    }
    let mut client = Tcp::new(server.at).await;
    client.send(&[query(1, "here.test", Kind::A)]).await;
    assert_eq!(id(&client.receive().await), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_take_replies_is_not_read_from_and_ends() {
    let idle = Duration::from_millis(300);
    let server = Server::start("127.0.0.1:0", &Settings { idle, ..settings() });
    let mut hostile = Tcp::new(server.at).await;
    let message = query(1, "big.test", Kind::TXT);
    let mut bytes = (message.len() as u16).to_be_bytes().to_vec();
    bytes.extend_from_slice(&message);
    // 60 GB of replies if they were all made; the server stops reading, so this stops.
    let ask_for_ever = async {
        for _ in 0..1_000_000 {
            if hostile.0.write_all(&bytes).await.is_err() {
                return true;
            }
        }
        false
    };
    let ended = tokio::time::timeout(super::PATIENCE, ask_for_ever).await;
    assert_eq!(ended.ok(), Some(true), "it is closed");
    let mut client = Tcp::new(server.at).await;
    client.send(&[query(1, "here.test", Kind::A)]).await;
    assert_eq!(id(&client.receive().await), 1);
}

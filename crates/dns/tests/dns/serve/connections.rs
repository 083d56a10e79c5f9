//! Connections.

use std::time::Duration;

use sealane_dns::serve::Settings;
use sealane_message::{Kind, Rcode};
use tokio::io::AsyncWriteExt;

use super::{Server, Tcp, id, is_truncated, query, rcode, records, settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_come_as_they_are_ready() {
    let server = Server::start("127.0.0.1:0", &settings());
    let mut client = Tcp::new(server.at).await;
    let messages = [
        query(1, "later.test", Kind::A),
        query(2, "here.test", Kind::A),
        query(3, "nowhere.test", Kind::A),
    ];
    client.send(&messages).await;
    let (second, third) = (client.receive().await, client.receive().await);
    assert_eq!(
        (id(&second), id(&third), rcode(&third)),
        (2, 3, Rcode::NXDOMAIN)
    );
    server.stub.found.add_permits(1);
    assert_eq!(id(&client.receive().await), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_replies_are_whole() {
    let server = Server::start("127.0.0.1:0", &settings());
    let mut client = Tcp::new(server.at).await;
    client
        .send(&[
            query(1, "many.test", Kind::A),
            query(2, "big.test", Kind::TXT),
        ])
        .await;
    let reply = client.receive().await;
    assert_eq!((records(&reply).len(), is_truncated(&reply)), (100, false));
    let reply = client.receive().await;
    assert_eq!((records(&reply).len(), is_truncated(&reply)), (230, false));
    assert!(reply.len() > 58_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_may_come_in_pieces() {
    let server = Server::start("127.0.0.1:0", &settings());
    let mut client = Tcp::new(server.at).await;
    let message = query(5, "here.test", Kind::A);
    let mut bytes = (message.len() as u16).to_be_bytes().to_vec();
    bytes.extend_from_slice(&message);
    for byte in bytes {
        client.0.write_all(&[byte]).await.unwrap();
    }
    assert_eq!(id(&client.receive().await), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_queries_on_one_connection() {
    let server = Server::start("127.0.0.1:0", &settings());
    let mut client = Tcp::new(server.at).await;
    let messages: Vec<_> = (0..1000)
        .map(|number| {
            query(
                number,
                ["here.test", "later.test"][usize::from(number % 2)],
                Kind::A,
            )
        })
        .collect();
    server.stub.found.add_permits(500);
    client.send(&messages).await;
    let mut ids = Vec::new();
    for _ in 0..1000 {
        ids.push(id(&client.receive().await));
    }
    ids.sort_unstable();
    assert_eq!(
        ids,
        (0..1000).collect::<Vec<_>>(),
        "more than may wait at once, and all answered"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_is_closed_upon_but_not_who_waits_for_us() {
    let idle = Duration::from_millis(150);
    let server = Server::start("127.0.0.1:0", &Settings { idle, ..settings() });
    let mut silent = Tcp::new(server.at).await;
    let mut half = Tcp::new(server.at).await;
    half.0.write_all(&[0, 40, 1, 2, 3]).await.unwrap();
    let mut waits = Tcp::new(server.at).await;
    waits.send(&[query(1, "later.test", Kind::A)]).await;
    assert_eq!((silent.rest().await, half.rest().await), (0, 0));
    server.stub.found.add_permits(1);
    assert_eq!(id(&waits.receive().await), 1);
    assert_eq!(waits.rest().await, 0);
}

//! Restarts: who takes over reads the same sockets, and no query is lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use sealane_dns::serve::start;
use sealane_message::Kind;
use tokio::time::timeout;

use super::{PATIENCE, Server, Tcp, Udp, copy, id, query, settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_is_answered_and_nothing_else_is_read() {
    let mut server = Server::start("127.0.0.1:0", &settings());
    let client = Udp::new("127.0.0.1:0", server.at).await;
    client.send(&query(1, "later.test", Kind::A)).await;
    let mut connected = Tcp::new(server.at).await;
    connected
        .send(&[
            query(2, "later.test", Kind::A),
            query(3, "here.test", Kind::A),
        ])
        .await;
    assert_eq!(id(&connected.receive().await), 3);
    assert_eq!(id(&client.ask(&query(4, "here.test", Kind::A)).await), 4);

    server.serving.stop().await;
    let draining = tokio::spawn(server.serving.drain());
    // The one that waits holds the drain up, and is answered.
    client.send(&query(5, "here.test", Kind::A)).await;
    let nothing = timeout(Duration::from_millis(100), client.receive()).await;
    assert!(nothing.is_err() && !draining.is_finished());
    server.stub.found.add_permits(2);
    assert_eq!(id(&client.receive().await), 1);
    assert_eq!(id(&connected.receive().await), 2);
    timeout(PATIENCE, draining).await.expect("an end").unwrap();

    // Another one finds what was not read.
    let _next = start(copy(&server.sockets), &settings(), server.stub.clone()).unwrap();
    assert_eq!(id(&client.receive().await), 5);
    let mut again = Tcp::new(server.at).await;
    again.send(&[query(6, "here.test", Kind::A)]).await;
    assert_eq!(id(&again.receive().await), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_lose_no_query() {
    let server = Server::start("127.0.0.1:0", &settings());
    let (at, stub, sockets) = (server.at, server.stub, server.sockets);
    // Lookups end at once.
    stub.found.add_permits(1_000_000);
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8)
        .map(|number| {
            let over = Arc::clone(&over);
            tokio::spawn(async move {
                let mut count = 0_u16;
                let client = Udp::new("127.0.0.1:0", at).await;
                while !over.load(Relaxed) {
                    count += 1;
                    let name = ["here.test", "later.test"][usize::from(count % 2)];
                    if number % 2 == 0 {
                        assert_eq!(id(&client.ask(&query(count, name, Kind::A)).await), count);
                    } else {
                        let mut client = Tcp::new(at).await;
                        client.send(&[query(count, name, Kind::A)]).await;
                        assert_eq!(id(&client.receive().await), count);
                    }
                }
                count
            })
        })
        .collect();
    let mut serving = server.serving;
    for _ in 0..10 {
        let next = start(copy(&sockets), &settings(), stub.clone()).unwrap();
        timeout(PATIENCE, serving.drain()).await.expect("an end");
        serving = next;
    }
    over.store(true, Relaxed);
    for client in clients {
        assert!(client.await.expect("no query was lost") > 0);
    }
}

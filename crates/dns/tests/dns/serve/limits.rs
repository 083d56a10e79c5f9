//! One client cannot take what others need.

use sealane_dns::serve::Settings;
use sealane_message::{Kind, Rcode};
use tokio::net::{TcpSocket, TcpStream};

use super::{Server, Tcp, Udp, id, query, rcode, settings};

async fn connect(server: &Server, from: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(from.parse().unwrap()).unwrap();
    socket.connect(server.at).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lookups_of_one_client_leave_room_for_others() {
    let lookups = 20;
    let server = Server::start(
        "0.0.0.0:0",
        &Settings {
            lookups,
            ..settings()
        },
    );
    let at = ([127, 0, 0, 1], server.at.port()).into();
    let greedy = Udp::new("127.0.0.2:0", at).await;
    for number in 0..100 {
        greedy.send(&query(number, "later.test", Kind::A)).await;
    }
    for _ in 0..90 {
        assert_eq!(rcode(&greedy.receive().await), Rcode::SERVFAIL);
    }
    let client = Udp::new("127.0.0.3:0", at).await;
    client.send(&query(1, "later.test", Kind::A)).await;
    assert_eq!(
        rcode(&client.ask(&query(2, "here.test", Kind::A)).await),
        Rcode::NOERROR
    );
    server.stub.found.add_permits(11);
    assert_eq!(
        rcode(&client.receive().await),
        Rcode::NOERROR,
        "it had been let in"
    );
    for _ in 0..10 {
        assert_eq!(rcode(&greedy.receive().await), Rcode::NOERROR);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_one_client_leave_room_for_others() {
    let connections = 8;
    let server = Server::start(
        "127.0.0.1:0",
        &Settings {
            connections,
            ..settings()
        },
    );
    let mut greedy = Vec::new();
    for _ in 0..8 {
        greedy.push(Tcp(connect(&server, "127.0.0.2:0").await));
    }
    for refused in &mut greedy[4..] {
        assert_eq!(refused.rest().await, 0, "closed at once");
    }
    let mut client = Tcp(connect(&server, "127.0.0.3:0").await);
    client.send(&[query(1, "here.test", Kind::A)]).await;
    assert_eq!(id(&client.receive().await), 1);
    for kept in &mut greedy[..4] {
        kept.send(&[query(2, "here.test", Kind::A)]).await;
        assert_eq!(id(&kept.receive().await), 2);
    }
    greedy.clear();
    // What is given back can be had again, as soon as the server has seen the end.
    loop {
        let mut again = Tcp(connect(&server, "127.0.0.2:0").await);
        again.send(&[query(3, "here.test", Kind::A)]).await;
        if again.rest_or_reply().await {
            break;
        }
    }
}

impl Tcp {
    /// Whether a reply comes before the end.
    async fn rest_or_reply(&mut self) -> bool {
        let mut byte = [0];
        let read = tokio::time::timeout(super::PATIENCE, self.0.peek(&mut byte));
        matches!(read.await.expect("a reply or an end"), Ok(1))
    }
}

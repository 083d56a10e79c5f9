//! Datagrams.

use std::net::SocketAddr;

use sealane_message::{Data, Kind, Rcode};

use super::{Server, Udp, id, is_truncated, query, query_with_edns, rcode, records, settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_is_answered_at_once() {
    let server = Server::start("127.0.0.1:0", &settings());
    let client = Udp::new("127.0.0.1:0", server.at).await;
    let reply = client.ask(&query(7, "here.test", Kind::A)).await;
    assert_eq!(
        (id(&reply), rcode(&reply), records(&reply).len()),
        (7, Rcode::NOERROR, 1)
    );
    let reply = client.ask(&query(8, "nowhere.test", Kind::A)).await;
    assert_eq!((id(&reply), rcode(&reply)), (8, Rcode::NXDOMAIN));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_leaves_from_the_address_that_was_asked() {
    for (bind, asked, from) in [
        ("0.0.0.0:0", "127.0.0.9", "127.0.0.1:0"),
        ("[::]:0", "::1", "[::1]:0"),
    ] {
        let server = Server::start(bind, &settings());
        let at = SocketAddr::new(asked.parse().unwrap(), server.at.port());
        // A connected socket takes replies of that address alone.
        let client = Udp::new(from, at).await;
        let reply = client.ask(&query(1, "here.test", Kind::A)).await;
        assert_eq!(records(&reply).len(), 1, "at once");
        server.stub.found.add_permits(1);
        let reply = client.ask(&query(2, "later.test", Kind::A)).await;
        assert_eq!(
            (id(&reply), records(&reply).len()),
            (2, 1),
            "after a lookup"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lookup_delays_nobody_else() {
    let server = Server::start("127.0.0.1:0", &settings());
    let client = Udp::new("127.0.0.1:0", server.at).await;
    client.send(&query(1, "later.test", Kind::A)).await;
    for number in 2..200 {
        let reply = client.ask(&query(number, "here.test", Kind::A)).await;
        assert_eq!(id(&reply), number);
    }
    server.stub.found.add_permits(1);
    let reply = client.receive().await;
    assert_eq!((id(&reply), records(&reply).len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_is_answered_whole() {
    let server = Server::start("127.0.0.1:0", &settings());
    let client = Udp::new("127.0.0.1:0", server.at).await;
    for number in 0..150 {
        client.send(&query(number, "here.test", Kind::A)).await;
    }
    let mut ids = Vec::new();
    for _ in 0..150 {
        ids.push(id(&client.receive().await));
    }
    ids.sort_unstable();
    assert_eq!(ids, (0..150).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_are_as_long_as_the_client_takes() {
    let server = Server::start("127.0.0.1:0", &settings());
    let client = Udp::new("127.0.0.1:0", server.at).await;
    for (message, most) in [
        (query(1, "many.test", Kind::A), 512),
        (query_with_edns(1, "many.test", Kind::A, 800), 800),
        (query_with_edns(1, "many.test", Kind::A, 4096), 1232),
    ] {
        let reply = client.ask(&message).await;
        assert!(
            is_truncated(&reply) && reply.len() <= most,
            "{}",
            reply.len()
        );
        assert!(
            reply.len() > most - 32,
            "what fits is sent: {}",
            reply.len()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_about_records_is_answered_as_best_practice_says() {
    let server = Server::start("127.0.0.1:0", &settings());
    let client = Udp::new("127.0.0.1:0", server.at).await;
    let reply = client.ask(&query(1, "here.test", Kind::ANY)).await;
    let hinfo = Data::Other(Kind::HINFO, b"\x07RFC8482\0");
    assert_eq!(records(&reply)[0].data, hinfo);
    for (kind, expected) in [
        (Kind::AXFR, Rcode::REFUSED),
        (Kind::IXFR, Rcode::REFUSED),
        (Kind::TSIG, Rcode::NOTIMP),
        (Kind(254), Rcode::NOTIMP),
    ] {
        let reply = client.ask(&query(1, "here.test", kind)).await;
        assert_eq!(
            (rcode(&reply), records(&reply).len()),
            (expected, 0),
            "{kind}"
        );
    }
    let about = |name: &str, class: u8| {
        let mut message = query(1, name, Kind::TXT);
        *message.last_mut().unwrap() = class;
        message
    };
    for (name, text) in [
        ("version.bind", &b"\x07sealane"[..]),
        ("version.server", b"\x07sealane"),
        ("hostname.bind", b"\x06node-1"),
        ("id.server", b"\x06node-1"),
    ] {
        let reply = client.ask(&about(name, 3)).await;
        assert_eq!(
            records(&reply)[0].data,
            Data::Other(Kind::TXT, text),
            "{name}"
        );
    }
    assert_eq!(
        rcode(&client.ask(&about("authors.bind", 3)).await),
        Rcode::REFUSED
    );
    assert_eq!(
        rcode(&client.ask(&about("here.test", 4)).await),
        Rcode::REFUSED,
        "Hesiod"
    );
    assert_eq!(
        rcode(&client.ask(&about("here.test", 255)).await),
        Rcode::REFUSED,
        "any class"
    );
}

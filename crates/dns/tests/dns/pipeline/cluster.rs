//! Names of the cluster.

use sealane_message::{Kind, Rcode};

use super::{COREFILE, World, object, records};
use crate::serve::Udp;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_the_cluster_are_answered_from_the_zone() {
    let world = World::new(COREFILE).await;
    let told = world.ask("web.shop.svc.cluster.local", Kind::A).await;
    let expected = records(["web.shop.svc.cluster.local. A 10.96.1.1"]);
    assert_eq!(told.rcode_and_records(), expected);
    assert!(told.is_authoritative());
    let told = world.ask("web.shop.svc.cluster.local", Kind::AAAA).await;
    assert_eq!(told.rcode_and_records(), records(["cluster.local. SOA"]));
    let told = world.ask("no.shop.svc.cluster.local", Kind::A).await;
    assert_eq!((told.rcode(), told.records().len()), (Rcode::NXDOMAIN, 1));
    assert_eq!(world.upstream.asked(), 0);

    // What the watches change is there at once.
    world
        .zone
        .write()
        .unwrap()
        .set_service(&object("shop/web"), None);
    let told = world.ask("web.shop.svc.cluster.local", Kind::A).await;
    assert_eq!(told.rcode(), Rcode::NXDOMAIN);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_of_others_have_names_of_others() {
    let world = World::new(COREFILE).await;
    let told = world.ask("1.1.96.10.in-addr.arpa", Kind::PTR).await;
    let expected = records(["1.1.96.10.in-addr.arpa. PTR web.shop.svc.cluster.local."]);
    assert_eq!(told.rcode_and_records(), expected);
    assert_eq!(world.upstream.asked(), 0);
    let told = world.ask("1.2.0.192.in-addr.arpa", Kind::PTR).await;
    assert_eq!((told.rcode(), world.upstream.asked()), (Rcode::NXDOMAIN, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_external_name_is_followed() {
    let world = World::new(COREFILE).await;
    let told = world.ask("elsewhere.shop.svc.cluster.local", Kind::A).await;
    let (rcode, mut found) = told.rcode_and_records();
    found[2..].sort();
    let expected = records([
        "elsewhere.shop.svc.cluster.local. CNAME www.outside.test.",
        "www.outside.test. CNAME web.outside.test.",
        "web.outside.test. A 192.0.2.1",
        "web.outside.test. A 192.0.2.2",
    ]);
    assert_eq!((rcode, found), expected);
    let told = world.ask("nearby.shop.svc.cluster.local", Kind::A).await;
    let expected = records([
        "nearby.shop.svc.cluster.local. CNAME web.shop.svc.cluster.local.",
        "web.shop.svc.cluster.local. A 10.96.1.1",
    ]);
    assert_eq!(told.rcode_and_records(), expected);
    let told = world.ask("gone.shop.svc.cluster.local", Kind::A).await;
    assert_eq!(
        told.rcode(),
        Rcode::NXDOMAIN,
        "of the name that it stands for"
    );
    assert_eq!(
        told.records()[0],
        "gone.shop.svc.cluster.local. CNAME no.outside.test."
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_take_turns_if_the_corefile_says_so() {
    for (corefile, firsts) in [
        (COREFILE.to_owned(), 3),
        (COREFILE.replace("loadbalance", ""), 1),
    ] {
        let world = World::new(&corefile).await;
        let client = Udp::new("127.0.0.1:0", world.at).await;
        let mut first = Vec::new();
        for id in 0..9 {
            let query = crate::serve::query(id, "db.shop.svc.cluster.local", Kind::A);
            let told = super::Told(client.ask(&query).await);
            assert_eq!(told.records().len(), 3);
            first.push(told.records()[0].clone());
        }
        first.sort();
        first.dedup();
        assert_eq!(first.len(), firsts, "{first:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_answered_is_counted_under_the_names_of_coredns() {
    let world = World::new(COREFILE).await;
    world.ask("web.shop.svc.cluster.local", Kind::A).await;
    world.ask("no.shop.svc.cluster.local", Kind::SRV).await;
    let client = Udp::new("127.0.0.1:0", world.at).await;
    let mut wrong = crate::serve::query(1, "a", Kind::A);
    wrong.push(0);
    client.ask(&wrong).await;
    let served = world
        .introspect
        .serve_tcp("127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let at = served.address().unwrap();
    let metrics = metrics_of(at).await;
    for line in [
        r#"coredns_dns_requests_total{family="1",proto="udp",server="dns://:53",type="A",view="",zone="."} 1"#,
        r#"coredns_dns_requests_total{family="1",proto="udp",server="dns://:53",type="SRV",view="",zone="."} 1"#,
        r#"coredns_dns_responses_total{plugin="kubernetes",rcode="NXDOMAIN",server="dns://:53",view="",zone="."} 1"#,
        r#"coredns_dns_responses_total{plugin="",rcode="FORMERR",server="dns://:53",view="",zone="dropped"} 1"#,
        r#"coredns_dns_request_duration_seconds_count{server="dns://:53",view="",zone="."} 2"#,
        r#"coredns_dns_response_size_bytes_count{proto="udp",server="dns://:53",view="",zone="."} 2"#,
        r#"coredns_plugin_enabled{name="kubernetes",server="dns://:53",view="",zone="."} 1"#,
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line} in:\n{metrics}"
        );
    }
}

/// The text of `/metrics`.
async fn metrics_of(at: std::net::SocketAddr) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

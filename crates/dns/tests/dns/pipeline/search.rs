//! A search in one round trip.

use sealane_message::{Kind, Rcode};

use super::{COREFILE, POD, World, records};

/// What a pod of `shop` asks first when it looks for `www.outside.test`.
const SEARCHED: &str = "www.outside.test.shop.svc.cluster.local";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_gets_the_end_of_its_search_at_once() {
    let world = World::new(COREFILE).await;
    for _ in 0..2 {
        let told = world.ask_from(POD, SEARCHED, Kind::A).await;
        let (rcode, mut found) = told.rcode_and_records();
        found[2..].sort();
        let expected = records([
            "www.outside.test.shop.svc.cluster.local. CNAME www.outside.test.",
            "www.outside.test. CNAME web.outside.test.",
            "web.outside.test. A 192.0.2.1",
            "web.outside.test. A 192.0.2.2",
        ]);
        assert_eq!((rcode, found), expected);
    }
    assert_eq!(
        world.upstream.asked(),
        1,
        "the names of the cluster are ours to know"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_of_other_namespaces_are_found_on_the_way() {
    let world = World::new(COREFILE).await;
    let asked = "api.default.shop.svc.cluster.local";
    let told = world.ask_from(POD, asked, Kind::A).await;
    let expected = records([
        "api.default.shop.svc.cluster.local. CNAME api.default.svc.cluster.local.",
        "api.default.svc.cluster.local. A 10.96.1.2",
    ]);
    assert_eq!(told.rcode_and_records(), expected);
    let told = world.ask_from(POD, asked, Kind::AAAA).await;
    let nothing = records(["cluster.local. SOA"]);
    assert_eq!(
        told.rcode_and_records(),
        nothing,
        "there, without such an address"
    );
    assert_eq!(world.upstream.asked(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_has_no_such_records_is_told_without_an_alias() {
    let world = World::new(COREFILE).await;
    let told = world.ask_from(POD, SEARCHED, Kind::AAAA).await;
    assert_eq!(told.rcode_and_records(), records(["outside.test. SOA"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_search_comes_to_nothing_there_is_no_such_name() {
    let world = World::new(COREFILE).await;
    for asked in ["no.outside.test", "broken.outside.test"] {
        let asked = format!("{asked}.shop.svc.cluster.local");
        let told = world.ask_from(POD, &asked, Kind::A).await;
        let no_name = (Rcode::NXDOMAIN, vec!["cluster.local. SOA".to_owned()]);
        assert_eq!(told.rcode_and_records(), no_name, "{asked}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_and_names_that_were_meant_get_plain_answers() {
    let world = World::new(COREFILE).await;
    let told = world.ask(SEARCHED, Kind::A).await;
    assert_eq!(told.rcode(), Rcode::NXDOMAIN);
    for meant in [
        "outside.shop.svc.cluster.local",
        "www.outside.test.svc.cluster.local",
    ] {
        let told = world.ask_from(POD, meant, Kind::A).await;
        assert_eq!(told.rcode(), Rcode::NXDOMAIN, "{meant}");
    }
    assert_eq!(world.upstream.asked(), 0);
}

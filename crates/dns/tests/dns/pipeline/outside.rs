//! Names of others.

use sealane_message::{Kind, Rcode};

use super::{COREFILE, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_others_are_asked_for_once() {
    let world = World::new(COREFILE).await;
    for _ in 0..3 {
        let told = world.ask("www.outside.test", Kind::A).await;
        assert_eq!((told.rcode(), told.records().len()), (Rcode::NOERROR, 3));
        assert!(!told.is_authoritative());
    }
    assert_eq!(world.upstream.asked(), 1);
    for _ in 0..3 {
        let told = world.ask("no.outside.test", Kind::A).await;
        assert_eq!(
            (told.rcode(), told.records()),
            (Rcode::NXDOMAIN, vec!["outside.test. SOA".into()])
        );
    }
    assert_eq!(world.upstream.asked(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_is_asked_for_names_of_others_they_fail() {
    let alone = World::new(".:53 {\n kubernetes cluster.local\n}").await;
    assert_eq!(
        alone.ask("www.outside.test", Kind::A).await.rcode(),
        Rcode::SERVFAIL
    );
    let other = World::new("cluster.local:53 {\n kubernetes cluster.local\n}").await;
    assert_eq!(
        other.ask("www.outside.test", Kind::A).await.rcode(),
        Rcode::REFUSED,
        "no block"
    );
    assert_eq!(
        other
            .ask("elsewhere.shop.svc.cluster.local", Kind::A)
            .await
            .rcode(),
        Rcode::SERVFAIL,
        "no block for what it stands for"
    );
}

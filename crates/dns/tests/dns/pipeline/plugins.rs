//! What the Corefile itself answers or changes.

use sealane_message::{Kind, Rcode};

use super::{STRANGER, World, records};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewritten_name_is_answered_as_the_asked_one() {
    let world = World::new(
        ".:53 {
            rewrite name web.old.test web.shop.svc.cluster.local
            rewrite name www.old.test www.outside.test
            kubernetes cluster.local
            forward . UPSTREAM
        }",
    )
    .await;
    let told = world.ask("web.old.test", Kind::A).await;
    assert_eq!(
        told.rcode_and_records(),
        records(["web.old.test. A 10.96.1.1"])
    );
    let told = world.ask("www.old.test", Kind::A).await;
    assert_eq!(told.records()[0], "www.old.test. CNAME web.outside.test.");
    assert_eq!(told.records().len(), 3, "after a lookup");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_and_templates_come_before_the_cluster() {
    let world = World::new(
        ".:53 {
            template IN A made.test {
                answer \"{{ .Name }} 60 IN A 192.0.2.77\"
            }
            hosts {
                192.0.2.9 host.test web.shop.svc.cluster.local
                fallthrough
            }
            kubernetes cluster.local
            whoami
        }",
    )
    .await;
    let told = world.ask("a.made.test", Kind::A).await;
    assert_eq!(
        told.rcode_and_records(),
        records(["a.made.test. A 192.0.2.77"])
    );
    for name in ["host.test", "web.shop.svc.cluster.local"] {
        let told = world.ask(name, Kind::A).await;
        assert_eq!(
            told.rcode_and_records(),
            records([&format!("{name}. A 192.0.2.9")])
        );
    }
    let told = world.ask("db.shop.svc.cluster.local", Kind::A).await;
    assert_eq!(
        told.records().len(),
        3,
        "what hosts do not know, the cluster does"
    );
    let told = world.ask("me.test", Kind::A).await;
    assert_eq!(
        told.rcode_and_records(),
        records([&format!("me.test. A {STRANGER}")])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_longest_zone_has_the_name() {
    let world = World::new(
        "deep.test:53 {
            hosts {
                192.0.2.1 a.deep.test
            }
        }
        .:53 {
            hosts {
                192.0.2.2 a.deep.test b.test
            }
        }",
    )
    .await;
    let told = world.ask("a.deep.test", Kind::A).await;
    assert_eq!(
        told.rcode_and_records(),
        records(["a.deep.test. A 192.0.2.1"])
    );
    let told = world.ask("b.test", Kind::A).await;
    assert_eq!(told.rcode_and_records(), records(["b.test. A 192.0.2.2"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_ask_is_refused() {
    let world = World::new(
        ".:53 {
            acl {
                block type A net 127.0.0.6/32
                filter type AAAA net 127.0.0.6/32
            }
            kubernetes cluster.local
        }",
    )
    .await;
    let name = "web.shop.svc.cluster.local";
    assert_eq!(world.ask(name, Kind::A).await.rcode(), Rcode::REFUSED);
    assert_eq!(
        world.ask(name, Kind::AAAA).await.rcode_and_records(),
        records([])
    );
    assert_eq!(world.ask(name, Kind::SRV).await.records().len(), 2);
    let told = world.ask_from("127.0.0.7", name, Kind::A).await;
    assert_eq!(told.rcode(), Rcode::NOERROR);
}

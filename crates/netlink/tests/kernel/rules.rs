use sealane_net::{Route, names};
use sealane_netlink::Rule;

use crate::place::Place;

fn rule(from: &str) -> Rule {
    Rule {
        from: from.parse().unwrap(),
        table: names::ROUTE_TABLE,
        priority: names::RULE_PRIORITY,
        suppress_shorter_than: None,
    }
}

#[tokio::test]
async fn are_added_listed_and_deleted_and_foreign_ones_left_alone() {
    let place = Place::new().await;
    let netlink = &place.netlink;
    place.run("ip rule add from 10.9.0.0/16 lookup 94 priority 9400");
    let ours = [rule("10.244.1.0/24"), rule("fd00:10:244:1::/64")];
    for rule in &ours {
        netlink.add_rule(rule).await.unwrap();
        netlink.add_rule(rule).await.unwrap();
    }
    assert_eq!(netlink.rules().await.unwrap(), ours);
    let shown = place.run("ip rule");
    assert!(
        shown.contains("9400:\tfrom 10.244.1.0/24 lookup 94 proto 94"),
        "{shown}"
    );
    assert!(!netlink.delete_rule(&rule("10.9.0.0/16")).await.unwrap());
    for rule in &ours {
        assert!(netlink.delete_rule(rule).await.unwrap());
        assert!(!netlink.delete_rule(rule).await.unwrap());
    }
    assert!(place.run("ip rule").contains("10.9.0.0/16"));
}

#[tokio::test]
async fn for_whatever_comes_from_anywhere_single_addresses_of_the_main_table_can_come_first() {
    let place = Place::new().await;
    let netlink = &place.netlink;
    let first = |family: &str| Rule {
        table: Route::MAIN,
        priority: names::CLOUD_PRIORITY - 1,
        suppress_shorter_than: Some(32),
        ..rule(family)
    };
    let ours = [first("0.0.0.0/0"), first("::/0")];
    for rule in &ours {
        netlink.add_rule(rule).await.unwrap();
        netlink.add_rule(rule).await.unwrap();
    }
    assert_eq!(netlink.rules().await.unwrap(), ours);
    let shown = place.run("ip rule");
    assert!(
        shown.contains("9398:\tfrom all lookup main suppress_prefixlength 31 proto 94"),
        "{shown}"
    );
    for rule in &ours {
        assert!(netlink.delete_rule(rule).await.unwrap());
    }
    assert_eq!(netlink.rules().await.unwrap(), []);
}

#[tokio::test]
async fn routes_of_our_table_are_apart_from_those_of_the_main_one() {
    let place = Place::new().await;
    let netlink = &place.netlink;
    place.add_link("eth0").await;
    let address = "172.29.0.2/24".parse().unwrap();
    netlink.add_address("eth0", address).await.unwrap();
    let main = Route::via(
        "10.9.0.0/24".parse().unwrap(),
        "172.29.0.3".parse().unwrap(),
    );
    let ours = Route {
        table: names::ROUTE_TABLE,
        ..main.clone()
    };
    for route in [&main, &ours] {
        netlink.set_route(route).await.unwrap();
    }
    assert_eq!(
        netlink
            .routes_of(names::ROUTE_PROTOCOL)
            .await
            .unwrap()
            .len(),
        2
    );
    assert!(netlink.delete_route(&ours).await.unwrap());
    let left = netlink.routes_of(names::ROUTE_PROTOCOL).await.unwrap();
    assert_eq!(left, [main.dev("eth0")]);
}

use sealane_net::{IpNet, Mtu, Route, names};

use crate::place::Place;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn via(destination: &str, gateway: &str) -> Route {
    Route::via(net(destination), gateway.parse().unwrap())
}

async fn node() -> Place {
    let place = Place::new().await;
    place.add_link("eth0").await;
    for address in ["172.29.0.2/24", "fd00:172:29::2/64"] {
        place
            .netlink
            .add_address("eth0", net(address))
            .await
            .unwrap();
    }
    place
}

#[tokio::test]
async fn are_set_replaced_listed_and_deleted_in_both_families() {
    let place = node().await;
    let netlink = &place.netlink;
    let first = via("10.244.2.0/24", "172.29.0.3");
    let moved = via("10.244.2.0/24", "172.29.0.4");
    let v6 = via("fd00:10:244:2::/64", "fd00:172:29::3");
    let default = via("0.0.0.0/0", "172.29.0.1");
    let default6 = via("::/0", "fd00:172:29::1");
    let pod = Route {
        source: Some("172.29.0.2".parse().unwrap()),
        metric: 7,
        ..Route::on_link(net("10.244.1.5/32"), "eth0")
    };
    let overlay = Route {
        onlink: true,
        mtu: Mtu::new(1450).ok(),
        ..via("10.244.3.0/24", "10.244.3.0").dev("eth0")
    };
    for route in [
        &first, &first, &moved, &v6, &v6, &default, &default6, &pod, &overlay,
    ] {
        netlink.set_route(route).await.unwrap();
    }
    let mut expected: Vec<Route> = [&moved, &v6, &default, &default6, &pod, &overlay]
        .into_iter()
        .map(|route| route.clone().dev("eth0"))
        .collect();
    expected.sort();
    let mut listed = netlink.routes_of(names::ROUTE_PROTOCOL).await.unwrap();
    listed.sort();
    assert_eq!(listed, expected);

    // The same as `ip` sees, word by word.
    let shown = place.run("ip route show proto 94") + &place.run("ip -6 route show proto 94");
    for route in &expected {
        let words = route.to_string().replace(" proto 94", "");
        let line = shown
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .find(|line| line.starts_with(words.split(" src").next().unwrap()));
        assert!(line.is_some(), "{words} in\n{shown}");
    }

    for route in &expected {
        assert!(netlink.delete_route(route).await.unwrap(), "{route}");
        assert!(!netlink.delete_route(route).await.unwrap(), "{route}");
    }
    assert_eq!(netlink.routes_of(names::ROUTE_PROTOCOL).await.unwrap(), []);
}

#[tokio::test]
async fn of_others_are_listed_and_not_deleted_by_ours() {
    let place = node().await;
    let netlink = &place.netlink;
    place.run("ip route add 10.9.0.0/16 via 172.29.0.9 proto static");
    let ours = via("10.9.0.0/16", "172.29.0.9");
    assert!(!netlink.delete_route(&ours).await.unwrap());
    let theirs = Route {
        protocol: 4,
        ..ours.dev("eth0")
    };
    let all = netlink.routes().await.unwrap();
    assert!(all.contains(&theirs), "{all:?}");
    assert!(
        all.iter()
            .any(|r| r.destination == net("172.29.0.0/24") && r.protocol == 2),
        "the kernel's own route to the link is listed: {all:?}"
    );
    assert_eq!(netlink.routes_of(names::ROUTE_PROTOCOL).await.unwrap(), []);
}

#[tokio::test]
async fn an_unreachable_gateway_is_refused_with_the_kernels_sentence() {
    let place = node().await;
    let error = place
        .netlink
        .set_route(&via("10.244.9.0/24", "192.0.2.1"))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "set route 10.244.9.0/24 via 192.0.2.1 proto 94 in netns /run/netns/{}: network is unreachable (Nexthop has invalid gateway)",
            place.name
        )
    );
    let gone = Route::on_link(net("10.0.0.0/8"), "nope");
    assert!(!place.netlink.delete_route(&gone).await.unwrap());
}

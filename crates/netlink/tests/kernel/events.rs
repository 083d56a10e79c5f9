use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use sealane_net::{Route, names};
use sealane_netlink::Event;

use crate::place::Place;

async fn until(events: &mut BoxStream<'static, Event>, what: &str, fits: impl Fn(&Event) -> bool) {
    let wait = async {
        while let Some(event) = events.next().await {
            if fits(&event) {
                return;
            }
        }
        panic!("the events end before {what}");
    };
    tokio::time::timeout(Duration::from_secs(10), wait)
        .await
        .unwrap_or_else(|_| panic!("no event tells that {what}"));
}

#[tokio::test]
async fn tell_what_others_change() {
    let place = Place::new().await;
    place.add_link("eth0").await;
    let mut events = place.netlink.events().unwrap();
    place.run("ip link set eth0 mtu 1400");
    until(
        &mut events,
        "the MTU is another",
        |event| matches!(event, Event::Link(link) if link.name == "eth0" && link.mtu == 1400),
    )
    .await;
    let index = place.netlink.index_of("eth0").await.unwrap();
    place.run("ip address add 172.29.0.2/24 dev eth0");
    until(&mut events, "the address is there", |event| {
        *event == Event::Address(index)
    })
    .await;
    place.run("ip route add 10.244.2.0/24 via 172.29.0.3 proto 94");
    let route = Route::via(
        "10.244.2.0/24".parse().unwrap(),
        "172.29.0.3".parse().unwrap(),
    );
    until(&mut events, "the route is there", |event| {
        *event == Event::Route(route.clone())
    })
    .await;
    place.run("ip route delete 10.244.2.0/24");
    until(&mut events, "the route is gone", |event| {
        matches!(event, Event::RouteGone(gone) if gone.protocol == names::ROUTE_PROTOCOL && *gone == route)
    })
    .await;
    place.run("ip link delete eth0");
    until(
        &mut events,
        "the link is gone",
        |event| matches!(event, Event::LinkGone(link) if link.name == "eth0"),
    )
    .await;
}

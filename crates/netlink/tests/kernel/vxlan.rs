use std::net::IpAddr;

use sealane_net::{Mac, Mtu};
use sealane_netlink::{Forwarding, Tunnel, Vxlan};
use serde_json::json;

use crate::place::Place;

const NEAR: Mac = Mac([2, 0, 0, 0, 0, 1]);
const FAR: Mac = Mac([2, 0, 0, 0, 0, 2]);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn vxlan(local: &str) -> Vxlan<'static> {
    Vxlan {
        name: "sl.vxlan",
        tunnel: Tunnel {
            vni: 94,
            port: 4789,
            local: ip(local),
        },
        mtu: Mtu::new(1450).unwrap(),
        mac: NEAR,
    }
}

#[tokio::test]
async fn a_link_learns_nothing_and_reads_back_as_it_was_made() {
    let place = Place::new().await;
    let netlink = &place.netlink;
    for local in ["172.29.0.2", "fd00:172:29::2"] {
        let wanted = vxlan(local);
        let index = netlink.add_vxlan(&wanted).await.unwrap();
        assert_eq!(netlink.add_vxlan(&wanted).await.unwrap(), index);
        let found = netlink.link("sl.vxlan").await.unwrap().unwrap();
        assert_eq!(
            (found.tunnel, found.mac, found.mtu, found.up),
            (Some(wanted.tunnel), Some(NEAR), 1450, true)
        );
        let shown = &place.ip("-d link show sl.vxlan")[0]["linkinfo"]["info_data"];
        assert_eq!(
            (&shown["id"], &shown["port"], &shown["learning"]),
            (&json!(94), &json!(4789), &json!(false)),
            "{shown}"
        );
        assert!(netlink.delete_link("sl.vxlan").await.unwrap());
    }
}

#[tokio::test]
async fn a_link_is_changed_to_fit_unless_that_takes_another() {
    let place = Place::new().await;
    let netlink = &place.netlink;
    let first = vxlan("172.29.0.2");
    let index = netlink.add_vxlan(&first).await.unwrap();
    place.run("ip link set sl.vxlan down");
    let smaller = Vxlan {
        mtu: Mtu::MIN,
        mac: FAR,
        ..first.clone()
    };
    assert_eq!(netlink.add_vxlan(&smaller).await.unwrap(), index);
    let found = netlink.link(index).await.unwrap().unwrap();
    assert_eq!((found.mtu, found.mac, found.up), (1280, Some(FAR), true));

    let error = netlink.add_vxlan(&vxlan("172.29.0.9")).await.unwrap_err();
    let text = error.to_string();
    assert!(
        error.is_present() && text.contains("local 172.29.0.2"),
        "{text}"
    );
    let twin = Vxlan {
        name: "sl.other",
        ..first
    };
    let error = netlink.add_vxlan(&twin).await.unwrap_err();
    assert!(error.is_present(), "{error}");
    place.run("ip link delete sl.vxlan");
    place.run("ip link add sl.vxlan type bridge");
    let error = netlink.add_vxlan(&smaller).await.unwrap_err();
    assert!(error.to_string().contains("\"bridge\""), "{error}");
}

#[tokio::test]
async fn forwarding_entries_are_set_moved_listed_and_deleted() {
    let place = Place::new().await;
    let netlink = &place.netlink;
    let index = netlink.add_vxlan(&vxlan("172.29.0.2")).await.unwrap();
    assert_eq!(netlink.forwarding_of("sl.vxlan").await.unwrap(), []);
    for to in ["172.29.0.3", "172.30.0.3", "172.30.0.3"] {
        netlink
            .set_forwarding("sl.vxlan", FAR, ip(to))
            .await
            .unwrap();
    }
    let entry = Forwarding {
        link: index,
        mac: FAR,
        to: ip("172.30.0.3"),
    };
    assert_eq!(netlink.forwarding_of(index).await.unwrap(), [entry]);
    let shown = place.run("bridge fdb show dev sl.vxlan");
    assert_eq!(
        shown.trim(),
        "02:00:00:00:00:02 dst 172.30.0.3 self permanent"
    );
    assert!(netlink.delete_forwarding(index, FAR).await.unwrap());
    assert!(!netlink.delete_forwarding(index, FAR).await.unwrap());
    assert!(!netlink.delete_forwarding("nope", FAR).await.unwrap());
}

use sealane_net::{IpNet, Mac};

use crate::place::Place;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

#[tokio::test]
async fn are_added_repeated_listed_and_deleted_in_both_families() {
    let place = Place::new().await;
    let netlink = &place.netlink;
    place.add_link("eth9").await;
    for address in ["10.244.1.5/24", "fd00:10:244:1::5/64"] {
        let address = net(address);
        netlink.add_address("eth9", address).await.unwrap();
        netlink.add_address("eth9", address).await.unwrap();
        let listed = netlink.addresses_of("eth9").await.unwrap();
        assert_eq!(listed.iter().filter(|a| **a == address).count(), 1);
        let flag = if address.addr().is_ipv4() { "-4" } else { "-6" };
        let shown = place.ip(&format!("{flag} address show eth9 scope global"));
        let info = shown[0]["addr_info"].as_array().unwrap().clone();
        assert_eq!(info[0]["local"], address.addr().to_string());
        assert_eq!(info[0]["prefixlen"], address.prefix_len());
        assert!(info[0]["tentative"].is_null(), "usable at once: {info:?}");
        assert!(netlink.delete_address("eth9", address).await.unwrap());
        assert!(!netlink.delete_address("eth9", address).await.unwrap());
    }
    let gone = netlink.delete_address("nope", net("10.0.0.1/8")).await;
    assert!(!gone.unwrap());
    let all = netlink.addresses().await.unwrap();
    let loopback = all
        .iter()
        .find(|a| a.address == net("127.0.0.1/8"))
        .unwrap();
    assert!(!loopback.global);
}

#[tokio::test]
async fn a_refusal_names_the_address_and_the_link() {
    let place = Place::new().await;
    let error = place
        .netlink
        .add_address("nope", net("10.1.0.5/24"))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "find link nope in netns /run/netns/{}: no such device",
            place.name
        )
    );
    let error = place
        .netlink
        .add_address("lo", net("ff02::1/64"))
        .await
        .unwrap_err();
    assert!(
        error.to_string().starts_with(&format!(
            "add address ff02::1/64 to lo in netns /run/netns/{}: ",
            place.name
        )),
        "{error}"
    );
}

#[tokio::test]
async fn neighbours_are_set_replaced_and_deleted() {
    let place = Place::new().await;
    let netlink = &place.netlink;
    place.run("ip link add v1 type veth peer name v2");
    netlink.set_up("v1").await.unwrap();
    for address in ["169.254.1.1", "fe80::1"] {
        let address = address.parse().unwrap();
        for mac in [Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])] {
            netlink.set_neighbour("v1", address, mac).await.unwrap();
            let all = netlink.neighbours().await.unwrap();
            let found: Vec<_> = all.iter().filter(|n| n.address == address).collect();
            assert_eq!(found.len(), 1);
            assert_eq!((found[0].mac, found[0].permanent), (Some(mac), true));
            let shown = place.ip(&format!("neigh show {address} dev v1"));
            assert_eq!(shown[0]["lladdr"], mac.to_string());
        }
        assert!(netlink.delete_neighbour("v1", address).await.unwrap());
        assert!(!netlink.delete_neighbour("v1", address).await.unwrap());
    }
}

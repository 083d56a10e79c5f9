use sealane_netlink::{Netlink, sysctl};

use crate::place::Place;

#[tokio::test]
async fn belong_to_their_namespace() {
    let place = Place::new().await;
    let key = "net.ipv4.ip_forward";
    let here = sysctl::get(key).unwrap();
    assert_eq!(place.netlink.sysctl(key).unwrap(), "0");
    place
        .netlink
        .set_sysctls(&[(key, "1"), ("net/ipv4/conf/lo/rp_filter", "2")])
        .unwrap();
    assert_eq!(place.netlink.sysctl(key).unwrap(), "1");
    assert_eq!(place.run("cat /proc/sys/net/ipv4/ip_forward").trim(), "1");
    assert_eq!(
        place.run("cat /proc/sys/net/ipv4/conf/lo/rp_filter").trim(),
        "2"
    );
    assert_eq!(sysctl::get(key).unwrap(), here, "this machine is untouched");
}

#[tokio::test]
async fn that_are_absent_or_refused_are_named() {
    let place = Place::new().await;
    let at = format!("in netns /run/netns/{}", place.name);
    let absent = place.netlink.set_sysctls(&[("net.ipv4.nope", "1")]);
    let absent = absent.unwrap_err();
    assert!(absent.is_absent());
    assert_eq!(
        absent.to_string(),
        format!("set sysctl net.ipv4.nope=1 {at}: no such file or directory")
    );
    let refused = place
        .netlink
        .set_sysctls(&[("net.ipv4.ip_forward", "maybe")])
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!("set sysctl net.ipv4.ip_forward=maybe {at}: invalid argument")
    );
}

#[tokio::test]
async fn of_the_current_namespace_are_read_without_entering_any() {
    let netlink = Netlink::in_current().unwrap();
    assert_eq!(
        netlink.sysctl("net.ipv4.ip_forward").unwrap(),
        sysctl::get("net.ipv4.ip_forward").unwrap()
    );
    assert!(netlink.netns().is_none());
    assert!(netlink.link("lo").await.unwrap().is_some());
}

use std::os::fd::AsFd;

use sealane_net::{Mac, Mtu};
use sealane_netlink::{Bridge, LinkChange, Veth, VethPeer};
use serde_json::json;

use crate::place::Place;

const MAC: Mac = Mac([2, 0, 10, 244, 1, 1]);

fn bridge(name: &str) -> Bridge<'_> {
    Bridge {
        name,
        mtu: Mtu::new(1450).ok(),
        mac: Some(MAC),
        up: true,
    }
}

#[tokio::test]
async fn a_bridge_forwards_at_once_and_keeps_its_address_when_ports_come() {
    let place = Place::new().await;
    let netlink = &place.netlink;
    let index = netlink.add_bridge(&bridge("cbr0")).await.unwrap();
    let veth = Veth {
        name: "port",
        master: Some(index),
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        up: true,
        peer: VethPeer {
            name: "peer",
            ..VethPeer::default()
        },
        ..Veth::default()
    };
    netlink.add_veth(&veth).await.unwrap();
    netlink.set_up("peer").await.unwrap();

    let shown = &place.ip("-d link show cbr0")[0];
    let data = &shown["linkinfo"]["info_data"];
    assert_eq!(shown["mtu"], 1450);
    assert_eq!(shown["address"], MAC.to_string());
    assert_eq!(
        (&data["stp_state"], &data["forward_delay"]),
        (&json!(0), &json!(0))
    );
    let port = &place.ip("-d link show port")[0];
    assert_eq!(port["master"], "cbr0");
    assert_eq!(
        port["linkinfo"]["info_slave_data"]["state"], "forwarding",
        "a port of a bridge without spanning tree forwards as soon as it is up"
    );
}

#[tokio::test]
async fn adding_a_bridge_again_changes_it_to_fit_and_another_kind_is_refused() {
    let place = Place::new().await;
    let netlink = &place.netlink;
    place.run("ip link add cbr0 type bridge");
    let index = netlink.add_bridge(&bridge("cbr0")).await.unwrap();
    assert_eq!(netlink.add_bridge(&bridge("cbr0")).await.unwrap(), index);
    let link = netlink.link("cbr0").await.unwrap().unwrap();
    assert_eq!((link.mac, link.mtu, link.up), (Some(MAC), 1450, true));

    place.run("ip link add other type veth peer name peer");
    let error = netlink.add_bridge(&bridge("other")).await.unwrap_err();
    assert!(error.is_present());
    assert_eq!(
        error.to_string(),
        format!(
            "add bridge other in netns /run/netns/{}: it exists as a link of kind \"veth\", expected a bridge; delete it or choose another name",
            place.name
        )
    );
}

#[tokio::test]
async fn a_veth_pair_spans_two_namespaces_with_one_mtu() {
    let (node, pod) = (Place::new().await, Place::new().await);
    let veth = Veth {
        name: "sl0123456789ab",
        mtu: Mtu::new(1400).ok(),
        up: true,
        peer: VethPeer {
            name: "eth0",
            netns: Some(pod.netns.as_fd()),
            mac: Some(MAC),
        },
        ..Veth::default()
    };
    let index = node.netlink.add_veth(&veth).await.unwrap();
    pod.netlink.set_up("eth0").await.unwrap();

    let near = node.netlink.link(index).await.unwrap().unwrap();
    let far = pod.netlink.link("eth0").await.unwrap().unwrap();
    assert_eq!(near.name, "sl0123456789ab");
    assert_eq!((near.mtu, far.mtu), (1400, 1400));
    assert_eq!(far.mac, Some(MAC));
    assert_eq!((near.peer, far.peer), (Some(far.index), Some(near.index)));
    assert!(near.up && far.up);

    let again = node.netlink.add_veth(&veth).await.unwrap_err();
    assert!(again.is_present(), "{again}");
    assert!(node.netlink.delete_link(index).await.unwrap());
    assert!(!node.netlink.delete_link(index).await.unwrap());
    assert!(!node.netlink.delete_link("sl0123456789ab").await.unwrap());
    assert_eq!(pod.netlink.link("eth0").await.unwrap(), None);
}

#[tokio::test]
async fn links_are_changed_renamed_and_moved() {
    let (here, there) = (Place::new().await, Place::new().await);
    let netlink = &here.netlink;
    netlink.add_bridge(&bridge("cbr0")).await.unwrap();
    here.run("ip link add one type veth peer name peer");
    netlink.set_master("one", "cbr0").await.unwrap();
    let shape = LinkChange {
        mtu: Mtu::new(1300).ok(),
        mac: Some(MAC),
        ..LinkChange::default()
    };
    netlink.set_link("one", shape).await.unwrap();
    assert_eq!(here.ip("link show one")[0]["master"], "cbr0");

    let leave = LinkChange {
        master: Some(0),
        up: Some(false),
        name: Some("two"),
        ..LinkChange::default()
    };
    netlink.set_link("one", leave).await.unwrap();
    assert_eq!(netlink.link("one").await.unwrap(), None);
    let two = netlink.link("two").await.unwrap().unwrap();
    assert_eq!((two.mtu, two.mac, two.up), (1300, Some(MAC), false));
    assert_eq!(two.master, None);

    let away = LinkChange {
        netns: Some(there.netns.as_fd()),
        ..LinkChange::default()
    };
    netlink.set_link("two", away).await.unwrap();
    assert_eq!(netlink.link("two").await.unwrap(), None);
    assert!(there.netlink.link("two").await.unwrap().is_some());
}

/// On one thread, as our daemons run: nobody waits for the kernel on it.
#[tokio::test(flavor = "current_thread")]
async fn many_are_gone_when_their_removals_are_answered_and_others_stay() {
    let place = Place::new().await;
    let netlink = &place.netlink;
    let names: Vec<String> = (0..20).map(|n| format!("sl{n}")).collect();
    for name in names.iter().map(String::as_str).chain(["stays"]) {
        let peer = format!("p{name}");
        let veth = Veth {
            name,
            up: true,
            peer: VethPeer {
                name: &peer,
                ..VethPeer::default()
            },
            ..Veth::default()
        };
        netlink.add_veth(&veth).await.unwrap();
    }
    let gone = async |name: &str| {
        assert!(netlink.delete_link(name).await.unwrap());
        assert_eq!(netlink.link(name).await.unwrap(), None);
    };
    let removals = futures::future::join_all(names.iter().map(|name| gone(name)));
    // What the kernel does not delete and what is not there fail alone.
    let (_, refused, absent) = futures::join!(
        removals,
        netlink.delete_link("lo"),
        netlink.delete_link("none")
    );
    let refused = refused.unwrap_err().to_string();
    let at = format!("in netns /run/netns/{}", place.name);
    assert_eq!(
        refused,
        format!("delete link lo {at}: operation not supported")
    );
    assert!(!absent.unwrap());
    let left: Vec<String> = netlink
        .links()
        .await
        .unwrap()
        .into_iter()
        .map(|l| l.name)
        .collect();
    assert_eq!(left, ["lo", "pstays", "stays"]);
    // The names can be used at once.
    place.run("ip link add sl0 type veth peer name psl0");
    assert!(netlink.delete_link("sl0").await.unwrap());
}

#[tokio::test]
async fn errors_name_verb_object_value_and_namespace_and_end_with_the_kernels_words() {
    let place = Place::new().await;
    let netlink = &place.netlink;
    let at = format!("in netns /run/netns/{}", place.name);
    let absent = netlink.set_up("nope").await.unwrap_err();
    assert!(absent.is_absent());
    assert_eq!(
        absent.to_string(),
        format!("set link nope up {at}: no such device")
    );
    place.run("ip link add one type veth peer name peer");
    let refused = netlink.set_master("one", "lo").await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!("set link one master #1 {at}: operation not supported")
    );
    let long = netlink.add_bridge(&bridge("of-more-than-15-bytes")).await;
    let long = long.unwrap_err().to_string();
    assert_eq!(
        long,
        format!(
            "add bridge of-more-than-15-bytes {at}: numerical result out of range (Attribute failed policy validation)"
        )
    );
}

#[tokio::test]
async fn the_list_is_that_of_ip_link() {
    let place = Place::new().await;
    let netlink = &place.netlink;
    let index = netlink.add_bridge(&bridge("cbr0")).await.unwrap();
    place.run("ip link add one type veth peer name peer");
    netlink.set_master("one", index).await.unwrap();
    let ours: Vec<_> = netlink
        .links()
        .await
        .unwrap()
        .iter()
        .map(|l| json!({"ifindex": l.index, "ifname": l.name, "mtu": l.mtu}))
        .collect();
    let theirs: Vec<_> = place
        .ip("link show")
        .as_array()
        .unwrap()
        .iter()
        .map(|l| json!({"ifindex": l["ifindex"], "ifname": l["ifname"], "mtu": l["mtu"]}))
        .collect();
    assert_eq!(ours, theirs);
}

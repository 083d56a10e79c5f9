use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use sealane_net::{Attachment, Family, Mac, names};
use sealane_netlink::{Edit, Event, Nft};
use sealane_ruleset::{
    Change, Element, NodeEgress, TableFamily, guard_elements, guard_tables, node_egress,
};

use crate::place::Place;

const LINK: &str = "sl0123456789ab";
const MAC: Mac = Mac([2, 0, 10, 244, 1, 5]);

fn pod(attached: Attachment) -> Vec<Element> {
    let addresses = ["10.244.1.5", "fd00:10:244:1::5"].map(|a| a.parse().unwrap());
    guard_elements(attached, LINK, MAC, addresses)
}

fn added(elements: &[Element]) -> Vec<Change<'_>> {
    elements.iter().map(Change::Add).collect()
}

fn removed(elements: &[Element]) -> Vec<Change<'_>> {
    elements.iter().map(Change::Remove).collect()
}

#[tokio::test]
async fn elements_come_and_go_without_their_table() {
    let place = Place::new().await;
    let netlink = &place.netlink;
    netlink.load_tables(&guard_tables()).await.unwrap();
    let before = place.run("nft -a list ruleset");
    for attached in [Attachment::Bridge, Attachment::Routed] {
        let elements = pod(attached);
        netlink.change_tables_now(&added(&elements)).unwrap();
        // Once more changes nothing.
        netlink.change_tables_now(&added(&elements)).unwrap();
        for element in &elements {
            let keys = netlink.keys(element.family, element.table, element.set);
            assert!(keys.unwrap().contains(&element.key), "{element}");
            let line = format!(
                "nft list set {} {} {}",
                element.family.word(),
                element.table,
                element.set
            );
            let listed = place.run(&line);
            assert!(listed.contains(&element.text), "{element}: {listed}");
        }
        netlink.change_tables_now(&removed(&elements)).unwrap();
        let gone = netlink.change_tables_now(&removed(&elements)).unwrap_err();
        assert!(gone.is_absent(), "{gone}");
    }
    assert_eq!(place.run("nft -a list ruleset"), before);
}

#[tokio::test]
async fn counters_are_listed_by_name() {
    let place = Place::new().await;
    let netlink = &place.netlink;
    netlink.load_tables(&guard_tables()).await.unwrap();
    let name = names::NFT_GUARD_TABLE;
    let counters = netlink.counters(TableFamily::Ip, name).unwrap();
    let zero = ["address", "router", "dhcp-server"].map(|name| (name.to_owned(), 0));
    assert_eq!(counters, zero);
    assert_eq!(netlink.counters(TableFamily::Ip, "none").unwrap(), []);
}

async fn next(events: &mut BoxStream<'static, Event>) -> Event {
    let soon = std::time::Duration::from_secs(10);
    let event = tokio::time::timeout(soon, events.next());
    event.await.expect("the kernel tells of it").unwrap()
}

#[tokio::test]
async fn what_others_do_to_our_tables_is_told_and_what_we_do_is_not() {
    let place = Place::new().await;
    let netlink = &place.netlink;
    let mut events = netlink.events().unwrap();
    // Ours: by this socket, and by another one of this process.
    netlink.load_tables(&guard_tables()).await.unwrap();
    let elements = pod(Attachment::Bridge);
    let mut beside = sealane_netlink::netns::run_in(&place.netns, Nft::open)
        .unwrap()
        .unwrap();
    beside.change(&added(&elements)).unwrap();
    // Others', but not about a table like ours.
    place.run("nft add table ip filter");
    place.run("nft add chain ip filter input");
    // A link tells that all of it was passed over.
    netlink
        .add_bridge(&sealane_netlink::Bridge {
            name: "mark",
            ..Default::default()
        })
        .await
        .unwrap();
    let first = next(&mut events).await;
    assert_ne!(first, Event::Tables);
    while let Some(event) = events.next().now_or_never() {
        assert_ne!(event, Some(Event::Tables));
    }

    for edit in [
        format!("nft flush set bridge {} macs", names::NFT_GUARD_TABLE),
        format!("nft flush chain bridge {} ports", names::NFT_GUARD_TABLE),
        format!("nft delete table arp {}", names::NFT_GUARD_TABLE),
        "nft flush ruleset".into(),
    ] {
        place.run(&edit);
        while next(&mut events).await != Event::Tables {}
    }
    for (edit, event) in [
        (
            format!("nft add table ip {}", names::SERVICES_TABLE),
            Edit::Rules,
        ),
        (
            format!(
                "nft add set ip {} a {{ type ipv4_addr; }}",
                names::SERVICES_TABLE
            ),
            Edit::Rules,
        ),
        (
            format!(
                "nft add element ip {} a {{ 10.0.0.1 }}",
                names::SERVICES_TABLE
            ),
            Edit::Elements,
        ),
    ] {
        place.run(&edit);
        while next(&mut events).await != Event::Services(event) {}
    }
    let egress = NodeEgress {
        local_pods: vec!["10.244.1.0/24".parse().unwrap()],
        ..NodeEgress::default()
    };
    let table = node_egress(Family::V4, &egress).unwrap();
    netlink.load_table(&table).await.unwrap();
    place.run("nft flush ruleset");
    while next(&mut events).await != Event::Tables {}
}

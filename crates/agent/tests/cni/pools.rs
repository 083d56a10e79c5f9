//! Named pools, on the real kernel.

use std::{net::IpAddr, sync::Arc};

use sealane_cni::types::code;
use sealane_net::Attachment;
use sealane_objects::{BlockSizes, PodNet, PoolNet, Selector};
use sealane_testkit::{SOON, Topology, eventually};

use super::stage::{Agent, Stage, ip, node, pod, pools::Shelf, reach, this_node};

const SUBNETS: [&str; 2] = ["10.244.1.0/24", "fd00:10:244:1::/64"];

fn pool(name: &str, ranges: &[&str]) -> PoolNet {
    PoolNet {
        name: name.into(),
        created: 1,
        ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(),
        block_sizes: BlockSizes {
            ipv4: 31,
            ipv6: 127,
        },
        ..PoolNet::default()
    }
}

fn labels(key: &str, value: &str) -> std::collections::BTreeMap<String, String> {
    [(key.to_owned(), value.to_owned())].into()
}

fn asking(name: &str, pool: &str) -> PodNet {
    PodNet {
        annotations: labels("sealane.io/pool", pool),
        ..pod(name, &[])
    }
}

fn start(stage: &Stage, shelf: &Arc<Shelf>, attachment: Attachment, pods: Vec<PodNet>) -> Agent {
    let mut settings = stage.settings();
    settings.attachment = attachment;
    let agent = Agent::start_with(settings, stage.node.title(), shelf);
    agent.tell_nodes(vec![
        this_node(&SUBNETS),
        node("node-2", "172.29.0.1", &["10.244.2.0/24"]),
    ]);
    agent.tell_pods(pods);
    agent.wait_ready();
    agent
}

fn pods_of_a_pool_reach_everybody(attachment: Attachment) {
    let stage = Stage::new();
    let shelf = Arc::new(Shelf::default());
    shelf.apply(pool("web", &["10.99.0.0/30", "fd00:99::/64"]));
    let names = ["a", "b", "c", "d", "e"];
    let mut pods: Vec<PodNet> = names.iter().map(|name| asking(name, "web")).collect();
    pods.push(pod("plain", &[]));
    let agent = start(&stage, &shelf, attachment, pods.clone());
    let runtime = stage.runtime();
    let (_pods, spaces) = Topology::new(["a", "b", "c", "d", "e", "plain"]);
    let addresses = |n: usize, name: &str| -> Vec<IpAddr> {
        let result = runtime
            .add(name, &spaces[n])
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        result.ips.iter().map(|ip| ip.address.addr()).collect()
    };
    let plain = addresses(5, "plain");
    assert!(shelf.blocks("web").is_empty(), "nobody has asked for it");
    shelf.refuse_next(1);
    let mut given = Vec::new();
    for (n, name) in names.iter().take(4).enumerate() {
        given.push(addresses(n, name));
    }
    // An ADD that waits for a block of one family puts the other's address back, behind the rest of its block.
    let sorted = |family: usize| {
        let mut all: Vec<String> = given.iter().map(|of| of[family].to_string()).collect();
        all.sort();
        all
    };
    assert_eq!(
        sorted(0),
        ["10.99.0.0", "10.99.0.1", "10.99.0.2", "10.99.0.3"]
    );
    assert_eq!(
        sorted(1),
        ["fd00:99::", "fd00:99::1", "fd00:99::2", "fd00:99::3"]
    );
    assert_eq!(shelf.blocks("web").len(), 4, "two of each family");
    let gateways: [IpAddr; 2] = SUBNETS.map(|net| {
        let net: sealane_net::IpNet = net.parse().unwrap();
        net.hosts()
            .next()
            .map(|first| {
                if first == net.network() {
                    net.hosts().nth(1).unwrap()
                } else {
                    first
                }
            })
            .unwrap()
    });
    for family in 0..2 {
        reach(&spaces[0], given[1][family]);
        reach(&spaces[0], given[3][family]);
        reach(&spaces[0], plain[family]);
        reach(&spaces[5], given[2][family]);
        reach(&stage.node, given[0][family]);
        reach(&spaces[0], gateways[family]);
    }
    runtime.check("a", &spaces[0]).unwrap();

    // Used up: an error, an Event and a metric that say of what; the others are served.
    let error = runtime.add("e", &spaces[4]).unwrap_err();
    assert_eq!(
        error.plugin_error().unwrap().code,
        code::ADDRESSES_USED_UP,
        "{error}"
    );
    for part in [
        "pool web is used up",
        "10.99.0.0/30",
        "node-1: 2",
        "default: 4",
    ] {
        assert!(
            error.to_string().contains(part),
            "{part} is missing in {error}"
        );
    }
    let told = agent.told();
    assert!(
        told.iter()
            .any(|line| line.starts_with("AddressesUsedUp default/e: pool web")),
        "{told:?}"
    );

    // A restart changes nothing and gives nothing twice.
    let before = stage.kernel();
    agent.kill();
    let agent = start(&stage, &shelf, attachment, pods);
    assert_eq!(stage.kernel(), before);
    runtime.check("a", &spaces[0]).unwrap();
    runtime.add("e", &spaces[4]).unwrap_err();

    // The pool changes, and pods keep what they have.
    shelf.apply(pool("web", &["10.98.0.0/30"]));
    assert!(addresses(4, "e")[0].to_string().starts_with("10.98.0."));
    reach(&spaces[4], given[0][0]);
    runtime.del("b", Some(&spaces[1])).unwrap();
    runtime.del("a", Some(&spaces[0])).unwrap();
    eventually(
        SOON,
        "blocks that the pool has lost and nobody uses are given back",
        || !shelf.blocks("web").contains(&"10.99.0.0/31".to_owned()),
    );
    reach(&spaces[4], given[2][0]);

    // It is deleted, and goes with its last pod.
    shelf.apply(PoolNet {
        deleting: true,
        ..pool("web", &["10.98.0.0/30"])
    });
    for (n, name) in [(2, "c"), (3, "d"), (4, "e")] {
        assert!(shelf.get("web").is_some());
        runtime.del(name, Some(&spaces[n])).unwrap();
    }
    eventually(SOON, "the pool is gone", || shelf.get("web").is_none());
    agent.wait("the node has forgotten its blocks", |_| {
        let routes = stage.node.run("ip", ["route", "show"]).succeeds();
        !routes.contains("10.99.") && !routes.contains("10.98.")
    });
    reach(&spaces[5], gateways[0]);
}

#[test]
fn pods_of_a_pool_reach_everybody_and_it_changes_and_goes_while_they_talk() {
    pods_of_a_pool_reach_everybody(Attachment::Bridge);
}

#[test]
fn pods_of_a_pool_that_are_routed_reach_everybody_too() {
    pods_of_a_pool_reach_everybody(Attachment::Routed);
}

#[test]
fn pools_are_chosen_by_labels_and_addresses_in_them_by_annotation() {
    let stage = Stage::new();
    let shelf = Arc::new(Shelf::default());
    let elsewhere: sealane_net::IpNet = "10.97.0.4/31".parse().unwrap();
    shelf.apply(PoolNet {
        namespaces: Some(Selector::of_labels(labels("team", "web"))),
        ..pool("by-namespace", &["10.96.0.0/24"])
    });
    shelf.apply(PoolNet {
        pods: Some(Selector::of_labels(labels("app", "shop"))),
        blocks: [("node-2".to_owned(), vec![elsewhere])].into(),
        ..pool("by-pod", &["10.97.0.0/24"])
    });
    shelf.apply(PoolNet {
        created: 2,
        pods: Some(Selector::of_labels(labels("app", "late"))),
        ..pool("overlaps", &["10.97.0.128/25"])
    });
    let of_app = |name: &str, app: &str, ip: &str| PodNet {
        labels: labels("app", app),
        annotations: labels("sealane.io/ips", ip),
        ..pod(name, &[])
    };
    shelf.apply(pool("services", &["10.200.3.0/24"]));
    let pods = vec![
        of_app("a", "shop", ""),
        of_app("b", "shop", "10.97.0.99"),
        of_app("c", "shop", "10.97.0.4"),
        of_app("d", "shop", "10.244.1.9"),
        of_app("e", "late", ""),
        asking("f", "by-namespace"),
        asking("g", "absent"),
        asking("h", "services"),
    ];
    let agent = start(&stage, &shelf, Attachment::Bridge, pods);
    let runtime = stage.runtime();
    let (_pods, spaces) = Topology::new(["a", "b", "c", "d", "e", "f", "g", "h", "plain"]);
    agent.tell_namespace("default", labels("team", "other"));
    assert_eq!(
        ip(&runtime.add("a", &spaces[0]).unwrap()).to_string(),
        "10.97.0.0"
    );
    assert_eq!(
        ip(&runtime.add("b", &spaces[1]).unwrap()).to_string(),
        "10.97.0.99"
    );
    for (n, name, part) in [
        (2, "c", "block of node node-2"),
        (3, "d", "pool by-pod"),
        (4, "e", "overlaps 10.97.0.0/24 of pool by-pod"),
        (5, "f", "not for this namespace"),
        (6, "g", "pool absent is not there"),
        (7, "h", "overlaps 10.200.0.0/16 of the Services"),
    ] {
        let error = runtime.add(name, &spaces[n]).unwrap_err().to_string();
        assert!(error.contains(part), "{name}: {error}");
        let told = agent.told();
        let about = format!("default/{name}: ");
        assert!(
            told.iter()
                .any(|line| line.contains(&about) && line.contains(part)),
            "{told:?}"
        );
    }
    for (pool, ready, reason) in [
        ("by-pod", true, "RangesAreFree"),
        ("overlaps", false, "RangeOverlap"),
        ("services", false, "RangeOverlap"),
    ] {
        eventually(SOON, &format!("pool {pool} says {reason}"), || {
            let told = shelf.get(pool).unwrap().condition.unwrap_or_default();
            (told.ready, &*told.reason) == (ready, reason)
        });
    }
    // What a Node had that is not there any more keeps no pool from going.
    let left: sealane_net::IpNet = "10.95.0.0/31".parse().unwrap();
    shelf.apply(PoolNet {
        blocks: [("node-9".to_owned(), vec![left])].into(),
        deleting: true,
        ..pool("left", &["10.95.0.0/24"])
    });
    eventually(SOON, "the pool is gone", || shelf.get("left").is_none());
    // A pod of which the API has not told yet waits until it has.
    std::thread::scope(|scope| {
        let add = scope.spawn(|| stage.runtime().add("plain", &spaces[8]));
        agent.wait("the ADD waits", |_| {
            agent.metrics().contains("sealane_cni_parked 1")
        });
        agent.tell_namespace("default", labels("team", "web"));
        agent.tell_pods(vec![pod("a", &[]), pod("b", &[]), pod("plain", &[])]);
        let added = add.join().unwrap().unwrap();
        assert_eq!(ip(&added).to_string(), "10.96.0.0");
    });
}

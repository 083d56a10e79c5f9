//! Named pools of addresses in a whole cluster.

use std::net::{IpAddr, SocketAddr, TcpStream};

use sealane_testkit::{LATER, Pod, SOON, Shared, eventually};
use serde_json::{Value, json};

const POOLS: &str = "/apis/sealane.io/v1alpha1/ippools";

fn create_pool(cluster: &Shared, name: &str, spec: Value) {
    let pool = json!({
        "apiVersion": "sealane.io/v1alpha1", "kind": "IPPool",
        "metadata": {"name": name}, "spec": spec,
    });
    cluster.api().create(POOLS, &pool).unwrap();
}

/// What the condition `Ready` of a pool says, once it is there.
#[track_caller]
fn condition(cluster: &Shared, name: &str) -> (String, String) {
    eventually(SOON, &format!("pool {name} says how it is"), || {
        let pool = cluster.api().get(&format!("{POOLS}/{name}"))?;
        let ready = &pool["status"]["conditions"][0];
        match (ready["status"].as_str(), ready["message"].as_str()) {
            (Some(status), Some(message)) => Ok((status.to_owned(), message.to_owned())),
            _ => Err(format!("{pool:#}")),
        }
    })
}

#[track_caller]
fn fetched(cluster: &Shared, pod: &str, from: IpAddr) -> String {
    let url = format!("http://{}/hostname", SocketAddr::new(from, 8080));
    let done = cluster.kubectl(["exec", pod, "--", "curl", "-s", "-m", "10", &url]);
    done.succeeds().trim().to_owned()
}

fn of_app(name: &str, app: &str, node: u32) -> Pod {
    Pod::echo(name).label("app", app).on_node(node)
}

#[test]
fn pods_have_addresses_of_the_pools_that_are_for_them_and_are_reached() {
    let cluster = Shared::cluster();
    let in_default = json!({"matchLabels": {"kubernetes.io/metadata.name": "default"}});
    let app = |app: &str| json!({"matchLabels": {"app": app}});
    create_pool(
        &cluster,
        "shop",
        json!({
            "ranges": ["10.60.0.0/30"], "blockSizes": {"ipv4": 31},
            "namespaceSelector": in_default, "podSelector": app("pool-shop"),
        }),
    );
    create_pool(
        &cluster,
        "small",
        json!({"ranges": ["10.61.0.0/32"], "podSelector": app("pool-small")}),
    );
    create_pool(&cluster, "wrong", json!({"ranges": ["10.96.7.0/24"]}));
    assert_eq!(condition(&cluster, "shop").0, "True");
    let (status, message) = condition(&cluster, "wrong");
    assert_eq!(status, "False");
    assert!(
        message.contains("10.96.0.0/12 of the Services"),
        "{message}"
    );

    // One on each node, with addresses of different blocks.
    cluster.start(&[
        of_app("shop-1", "pool-shop", 1),
        of_app("shop-2", "pool-shop", 2),
        of_app("small-1", "pool-small", 1),
        Pod::echo("no-pool").on_node(2),
    ]);
    let ip = |pod: &str| cluster.pod_ip(pod);
    let mut of_shop = [ip("shop-1"), ip("shop-2")].map(|ip| ip.to_string());
    of_shop.sort();
    assert_eq!(of_shop, ["10.60.0.0", "10.60.0.2"]);
    assert_eq!(ip("small-1").to_string(), "10.61.0.0");
    assert!(!ip("no-pool").to_string().starts_with("10.6"));
    for (from, to) in [
        ("shop-1", "shop-2"),
        ("shop-2", "small-1"),
        ("small-1", "no-pool"),
        ("no-pool", "shop-1"),
    ] {
        assert_eq!(fetched(&cluster, from, ip(to)), to, "from {from}");
    }
    // This machine has a way there too.
    for pod in ["shop-1", "shop-2", "small-1"] {
        eventually(SOON, &format!("this machine reaches {pod}"), || {
            TcpStream::connect_timeout(&SocketAddr::new(ip(pod), 8080), SOON)
        });
    }

    // Used up.
    cluster.create(&[of_app("small-2", "pool-small", 2)]);
    let fields = "involvedObject.name=small-2,reason=AddressesUsedUp";
    eventually(LATER, "an Event says that the pool is used up", || {
        let text = "jsonpath={.items[*].message}";
        let words = ["get", "events", "--field-selector", fields, "-o", text];
        let events = cluster.kubectl(words).succeeds();
        let told = events.contains("pool small is used up")
            && events.contains("(node-1: 1), and this node has none");
        if told { Ok(()) } else { Err(events) }
    });

    // Pools go with their last pods.
    cluster.delete(["small-2", "small-1", "shop-1", "shop-2", "no-pool"]);
    let pools = [
        "delete",
        "ippools",
        "shop",
        "small",
        "wrong",
        "--timeout=60s",
    ];
    cluster.kubectl(pools).succeeds();
}

//! Names, as pods resolve them.

use sealane_objects::DnsPolicy;

use super::*;

#[test]
fn a_node_answers_names_itself_and_the_service_of_that_address_is_not_asked() {
    let mut world = world();
    for (to, from) in [
        ("10.96.0.10:53/udp", "pod-a"),
        ("169.254.20.10:53", "node/node-1"),
    ] {
        world.settings.dns = Vec::new();
        let unknown = format!("{:?}", walk_in(&world, from, to).outcome);
        assert!(!unknown.contains("DNS server"), "{unknown}");
        world.settings.dns = vec![ip("10.96.0.10"), ip("169.254.20.10")];
        let told = walk_in(&world, from, to);
        let Outcome::Arrives { at } = &told.outcome else {
            panic!("{told:?}")
        };
        assert!(at.ends_with("DNS server of node node-1"), "{at}");
        let shown = render(&told, Colour::No, 130);
        assert!(shown.contains("nft table sealane-dns"), "{shown}");
    }
    // Another port of that Service goes the way of all Services.
    let metrics = walk_in(&world, "pod-a", "10.96.0.10:9153");
    assert!(!format!("{:?}", metrics.outcome).contains("DNS server"));
}

/// The names of the second half of the cluster: a headless Service, and one that stands for another.
fn named_world() -> Snapshot {
    let mut world = world();
    world.services.push(ServiceView {
        name: ObjectName::new("default", "db"),
        kind: "ClusterIP".into(),
        headless: true,
        ..ServiceView::default()
    });
    world.services.push(ServiceView {
        name: ObjectName::new("default", "old"),
        kind: "ExternalName".into(),
        external_name: "backend.default.svc.cluster.local".into(),
        ..ServiceView::default()
    });
    let mut slice = world.slices[0].clone();
    slice.name = ObjectName::new("default", "db-x");
    slice.net.service = "db".into();
    slice.net.endpoints = [
        endpoint("10.244.2.7", "node-2", true),
        endpoint("10.244.1.9", "node-1", false),
    ]
    .into();
    slice.hostnames = vec![
        (ip("10.244.2.7"), "db-0".into()),
        (ip("10.244.1.9"), "db-1".into()),
    ];
    world.slices.push(slice);
    world
}

#[test]
fn names_are_those_of_the_dns_server() {
    let world = named_world();
    for (to, at) in [
        ("db:8080", "10.244.2.7:8080"),
        ("db-0.db:8080", "10.244.2.7:8080"),
        ("old:80", "10.244.2.7:8080"),
        ("old.default.svc.cluster.local.:80", "10.244.2.7:8080"),
        (
            "10-244-1-9.default.pod.cluster.local:8080",
            "10.244.1.9:8080",
        ),
    ] {
        let trace = walk_in(&world, "pod-a", to);
        assert!(arrival(&trace).starts_with(at), "{to}: {trace:?}");
    }
    for (to, part) in [
        (
            "db-1.db:8080",
            "no ready endpoint called db-1, but 1 endpoint not ready",
        ),
        ("backend.:80", "backend is no name of the cluster"),
        ("www.example.com:80", "names outside of the cluster"),
    ] {
        let trace = walk_in(&world, "pod-a", to);
        let told = format!("{:?}", death(&trace));
        assert!(told.contains(part), "{to}: {told}");
    }
}

#[test]
fn a_pods_own_resolver_settings_count() {
    let mut world = named_world();
    world.pods[0].dns.policy = DnsPolicy::None;
    assert!(
        death(&walk_in(&world, "pod-a", "backend:80"))
            .why
            .contains("is no name of the cluster")
    );
    let whole = "backend.default.svc.cluster.local:80";
    assert!(arrival(&walk_in(&world, "pod-a", whole)).starts_with("10.244.2.7:8080"));
    world.pods[0].dns.config.searches = vec!["default.svc.cluster.local".into()];
    assert!(arrival(&walk_in(&world, "pod-a", "backend:80")).starts_with("10.244.2.7:8080"));
}

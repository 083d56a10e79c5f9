//! Where packets end, and who cannot send any.

use std::sync::Arc;

use sealane_net::ProxyMode;
use sealane_objects::TrafficPolicy;

use super::*;

#[test]
fn what_keeps_a_packet_is_named() {
    let unready = |mut world: Snapshot| {
        world.slices[0].net.endpoints = [endpoint("10.244.2.7", "node-2", false)].into();
        world.pods.remove(2);
        world.pods[1].not_ready = Some("container c runs, its readiness probe fails".into());
        world
    };
    let mislabelled = |mut world: Snapshot| {
        world.slices[0].net.endpoints = [].into();
        for pod in &mut world.pods {
            pod.labels.insert("app".into(), "wbe".into());
        }
        world
    };
    let misnamed = |mut world: Snapshot| {
        world.slices[0].net.ports = Arc::from([]);
        world.services[0].target_names = vec![Some("web".into())];
        world
    };
    let local = |mut world: Snapshot| {
        world.services[0].net.external_policy = TrafficPolicy::Local;
        world
    };
    let silent = |mut world: Snapshot| {
        world = unready(world);
        world.nodes[1].not_ready = Some("NodeStatusUnknown".into());
        world
    };
    let nobody: fn(Snapshot) -> Snapshot = |world| world;
    type Change<'a> = &'a dyn Fn(Snapshot) -> Snapshot;
    let foreign = |mut world: Snapshot| {
        world.slices[0].net.endpoints = [].into();
        for pod in &mut world.pods[1..] {
            pod.net.name = ObjectName::new("shop", pod.net.name.name.as_str());
        }
        world
    };
    let unserved = |mut world: Snapshot| {
        world.settings.proxy_mode = ProxyMode::None;
        world
    };
    let cases: [(Change<'_>, &str, &str, &str, &str, &str); 17] = [
        (
            &foreign,
            "pod-a",
            "backend:80",
            "no pod has the labels app=web",
            "service default/backend",
            "pod shop/web-1 has them, in a namespace that it does not look into",
        ),
        (
            &unserved,
            "pod-a",
            "backend:80",
            "its agent runs with --proxy-mode none",
            "node node-1",
            "",
        ),
        (
            &nobody,
            "pod-a",
            "backend.shop:80",
            "there is no Service shop/backend",
            "service shop/backend",
            "there is default/backend",
        ),
        (
            &nobody,
            "pod-a",
            "node/node-9:80",
            "there is no node node-9",
            "node node-9",
            "",
        ),
        (
            &unready,
            "pod-a",
            "backend:80",
            "the pod that it selects is not ready",
            "pod default/web-1",
            "readiness probe fails",
        ),
        (
            &silent,
            "pod-a",
            "backend:80",
            "the pod that it selects is not ready",
            "pod default/web-1",
            "its node node-2 is not ready: NodeStatusUnknown",
        ),
        (
            &mislabelled,
            "pod-a",
            "backend:80",
            "no pod has the labels app=web",
            "service default/backend",
            "pod default/pod-a has app=wbe",
        ),
        (
            &misnamed,
            "pod-a",
            "backend:80",
            "sends to the port named \"web\", which no container of its pods has",
            "service default/backend",
            "its containers' ports are http (8080/TCP)",
        ),
        (
            &local,
            "outside",
            "node/node-1:30080",
            "externalTrafficPolicy of service default/backend is Local, and node-1 has no endpoint",
            "service default/backend",
            "node-2 has one",
        ),
        (
            &nobody,
            "pod-a",
            "backend:81",
            "service default/backend has no port 81/TCP",
            "service default/backend",
            "it has 80/TCP (http)",
        ),
        (
            &nobody,
            "pod-a",
            "10.96.0.17:81",
            "service default/backend has no port 81/TCP",
            "service default/backend",
            "it has 80/TCP (http)",
        ),
        (
            &nobody,
            "pod-a",
            "backen:80",
            "backen is no name of the cluster",
            "service default/backen",
            "there is default/backend",
        ),
        (
            &nobody,
            "pod-a",
            "10.96.9.9:80",
            "no Service has it",
            "",
            "",
        ),
        (
            &nobody,
            "pod-a",
            "10.244.2.99:80",
            "no pod has 10.244.2.99",
            "",
            "",
        ),
        (
            &nobody,
            "pod-a",
            "10.244.1.99:80",
            "no pod has 10.244.1.99",
            "",
            "",
        ),
        (
            &nobody,
            "outside",
            "10.96.0.17:80",
            "nobody outside has a route to it",
            "",
            "",
        ),
        (
            &nobody,
            "pod-a",
            "pod/gone:80",
            "there is no pod default/gone",
            "pod default/gone",
            "",
        ),
    ];
    for (change, from, to, why, object, detail) in cases {
        let trace = walk_in(&change(world()), from, to);
        let death = death(&trace);
        assert!(death.why.contains(why), "{from} {to}: {death:?}");
        assert_eq!(
            death.object.as_deref().unwrap_or_default(),
            object,
            "{from} {to}"
        );
        let told = death.details.iter().any(|one| one.contains(detail));
        assert!(detail.is_empty() || told, "{from} {to}: {death:?}");
        assert!(death.next.is_some(), "{from} {to}: {death:?}");
        assert!(trace.back.is_empty());
    }
}

#[test]
fn whoever_cannot_send_is_told_apart() {
    let mut world = world();
    world.pods[0].net.pod_ips.clear();
    world.pods[0].not_ready = Some("not scheduled: no nodes".into());
    let told = |from: &str| {
        let from = From::parse(from, "default").unwrap();
        let to = To::parse("backend:80", "default").unwrap();
        let traced = trace(&world, &from, &to, ("", ""), Known::default());
        traced.unwrap_err().to_string()
    };
    assert_eq!(
        told("pod-a"),
        "send from pod default/pod-a: it has no address: not scheduled: no nodes"
    );
    assert_eq!(
        told("node/node-9"),
        "find node node-9: there is none; there are node-1, node-2"
    );
}

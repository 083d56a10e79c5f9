//! The records of the Kubernetes DNS specification 1.1.0, section by section, and what is not there.
//!
//! `tests/golden/specification.txt` is the table: a question, then the reply. `UPDATE_GOLDEN=1` writes it anew.

use std::path::Path;

use sealane_message::Kind;
use serde_json::json;

use super::{ask, service, settings, slice, slice_of};
use crate::{Fallthrough, PodRecords, Settings, Zone};

/// The cluster that the table is about.
pub(super) fn cluster() -> Zone {
    let mut zone = Zone::new();
    zone.replace_namespaces(["default", "kube-system", "empty"]);
    let https = json!([{"name": "https", "protocol": "TCP", "port": 443}]);
    let dns = json!([
        {"name": "dns", "protocol": "UDP", "port": 53},
        {"name": "dns-tcp", "protocol": "TCP", "port": 53},
    ]);
    service(
        &mut zone,
        "default/kubernetes",
        json!({"target": {"addresses": ["10.96.0.1"]}, "ports": https}),
    );
    service(
        &mut zone,
        "kube-system/kube-dns",
        json!({"target": {"addresses": ["10.96.0.10"]}, "ports": dns}),
    );
    service(
        &mut zone,
        "default/both",
        json!({"target": {"addresses": ["10.96.0.7", "fd00:10:96::7"]},
            "ports": [{"name": "", "protocol": "TCP", "port": 80}]}),
    );
    service(
        &mut zone,
        "default/headless",
        json!({"target": "endpoints", "ports": https}),
    );
    service(&mut zone, "default/nobody", json!({"target": "endpoints"}));
    for (name, target) in [
        ("foo", "www.example.com"),
        ("alias", "kubernetes.default.svc.cluster.local."),
        ("twice", "alias.default.svc.cluster.local"),
        ("lost", "gone.default.svc.cluster.local"),
        ("round", "circle.default.svc.cluster.local"),
        ("circle", "round.default.svc.cluster.local"),
        ("number", "192.0.2.1"),
    ] {
        let name = format!("default/{name}");
        service(&mut zone, &name, json!({"target": {"name": target}}));
    }
    let ports: &[_] = &[("https", 8443)];
    let v4 = ["10.244.1.2/my-pet", "10.244.1.3", "10.244.2.9/late!"];
    slice(
        &mut zone,
        "default/headless-a",
        slice_of("headless", ports, &v4),
    );
    // The same endpoint again, as while it moves to another slice.
    let more = ["10.244.1.3", "10.244.2.4/my-pet-2"];
    slice(
        &mut zone,
        "default/headless-b",
        slice_of("headless", ports, &more),
    );
    let v6 = ["fd00:10:244::2/my-pet", "fd00:10:244::3"];
    slice(
        &mut zone,
        "default/headless-6",
        slice_of("headless", ports, &v6),
    );
    slice(
        &mut zone,
        "default/nobody-a",
        slice_of("nobody", ports, &["10.244.1.9!"]),
    );
    slice(
        &mut zone,
        "default/kubernetes",
        slice_of("kubernetes", ports, &["172.29.0.1"]),
    );
    zone
}

#[test]
fn the_table_of_the_specification() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/specification.txt");
    let known = std::fs::read_to_string(&path).unwrap();
    let (zone, settings) = (cluster(), settings());
    let mut written = String::new();
    for part in known.split("\n\n") {
        let part = part.trim_end();
        let Some(asked) = part.strip_prefix("? ") else {
            written += &format!("{part}\n\n");
            continue;
        };
        let asked = asked.lines().next().unwrap_or_default();
        let (name, kind) = asked.split_once(' ').unwrap();
        let reply = ask(&zone, &settings, name, kind.parse().unwrap());
        let now = format!("? {asked}\n{reply}");
        if std::env::var_os("UPDATE_GOLDEN").is_none() {
            assert_eq!(
                now.trim_end(),
                part,
                "UPDATE_GOLDEN=1 writes {} anew",
                path.display()
            );
        }
        written += &format!("{now}\n");
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, written.trim_end().to_owned() + "\n").unwrap();
    }
}

/// What a block of a Corefile changes.
#[test]
fn settings_decide_what_is_there() {
    let zone = cluster();
    let usual = settings;
    let pods = |pods| Settings { pods, ..usual() };
    let through = |fallthrough| Settings {
        fallthrough,
        ..usual()
    };
    let reverse = through(Fallthrough::Zones(vec![super::name("in-addr.arpa")]));
    let nothing = Settings {
        no_endpoints: true,
        ..usual()
    };
    let own = Settings {
        namespaces: vec!["kube-system".into()],
        ..usual()
    };
    let full = Settings {
        ignore_empty_service: true,
        ..usual()
    };
    let web = "kubernetes.default.svc.cluster.local";
    let dns = "kube-dns.kube-system.svc.cluster.local";
    let pod = "10-244-1-2.default.pod.cluster.local";
    for (settings, name, kind, expected) in [
        (&pods(PodRecords::Disabled), pod, Kind::A, "NXDOMAIN"),
        (
            &pods(PodRecords::Disabled),
            "default.pod.cluster.local",
            Kind::A,
            "NXDOMAIN",
        ),
        (&pods(PodRecords::Verified), pod, Kind::A, "NXDOMAIN"),
        (
            &pods(PodRecords::Insecure),
            "fd00--5.default.pod.cluster.local",
            Kind::AAAA,
            "NOERROR",
        ),
        (&reverse, "9.9.9.9.in-addr.arpa", Kind::PTR, "outside"),
        (&reverse, "1.0.96.10.in-addr.arpa", Kind::PTR, "NOERROR"),
        (
            &reverse,
            "gone.default.svc.cluster.local",
            Kind::A,
            "NXDOMAIN",
        ),
        (
            &through(Fallthrough::Always),
            "gone.default.svc.cluster.local",
            Kind::A,
            "outside",
        ),
        (
            &through(Fallthrough::Always),
            "default.svc.cluster.local",
            Kind::A,
            "NOERROR",
        ),
        (
            &nothing,
            "headless.default.svc.cluster.local",
            Kind::A,
            "NXDOMAIN",
        ),
        (
            &nothing,
            "172-29-0-1.kubernetes.default.svc.cluster.local",
            Kind::A,
            "NXDOMAIN",
        ),
        (&nothing, web, Kind::A, "NOERROR"),
        (&nothing, "2.1.244.10.in-addr.arpa", Kind::PTR, "NXDOMAIN"),
        (&own, web, Kind::A, "NXDOMAIN"),
        (&own, "default.svc.cluster.local", Kind::A, "NXDOMAIN"),
        (&own, "1.0.96.10.in-addr.arpa", Kind::PTR, "NXDOMAIN"),
        (&own, dns, Kind::A, "NOERROR"),
        (&full, dns, Kind::A, "NXDOMAIN"),
        (&full, web, Kind::A, "NOERROR"),
    ] {
        let reply = ask(&zone, settings, name, kind);
        assert_eq!(reply.lines().next(), Some(expected), "{name} {kind}");
    }
    let mut zone = zone;
    let one = super::pod(json!({"addresses": ["10.244.1.2"]}));
    zone.set_pod(&super::object("default/web-1"), Some(&one));
    let reply = ask(&zone, &pods(PodRecords::Verified), pod, Kind::A);
    assert!(reply.starts_with("NOERROR"));
    zone.set_pod(&super::object("default/web-1"), None);
    let reply = ask(&zone, &pods(PodRecords::Verified), pod, Kind::A);
    assert!(reply.starts_with("NXDOMAIN"));
}

#[test]
fn endpoints_go_by_their_pods_names_if_that_is_wanted() {
    let mut zone = cluster();
    let settings = settings();
    let slice = json!({"service": "headless", "ports": [], "endpoints": [
        {"address": "10.244.3.1", "ready": true, "hostname": null, "pod": "web-x7"},
        {"address": "10.244.3.2", "ready": true, "hostname": "named", "pod": "web-y8"},
    ]});
    let there = |zone: &Zone, host: &str| {
        let name = format!("{host}.headless.default.svc.cluster.local");
        ask(zone, &settings, &name, Kind::A).starts_with("NOERROR")
    };
    super::slice(&mut zone, "default/headless-a", slice.clone());
    assert!(there(&zone, "10-244-3-1") && !there(&zone, "web-x7"));
    zone.set_pod_names(true);
    super::slice(&mut zone, "default/headless-a", slice);
    assert!(there(&zone, "web-x7") && !there(&zone, "10-244-3-1"));
    assert!(there(&zone, "named") && !there(&zone, "web-y8"));
}

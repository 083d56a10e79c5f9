//! The records of the Kubernetes DNS specification 1.1.0, section by section, and what is not there.
//!
//! `tests/golden/specification.txt` is the table: a question, then the reply. `UPDATE_GOLDEN=1` writes it anew.

use std::collections::BTreeMap;
use std::path::Path;

use sealane_message::Kind;
use serde_json::{Value, json};

use super::{ask, service, settings, slice};
use crate::{Fallthrough, PodRecords, Settings, Zone};

/// The cluster that the table is about. Whoever asks the table's questions of a server takes it, too.
const CLUSTER: &str = include_str!("../../tests/golden/specification.json");

#[derive(serde::Deserialize)]
struct Cluster {
    namespaces: Vec<String>,
    services: BTreeMap<String, Value>,
    slices: BTreeMap<String, Value>,
}

pub(super) fn cluster() -> Zone {
    let cluster: Cluster = serde_json::from_str(CLUSTER).unwrap();
    let mut zone = Zone::new();
    zone.replace_namespaces(cluster.namespaces.iter().map(String::as_str));
    for (name, object) in cluster.services {
        service(&mut zone, &name, object);
    }
    for (name, object) in cluster.slices {
        slice(&mut zone, &name, object);
    }
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

/// A node's own address for DNS is no server of the zone while a Service has one.
#[test]
fn servers_are_called_by_their_service() {
    let zone = cluster();
    let servers = |servers: &[&str]| {
        let mut settings = settings();
        settings.servers = servers
            .iter()
            .map(|address| address.parse().unwrap())
            .collect();
        ask(&zone, &settings, "cluster.local", Kind::NS)
    };
    let both = servers(&["10.96.0.10", "169.254.20.10"]);
    assert_eq!(both, servers(&["10.96.0.10"]));
    let own = "NOERROR\ncluster.local. 30 IN NS ns.dns.cluster.local.\n";
    let with_address = "[additional] ns.dns.cluster.local. 30 IN A 169.254.20.10\n";
    assert_eq!(servers(&["169.254.20.10"]), format!("{own}{with_address}"));
    assert_eq!(servers(&[]), own);
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

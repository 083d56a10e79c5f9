//! What is wrong in one object harms no other name.

use sealane_message::Kind;
use serde_json::json;

use super::{ask, service, settings, slice, slice_of};
use crate::Zone;

#[test]
fn an_object_whose_name_is_no_label_has_no_names() {
    let mut zone = Zone::new();
    let long = "a".repeat(64);
    for name in ["", "a.b", "ä", "a b", long.as_str()] {
        let name = format!("default/{name}");
        service(
            &mut zone,
            &name,
            json!({"target": {"addresses": ["10.96.0.1"]}}),
        );
        slice(&mut zone, &name, slice_of("a.b", &[], &["10.244.1.2"]));
    }
    assert_eq!(zone.size(), (0, 0));
}

#[test]
fn an_endpoint_with_a_hostname_that_is_none_goes_by_its_address() {
    let mut zone = Zone::new();
    service(&mut zone, "default/db", json!({"target": "endpoints"}));
    let long = format!("10.244.1.3/{}", "a".repeat(64));
    let endpoints = ["10.244.1.2/a.b", "10.244.1.4/db-0", long.as_str()];
    slice(&mut zone, "default/db-1", slice_of("db", &[], &endpoints));
    let settings = settings();
    for (host, found) in [
        ("10-244-1-2", true),
        ("10-244-1-3", true),
        ("db-0", true),
        ("b", false),
    ] {
        let name = format!("{host}.db.default.svc.cluster.local");
        let reply = ask(&zone, &settings, &name, Kind::A);
        assert_eq!(reply.starts_with("NOERROR"), found, "{name}: {reply}");
    }
}

#[test]
fn a_port_whose_name_is_none_has_no_record_and_the_others_have() {
    let mut zone = Zone::new();
    let long = "p".repeat(63);
    let port = |name: &str| json!({"name": name, "protocol": "TCP", "port": 80});
    let ports = [port("a.b"), port(&long), port("Http")];
    let object = json!({"target": {"addresses": ["10.96.0.1"]}, "ports": ports});
    service(&mut zone, "default/web", object);
    let reply = ask(
        &zone,
        &settings(),
        "_http._tcp.web.default.svc.cluster.local",
        Kind::SRV,
    );
    assert_eq!(reply.lines().count(), 3, "{reply}");
}

#[test]
fn names_that_are_too_long_are_not_there() {
    let mut settings = settings();
    let label = "d".repeat(60);
    let domain = format!("{label}.{label}.{label}");
    settings.zones[0] = super::name(&domain);
    let mut zone = Zone::new();
    let (service_name, namespace) = ("s".repeat(40), "n".repeat(22));
    let object = format!("{namespace}/{service_name}");
    service(&mut zone, &object, json!({"target": "endpoints"}));
    let host = format!("10.244.1.2/{}", "h".repeat(63));
    slice(
        &mut zone,
        &object,
        slice_of(&service_name, &[("a", 1)], &[&host]),
    );
    // The Service's name does not fit, so nobody can ask for it; its address has no name either.
    let reply = ask(&zone, &settings, "2.1.244.10.in-addr.arpa", Kind::PTR);
    assert!(reply.starts_with("NXDOMAIN"), "{reply}");
    let shorter = "n/web";
    service(&mut zone, shorter, json!({"target": "endpoints"}));
    let endpoints = ["10.244.1.3/db-0", &host];
    slice(&mut zone, shorter, slice_of("web", &[("a", 1)], &endpoints));
    let name = format!("_a._tcp.web.n.svc.{domain}");
    let reply = ask(&zone, &settings, &name, Kind::SRV);
    let srv = reply.lines().filter(|line| line.contains("IN SRV"));
    assert_eq!(srv.count(), 1, "the endpoint whose name fits: {reply}");
}

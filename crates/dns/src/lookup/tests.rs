//! Whole lookups, as text.

use sealane_corefile::{DEFAULT, Given, parse};
use sealane_net::Protocol;
use sealane_objects::{
    DnsConfig, DnsPolicy, DnsTarget, EndpointDns, ObjectName, PodDns, PortDns, ServiceDns, SliceDns,
};

use super::*;

fn pod(address: &str, policy: DnsPolicy, config: DnsConfig) -> PodView {
    PodView {
        dns: PodDns {
            addresses: vec![address.parse().unwrap()],
            host_network: false,
            policy,
            config,
        },
        nameservers: Vec::new(),
    }
}

/// A Service, a headless one with two endpoints, one that stands for an outside name, and three pods.
fn world() -> World {
    let name = |text: &str| ObjectName::new("default", text);
    let port = PortDns {
        name: "http".into(),
        protocol: Protocol::Tcp,
        port: 80,
    };
    let service = |target| ServiceDns {
        target,
        ports: vec![port.clone()],
    };
    let endpoint = |address: &str, ready, pod: &str| EndpointDns {
        address: address.parse().unwrap(),
        ready,
        hostname: Some(pod.into()),
        pod: Some(pod.into()),
    };
    let addresses = vec!["10.96.0.7".parse().unwrap()];
    let other = DnsConfig {
        searches: vec!["corp.example".into()],
        ndots: Some(2),
    };
    World {
        services: [
            (name("web"), service(DnsTarget::Addresses(addresses))),
            (name("db"), service(DnsTarget::Endpoints)),
            (
                name("out"),
                service(DnsTarget::Name("www.example.com".into())),
            ),
        ]
        .into(),
        slices: [(
            name("db-abc"),
            SliceDns {
                service: "db".into(),
                ports: vec![port.clone()],
                endpoints: vec![
                    endpoint("10.244.1.2", true, "db-0"),
                    endpoint("10.244.1.3", false, "db-1"),
                ],
            },
        )]
        .into(),
        namespaces: ["default".into(), "shop".into()].into(),
        pods: [
            (
                name("a"),
                pod("10.244.1.9", DnsPolicy::ClusterFirst, DnsConfig::default()),
            ),
            (
                name("own"),
                pod("10.244.1.10", DnsPolicy::ClusterFirst, other),
            ),
            (
                name("host"),
                pod("10.244.1.11", DnsPolicy::Default, DnsConfig::default()),
            ),
        ]
        .into(),
        config: parse(DEFAULT, &Given::default()).unwrap(),
        config_from: "built in".into(),
        servers: vec!["10.96.0.10".parse().unwrap()],
        domain: "cluster.local".into(),
        node: Some(NodeResolver::parse(
            "nameserver 192.0.2.53\nsearch node.example\n",
        )),
    }
}

fn lookup(from: &str, of: &str) -> Lookup {
    look_up(&world(), &ObjectName::new("default", from), of, None).unwrap()
}

#[test]
fn a_service_is_found_by_its_short_name() {
    let text = render(&lookup("a", "web"));
    assert_eq!(
        text,
        "\
web from pod default/a: found

/etc/resolv.conf (dnsPolicy ClusterFirst)
  nameserver 10.96.0.10
  search default.svc.cluster.local svc.cluster.local cluster.local node.example
  options ndots:5

0 dots, and ndots is 5: the search list first, then as it is
  1 web.default.svc.cluster.local.
    A      found: Service default/web has cluster IP 10.96.0.7
             web.default.svc.cluster.local. 30 IN A 10.96.0.7
    AAAA   nothing of this type (NOERROR): Service default/web has cluster IP 10.96.0.7

one round trip: yes: the first name ends it
"
    );
}

/// Name, what it comes to and the plugin of each step's first question.
fn steps(lookup: &Lookup) -> Vec<(&str, Outcome, &str)> {
    let one = |step: &'_ Step| (step.asked[0].outcome, step.asked[0].plugin);
    let steps = lookup.steps.iter();
    steps
        .map(|step| (step.name.as_str(), one(step).0, one(step).1))
        .collect()
}

#[test]
fn an_outside_name_walks_the_list_in_one_round_trip_and_ends_at_the_upstream() {
    let found = lookup("a", "www.example.com");
    let no = |name| (name, Outcome::NoName, "kubernetes");
    assert_eq!(
        steps(&found),
        [
            no("www.example.com.default.svc.cluster.local."),
            no("www.example.com.svc.cluster.local."),
            no("www.example.com.cluster.local."),
            (
                "www.example.com.node.example.",
                Outcome::Forwarded,
                "forward"
            ),
            ("www.example.com.", Outcome::Forwarded, "forward"),
        ]
    );
    assert_eq!(found.result, Outcome::Forwarded);
    assert!(found.one_round_trip.yes, "{found:?}");
    let last = &found.steps[4].asked[0].because;
    assert_eq!(last, "asked of 192.0.2.53 (Corefile:13)");
}

#[test]
fn dots_dns_config_and_policies_decide_what_is_asked() {
    let own = lookup("own", "api.corp.example");
    assert_eq!(own.resolver.searches.last().unwrap(), "corp.example");
    assert_eq!(
        own.steps[0].name, "api.corp.example.",
        "two dots are as many as its ndots"
    );
    let absolute = lookup("a", "web.default.svc.cluster.local.");
    assert_eq!(absolute.steps.len(), 1);
    assert_eq!(absolute.result, Outcome::Records);
    let host = lookup("host", "web");
    assert!(!host.resolver.asks_the_cluster);
    assert_eq!(host.resolver.nameservers, ["192.0.2.53"]);
    assert_eq!(host.result, Outcome::Forwarded);
    assert!(!host.one_round_trip.yes);
}

#[test]
fn the_objects_behind_answers_are_named() {
    let objects = |of: &str| lookup("a", of).steps[0].asked[0].objects.join(", ");
    for (of, expected) in [
        ("web", "Service default/web"),
        (
            "db-0.db",
            "Service default/db, EndpointSlice default/db-abc",
        ),
        ("out", "Service default/out"),
    ] {
        assert_eq!(objects(of), expected, "{of}");
    }
    let out = lookup("a", "out");
    assert_eq!(out.result, Outcome::Forwarded);
    let asked = &out.steps[0].asked[0];
    assert_eq!(
        asked.records,
        ["out.default.svc.cluster.local. 30 IN CNAME www.example.com."]
    );
    assert!(
        asked.because.ends_with("asked of 192.0.2.53 (Corefile:13)"),
        "{}",
        asked.because
    );
}

#[test]
fn what_is_not_there_says_why() {
    let missing = lookup("a", "wev");
    let because = &missing.steps[0].asked[0].because;
    assert!(
        because.contains("Service default/wev is not there"),
        "{because}"
    );
    assert!(because.contains("Service default/web"), "{because}");
    let world = world();
    let nobody = ObjectName::new("default", "nobody");
    let error = look_up(&world, &nobody, "web", None).unwrap_err();
    assert!(
        error.starts_with("there is no pod default/nobody"),
        "{error}"
    );
    let a = ObjectName::new("default", "a");
    assert!(look_up(&world, &a, "a..b", None).is_err());
}

#[test]
fn plugins_of_the_corefile_answer_first() {
    let mut world = world();
    let text = ". {
  rewrite name suffix .old.example .default.svc.cluster.local
  hosts {
    192.0.2.7 printer.example
    fallthrough
  }
  kubernetes cluster.local
}
";
    world.config = parse(text, &Given::default()).unwrap();
    let from = ObjectName::new("default", "a");
    let ask = |of: &str| {
        let found = look_up(&world, &from, of, None).unwrap();
        found.steps[0].asked[0].clone()
    };
    let printer = ask("printer.example.");
    assert_eq!(
        (printer.plugin, printer.outcome),
        ("hosts", Outcome::Records)
    );
    let old = ask("web.old.example.");
    assert_eq!(old.records, ["web.old.example. 5 IN A 10.96.0.7"]);
    assert!(
        old.because
            .starts_with("rewritten to web.default.svc.cluster.local. A: Service")
    );
    let nobody = ask("www.example.com.");
    assert_eq!(nobody.outcome, Outcome::Failed);
}

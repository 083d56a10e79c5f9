//! Lookups in words.

use sealane_message::{Kind, Question};
use serde_json::json;

use super::specification::cluster;
use super::{name, object, pod, settings};
use crate::{Client, Fallthrough, PodRecords, SearchSettings, Settings, Subject};

/// What is said of a name and of those that it stands for, a line each.
fn words(settings: &Settings, asked: &str) -> Vec<String> {
    let question = Question::new(name(asked), Kind::A);
    let explained = cluster().explain(settings, &question);
    let lines = explained.iter().flat_map(|(name, because)| {
        let line = move |because| {
            format!(
                "{}: {because}",
                name.labels()
                    .next()
                    .map_or(".".into(), |l| String::from_utf8_lossy(l).into_owned())
            )
        };
        because.iter().map(line)
    });
    lines.collect()
}

#[test]
fn each_name_with_the_objects_that_make_its_answer() {
    let usual = settings();
    let cases: &[(&str, &[&str])] = &[
        (
            "kubernetes.default.svc.cluster.local",
            &["kubernetes: Service default/kubernetes has cluster IP 10.96.0.1"],
        ),
        (
            "kubernetez.default.svc.cluster.local",
            &[
                "kubernetez: Service default/kubernetez is not there",
                "kubernetez: there is Service default/kubernetes",
            ],
        ),
        (
            "kubernetes.prod.svc.cluster.local",
            &[
                "kubernetes: Service prod/kubernetes is not there",
                "kubernetes: Namespace prod is not there",
                "kubernetes: there is Service default/kubernetes",
            ],
        ),
        (
            "headless.default.svc.cluster.local",
            &["headless: Service default/headless is headless: 5 of 6 endpoints ready"],
        ),
        (
            "my-pet.headless.default.svc.cluster.local",
            &[
                "my-pet: Service default/headless is headless: 5 of 6 endpoints ready",
                "my-pet: its endpoint my-pet is 10.244.1.2, fd00:10:244::2 \
             (EndpointSlice default/headless-6, EndpointSlice default/headless-a)",
            ],
        ),
        (
            "late.headless.default.svc.cluster.local",
            &[
                "late: Service default/headless is headless: 5 of 6 endpoints ready",
                "late: it has no ready endpoint called late, but 1 endpoint not ready",
            ],
        ),
        (
            "nobody.default.svc.cluster.local",
            &[
                "nobody: Service default/nobody is headless: 0 of 1 endpoint ready",
                "nobody: a headless Service has a name while one of its endpoints is ready, or with publishNotReadyAddresses",
            ],
        ),
        (
            "_http._tcp.headless.default.svc.cluster.local",
            &[
                "_http: Service default/headless is headless: 5 of 6 endpoints ready",
                "_http: asks for port http over tcp; its ports are https (8443/TCP)",
            ],
        ),
        (
            "foo.default.svc.cluster.local",
            &[
                "foo: Service default/foo is an ExternalName: www.example.com",
                "www: is not within the cluster's zones (cluster.local, in-addr.arpa, ip6.arpa)",
            ],
        ),
        (
            "alias.default.svc.cluster.local",
            &[
                "alias: Service default/alias is an ExternalName: kubernetes.default.svc.cluster.local",
                "kubernetes: Service default/kubernetes has cluster IP 10.96.0.1",
            ],
        ),
        (
            "number.default.svc.cluster.local",
            &[
                "number: Service default/number is an ExternalName, and \"192.0.2.1\" is no name that DNS can give",
            ],
        ),
        (
            "round.default.svc.cluster.local",
            &[
                "round: Service default/round is an ExternalName: circle.default.svc.cluster.local",
                "round: the names that it stands for lead round in a circle",
            ],
        ),
        (
            "empty.svc.cluster.local",
            &[
                "empty: Namespace empty is there: the name is the beginning of those of its Services",
            ],
        ),
        (
            "10-244-1-2.default.pod.cluster.local",
            &["10-244-1-2: spells 10.244.1.2; the Corefile takes any address (pods insecure)"],
        ),
        (
            "10.0.96.10.in-addr.arpa",
            &["10: Service kube-system/kube-dns has 10.96.0.10 as its cluster IP"],
        ),
        (
            "3.1.244.10.in-addr.arpa",
            &["3: Service default/headless has an endpoint at 10.244.1.3"],
        ),
        (
            "a.b.c.cluster.local",
            &["a: is no name that the cluster has: write NAME.NAMESPACE.svc before its domain"],
        ),
        (
            "a.b.c.d.e.f.cluster.local",
            &["a: is no name that the cluster has: write NAME.NAMESPACE.svc before its domain"],
        ),
    ];
    for (asked, expected) in cases {
        assert_eq!(words(&usual, asked), *expected, "{asked}");
    }
    let through = Settings {
        fallthrough: Fallthrough::Zones(vec![name("in-addr.arpa")]),
        pods: PodRecords::Verified,
        ..usual
    };
    assert_eq!(
        words(&through, "9.9.9.9.in-addr.arpa"),
        [
            "9: no Service, and no ready endpoint, has 9.9.9.9",
            "9: others are asked, since the Corefile has fallthrough for names of its zone that are not there"
        ]
    );
    assert_eq!(
        words(&through, "10-244-1-2.default.pod.cluster.local"),
        ["10-244-1-2: no pod of namespace default has 10.244.1.2"]
    );
}

#[test]
fn what_a_pod_asks_for_when_something_is_typed() {
    let search = SearchSettings {
        domain: "cluster.local".into(),
        node_searches: vec!["corp.example".into()],
        node_ndots: None,
    };
    let client = Client::new(&object("shop/web-1"), &pod(json!({})), &search);
    let tries = |typed: &str| -> Vec<String> {
        let tries = client.tries(typed).unwrap();
        tries.iter().map(|each| each.name.without_dot()).collect()
    };
    assert_eq!(
        tries("cart"),
        [
            "cart.shop.svc.cluster.local",
            "cart.svc.cluster.local",
            "cart.cluster.local",
            "cart.corp.example",
            "cart"
        ]
    );
    assert_eq!(tries("cart."), ["cart"]);
    assert_eq!(
        tries("a.b.c.d.e.f")[..2],
        ["a.b.c.d.e.f", "a.b.c.d.e.f.shop.svc.cluster.local"]
    );
    assert!(client.tries("a..b").is_err());
    let long = ["l".repeat(60).as_str(); 4].join(".");
    assert_eq!(tries(&long), [long.as_str()]);
}

#[test]
fn what_a_name_is_the_name_of() {
    let (zone, settings) = (cluster(), settings());
    let subject = |asked: &str| zone.subject(&settings, &name(asked));
    let headless = object("default/headless");
    for (asked, expected) in [
        (
            "headless.default.svc.cluster.local",
            Some(Subject::Service(headless.clone())),
        ),
        (
            "_https._tcp.headless.default.svc.cluster.local",
            Some(Subject::Service(headless.clone())),
        ),
        (
            "nobody.default.svc.cluster.local",
            Some(Subject::Service(object("default/nobody"))),
        ),
        (
            "10-244-1-3.headless.default.svc.cluster.local",
            Some(Subject::Endpoint(
                headless,
                vec!["10.244.1.3".parse().unwrap()],
            )),
        ),
        ("late.headless.default.svc.cluster.local", None),
        (
            "10-244-1-2.any.pod.cluster.local",
            Some(Subject::Address("10.244.1.2".parse().unwrap())),
        ),
        ("web.default.svc.cluster.local", None),
        ("svc.cluster.local", None),
        ("www.example.com", None),
    ] {
        assert_eq!(subject(asked), expected, "{asked}");
    }
}

use ipnet::IpNet;
use sealane_net::{Mtu, Ranges, Use};

use super::{Asked, IpFamily, Observed, Plan, recheck, resolve};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn nets(text: &str) -> Option<Ranges> {
    Some(text.parse().unwrap())
}

fn using(uses: &[(&str, &str)]) -> Observed {
    let uses = uses
        .iter()
        .map(|(range, purpose)| Use::of_network(*purpose, net(range)));
    Observed {
        uses: uses.collect(),
        ..Observed::default()
    }
}

fn ranges(plan: &Plan) -> [String; 3] {
    [&plan.node_cidr, &plan.cluster_cidr, &plan.service_cidr].map(Ranges::to_string)
}

#[test]
fn nothing_asked_on_an_idle_machine_gives_the_documented_defaults() {
    let plan = resolve(&Asked::default(), &Observed::default()).unwrap();
    assert_eq!(
        ranges(&plan),
        ["172.29.0.0/24", "10.244.0.0/16", "10.96.0.0/12"]
    );
    assert_eq!(
        (plan.nodes, plan.mtu, plan.internet),
        (2, Mtu::ETHERNET, true)
    );
    assert_eq!(plan.api_url(), "https://172.29.0.1:6443");
    assert_eq!(plan.local_api_url(), "https://127.0.0.1:6443");
    assert_eq!(plan.machine_addresses(), [net("172.29.0.1/24")]);
    let nodes = plan.node_plans();
    assert_eq!(nodes.len(), 2);
    assert_eq!(nodes[1].name, "node-2");
    assert_eq!(nodes[1].netns, "sealane-node-2");
    assert_eq!(nodes[1].addresses, [net("172.29.0.3/24")]);
    assert_eq!(
        plan.kubernetes_service_addresses(),
        [net("10.96.0.1/32").addr()]
    );
}

#[test]
fn a_default_range_in_use_gives_way() {
    for (uses, expected) in [
        (
            &[("172.29.0.0/16", "r")][..],
            ["172.30.0.0/24", "10.244.0.0/16", "10.96.0.0/12"],
        ),
        (
            &[("172.29.0.1/24", "a")],
            ["172.29.1.0/24", "10.244.0.0/16", "10.96.0.0/12"],
        ),
        (
            &[("10.244.1.0/24", "r")],
            ["172.29.0.0/24", "10.245.0.0/16", "10.96.0.0/12"],
        ),
        (
            &[("10.100.0.0/16", "r")],
            ["172.29.0.0/24", "10.244.0.0/16", "10.112.0.0/12"],
        ),
        (
            &[("10.0.0.0/8", "vpn")],
            ["172.29.0.0/24", "100.64.0.0/16", "100.96.0.0/12"],
        ),
    ] {
        let plan = resolve(&Asked::default(), &using(uses)).unwrap();
        assert_eq!(ranges(&plan), expected, "{uses:?}");
    }
}

#[test]
fn a_default_range_gives_way_to_one_that_was_asked_for() {
    let asked = Asked {
        cluster_cidr: nets("10.96.0.0/16"),
        ..Asked::default()
    };
    let plan = resolve(&asked, &Observed::default()).unwrap();
    assert_eq!(
        ranges(&plan),
        ["172.29.0.0/24", "10.96.0.0/16", "10.112.0.0/12"]
    );
}

#[test]
fn two_clusters_side_by_side_share_nothing() {
    let first = resolve(&Asked::default(), &Observed::default()).unwrap();
    let uses = [&first.node_cidr, &first.cluster_cidr, &first.service_cidr]
        .into_iter()
        .flat_map(|ranges| Use::of_ranges("cluster sealane", ranges));
    let observed = Observed {
        uses: uses.collect(),
        listeners: vec![
            "127.0.0.1:6443".parse().unwrap(),
            "172.29.0.1:6443".parse().unwrap(),
        ],
        uplink_mtu: Mtu::new(1450).ok(),
    };
    let asked = Asked {
        name: "two".parse().unwrap(),
        ..Asked::default()
    };
    let second = resolve(&asked, &observed).unwrap();
    assert_eq!(
        ranges(&second),
        ["172.29.1.0/24", "10.245.0.0/16", "10.112.0.0/12"]
    );
    assert_eq!(
        (second.api_port, second.local_port, second.mtu.bytes()),
        (6443, 6444, 1450)
    );
}

#[test]
fn what_was_asked_for_is_refused_by_name() {
    let busy = using(&[
        (
            "192.0.2.0/24",
            "an address of this machine, 192.0.2.2 on eth0",
        ),
        (
            "10.0.0.0/8",
            "a route of this machine, via 192.0.2.1 dev eth0",
        ),
    ]);
    let asked = |edit: fn(&mut Asked)| {
        let mut asked = Asked::default();
        edit(&mut asked);
        asked
    };
    for (asked, words) in [
        (
            asked(|a| {
                (a.cluster_cidr, a.service_cidr) = (nets("11.1.0.0/16"), nets("11.0.0.0/12"))
            }),
            &[
                "range 11.1.0.0/16 for pods (--cluster-cidr) overlaps range 11.0.0.0/12 for Services (--service-cluster-ip-range)",
            ][..],
        ),
        (
            asked(|a| a.node_cidr = nets("192.0.2.0/25")),
            &[
                "range 192.0.2.0/25 for nodes (--node-cidr) overlaps range 192.0.2.0/24 for an address of this machine, 192.0.2.2 on eth0",
            ],
        ),
        (
            asked(|a| a.cluster_cidr = nets("10.244.0.0/16")),
            &[
                "range 10.244.0.0/16 for pods (--cluster-cidr) overlaps range 10.0.0.0/8 for a route of this machine, via 192.0.2.1 dev eth0",
            ],
        ),
        (
            asked(|a| a.service_cidr = nets("fd00:10:96::/112")),
            &["--service-cluster-ip-range fd00:10:96::/112: has no IPv4 range"],
        ),
        (
            asked(|a| {
                a.cluster_cidr = nets("10.244.0.0/16,fd00:10:244::/56");
                a.node_cidr = nets("172.29.0.0/24");
            }),
            &["--node-cidr 172.29.0.0/24: has no IPv6 range"],
        ),
        (
            asked(|a| a.cluster_cidr = nets("fd00:10:244::/64")),
            &["fd00:10:244::/64", "holds 1 pod subnets of /64"],
        ),
        (
            asked(|a| a.node_cidr = nets("224.0.0.0/24")),
            &["--node-cidr 224.0.0.0/24"],
        ),
        (
            asked(|a| a.node_cidr = nets("127.0.0.0/24")),
            &["--node-cidr 127.0.0.0/24"],
        ),
        (
            asked(|a| a.service_cidr = nets("11.0.0.0/30")),
            &["11.0.0.0/30", "/28"],
        ),
        (asked(|a| a.nodes = Some(0)), &["--nodes 0"]),
        (
            asked(|a| a.nodes = Some(199)),
            &["--nodes 199", "172.29.0.0/24", "room for 198"],
        ),
        (
            asked(|a| (a.nodes, a.node_cidr) = (Some(6), nets("11.0.0.0/29"))),
            &["--nodes 6", "11.0.0.0/29", "room for 5"],
        ),
        (
            asked(|a| a.cluster_cidr = nets("11.1.0.0/24")),
            &[
                "--cluster-cidr 11.1.0.0/24",
                "holds 1 pod subnets of /24",
                "2 nodes",
            ],
        ),
        (
            asked(|a| a.node_mask_v4 = Some(31)),
            &["--node-cidr-mask-size-ipv4 31"],
        ),
    ] {
        let error = resolve(&asked, &busy).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{asked:?}: {error}");
        }
    }
}

#[test]
fn all_mistakes_are_named_at_once() {
    let asked = Asked {
        nodes: Some(0),
        cluster_cidr: nets("11.0.0.0/24"),
        node_cidr: nets("11.0.0.0/30"),
        node_mask_v4: Some(30),
        ..Asked::default()
    };
    let error = resolve(&asked, &Observed::default()).unwrap_err();
    assert_eq!(error.0.len(), 3, "{error}");
    assert_eq!(error.to_string().lines().count(), 3);
}

#[test]
fn a_rule_for_images_that_comes_too_late_is_refused() {
    let asked = |rules: [&str; 2]| Asked {
        image_aliases: rules.iter().map(|rule| rule.parse().unwrap()).collect(),
        ..Asked::default()
    };
    let plan = resolve(&asked(["a/b=x", "a/*=y"]), &Observed::default()).unwrap();
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    let error = resolve(&asked(["a/*=y", "a/b=x"]), &Observed::default()).unwrap_err();
    let error = error.to_string();
    assert!(
        error.starts_with("--image-alias a/b=x: never applies, since a/*=y comes before it"),
        "{error}"
    );
}

#[test]
fn when_every_default_is_taken_the_flag_is_named() {
    let busy = using(&[("10.0.0.0/8", "r"), ("100.64.0.0/10", "r")]);
    let error = resolve(&Asked::default(), &busy).unwrap_err().to_string();
    assert!(error.contains("give one with --cluster-cidr"), "{error}");
}

#[test]
fn a_kept_cluster_is_checked_again_and_keeps_its_ranges() {
    let plan = resolve(&Asked::default(), &Observed::default()).unwrap();
    let moved = Observed {
        listeners: vec!["0.0.0.0:6443".parse().unwrap()],
        uplink_mtu: Mtu::new(1400).ok(),
        ..Observed::default()
    };
    let again = recheck(&plan, &moved).unwrap();
    assert_eq!(ranges(&again), ranges(&plan));
    assert_eq!(
        (again.api_port, again.local_port, again.mtu.bytes()),
        (6444, 6444, 1400)
    );

    let error = recheck(
        &plan,
        &using(&[("172.29.0.0/16", "a route of this machine, dev tun0")]),
    )
    .unwrap_err();
    assert_eq!(
        error.to_string().split(", which").next(),
        Some(
            "range 172.29.0.0/24 for nodes overlaps range 172.29.0.0/16 for a route of this machine, dev tun0"
        )
    );
}

#[test]
fn only_flags_that_were_given_can_differ() {
    let plan = resolve(&Asked::default(), &Observed::default()).unwrap();
    assert!(Asked::default().differences(&plan).is_empty());
    let same = Asked {
        nodes: Some(2),
        cluster_cidr: nets("10.244.0.0/16"),
        ..Asked::default()
    };
    assert!(same.differences(&plan).is_empty());
    let other = Asked {
        nodes: Some(3),
        no_internet: true,
        image_aliases: vec!["a=b".parse().unwrap(), "c/*=d".parse().unwrap()],
        node_cpu: Some("2".into()),
        ..Asked::default()
    };
    let text: Vec<String> = other
        .differences(&plan)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        text,
        [
            "--nodes: the cluster has 2, asked for 3",
            "--no-internet: the cluster has the internet, asked for no internet",
            "--node-cpu: the cluster has all, asked for 2",
            "--image-alias: the cluster has none, asked for a=b c/*=d",
        ]
    );
}

#[test]
fn a_plan_survives_the_disk() {
    let plan = resolve(&Asked::default(), &Observed::default()).unwrap();
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
}

#[test]
fn ipv6_is_a_matter_of_a_flag_or_of_a_range() {
    let by_flag = |family| Asked {
        ip_family: Some(family),
        ..Asked::default()
    };
    let by_range = Asked {
        cluster_cidr: nets("10.244.0.0/16,fd00:10:244::/56"),
        ..Asked::default()
    };
    let dual = [
        "172.29.0.0/24,fd00:172:29::/64",
        "10.244.0.0/16,fd00:10:244::/56",
        "10.96.0.0/12,fd00:10:96::/112",
    ];
    for (asked, expected) in [
        (by_flag(IpFamily::Dual), dual),
        (by_range, dual),
        (
            by_flag(IpFamily::Ipv6),
            ["fd00:172:29::/64", "fd00:10:244::/56", "fd00:10:96::/112"],
        ),
    ] {
        let plan = resolve(&asked, &Observed::default()).unwrap();
        assert_eq!(ranges(&plan), expected);
        assert_eq!(asked.differences(&plan), []);
    }
    let services_of_one = Asked {
        service_cidr: nets("10.112.0.0/12"),
        ..by_flag(IpFamily::Dual)
    };
    let plan = resolve(&services_of_one, &Observed::default()).unwrap();
    assert_eq!(ranges(&plan)[2], "10.112.0.0/12");
    let plan = resolve(&by_flag(IpFamily::Dual), &Observed::default()).unwrap();
    assert_eq!(
        plan.node(1).addresses,
        [net("172.29.0.2/24"), net("fd00:172:29::2/64")]
    );
    let other = by_flag(IpFamily::Ipv4).differences(&plan);
    assert_eq!(other[0].flag, "--ip-family");
    let six = resolve(&by_flag(IpFamily::Ipv6), &Observed::default()).unwrap();
    assert_eq!(six.api_url(), "https://[fd00:172:29::1]:6443");
}

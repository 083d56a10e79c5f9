use sealane_net::Mac;
use sealane_net::ec2::{Attachment, Instance, Limits, Subnet, Unit};

use super::*;

const NOW: Duration = Duration::from_secs(1000);

/// A machine with `interfaces` interfaces, each with this many addresses for pods.
fn machine(kind: (usize, usize), interfaces: &[usize]) -> Observed {
    let subnet = Subnet {
        range: "10.0.0.0/16".parse().unwrap(),
        free: 1000,
    };
    Observed {
        instance: Instance {
            id: "i-1".into(),
            kind: "m5.large".into(),
            vpc: "vpc-1".into(),
        },
        limits: Limits {
            interfaces: kind.0,
            addresses: kind.1,
        },
        interfaces: (0u8..)
            .zip(interfaces)
            .map(|(device, count)| interface(device, *count))
            .collect(),
        subnets: [("subnet-1".to_owned(), subnet)].into(),
        vpc: vec!["10.0.0.0/16".parse().unwrap()],
    }
}

fn interface(device: u8, count: usize) -> NetworkInterface {
    let address = |n: usize| Ipv4Net::from(Ipv4Addr::new(10, 0, device, n as u8));
    NetworkInterface {
        id: format!("eni-{device}"),
        subnet: "subnet-1".into(),
        mac: Mac([2, 0, 0, 0, 0, device]),
        primary: Ipv4Addr::new(10, 0, device, 4),
        ranges: (10..10 + count).map(address).collect(),
        groups: vec!["sg-1".into()],
        ours: device > 0,
        attachment: Some(Attachment {
            id: format!("eni-attach-{device}"),
            device,
            ends_with_instance: true,
        }),
    }
}

fn usage(leased: &[&str], waiting: usize) -> Usage {
    Usage {
        leased: leased.iter().map(|a| a.parse().unwrap()).collect(),
        waiting,
    }
}

fn warm(warm: usize) -> Targets {
    Targets {
        warm: Some(warm),
        ..Targets::default()
    }
}

fn prefixes() -> Targets {
    Targets {
        unit: Unit::Prefix,
        ..Targets::default()
    }
}

fn planned(observed: &Observed, usage: &Usage, targets: &Targets) -> Plan {
    let mut memory = Memory::default();
    memory.look(observed, usage, Duration::ZERO);
    plan(observed, usage, targets, &memory, NOW)
}

fn shown(plan: &Plan) -> Vec<String> {
    plan.actions.iter().map(ToString::to_string).collect()
}

#[test]
fn keeps_as_many_warm_as_wanted_and_serves_who_waits() {
    let none = machine((3, 10), &[0]);
    let idle = usage(&[], 0);
    let plan = planned(&none, &idle, &Targets::default());
    assert_eq!(shown(&plan), ["assign 5 addresses to eni-0"]);
    let plan = planned(&none, &usage(&[], 2), &warm(1));
    assert_eq!(shown(&plan), ["assign 3 addresses to eni-0"]);
    let minimum = Targets {
        minimum: 7,
        ..warm(1)
    };
    let plan = planned(&none, &idle, &minimum);
    assert_eq!(shown(&plan), ["assign 7 addresses to eni-0"]);
    let some = machine((3, 10), &[3]);
    let plan = planned(&some, &usage(&["10.0.0.10", "10.0.0.11"], 0), &warm(1));
    assert_eq!(plan, Plan::default());
}

#[test]
fn a_second_interface_comes_when_the_first_has_no_place() {
    let mut observed = machine((3, 10), &[8]);
    let plan = planned(&observed, &usage(&[], 0), &warm(12));
    assert_eq!(
        shown(&plan),
        [
            "assign 1 address to eni-0",
            "create an interface in subnet-1 with 3 addresses"
        ]
    );

    // Made and not yet attached, as a kill may leave it.
    let mut loose = interface(1, 3);
    loose.attachment = None;
    observed = machine((3, 10), &[9]);
    observed.interfaces.push(loose.clone());
    let plan = planned(&observed, &usage(&[], 0), &warm(12));
    assert_eq!(shown(&plan), ["attach eni-1 as device 1"]);
    // Nobody wants it any more.
    let plan = planned(&observed, &usage(&[], 0), &warm(9));
    assert_eq!(shown(&plan), ["delete eni-1"]);

    loose.attachment = Some(Attachment {
        id: "eni-attach-1".into(),
        device: 1,
        ends_with_instance: false,
    });
    observed.interfaces[1] = loose;
    let plan = planned(&observed, &usage(&[], 0), &warm(12));
    assert_eq!(shown(&plan), ["let eni-1 end with the instance"]);
}

#[test]
fn prefixes_are_asked_for_by_the_pods_that_they_serve() {
    let none = machine((3, 10), &[0]);
    let plan = planned(&none, &usage(&[], 0), &prefixes());
    assert_eq!(shown(&plan), ["assign 1 /28 prefix to eni-0"]);
    let plan = planned(&none, &usage(&[], 17), &prefixes());
    assert_eq!(shown(&plan), ["assign 2 /28 prefixes to eni-0"]);
    let mut one = machine((3, 10), &[0]);
    one.interfaces[0]
        .ranges
        .insert("10.0.0.16/28".parse().unwrap());
    assert_eq!(planned(&one, &usage(&[], 0), &prefixes()), Plan::default());
    // One pod in it: another is to be warm.
    let plan = planned(&one, &usage(&["10.0.0.16"], 0), &prefixes());
    assert_eq!(shown(&plan), ["assign 1 /28 prefix to eni-0"]);
    let by_address = Targets {
        warm: Some(15),
        ..prefixes()
    };
    assert_eq!(
        shown(&planned(&one, &usage(&["10.0.0.16"], 0), &by_address)),
        [""; 0]
    );
}

#[test]
fn says_whose_limit_it_is() {
    let leased = usage(&["10.0.0.10"], 1);
    let mut full = machine((1, 3), &[2]);
    let plan = planned(&full, &leased, &warm(3));
    let instance = plan.limit.unwrap().to_string();
    assert!(
        instance.starts_with("instance limit: m5.large allows 1 interfaces with 3 addresses each"),
        "{instance}"
    );
    full.limits.interfaces = 3;
    let one = Targets {
        interfaces: Some(1),
        ..warm(3)
    };
    let interface = planned(&full, &leased, &one).limit.unwrap().to_string();
    assert!(
        interface.starts_with("interface limit: all 2 places of eni-0 are taken (2 pod addresses on this node), and --max-eni 1"),
        "{interface}"
    );
    // With room on the interface, and with none: another would be in the same subnet.
    for limits in [(3, 10), (3, 3)] {
        let mut poor = machine(limits, &[2]);
        poor.subnets.get_mut("subnet-1").unwrap().free = 0;
        let plan = planned(&poor, &leased, &warm(3));
        assert_eq!(shown(&plan), [""; 0]);
        let subnet = plan.limit.unwrap().to_string();
        assert_eq!(
            subnet,
            "subnet limit: subnet-1 (10.0.0.0/16) has no free address; give nodes a larger subnet, or end what uses it"
        );
    }
}

#[test]
fn takes_what_is_left_of_a_subnet() {
    let mut poor = machine((3, 10), &[2]);
    poor.subnets.get_mut("subnet-1").unwrap().free = 2;
    let plan = planned(&poor, &usage(&[], 0), &warm(6));
    assert_eq!(shown(&plan), ["assign 2 addresses to eni-0"]);
    assert_eq!(plan.limit.unwrap().cause(), "subnet");
    poor.subnets.get_mut("subnet-1").unwrap().free = 15;
    let plan = planned(&poor, &usage(&[], 0), &prefixes());
    assert_eq!(shown(&plan), [""; 0], "a prefix needs 16");
}

#[test]
fn what_was_refused_is_not_asked_for_again_at_once() {
    let full = machine((3, 10), &[2]);
    let none = usage(&[], 0);
    for (barrier, actions, cause) in [
        (Barrier::Everything, 0, "api"),
        (Barrier::Subnet("subnet-1".into()), 0, "subnet"),
        // The next interface is tried.
        (Barrier::Interface("eni-0".into()), 1, ""),
    ] {
        let mut memory = Memory::default();
        memory.look(&full, &none, NOW);
        memory
            .barriers
            .refused(barrier, "slow down".into(), NOW, 1.0);
        let held = plan(&full, &none, &warm(5), &memory, NOW);
        assert_eq!(held.actions.len(), actions, "{held:?}");
        let limit = held.limit.as_ref().map_or("", Limit::cause);
        assert_eq!(limit, cause);
        let later = held.next.unwrap();
        let later = plan(&full, &none, &warm(5), &memory, later);
        assert_eq!(shown(&later), ["assign 3 addresses to eni-0"]);
    }
}

#[test]
fn gives_back_what_was_idle_for_long_from_the_last_interface_on() {
    let observed = machine((3, 10), &[3, 2]);
    let leased = usage(&["10.0.0.10"], 0);
    let plan = planned(&observed, &leased, &warm(2));
    assert_eq!(shown(&plan), ["detach eni-1"]);
    assert_eq!(plan.withdrawn().len(), 2);
    let plan = planned(&observed, &leased, &warm(1));
    assert_eq!(shown(&plan), ["detach eni-1", "release 10.0.0.12 of eni-0"]);
    let leased = usage(&["10.0.1.10"], 0);
    let plan = planned(&observed, &leased, &warm(2));
    assert_eq!(
        shown(&plan),
        ["release 10.0.1.11 of eni-1", "release 10.0.0.12 of eni-0"]
    );

    let mut memory = Memory::default();
    memory.look(&observed, &leased, NOW);
    let early = super::plan(&observed, &leased, &warm(2), &memory, NOW);
    assert_eq!(shown(&early), [""; 0], "idle since now");
    assert_eq!(early.next, Some(NOW + Targets::default().idle));
}

#[test]
fn an_address_of_a_pod_that_no_interface_has_is_told() {
    let plan = planned(
        &machine((3, 10), &[3]),
        &usage(&["10.0.0.10", "10.0.0.77"], 0),
        &warm(1),
    );
    assert_eq!(plan.lost, ["10.0.0.77".parse::<Ipv4Addr>().unwrap()]);
}

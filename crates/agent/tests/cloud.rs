//! Pods with addresses of a machine's network interfaces: EC2 by moto, packets through a namespace that plays the VPC.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "cloud/ec2.rs"]
mod ec2;
mod stage;
#[path = "cloud/vpc.rs"]
mod vpc;

use std::{net::IpAddr, time::Duration};

use ec2::Region;
use sealane_cloud::Targets;
use sealane_net::ec2::Unit;
use sealane_testkit::Namespace;
use serde_json::Value;
use stage::{ContainerRuntime, seen_source};
use vpc::{OUTSIDE, Vpc};

const NONE_WARM: Targets = Targets {
    unit: Unit::Address,
    warm: Some(0),
    minimum: 0,
    warm_prefixes: 1,
    interfaces: None,
    idle: Duration::ZERO,
};

fn warm(warm: usize) -> Targets {
    Targets {
        warm: Some(warm),
        ..NONE_WARM
    }
}

/// A pod is added while the VPC goes on: an ADD may wait for an interface to be plugged in.
fn add(vpc: &mut Vpc, node: usize, pod: usize) -> Result<IpAddr, String> {
    let netns = vpc.pod(pod).clone();
    let runtime = vpc.node(node).runtime();
    std::thread::scope(|scope| {
        let adding = scope.spawn(move || add_to(&runtime, &netns));
        vpc.until("ADD is answered", |_| match adding.is_finished() {
            true => Ok(()),
            false => Err("not yet".into()),
        });
        adding.join().unwrap()
    })
}

fn add_to(runtime: &ContainerRuntime, netns: &Namespace) -> Result<IpAddr, String> {
    match runtime.add(netns.title(), netns) {
        Ok(result) => Ok(result.ips[0].address.addr()),
        Err(error) => Err(format!("{error}")),
    }
}

fn delete(vpc: &Vpc, node: usize, pod: usize) {
    let netns = vpc.pod(pod);
    let runtime = vpc.node(node).runtime();
    runtime.del(netns.title(), Some(netns)).unwrap();
}

fn list(interface: &Value, key: &str) -> Vec<String> {
    let list = interface[key].as_array().unwrap().iter();
    list.map(|item| item.as_str().unwrap().to_owned()).collect()
}

#[test]
fn pods_get_addresses_of_two_interfaces_and_everybody_sees_them() {
    // Three interfaces with three places each.
    let region = Region::new("us-east-1", "10.0.1.0/24", "t3.small", 2, true);
    let mut vpc = Vpc::new(region, warm(1));
    vpc.nodes[0].knows_nothing();
    vpc.start();
    let ips: Vec<IpAddr> = (0..4).map(|pod| add(&mut vpc, 1, pod).unwrap()).collect();
    let far = add(&mut vpc, 2, 4).unwrap();
    let interfaces = vpc.node(1).interfaces(&vpc.region);
    assert_eq!(interfaces.len(), 2, "{interfaces:?}");
    assert!(list(&interfaces[0], "addresses").contains(&ips[0].to_string()));
    assert!(list(&interfaces[1], "addresses").contains(&ips[3].to_string()));
    vpc.until("the second interface ends with its machine", |vpc| {
        let interfaces = vpc.node(1).interfaces(&vpc.region);
        match interfaces[1]["endsWithInstance"] == true {
            true => Ok(()),
            false => Err(format!("{interfaces:?}")),
        }
    });

    // Pods of one interface, of two, of two nodes, and nodes: all by their own addresses.
    let pod = |number| vpc.pod(number);
    for (from, to, target, source) in [
        (pod(0), pod(1), ips[1], ips[0]),
        (pod(0), pod(3), ips[3], ips[0]),
        (pod(3), pod(0), ips[0], ips[3]),
        (pod(0), pod(4), far, ips[0]),
        (pod(3), pod(4), far, ips[3]),
        (pod(4), pod(3), ips[3], far),
        (pod(3), &vpc.node(2).netns, vpc.node(2).ip, ips[3]),
        (&vpc.node(2).netns, pod(3), ips[3], vpc.node(2).ip),
        (&vpc.node(1).netns, pod(3), ips[3], vpc.node(1).ip),
    ] {
        assert_eq!(seen_source(from, to, target), source, "to {target}");
    }
    // Who leaves the VPC does so with the node's address, by the first interface.
    let outside: IpAddr = OUTSIDE.parse().unwrap();
    for from in [0, 3] {
        assert_eq!(seen_source(pod(from), &vpc.router, outside), vpc.node(1).ip);
    }

    vpc.until("each node has its pods' addresses and a warm one", |vpc| {
        let has = [1, 2].map(|node| {
            let interfaces = vpc.node(node).interfaces(&vpc.region);
            let addresses = interfaces.iter().map(|one| list(one, "addresses").len());
            addresses.sum::<usize>()
        });
        match has {
            [5, 2] => Ok(()),
            _ => Err(format!("{has:?}")),
        }
    });
    // A restart changes nothing, here and at EC2.
    let rules = |vpc: &Vpc| {
        let show = |args: &[&str]| vpc.node(1).netns.run("ip", args.iter().copied()).succeeds();
        [
            show(&["-4", "rule"]),
            show(&["-4", "route", "show", "table", "all"]),
        ]
        .concat()
    };
    let (before, asked) = (rules(&vpc), vpc.region.changes_asked());
    vpc.nodes[0].agent.take().unwrap().kill();
    vpc.start_agent(1);
    vpc.until("the new agent knows EC2 and its leases", |vpc| {
        let state = vpc.node(1).agent().state()?;
        match state["leases"].as_array().unwrap().len() == 4 && state["ec2"]["observed"].is_object()
        {
            true => Ok(()),
            false => Err(format!("{state:#}")),
        }
    });
    assert_eq!(rules(&vpc), before);
    assert_eq!(vpc.region.changes_asked(), asked);

    // What is not needed any more goes back, the second interface as a whole.
    for pod in 1..4 {
        delete(&vpc, 1, pod);
    }
    vpc.until("one address in use and one warm", |vpc| {
        let interfaces = vpc.node(1).interfaces(&vpc.region);
        let addresses = list(&interfaces[0], "addresses");
        let all = vpc.region.interfaces().len();
        match interfaces.len() == 1 && addresses.len() == 2 && all == 2 {
            true => Ok(()),
            false => Err(format!("{interfaces:?}")),
        }
    });
    let rules = vpc.node(1).netns.run("ip", ["rule"]).succeeds();
    assert!(!rules.contains("939"), "{rules}");
    assert_eq!(seen_source(vpc.pod(0), vpc.pod(4), far), ips[0]);
}

/// ADDs until one is refused: how many were served, and what the refusal says.
fn fill(vpc: &mut Vpc) -> (usize, String) {
    for pod in 0..6 {
        if let Err(refusal) = add(vpc, 1, pod) {
            return (pod, refusal);
        }
    }
    panic!("no ADD was refused");
}

#[track_caller]
fn assert_told(vpc: &Vpc, refusal: &str, cause: &str, text: &str) {
    assert!(
        refusal.contains("101") && refusal.contains(text),
        "{refusal}"
    );
    let told = vpc.node(1).agent().told();
    let event = told
        .iter()
        .find(|event| event.starts_with("AddressesUsedUp"));
    assert!(event.is_some_and(|event| event.contains(text)), "{told:?}");
    let metrics = vpc.node(1).agent().metrics();
    let gauge = format!("sealane_ec2_limit{{cause=\"{cause}\"}} 1");
    assert!(metrics.contains(&gauge), "{metrics}");
}

#[test]
fn an_instance_that_may_have_no_more_says_so_and_goes_on_when_a_pod_goes() {
    // Two interfaces with one place each.
    let region = Region::new("us-west-1", "10.0.1.0/24", "t3.nano", 1, false);
    let mut vpc = Vpc::new(region, NONE_WARM);
    vpc.start();
    let (served, refusal) = fill(&mut vpc);
    assert_eq!(served, 2);
    let text = "instance limit: t3.nano allows 2 interfaces with 2 addresses each";
    assert_told(&vpc, &refusal, "instance", text);
    let status = vpc.node(1).runtime().status().unwrap_err().to_string();
    assert!(status.contains(text), "{status}");
    delete(&vpc, 1, 0);
    add(&mut vpc, 1, 2).unwrap();
}

#[test]
fn an_interface_beside_which_there_may_be_none_says_so() {
    let region = Region::new("us-west-2", "10.0.1.0/24", "t3.small", 1, false);
    let one = Targets {
        interfaces: Some(1),
        ..NONE_WARM
    };
    let mut vpc = Vpc::new(region, one);
    vpc.start();
    let (served, refusal) = fill(&mut vpc);
    assert_eq!(served, 3);
    assert_told(
        &vpc,
        &refusal,
        "interface",
        "interface limit: all 3 places of eni-",
    );
    assert!(refusal.contains("--max-eni 1"), "{refusal}");
}

#[test]
fn a_subnet_without_addresses_says_so() {
    // Eleven, of which two are the machines' own; the other machine takes six.
    let region = Region::new("eu-west-1", "10.0.1.0/28", "m5.large", 2, false);
    let mut vpc = Vpc::new(region, NONE_WARM);
    if let Some(ec2) = vpc.nodes[1].settings_mut() {
        ec2.targets = warm(6);
    }
    vpc.start_agent(2);
    vpc.until("the other machine has its share", |vpc| {
        let has = list(&vpc.node(2).interfaces(&vpc.region)[0], "addresses");
        match has.len() {
            6 => Ok(()),
            _ => Err(format!("{has:?}")),
        }
    });
    vpc.start_agent(1);
    let (served, refusal) = fill(&mut vpc);
    assert_eq!(served, 3);
    assert_told(&vpc, &refusal, "subnet", "subnet limit: subnet-");
    assert!(
        refusal.contains("(10.0.1.0/28) has no free address"),
        "{refusal}"
    );
}

#[test]
fn prefixes_serve_sixteen_pods_each_and_one_is_warm() {
    let region = Region::new("eu-west-2", "10.0.1.0/24", "m5.large", 2, false);
    let targets = Targets {
        unit: Unit::Prefix,
        warm: None,
        ..NONE_WARM
    };
    let mut vpc = Vpc::new(region, targets);
    vpc.start();
    let first = add(&mut vpc, 1, 0).unwrap();
    let second = add(&mut vpc, 1, 1).unwrap();
    let far = add(&mut vpc, 2, 2).unwrap();
    vpc.until("one prefix in use and one warm", |vpc| {
        let interfaces = vpc.node(1).interfaces(&vpc.region);
        match list(&interfaces[0], "prefixes").len() {
            2 => Ok(()),
            _ => Err(format!("{interfaces:?}")),
        }
    });
    let interface = &vpc.node(1).interfaces(&vpc.region)[0];
    let prefixes = list(interface, "prefixes");
    let of_both = |prefix: &&String| {
        let prefix: sealane_net::IpNet = prefix.parse().unwrap();
        prefix.contains(&first) && prefix.contains(&second)
    };
    assert!(
        prefixes.iter().any(|prefix| of_both(&prefix)),
        "{prefixes:?}"
    );
    assert_eq!(list(interface, "addresses"), [""; 0]);
    assert_eq!(seen_source(vpc.pod(0), vpc.pod(2), far), first);
    delete(&vpc, 1, 0);
    delete(&vpc, 1, 1);
    vpc.until("one prefix is left", |vpc| {
        let interfaces = vpc.node(1).interfaces(&vpc.region);
        match list(&interfaces[0], "prefixes").len() {
            1 => Ok(()),
            _ => Err(format!("{interfaces:?}")),
        }
    });
}

#[test]
fn an_add_waits_while_ec2_is_busy_and_what_is_taken_away_is_told() {
    let region = Region::new("eu-central-1", "10.0.1.0/24", "m5.large", 1, false);
    region.refuse("DescribeInstances", "RequestLimitExceeded", 2);
    region.refuse("AssignPrivateIpAddresses", "RequestLimitExceeded", 2);
    let mut vpc = Vpc::new(region, NONE_WARM);
    vpc.start();
    let address = add(&mut vpc, 1, 0).unwrap();
    let metrics = vpc.node(1).agent().metrics();
    let counter = "sealane_ec2_requests_total{request=\"AssignPrivateIpAddresses\",result=\"RequestLimitExceeded\"} 2";
    assert!(metrics.contains(counter), "{metrics}");

    // Not allowed any more: the next ADD waits a while, then says so.
    vpc.region
        .refuse("AssignPrivateIpAddresses", "UnauthorizedOperation", 1000);
    let refusal = add(&mut vpc, 1, 1).unwrap_err();
    assert_told(&vpc, &refusal, "api", "UnauthorizedOperation");

    vpc.region.take(&address.to_string());
    vpc.until("the pod is told of", |vpc| {
        let told = vpc.node(1).agent().told();
        let lost = told.iter().find(|event| event.starts_with("AddressLost"));
        match lost.is_some_and(|event| event.contains(&address.to_string())) {
            true => Ok(()),
            false => Err(format!("{told:?}")),
        }
    });
}

//! The search of a pod's resolver, name by name.

use std::net::{IpAddr, Ipv4Addr};

use sealane_message::{Kind, Name, Question};
use sealane_objects::ObjectName;
use sealane_zone::{Client, Try};

use super::ask::{ADDRESSES, Desk};
use super::{Asked, Lookup, OneRoundTrip, Outcome, PodResolver, Step, World};

/// What a pod gets for a name: addresses of both families, or records of a type.
///
/// # Errors
///
/// When there is no such pod, or the name is none.
pub fn look_up(
    world: &World,
    from: &ObjectName,
    name: &str,
    kind: Option<Kind>,
) -> Result<Lookup, String> {
    let pod = world.pods.get(from).ok_or_else(|| {
        format!(
            "there is no pod {from}: `kubectl get pods -n {}` lists those that are",
            from.namespace
        )
    })?;
    let (resolver, client) = PodResolver::new(world, from, pod);
    let tries = client.tries(name).map_err(|error| error.to_string())?;
    let kinds = kind.map_or(ADDRESSES.to_vec(), |kind| vec![kind]);
    let zone = world.zone();
    let desk = Desk {
        world,
        zone: &zone,
        client: pod
            .dns
            .addresses
            .first()
            .copied()
            .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
    };
    let mut steps = Vec::new();
    let mut result = Outcome::NoName;
    for (tried, number) in tries.iter().zip(1..) {
        let step = step(&desk, &resolver, &tried.name, &kinds);
        result = outcome_of(&step);
        steps.push(step);
        // A domain of the node's is asked of others, and usually has no such name.
        let goes_on = tried.domain.is_some() && number < tries.len();
        if result == Outcome::Records || (result == Outcome::Forwarded && !goes_on) {
            break;
        }
    }
    let search = search(name, &tries, &client);
    let one_round_trip = match steps.as_slice() {
        [_] => OneRoundTrip {
            yes: true,
            why: "the first name ends it".into(),
        },
        _ => one_round_trip(&desk, &client, &resolver, &tries[0].name, kinds[0]),
    };
    Ok(Lookup {
        name: name.to_owned(),
        from: from.to_string(),
        resolver,
        search,
        steps,
        one_round_trip,
        result,
    })
}

/// In which order names are tried, and why so.
fn search(typed: &str, tries: &[Try<'_>], client: &Client) -> String {
    if typed.ends_with('.') {
        return "a dot at its end: it is asked for as it is".into();
    }
    if tries.len() == 1 {
        return "there is no search list: it is asked for as it is".into();
    }
    let ndots = client.ndots();
    let number = typed.matches('.').count();
    let dots = if number == 1 { "dot" } else { "dots" };
    let order = match tries[0].domain {
        None => "as it is first, then the search list",
        Some(_) => "the search list first, then as it is",
    };
    format!("{number} {dots}, and ndots is {ndots}: {order}")
}

fn step(desk: &Desk<'_>, resolver: &PodResolver, name: &Name, kinds: &[Kind]) -> Step {
    let ask = |kind: &Kind| {
        let question = Question::new(*name, *kind);
        if resolver.asks_the_cluster {
            return desk.ask(&question);
        }
        let who = match resolver.nameservers.as_slice() {
            [] => "the resolvers of its node".to_owned(),
            all => all.join(", "),
        };
        Asked {
            kind: kind.to_string(),
            outcome: Outcome::Forwarded,
            plugin: "",
            because: format!("asked of {who}, and not of the cluster's DNS"),
            objects: Vec::new(),
            records: Vec::new(),
        }
    };
    Step {
        name: name.to_string(),
        asked: kinds.iter().map(ask).collect(),
    }
}

/// Records of one family are enough; a failure is worse than nothing.
fn outcome_of(step: &Step) -> Outcome {
    let order = [
        Outcome::Records,
        Outcome::Forwarded,
        Outcome::Failed,
        Outcome::NoData,
    ];
    let has = |outcome: &Outcome| step.asked.iter().any(|asked| asked.outcome == *outcome);
    order.into_iter().find(has).unwrap_or(Outcome::NoName)
}

/// Whether the first question is answered with the last one's answer.
fn one_round_trip(
    desk: &Desk<'_>,
    client: &Client,
    resolver: &PodResolver,
    first: &Name,
    kind: Kind,
) -> OneRoundTrip {
    let told = |yes: bool, why: &str| OneRoundTrip {
        yes,
        why: why.to_owned(),
    };
    if !resolver.asks_the_cluster {
        return told(false, "the pod does not ask the cluster's DNS");
    }
    let Some(settings) = desk.world.kubernetes(first) else {
        return told(false, "the first name is not of the cluster");
    };
    match client.rest(desk.zone, &settings, &Question::new(*first, kind)) {
        Ok(_) => told(
            true,
            "sealane dns knows the pod's search list, and walks it by itself",
        ),
        Err(why) => told(false, &why.to_string()),
    }
}

//! Why a Service has no endpoints: which object is at fault, and what its status says.

use sealane_service::ServicePort;

use crate::resolve::distance;
use crate::trace::Death;
use crate::{PodView, ServiceView, Snapshot};

/// Pods that are named before they are only counted.
const SHOWN: usize = 5;

/// Whether a Service's selector chooses a pod.
pub(crate) fn selects(service: &ServiceView, pod: &PodView) -> bool {
    let name = &pod.net.name;
    let wanted = &service.selector;
    !wanted.is_empty()
        && name.namespace == service.name.namespace
        && wanted
            .iter()
            .all(|(key, value)| pod.labels.get(key) == Some(value))
}

pub(crate) fn no_endpoints(
    world: &Snapshot,
    service: &ServiceView,
    port: Option<&ServicePort>,
) -> Death {
    let object = format!("service {}", service.name);
    if service.selector.is_empty() {
        return Death::new(format!(
            "{object} has no selector, and no EndpointSlice gives it an endpoint that is ready"
        ))
        .of(object)
        .next("write an EndpointSlice with the label kubernetes.io/service-name");
    }
    let selector: Vec<String> = service
        .selector
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let selector = selector.join(",");
    let pods: Vec<&PodView> = world
        .pods
        .iter()
        .filter(|pod| selects(service, pod))
        .collect();
    if pods.is_empty() {
        return nobody_selected(world, service, &selector);
    }
    if let Some(death) = port.and_then(|port| no_such_port(service, port, &pods)) {
        return death;
    }
    let unready = pods
        .iter()
        .filter(|pod| pod.not_ready.is_some() || pod.deleting);
    let details: Vec<String> = unready.map(|pod| pod_in_words(world, pod)).collect();
    let more = details.len().saturating_sub(SHOWN);
    let (count, fault) = (pods.len(), pods.first());
    let why = match count {
        1 => format!("{object} has no endpoints: the pod that it selects is not ready"),
        _ => {
            format!("{object} has no endpoints: none of the {count} pods that it selects is ready")
        }
    };
    if details.is_empty() {
        return Death::new(format!(
            "{object} has no endpoints although pods that it selects are ready"
        ))
        .of(object)
        .next("see whether `sealane controllers` runs: it writes EndpointSlices");
    }
    let next = fault.map_or_else(String::new, |pod| {
        let name = &pod.net.name;
        format!("kubectl describe pod {} -n {}", name.name, name.namespace)
    });
    let fault = fault.map_or(object, |pod| format!("pod {}", pod.net.name));
    let details = details.into_iter().take(SHOWN);
    let rest = (more > 0).then(|| format!("and {more} more"));
    Death::new(why)
        .of(fault)
        .because(details.chain(rest))
        .next(next)
}

fn pod_in_words(world: &Snapshot, pod: &PodView) -> String {
    let name = &pod.net.name;
    let node = world.node(&pod.net.node_name);
    if let Some(why) = node.and_then(|node| node.not_ready.as_deref()) {
        return format!(
            "pod {name}: its node {} is not ready: {why}",
            pod.net.node_name
        );
    }
    if pod.deleting {
        return format!("pod {name} is being deleted");
    }
    let why = pod.not_ready.as_deref().unwrap_or("not ready");
    format!("pod {name}: {why}")
}

/// A selector that chooses nobody: what is nearest to it?
fn nobody_selected(world: &Snapshot, service: &ServiceView, selector: &str) -> Death {
    let object = format!("service {}", service.name);
    let of_namespace = || {
        let here = |pod: &&PodView| pod.net.name.namespace == service.name.namespace;
        world.pods.iter().filter(here)
    };
    let fits = |pod: &PodView| {
        let wanted = service.selector.iter();
        wanted
            .filter(|(key, value)| pod.labels.get(*key) == Some(*value))
            .count()
    };
    let has_key = |pod: &&PodView| {
        service
            .selector
            .keys()
            .any(|key| pod.labels.contains_key(key))
    };
    let mut near: Vec<&PodView> = of_namespace().filter(has_key).collect();
    let apart = |pod: &PodView| {
        let wanted = service.selector.iter();
        let values = wanted.filter_map(|(key, value)| Some((pod.labels.get(key)?, value)));
        values
            .map(|(has, wanted)| distance(has, wanted))
            .sum::<usize>()
    };
    near.sort_by_key(|pod| (std::cmp::Reverse(fits(pod)), apart(pod)));
    let elsewhere = world.pods.iter().find(|pod| {
        let mut wanted = service.selector.iter();
        wanted.all(|(key, value)| pod.labels.get(key) == Some(value))
    });
    let elsewhere = elsewhere.map(|pod| {
        format!(
            "pod {} has them, in a namespace that it does not look into",
            pod.net.name
        )
    });
    let details = near.into_iter().take(3).map(|pod| {
        let labels = service.selector.keys();
        let labels = labels.map(|key| match pod.labels.get(key) {
            Some(value) => format!("{key}={value}"),
            None => format!("no {key}"),
        });
        let labels: Vec<String> = labels.collect();
        format!("pod {} has {}", pod.net.name, labels.join(", "))
    });
    Death::new(format!(
        "{object} has no endpoints: no pod has the labels {selector}"
    ))
    .of(object)
    .because(details.chain(elsewhere))
    .next(format!(
        "kubectl get pods -n {} --show-labels",
        service.name.namespace
    ))
}

/// What its containers declare: `http (8080/TCP)`.
pub(crate) fn ports_of(pod: &PodView) -> String {
    let ports = pod
        .ports
        .iter()
        .map(|(name, protocol, number)| match name.as_str() {
            "" => format!("{number}/{protocol}"),
            name => format!("{name} ({number}/{protocol})"),
        });
    let ports: Vec<String> = ports.collect();
    match ports.len() {
        0 => "none".to_owned(),
        _ => ports.join(", "),
    }
}

/// A target port by name, which no container has.
fn no_such_port(service: &ServiceView, port: &ServicePort, pods: &[&PodView]) -> Option<Death> {
    let index = service
        .net
        .ports
        .iter()
        .position(|one| one.name == port.key.name && one.protocol == port.key.protocol)?;
    let wanted = service.target_names.get(index)?.as_ref()?;
    let protocol = port.key.protocol;
    let has = |pod: &&PodView| {
        pod.ports
            .iter()
            .any(|(name, p, _)| name == wanted && *p == protocol)
    };
    if pods.iter().any(has) {
        return None;
    }
    let details = pods.iter().take(SHOWN).map(|pod| {
        let ports = ports_of(pod);
        format!("pod {}: its containers' ports are {ports}", pod.net.name)
    });
    let object = format!("service {}", service.name);
    Some(
        Death::new(format!(
            "{object} sends to the port named {wanted:?}, which no container of its pods has"
        ))
        .of(object)
        .because(details)
        .next("name the container's port, or write its number as targetPort"),
    )
}

//! What TO stands for: an address and a port, found as the client's resolver and the API's objects
//! have it.

use std::net::IpAddr;

use sealane_message::Name;
use sealane_net::Protocol;
use sealane_objects::ObjectName;
use sealane_zone::Subject;

use crate::ask::{From, Host, To};
use crate::endpoints;
use crate::names::Names;
use crate::trace::{Death, Line};
use crate::{ServiceView, Snapshot};

/// Where the packet is sent.
#[derive(Debug)]
pub(crate) struct Target {
    pub address: IpAddr,
    pub port: u16,
    /// How it was found.
    pub lines: Vec<Line>,
}

/// The client, as far as names depend on it.
pub(crate) struct Client<'a> {
    pub from: &'a From,
    /// Of its addresses' families the first counts.
    pub families: &'a [IpAddr],
}

pub(crate) fn resolve(world: &Snapshot, client: &Client<'_>, to: &To) -> Result<Target, Death> {
    let mut lines = Vec::new();
    let (address, port) = match &to.host {
        Host::Address(address) => (*address, number(to)?),
        Host::Pod(name) => (pod_address(world, client, name)?, number(to)?),
        Host::Node(name) => (node_address(world, client, name)?, number(to)?),
        Host::Service(name) => {
            let service = world.service(name).ok_or_else(|| no_service(world, name))?;
            service_address(world, client, service, to, &mut lines)?
        }
        Host::Name(name) => named(world, client, name, to, &mut lines)?,
    };
    Ok(Target {
        address,
        port,
        lines,
    })
}

fn say(lines: &mut Vec<Line>, label: &'static str, text: impl Into<String>) {
    lines.push(Line {
        label,
        text: text.into(),
    });
}

fn number(to: &To) -> Result<u16, Death> {
    let Some(port) = &to.port else {
        return Err(Death::new("no port is given").next("write it behind a colon: TO:PORT"));
    };
    port.parse().map_err(|_| {
        Death::new(format!("port {port:?} is no number"))
            .next("names of ports are known of Services alone: svc/NAME:PORT")
    })
}

/// The first of the client's families that there is an address of.
fn like(client: &Client<'_>, addresses: &[IpAddr]) -> Option<IpAddr> {
    let of = |own: &IpAddr| addresses.iter().find(|a| a.is_ipv4() == own.is_ipv4());
    let fitting = client.families.iter().find_map(of);
    fitting.or_else(|| addresses.first()).copied()
}

fn pod_address(world: &Snapshot, client: &Client<'_>, name: &ObjectName) -> Result<IpAddr, Death> {
    let object = format!("pod {name}");
    let pod = world.pod(name).ok_or_else(|| {
        let names = world.pods.iter().map(|pod| &pod.net.name);
        Death::new(format!("there is no pod {name}"))
            .of(object.clone())
            .because(similar(name, names))
            .next(format!("kubectl get pods -n {}", name.namespace))
    })?;
    like(client, &pod.net.pod_ips).ok_or_else(|| {
        let why = pod.not_ready.iter().cloned();
        Death::new(format!("{object} has no address yet"))
            .of(object.clone())
            .because(why)
            .next(format!(
                "kubectl describe pod {} -n {}",
                name.name, name.namespace
            ))
    })
}

fn node_address(world: &Snapshot, client: &Client<'_>, name: &str) -> Result<IpAddr, Death> {
    let object = format!("node {name}");
    let node = world.node(name).ok_or_else(|| {
        Death::new(format!("there is no {object}"))
            .of(object.clone())
            .next("kubectl get nodes")
    })?;
    like(client, &node.net.internal_ips).ok_or_else(|| {
        Death::new(format!("{object} has no address of type InternalIP"))
            .of(object.clone())
            .next(format!("kubectl describe node {name}"))
    })
}

/// A Service without the resolver: where this client would reach it.
fn service_address(
    world: &Snapshot,
    client: &Client<'_>,
    service: &ServiceView,
    to: &To,
    lines: &mut Vec<Line>,
) -> Result<(IpAddr, u16), Death> {
    let object = format!("service {}", service.name);
    if service.kind == "ExternalName" {
        return elsewhere(world, client, service, to, lines);
    }
    if service.headless {
        return headless(world, client, service, to, lines);
    }
    let index = port_of(service, to)?;
    let port = &service.net.ports[index];
    if !matches!(client.from, From::Outside(_)) {
        let address = like(client, &service.net.cluster_ips).ok_or_else(|| {
            let name = &service.name;
            Death::new(format!("{object} has no cluster IP"))
                .of(object.clone())
                .next(format!(
                    "kubectl describe service {} -n {}",
                    name.name, name.namespace
                ))
        })?;
        return Ok((address, port.port));
    }
    if let Some(address) = like(client, &service.net.load_balancer_ips) {
        say(
            lines,
            "address",
            format!("{address}, which its load balancer has"),
        );
        return Ok((address, port.port));
    }
    let node = world.nodes.iter().find(|node| node.not_ready.is_none());
    let node = node.or(world.nodes.first());
    match (port.node_port, node) {
        (Some(node_port), Some(node)) => {
            let address = node_address(world, client, &node.net.name)?;
            say(
                lines,
                "address",
                format!(
                    "{address}, node {}, where it has node port {node_port}",
                    node.net.name
                ),
            );
            Ok((address, node_port))
        }
        _ => Err(Death::new(format!(
            "{object} is of type {}, which nobody outside of the cluster can reach",
            service.kind
        ))
        .of(object)
        .next("give it type NodePort or LoadBalancer, or trace from a pod")),
    }
}

/// The port that is asked for, by its number or its name.
fn port_of(service: &ServiceView, to: &To) -> Result<usize, Death> {
    let ports = &service.net.ports;
    let asked = to.port.as_deref();
    let found = ports.iter().position(|port| {
        port.protocol == to.protocol
            && asked.is_none_or(|asked| *port.name == *asked || port.port.to_string() == asked)
    });
    found.ok_or_else(|| {
        let asked = asked.unwrap_or("at all");
        no_port(service, asked, to.protocol)
    })
}

pub(crate) fn no_port(service: &ServiceView, asked: &str, protocol: Protocol) -> Death {
    let ports = service.net.ports.iter().map(|port| {
        let name = match &*port.name {
            "" => String::new(),
            name => format!(" ({name})"),
        };
        format!("it has {}/{}{name}", port.port, port.protocol)
    });
    let object = format!("service {}", service.name);
    Death::new(format!("{object} has no port {asked}/{protocol}"))
        .of(object)
        .because(ports)
        .next("send to a port that it has, or add this one to its spec.ports")
}

fn no_service(world: &Snapshot, name: &ObjectName) -> Death {
    let names = || world.services.iter().map(|service| &service.name);
    let elsewhere = names().find(|other| other.name == name.name);
    let next = match elsewhere {
        Some(other) => format!(
            "write {}.{}: a name without a namespace is looked for in the client's own",
            other.name, other.namespace
        ),
        None => "kubectl get services -A".to_owned(),
    };
    Death::new(format!("there is no Service {name}"))
        .of(format!("service {name}"))
        .because(similar(name, names()))
        .next(next)
}

/// Objects that may have been meant: the same name elsewhere, or nearly the same.
fn similar<'a>(
    name: &ObjectName,
    all: impl Iterator<Item = &'a ObjectName>,
) -> impl Iterator<Item = String> {
    let near = |other: &&ObjectName| {
        other.name == name.name
            || (other.namespace == name.namespace
                && (other.name.starts_with(&name.name) || distance(&other.name, &name.name) <= 2))
    };
    let found: Vec<String> = all
        .filter(near)
        .take(3)
        .map(|other| format!("there is {other}"))
        .collect();
    found.into_iter()
}

/// How many letters have to be changed, put in or left out.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            let here = (above + 1)
                .min(row[j] + 1)
                .min(corner + usize::from(x != *y));
            corner = std::mem::replace(&mut row[j + 1], here);
        }
    }
    row.last().copied().unwrap_or_default()
}

/// A name, as the pod's resolver takes it: each name of its search in turn.
fn named(
    world: &Snapshot,
    client: &Client<'_>,
    name: &str,
    to: &To,
    lines: &mut Vec<Line>,
) -> Result<(IpAddr, u16), Death> {
    let From::Pod(pod) = client.from else {
        return Err(Death::new(format!(
            "{name} is a name, and names of the cluster are known in pods alone"
        ))
        .next(format!("write svc/{name}, or an address")));
    };
    let names = Names::of(world);
    let tried = names.tried(world, pod, name)?;
    let bare = name.trim_end_matches('.');
    let hit = tried.iter().find(|tried| names.is_there(tried));
    // A Service that has no endpoints has no name either, but that is why it is not reached.
    let hit = hit.or_else(|| {
        let of_service = |tried: &&Name| matches!(names.subject(tried), Some(Subject::Service(_)));
        let is_port = |tried: &Name| tried.labels().any(|label| label.starts_with(b"_"));
        let mut services = tried.iter().filter(|tried| !is_port(tried));
        services.find(of_service)
    });
    if let Some(full) = hit {
        let shown = full.without_dot();
        match names.subject(full) {
            Some(Subject::Service(object)) => {
                say(lines, "name", format!("{bare} → {shown}"));
                let service = world.service(&object);
                let service = service.ok_or_else(|| no_service(world, &object))?;
                return service_address(world, client, service, to, lines);
            }
            Some(Subject::Endpoint(service, addresses)) => {
                let text = format!("{shown} → an endpoint of service {service}");
                say(lines, "name", text);
                let address = like(client, &addresses);
                let address = address.ok_or_else(|| no_service(world, &service))?;
                return Ok((address, number(to)?));
            }
            Some(Subject::Address(address)) => {
                say(
                    lines,
                    "name",
                    format!("{shown} → {address}, which it spells"),
                );
                return Ok((address, number(to)?));
            }
            None => {}
        }
    }
    let namespace = &pod.namespace;
    let meant = bare.split('.').collect::<Vec<_>>();
    let meant = match meant[..] {
        [name] => ObjectName::new(namespace.as_str(), name),
        [name, namespace, ..] => ObjectName::new(namespace, name),
        [] => ObjectName::new(namespace.as_str(), bare),
    };
    let unknown = no_service(world, &meant);
    let asked = |tried: &Name| match names.why(tried) {
        Some(why) => format!("asked for {}: {why}", tried.without_dot()),
        None => format!("asked for {}", tried.without_dot()),
    };
    let death = Death {
        why: format!("{bare} is no name of the cluster: {}", unknown.why),
        ..unknown
    }
    .because(tried.iter().map(asked));
    // A name with dots that is near to nothing here may be of the world outside.
    let is_foreign = bare.contains('.') && bare.parse().is_ok_and(|name| names.is_outside(&name));
    Err(match is_foreign {
        true => death.next("names outside of the cluster are not traced; give the address"),
        false => death,
    })
}

/// A headless Service's name stands for its endpoints themselves.
fn headless(
    world: &Snapshot,
    client: &Client<'_>,
    service: &ServiceView,
    to: &To,
    lines: &mut Vec<Line>,
) -> Result<(IpAddr, u16), Death> {
    let object = format!("service {}", service.name);
    let ready = endpoints::ready_addresses(world, &service.name);
    let address =
        like(client, &ready).ok_or_else(|| endpoints::none_ready(world, service, None))?;
    say(
        lines,
        "service",
        format!(
            "{object} is headless: its name stands for {} endpoints",
            ready.len()
        ),
    );
    let others = ready.iter().filter(|other| **other != address);
    for other in others.take(endpoints::SHOWN) {
        say(
            lines,
            "other",
            format!("{other}: the client may as well take it"),
        );
    }
    match number(to) {
        Ok(port) => Ok((address, port)),
        Err(_) => {
            let index = port_of(service, to)?;
            let port = &service.net.ports[index].name;
            let slices = world.slices_of(&service.name);
            let ports = slices.flat_map(|slice| slice.net.ports.iter());
            let found = ports.into_iter().find(|one| one.name == *port);
            let found = found.map(|port| (address, port.port));
            found.ok_or_else(|| no_port(service, port, to.protocol))
        }
    }
}

/// A name that stands for another one: the walk goes on if that is known here.
fn elsewhere(
    world: &Snapshot,
    client: &Client<'_>,
    service: &ServiceView,
    to: &To,
    lines: &mut Vec<Line>,
) -> Result<(IpAddr, u16), Death> {
    let (object, name) = (format!("service {}", service.name), &service.external_name);
    say(
        lines,
        "service",
        format!("{object} is an ExternalName: {name}"),
    );
    let names = Names::of(world);
    let target = names.end_of(&service.name);
    match target.and_then(|target| match target {
        Subject::Service(target) => world.service(&target),
        _ => None,
    }) {
        Some(other) if other.kind != "ExternalName" => {
            service_address(world, client, other, to, lines)
        }
        _ => Err(Death::new(format!(
            "{object} stands for {name}, which no object of the cluster gives an address"
        ))
        .of(object)
        .next(format!("trace an address of {name}"))),
    }
}
